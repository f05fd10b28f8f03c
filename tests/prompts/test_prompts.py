"""Facts about the prompts that are shipped in data/prompts."""

import json
import re
from collections import Counter
from pathlib import Path

import pytest

from pairloop import params
from pairloop.prompts import constraints, kinds, pool, sources

FOLDER = Path(__file__).parents[2] / "data" / "prompts"
NUMBERS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]
NOUNS = {
    "words": "words",
    "sentences": "sentence",
    "paragraphs": "paragraph",
    "bullets": "bullet",
    "commas": "comma",
    "case": "lower[- ]?case|small letters|capital|upper case",
    "json": "json",
    "numbered": "number",
    "lines": "line",
    "digits": "digit|figure|number",
    "bold": "bold",
    "quoted": "double quotation marks",
    "separated": "one-line|(one|single) line|in a row",
}
MARKS = {
    "!": "exclamation mark",
    "?": "question mark",
    ".": "full stop",
    ",": "comma",
    ";": "semicolon",
    "/": "slash",
    "-": "hyphen",
    '"': "quotation mark",
}
UNMET = {"case", "json", "quoted", "separated", "bold"}
"""Kinds of which the default base meets three in a hundred at most: no prompt that is shipped asks for them."""

OTHER_WORDS = {1: "single", 2: "twice", 20: "twenty"}


def shipped(name):
    return sources.read_prompts(str(FOLDER / f"{name}.jsonl"), "")


@pytest.mark.parametrize(("name", "least", "limited"), [("pool", 1500, 1100), ("dev", 180, 120), ("eval", 450, 300)])
def test_each_file_has_many_prompts_of_many_kinds_most_of_them_with_constraints(name, least, limited):
    rows = shipped(name)
    assert len(rows) >= least and len({r["source"] for r in rows}) >= 18
    assert sum(r["constraints"] is not None for r in rows) >= limited
    assert {c["kind"] for r in rows for c in constraints.parse(r["constraints"])} == set(kinds.FIELDS) - UNMET
    assert all(r["prompt"] == r["prompt"].strip() and len(r["prompt"]) <= 600 for r in rows)


def test_held_out_prompts_have_constraints_in_the_proportions_of_the_pool():
    shares = {name: proportions(name) for name in ("pool", "dev", "eval")}
    for kind, share in shares["pool"].items():
        assert abs(shares["eval"][kind] - share) < 0.025 and abs(shares["dev"][kind] - share) < 0.04, kind


def proportions(name):
    """Share of each kind among all constraints of a file."""
    found = Counter(c["kind"] for row in shipped(name) for c in constraints.parse(row["constraints"]))
    return {kind: count / found.total() for kind, count in found.items()}


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
    patterns = [NOUNS[constraint["kind"]]] if constraint["kind"] in NOUNS else []
    patterns += [MARKS[constraint[field]] for field in ("mark", "by") if field in constraint]
    said = [constraint["text"]] if "text" in constraint else constraint.get("keys", [])
    patterns += [re.escape(f'"{text}"') for text in said]
    patterns += [rf"\b{re.escape(option)}\b" for option in constraint.get("options", [])]
    bounds = {constraint[bound] for bound in ("min", "max") if constraint.get(bound)}
    return patterns + [stated(bound) for bound in bounds if bound > 1 or "max" in constraint]


def stated(number):
    """A pattern for a number in digits or words. That there must be one, no number needs to say."""
    named = [str(number), *NUMBERS[number : number + 1], OTHER_WORDS.get(number, "dozen")]
    return rf"\b({'|'.join(named)})\b"


def test_the_readme_has_the_right_counts():
    readme = (FOLDER / "README.md").read_text(encoding="utf-8")
    uses = Counter()
    sorts = {name: Counter(r["source"] for r in shipped(name)) for name in ("pool", "dev", "eval")}
    for name in ("pool", "dev", "eval"):
        rows = shipped(name)
        limited = [constraints.parse(r["constraints"]) for r in rows if r["constraints"]]
        assert f"| `{name}.jsonl` | {len(rows):,} | {len(limited):,} |" in readme
        uses.update((kind, name) for every in limited for kind in {c["kind"] for c in every})
    table = re.findall(r"^\| `(\{.*?\})` \| .* \| (\d+) \| (\d+) \| (\d+) \|$", readme, re.MULTILINE)
    counted = {json.loads(example)["kind"]: tuple(map(int, counts)) for example, *counts in table}
    assert counted == {kind: tuple(uses[kind, name] for name in sorts) for kind in kinds.FIELDS}
    named = re.findall(r"^\| (\w+) \| (\d+) \| (\d+) \| (\d+) \|$", readme, re.MULTILINE)
    assert {sort: tuple(map(int, counts)) for sort, *counts in named} == {
        sort: tuple(found[sort] for found in sorts.values()) for sort in sorts["pool"]
    }
