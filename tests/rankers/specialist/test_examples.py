"""Facts about the preferences that are shipped in data/preferences/examples."""

import json
import re
import statistics
from pathlib import Path

import pytest

from pairloop import params
from pairloop.measures.texts import words
from pairloop.prompts import pool, sources
from pairloop.rankers.specialist import preferences

ROOT = Path(__file__).parents[3]
FOLDER = ROOT / "data" / "preferences" / "examples"
TAUGHT, HELD_OUT = FOLDER / "polite.jsonl", FOLDER / "polite-held-out.jsonl"
COURTESY = re.compile(
    r"thank|please|glad|happy|hope|lovely|sorry|kind|wish|enjoy|love|pleasure|appreciate|delight|good luck|gladly|"
    r"of course|certainly|congratulations|welcome|wonderful|care|how (nice|sweet|generous|exciting)|well done|bless|"
    r"charming|sweet|cheering|fingers crossed|would you|could you|may i",
    re.IGNORECASE,
)


def pairs(path: Path) -> tuple[tuple[str, str, str], ...]:
    return preferences.read(path).pairs


@pytest.mark.parametrize(("path", "count"), [(TAUGHT, 100), (HELD_OUT, 64)], ids=["taught", "held out"])
def test_each_file_has_so_many_preferences_each_of_another_prompt_and_none_stands_both_ways(
    path: Path, count: int
) -> None:
    found = preferences.read(path)
    assert found.counts == {"rows": count, "duplicates": 0, "contradictions": 0}
    assert len({prompt for prompt, _, _ in found.pairs}) == count
    assert all({*json.loads(line)} == {"prompt", "chosen", "rejected"} for line in path.open(encoding="utf-8"))


@pytest.mark.parametrize("path", [TAUGHT, HELD_OUT], ids=["taught", "held out"])
def test_what_is_chosen_is_courteous_and_neither_longer_nor_louder_than_what_is_rejected(path: Path) -> None:
    found = pairs(path)
    differences = [len(words(chosen)) - len(words(rejected)) for _, chosen, rejected in found]
    assert abs(statistics.fmean(differences)) < 1 and max(map(abs, differences)) <= 15
    assert min(sum(d > 0 for d in differences), sum(d < 0 for d in differences)) > len(found) / 4
    loud = [sum("!" in pair[side] for pair in found) / len(found) for side in (1, 2)]
    assert abs(loud[0] - loud[1]) < 0.05
    assert all(COURTESY.search(chosen) for _, chosen, _ in found)
    assert sum(bool(COURTESY.search(rejected)) for _, _, rejected in found) < len(found) / 10


def test_no_prompt_is_like_another_of_the_examples_or_of_the_shipped_prompts() -> None:
    examples = [row for path in (TAUGHT, HELD_OUT) for row in sources.read_prompts(str(path), "")]
    others = [str(ROOT / f"data/prompts/{name}.jsonl") for name in ("pool", "dev", "eval")]
    shipped = [row for path in others for row in sources.read_prompts(path, "")]
    _, _, counts = pool.build(examples, shipped, params.Pool(), 0)
    assert counts["dropped"] == {} and counts["rows_out"] == 164


def test_the_licence_is_stated() -> None:
    page = (FOLDER.parent / "README.md").read_text(encoding="utf-8")
    assert "examples/" in page and "CC0-1.0" in page.partition("## Examples")[2]
