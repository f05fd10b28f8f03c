"""AlpacaEval's instructions as prompts: from a list in a JSON file, here or on the hub, in the benchmark's order."""

import json
import os
from pathlib import Path

import pytest

from pairloop import params
from pairloop.errors import DataError
from pairloop.evaluation.alpaca_answers import is_benchmark
from pairloop.prompts import pool, sources

DATA = os.environ.get("PAIRLOOP_ALPACA_DATA")


def alpaca(texts: list[str]) -> str:
    return json.dumps(
        [{"dataset": "d", "instruction": text, "output": "An answer.", "generator": "gpt"} for text in texts]
    )


def test_a_list_in_a_json_file_is_read_in_its_order(tmp_path: Path) -> None:
    path = tmp_path / "alpaca_eval.json"
    path.write_text(alpaca(["Do b.", "Do a.", "Do c."]))
    rows = sources.read_prompts(str(path), "")
    assert [row["prompt"] for row in rows] == ["Do b.", "Do a.", "Do c."]
    assert {row["source"] for row in rows} == {"alpaca_eval"}


def test_a_file_of_a_data_set_on_the_hub_is_read_likewise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    commit = "2edc6fad8be6b14ea7230aabfd08188da6b8b814"
    folder = tmp_path / "datasets--tatsu-lab--alpaca_eval" / "snapshots" / commit
    folder.mkdir(parents=True)
    (folder / "alpaca_eval.json").write_text(alpaca(["Do b.", "Do a."]))
    rows = sources.read_prompts(f"hf:tatsu-lab/alpaca_eval@{commit}/alpaca_eval.json", "")
    assert [row["prompt"] for row in rows] == ["Do b.", "Do a."]
    with pytest.raises(DataError, match=r"^hf:tatsu-lab/alpaca_eval@2edc\w+/none\.json: it cannot be fetched \("):
        sources.read_prompts(f"hf:tatsu-lab/alpaca_eval@{commit}/none.json", "")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[", "cannot be read as JSON (Expecting value"),
        ('{"instruction": "a"}', 'must hold a list of rows, such as [{"prompt": "..."}]'),
        ('[{"instruction": "a"}, 3]', "row 1: 3 is no JSON object"),
        ('[{"instruction": "a", "instruction": "b"}]', "stands there more than once"),
        ('[{"body": "a"}]', "has the columns body, but one named prompt, instruction"),
        ("[]", "has no prompts"),
    ],
)
def test_a_json_file_that_holds_no_prompts_is_one_message(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "bad.json"
    path.write_text(content)
    with pytest.raises(DataError) as refused:
        sources.read_prompts(str(path), "")
    assert refused.value.message.startswith(str(path)) and message in refused.value.message
    assert "\n" not in refused.value.message


@pytest.mark.skipif(DATA is None, reason="PAIRLOOP_ALPACA_DATA names no folder with AlpacaEval's instructions")
def test_the_805_instructions_all_stay_in_their_order_as_the_recipe_reads_them() -> None:
    rows = sources.read_prompts(str(Path(DATA or "") / "instructions.jsonl"), "")
    settings = params.Pool(max_characters=100000, near_duplicate=1.0, contained=1.0)
    train = sources.read_prompts("data/prompts/pool.jsonl", "")
    _, held_out, counts = pool.build(train, rows, settings, 0)
    assert is_benchmark([row["prompt"] for row in held_out]) and counts["eval_dropped"] == {}
