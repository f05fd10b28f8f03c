"""Facts about the prompts that are shipped in data/prompts."""

import json
import re
from collections import Counter
from pathlib import Path

import pytest

from pairloop import params
from pairloop.prompts import constraints, pool, sources

FOLDER = Path(__file__).parents[2] / "data" / "prompts"
NUMBERS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]
NOUNS = {
    "words": "words",
    "sentences": "sentence",
    "paragraphs": "paragraph",
    "bullets": "bullet|numbered",
    "commas": "comma",
    "case": "lower ?case|capital letters",
    "json": "json object",
}


def shipped(name):
    return sources.read_prompts(str(FOLDER / f"{name}.jsonl"), "")


@pytest.mark.parametrize(("name", "least"), [("pool", 600), ("dev", 120), ("eval", 120)])
def test_each_file_has_many_prompts_of_many_kinds_and_a_third_with_constraints(name, least):
    rows = shipped(name)
    assert len(rows) >= least and len({r["source"] for r in rows}) >= 12
    assert 0.25 <= sum(r["constraints"] is not None for r in rows) / len(rows) <= 0.45
    assert all(r["prompt"] == r["prompt"].strip() and len(r["prompt"]) <= 600 for r in rows)


@pytest.mark.parametrize("name", ["pool", "dev", "eval"])
def test_the_beginning_of_each_file_is_as_mixed_as_the_whole(name):
    rows = shipped(name)
    kinds = len({r["source"] for r in rows})
    counts = Counter(r["source"] for r in rows[: 2 * kinds])
    assert set(counts.values()) == {2} and len(counts) == kinds


def test_no_prompt_repeats_another_in_its_file_or_in_the_others():
    train, dev, held_out = (shipped(name) for name in ("pool", "dev", "eval"))
    _, _, counts = pool.build(train, held_out, params.Pool(), 0)
    assert counts["dropped"] == counts["eval_dropped"] == {}
    assert counts["rows_out"] == len(train) and counts["eval_rows_out"] == len(held_out)
    _, _, counts = pool.build(dev + train, held_out, params.Pool(), 0)
    assert counts["dropped"] == {}


@pytest.mark.parametrize("name", ["pool", "dev", "eval"])
def test_whatever_a_constraint_demands_is_said_in_the_prompt(name):
    for row in shipped(name):
        for constraint in constraints.parse(row["constraints"]):
            for said in demands(constraint):
                assert re.search(said, row["prompt"], re.IGNORECASE), (row["prompt"], constraint)


def demands(constraint):
    """Patterns that a prompt with this constraint must contain."""
    kind = constraint["kind"]
    patterns = [NOUNS[kind]] if kind in NOUNS else [re.escape(f'"{constraint["text"]}"')]
    patterns += [re.escape(f'"{key}"') for key in constraint.get("keys", [])]
    for bound in {constraint[b] for b in ("min", "max") if b in constraint and kind != "commas"}:
        named = NUMBERS[bound] if bound < len(NUMBERS) else str(bound)
        patterns.append(rf"\b({bound}|{named}{'|single|one-sentence' if bound == 1 else ''})\b")
    return patterns


def test_the_readme_has_the_right_counts():
    readme = (FOLDER / "README.md").read_text(encoding="utf-8")
    uses = Counter()
    for name in ("pool", "dev", "eval"):
        rows = shipped(name)
        limited = [constraints.parse(r["constraints"]) for r in rows if r["constraints"]]
        assert f"| `{name}.jsonl` | {len(rows)} | {len(limited)} |" in readme
        uses.update(kind for stated in limited for kind in {c["kind"] for c in stated})
    table = {
        json.loads(example)["kind"]: int(count)
        for example, count in re.findall(r"^\| `(\{.*?\})` \| .* \| (\d+) \|$", readme, re.MULTILINE)
    }
    assert table == uses
