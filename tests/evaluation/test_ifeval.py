"""IFEval's instructions: how they are read and checked, and what a model's accuracy is."""

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ifeval_cases import CASES

from pairloop.errors import DataError
from pairloop.evaluation.ifeval import Instruction, Prompt, accuracy, reading
from pairloop.evaluation.ifeval.checks import CHECKS, NEEDS

FLAT = [(kind, *case) for kind, cases in CASES.items() for case in cases]
NO_COMMA = {"instruction_id_list": ["punctuation:no_comma"], "kwargs": [{}]}
ROW = {"key": 1, "prompt": "Write a line without commas."} | NO_COMMA


def asks(*kinds: str, arguments: dict[str, Any] | None = None) -> Prompt:
    """A prompt with instructions of these kinds."""
    return Prompt("1", "Write.", tuple(Instruction(kind, arguments or {}) for kind in kinds))


@pytest.fixture
def lines(tmp_path: Path) -> Callable[..., str]:
    """Writes rows as a file of prompts."""

    def write(*rows: object) -> str:
        path = tmp_path / "ifeval.jsonl"
        path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
        return str(path)

    return write


def test_all_25_kinds_are_covered_and_have_cases_of_both_verdicts() -> None:
    assert len(CHECKS) == 25 and set(CASES) == set(CHECKS)
    for kind, cases in CASES.items():
        assert {verdict for *_, verdict in cases} == {True, False}, kind


@pytest.mark.parametrize(("kind", "arguments", "answer", "verdict"), FLAT)
def test_an_answer_follows_an_instruction_by_its_published_rule(
    kind: str, arguments: dict[str, Any], answer: str, verdict: bool
) -> None:
    assert accuracy.strict(asks(kind, arguments=arguments), answer) == [verdict]


@pytest.mark.parametrize(("kind", "arguments"), [(kind, cases[0][0]) for kind, cases in CASES.items()])
def test_an_empty_answer_follows_nothing(kind: str, arguments: dict[str, Any]) -> None:
    for answer in ("", " \n"):
        assert accuracy.strict(asks(kind, arguments=arguments), answer) == [False]
        assert accuracy.loose(asks(kind, arguments=arguments), answer) == [False]


@pytest.mark.parametrize("character", ["#", "!"])
def test_a_letter_may_be_any_character(character: str) -> None:
    own = {"letter": character, "let_relation": "at least", "let_frequency": 2}
    counted = asks("keywords:letter_frequency", arguments=own)
    assert accuracy.strict(counted, f"a {character} b {character}") == [True]
    assert accuracy.strict(counted, f"a {character} b") == [False]


@pytest.mark.parametrize(
    ("kind", "answer"),
    [
        ("startend:quotation", 'Sure:\n"Soup."'),
        ("startend:quotation", '"Soup."\nIs that fine?'),
        ("startend:quotation", 'Sure:\n"Soup."\nIs that fine?'),
        ("startend:quotation", '**"Soup."**'),
        ("detectable_format:json_format", "Here it is:\n{}"),
    ],
)
def test_loosely_first_and_last_lines_and_stars_are_no_faults(kind: str, answer: str) -> None:
    assert accuracy.strict(asks(kind), answer) == [False]
    assert accuracy.loose(asks(kind), answer) == [True]


def test_what_is_followed_strictly_is_followed_loosely() -> None:
    for kind, arguments, answer, verdict in FLAT:
        assert not verdict or accuracy.loose(asks(kind, arguments=arguments), answer) == [True], kind


def test_an_answers_language_is_always_found_the_same() -> None:
    short = asks("language:response_language", arguments={"language": "en"})
    assert len({str(accuracy.strict(short, "A soup is good")) for _ in range(20)}) == 1


