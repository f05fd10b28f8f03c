"""eval measures a model moved on as one more model, and costs nothing more where it is not asked to."""

from pathlib import Path
from typing import Any

import pytest
from evaluated import PROMPTS, run, write_adapter, write_prompts

from pairloop.files import records
from pairloop.files.records import Row


def asked(factors: list[float]) -> dict[str, Any]:
    return {"eval": {"extrapolate": factors, "temperatures": [0.0]}}


def outs() -> tuple[list[Row], bytes]:
    stored = records.read(Path("answers_1.parquet"), records.ANSWER)
    return stored, Path("results_1/model_outputs.json").read_bytes()


def test_each_factor_is_a_further_row_of_the_evaluation(
    tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    adapter = write_adapter(tiny_base, tmp_path / "adapter", 0)
    write_prompts(Path("eval.parquet"))
    plain = run(0, tiny_base, tiny_base, asked([]))
    assert run(0, tiny_base, tiny_base, asked([0.5])) == plain  # it is what the others are moved on from
    own = run(1, tiny_base, adapter, asked([]))
    rows, outputs = outs()
    assert own.pop("further") == []
    both = run(1, tiny_base, adapter, asked([3.0, 8.0]))
    beyond = both.pop("further")
    assert both == own
    more, same_outputs = outs()
    assert (more[: len(PROMPTS)], same_outputs) == (rows, outputs)
    assert [row["moved_on"] for row in more] == [0.0] * 4 + [3.0] * 4 + [8.0] * 4
    assert [row.pop("factor") for row in beyond] == [3.0, 8.0]
    assert [set(row) for row in beyond] == [set(own)] * 2
    assert beyond[0] != beyond[1] and own not in beyond
    assert not list((tmp_path / ".dvc/tmp/pairloop/extrapolated").iterdir())
