"""eval measures a model moved on as one more model, and costs nothing more where it is not asked to."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from pairloop.files import records
from pairloop.models import references
from stages import eval as verb

PROMPTS = ["Say hello.", "Name three colours.", "Why is the sky blue?", "Write one line."]


@pytest.fixture
def adapter(tiny_base: Path, tmp_path: Path) -> Path:
    import torch
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(0)
    config = LoraConfig(r=2, lora_alpha=16, target_modules=["q_proj", "v_proj", "down_proj"], init_lora_weights=False)
    get_peft_model(references.load_model(tiny_base, "float32"), config).save_pretrained(tmp_path / "adapter")
    return tmp_path / "adapter"


def run(iteration: int, base: Path, policy: Path, held_out: str, factors: list[float]) -> dict[str, Any]:
    """The metrics that the verb writes."""
    judged = {"prompts": len(PROMPTS), "judges": ["likelihood"], "max_new_tokens": 12, "bootstrap": 100}
    judged |= {"extrapolate": factors, "temperature": 0.0}
    Path("params.yaml").write_text(json.dumps({"eval": judged}))
    places = [str(base), "teacher", str(policy), held_out, f"answers_{iteration}.parquet", f"results_{iteration}"]
    found = CliRunner().invoke(verb.main, ["--iteration", str(iteration), *places], catch_exceptions=False)
    assert found.exit_code == 0, found.output
    metrics: dict[str, Any] = records.read_json(Path(f"results_{iteration}/metrics.json"))
    return metrics


def test_each_factor_is_a_further_row_of_the_evaluation(
    tiny_base: Path, adapter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ids = [hashlib.sha256(prompt.encode()).hexdigest() for prompt in PROMPTS]
    rows = [
        {"prompt_id": name, "prompt": prompt, "source": "test", "constraints": None}
        for name, prompt in zip(ids, PROMPTS, strict=True)
    ]
    records.write(Path("eval.parquet"), records.PROMPT, [rows])
    plain = run(0, tiny_base, tiny_base, "eval.parquet", [])
    assert run(0, tiny_base, tiny_base, "eval.parquet", [0.5]) == plain  # it is what the others are moved on from
    own = run(1, tiny_base, adapter, "answers_0.parquet", [])
    outs = [Path(name).read_bytes() for name in ("answers_1.parquet", "results_1/model_outputs.json")]
    assert "extrapolated" not in own
    both = run(1, tiny_base, adapter, "answers_0.parquet", [3.0, 8.0])
    beyond = both.pop("extrapolated")
    assert both == own
    assert outs == [Path(name).read_bytes() for name in ("answers_1.parquet", "results_1/model_outputs.json")]
    assert [row.pop("factor") for row in beyond] == [3.0, 8.0]
    assert [set(row) for row in beyond] == [set(own)] * 2
    assert beyond[0] != beyond[1] and own not in beyond
    assert not list((tmp_path / ".dvc/tmp/pairloop/extrapolated").iterdir())