def test_the_accuracies_are_shares_of_prompts_and_of_instructions() -> None:
    quoted = ("punctuation:no_comma", "startend:quotation")
    prompts = [asks(*quoted), asks(*quoted), asks("punctuation:no_comma"), asks("detectable_format:title")]
    strict = [[True, True], [True, False], [False], [True]]
    loose = [[True, True], [True, True], [False], [True]]
    found = accuracy.summary(prompts, strict, loose, 500, 0)
    assert (found["prompts"], found["covered"], found["not_covered"]) == (4, 4, {})
    assert found["strict"]["prompt"] == 0.5 and found["strict"]["instruction"] == pytest.approx(4 / 6)
    assert found["loose"]["prompt"] == 0.75 and found["loose"]["instruction"] == pytest.approx(5 / 6)
    assert found["by_kind"] == {
        "detectable_format:title": {"instructions": 1, "strict": 1.0, "loose": 1.0},
        "punctuation:no_comma": {"instructions": 3, "strict": pytest.approx(2 / 3), "loose": pytest.approx(2 / 3)},
        "startend:quotation": {"instructions": 2, "strict": 0.5, "loose": 1.0},
    }
    own = found["strict"]
    assert own["low"] < own["prompt"] < own["high"]
    assert own["instruction_low"] < own["instruction"] < own["instruction_high"]


def test_intervals_are_over_prompts_however_many_instructions_one_has() -> None:
    few = [asks("punctuation:no_comma") for _ in range(8)]
    many = [asks(*["punctuation:no_comma"] * 20) for _ in range(8)]
    verdicts = [n % 2 == 0 for n in range(8)]
    one = accuracy.summary(few, [[v] for v in verdicts], [[v] for v in verdicts], 500, 0)["strict"]
    all_20 = accuracy.summary(many, [[v] * 20 for v in verdicts], [[v] * 20 for v in verdicts], 500, 0)["strict"]
    assert (all_20["instruction_low"], all_20["instruction_high"]) == (one["low"], one["high"])


def test_what_is_not_covered_is_counted_and_never_guessed() -> None:
    prompts = [asks("punctuation:no_comma", "new:kind"), asks("punctuation:no_comma"), asks("new:kind")]
    verdicts = [accuracy.strict(prompt, "Soup") for prompt in prompts]
    assert verdicts == [[True, None], [True], [None]]
    found = accuracy.summary(prompts, verdicts, verdicts, 100, 0)
    assert (found["prompts"], found["covered"], found["not_covered"]) == (3, 1, {"new:kind": 2})
    assert found["strict"]["prompt"] == 1.0 and set(found["by_kind"]) == {"punctuation:no_comma"}
    said = accuracy.missing(found["not_covered"])
    assert said == "IFEval: 2 instructions are not checked, and left out: new:kind (2)."
    assert accuracy.missing({}) is None


def test_where_nothing_is_covered_there_is_no_accuracy() -> None:
    found = accuracy.summary([asks("new:kind")], [[None]], [[None]], 100, 0)
    assert (found["strict"], found["loose"], found["covered"]) == (None, None, 0)


@pytest.mark.parametrize("kind", sorted(NEEDS))
def test_a_kind_whose_package_is_missing_is_not_covered(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    there = importlib.util.find_spec
    monkeypatch.setattr(
        "pairloop.evaluation.ifeval.checks.find_spec", lambda name: None if name == NEEDS[kind] else there(name)
    )
    assert accuracy.strict(asks(kind, arguments=CASES[kind][0][0]), "Soup") == [None]
    assert f"{NEEDS[kind]} would check more: in the project's folder, pip install '.[ifeval]'" in str(
        accuracy.missing({kind: 1})
    )


def test_the_published_format_is_read(lines: Callable[..., str]) -> None:
    hub = ROW | {"key": 2, "kwargs": [{"num_words": None, "relation": None}]}  # as the hub's copy has it
    words = {"instruction_id_list": ["length_constraints:number_words"]}
    third = ROW | words | {"key": 3, "kwargs": [{"relation": "at least", "num_words": 3}]}
    first, second, last = reading.read(lines(ROW, hub, third))
    assert (first.key, first.text, first.instructions) == ("1", ROW["prompt"], (Instruction(*NO_COMMA_AS_READ),))
    assert second.instructions == first.instructions
    assert last.instructions[0].arguments == {"relation": "at least", "num_words": 3}


NO_COMMA_AS_READ: tuple[str, dict[str, Any]] = ("punctuation:no_comma", {})


def test_a_data_set_on_the_hub_is_read_too(monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    asked: list[Any] = []

    def load(name: str, **own: Any) -> Any:
        asked.append((name, own))
        return datasets.Dataset.from_list([ROW | {"kwargs": [{"num_words": None}]}])

    monkeypatch.setattr(datasets, "load_dataset", load)
    [prompt] = reading.read("hf:google/IFEval@main")
    assert prompt.instructions == (Instruction(*NO_COMMA_AS_READ),)
    assert asked == [("google/IFEval", {"revision": "main", "split": "train"})]


def test_a_kind_that_nobody_knows_is_read_as_it_stands(lines: Callable[..., str]) -> None:
    [prompt] = reading.read(lines(ROW | {"instruction_id_list": ["new:kind"], "kwargs": [{"anything": [1]}]}))
    assert prompt.instructions == (Instruction("new:kind", {"anything": [1]}),)


def one(kind: str, arguments: object) -> dict[str, Any]:
    return ROW | {"instruction_id_list": [kind], "kwargs": [arguments]}


WORDS, LETTERS = "length_constraints:number_words", "keywords:letter_frequency"


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ([], "[] is no JSON object. Needed: {"),
        ({"prompt": "Hi"}, "has no key. Needed: {"),
        (ROW | {"prompt": None}, "has no prompt. Needed: {"),
        (ROW | {"prompt": " "}, "prompt is ' ': it must be a text, not empty, without control characters"),
        (ROW | {"key": 1.5}, "key is 1.5: it must be a whole number or a text"),
        (ROW | {"instruction_id_list": []}, "instruction_id_list is []: it must be a list of one or more ids"),
        (ROW | {"kwargs": []}, "kwargs is []: it must be a list with an object for each instruction"),
        (ROW | {"kwargs": [1]}, "the kwargs of punctuation:no_comma are 1: they must be an object"),
        (one(WORDS, {"relation": "at least"}), f"{WORDS} has no num_words among its kwargs: it must be a whole number"),
        (one(WORDS, {"relation": "at most", "num_words": 3}), "is 'at most': it must be 'at least' or 'less than'"),
        (one(WORDS, {"relation": "at least", "num_words": "3"}), "is '3': it must be a whole number, at least 0"),
        (one(WORDS, {"relation": "at least", "num_words": -1}), "is -1: it must be a whole number, at least 0"),
        (one("keywords:existence", {"keywords": ["("]}), "is ['(']: it must be a list of texts that are regular expr"),
        (one(LETTERS, {"letter": "ab", "let_relation": "at least", "let_frequency": 1}), "it must be one character"),
    ],
)
def test_a_bad_row_is_named_with_what_is_needed(lines: Callable[..., str], row: Any, message: str) -> None:
    path = lines(ROW, row)
    with pytest.raises(DataError) as raised:
        reading.read(path)
    assert raised.value.message.startswith(f"{path}, line 2: ") and message in raised.value.message


def test_all_bad_rows_are_named_together(lines: Callable[..., str]) -> None:
    with pytest.raises(DataError, match=r"(?s)line 1: has no key.*line 3: has no key"):
        reading.read(lines({"prompt": "Hi"}, ROW, {"prompt": "Ho"}))


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("prompts.parquet", "IFEval's prompts are read from a .jsonl file"),
        ("none.jsonl", "cannot be read"),
        ("hf:google/IFEval", "a hub dataset is written hf:owner/name@revision"),
    ],
)
def test_a_source_that_cannot_be_read_is_one_sentence(source: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        reading.read(source)


def test_an_empty_file_says_what_a_row_is(lines: Callable[..., str]) -> None:
    with pytest.raises(DataError, match=r"has no prompts. Needed, one a line: \{"):
        reading.read(lines())
