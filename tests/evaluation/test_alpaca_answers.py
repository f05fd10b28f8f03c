"""Answers in AlpacaEval's format: matched by instruction, counted, and put on one scale, without the package."""

import json
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from evaluation.test_alpaca import DATA, published, table

from pairloop.errors import DataError, EngineError
from pairloop.evaluation import alpaca, alpaca_annotator, alpaca_answers, alpaca_results
from pairloop.files import records, remote

ROOT = Path(__file__).parents[2]


def answers(folder: Path, texts: dict[str, str], name: str = "own.json") -> alpaca_answers.Answers:
    path = folder / name
    path.write_text(json.dumps([{"instruction": key, "output": text} for key, text in texts.items()]))
    return alpaca_answers.read(path, name)


def test_answers_are_matched_by_instruction_in_the_reference_s_order(tmp_path: Path) -> None:
    own = answers(tmp_path, {"c": "own c", "a": "own a", "b": "own b"})
    found = alpaca_answers.matched(own, answers(tmp_path, {"a": "a", "b": "b", "c": "c"}, "other.json"))
    assert [(one.instruction, one.own, one.reference) for one in found.pairs] == [
        ("a", "own a", "a"),
        ("b", "own b", "b"),
        ("c", "own c", "c"),
    ]
    assert not found.is_benchmark
    assert found.said == "3 instructions are too few to tell models apart: read the interval, not the win rate"


def test_what_only_one_of_two_has_answered_is_left_out_and_said(tmp_path: Path) -> None:
    own = answers(tmp_path, {str(number): "own" for number in range(40)})
    found = alpaca_answers.matched(own, answers(tmp_path, {str(n): "b" for n in range(5, 60)}, "other.json"))
    assert len(found.pairs) == 35
    assert found.said == "own.json has 40 instructions and other.json 55; the 35 that both have are judged"


def test_files_about_other_instructions_are_refused(tmp_path: Path) -> None:
    own, other = answers(tmp_path, {"a": "x", "b": "y"}), answers(tmp_path, {"b": "x", "c": "y"}, "other.json")
    with pytest.raises(DataError, match=r"own\.json and other\.json have 1 instructions in common.*'a' and 'b'"):
        alpaca_answers.matched(own, other)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[", "own.json: no valid JSON"),
        ("{}", "own.json: {} is no list of answers. Needed: a list of"),
        ("[1]", "own.json, row 0: 1 is no object"),
        ('[{"instruction": "a"}]', "own.json, row 0: output is None, and must be a text"),
        (
            '[{"instruction": "a", "output": "b"}, {"instruction": "a", "output": "c"}]',
            "own.json, row 1: the instruction of row 0 again, 'a'. Answers are matched by instruction: delete one",
        ),
    ],
)
def test_a_file_that_holds_no_answers_is_one_message(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "own.json").write_text(content)
    with pytest.raises(DataError) as refused:
        alpaca_answers.read(tmp_path / "own.json", "own.json")
    assert refused.value.message.startswith(message) and "\n" not in refused.value.message


@published
def test_the_benchmark_is_known_by_its_instructions_and_their_order(tmp_path: Path) -> None:
    lines = (Path(DATA or "") / "instructions.jsonl").read_text(encoding="utf-8").splitlines()
    texts = [json.loads(line)["instruction"] for line in lines]
    assert alpaca_answers.is_benchmark(texts) and not alpaca_answers.is_benchmark(texts[1:] + texts[:1])
    shuffled = answers(tmp_path, dict.fromkeys(reversed(texts), "own"))
    for pair in (
        (shuffled, answers(tmp_path, dict.fromkeys(texts, "x"), "b.json")),
        (answers(tmp_path, dict.fromkeys(texts, "o")), shuffled),
    ):
        found = alpaca_answers.matched(*pair)
        assert found.is_benchmark and found.said is None and [one.instruction for one in found.pairs] == texts


@published
@pytest.mark.parametrize("model", ["FuseChat-Llama-3.2-1B-Instruct", "vicuna-7b"])
def test_on_the_benchmark_the_full_form_is_the_leaderboard_s_and_elsewhere_the_minimal_is_named(model: str) -> None:
    rows = [row for row in table("annotations.csv") if row["model"] == model]
    pairs = [alpaca_answers.Pair(row["index"], "x" * int(row["len_1"]), "x" * int(row["len_2"]), None) for row in rows]
    given = alpaca_results.difficulties(Path(DATA or "") / "df_gamed_reconstructed.csv")
    preferences = [float(row["preference"]) for row in rows]

    def numbers(is_benchmark: bool, form: alpaca.Form = "exact") -> dict[str, Any]:
        matched = alpaca_answers.Matched(pairs, is_benchmark, None)
        return alpaca_results.numbers(preferences, matched, given, form, 200, 0)

    leaderboard = json.loads((Path(DATA or "") / "expected.json").read_text())[model]["published"]
    full = numbers(True)
    assert full["win_rate"] == pytest.approx(leaderboard["win_rate"], abs=1e-6)
    assert full["length_controlled"] == pytest.approx(leaderboard["length_controlled_winrate"], abs=0.2)
    assert full["mean_characters"] == leaderboard["avg_length"]
    assert (full["length_controlled_form"], full["length_controlled_fit"]) == ("full", "exact")
    assert abs(full["low"] - (full["win_rate"] - 1.96 * full["standard_error"])) < 0.5
    assert numbers(True, "cross_validated")["length_controlled_fit"] == "cross_validated"
    minimal = numbers(False, "cross_validated")
    assert (minimal["length_controlled_form"], minimal["length_controlled_fit"]) == ("minimal", "exact")
    assert minimal["length_controlled_low"] < minimal["length_controlled"] < minimal["length_controlled_high"]
    assert full["length_controlled_low"] < full["length_controlled"] < full["length_controlled_high"]
    assert minimal["lc_standard_error"] is None and minimal["length_controlled"] != full["length_controlled"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a,b\n1,2\n", "has no column index, preference, std_delta_len, instruction_difficulty: AlpacaEval's df_gamed"),
        ("index,preference,std_delta_len,instruction_difficulty\n0,0.1,x,0.2\n", "line 2: "),
        ("index,preference,std_delta_len,instruction_difficulty\n1,0.1,0.1,0.2\n", "index must be the place of each"),
    ],
)
def test_difficulties_that_are_none_are_one_message(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "df.csv").write_text(content)
    with pytest.raises(DataError) as refused:
        alpaca_results.difficulties(tmp_path / "df.csv")
    assert message in refused.value.message and "\n" not in refused.value.message


def test_the_table_has_the_iterations_in_their_order_and_then_the_others_the_best_first(tmp_path: Path) -> None:
    for name, rate in {"iteration_10": 3.0, "b": 1.0, "iteration_2": 9.0, "a": 0.5, "c": 7.0}.items():
        records.write_json(tmp_path / name / "result.json", {"name": name, "annotator": "x", "win_rate": rate})
        records.write_json(tmp_path / name / "time.json", {"judged_on": "2026-11-26", "seconds": 1})
    rows = alpaca_results.table(tmp_path)
    assert [row["name"] for row in rows] == ["iteration_2", "iteration_10", "c", "b", "a"]
    assert {row["judged"] for row in rows} == {"judged by x on 2026-11-26"}


@pytest.mark.skipif(find_spec("alpaca_eval") is not None, reason="alpaca_eval is installed here")
def test_without_the_package_the_command_that_installs_it_is_named() -> None:
    with pytest.raises(EngineError, match=r"that package is not installed: pip install '\.\[alpaca\]'"):
        alpaca_annotator.find("open_weights", ROOT / "conf" / "annotator", None)


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str, str, str], None]:
    """Puts a file where the hub's client keeps those of a data set's commit."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))

    def put(repository: str, commit: str, text: str) -> None:
        path = tmp_path / f"datasets--{repository.replace('/', '--')}" / "snapshots" / commit / "a.json"
        path.parent.mkdir(parents=True)
        path.write_text(text)

    return put


def test_a_file_of_the_hub_is_found_by_its_commit(offline: Callable[[str, str, str], None], tmp_path: Path) -> None:
    offline("some/data", "0" * 40, "[]")
    assert remote.bring(f"hf:some/data@{'0' * 40}/a.json", tmp_path, "eval.x").read_text() == "[]"
    with pytest.raises(DataError, match=r"^eval\.x is hf:some/data@1+/a\.json: it cannot be fetched \("):
        remote.bring(f"hf:some/data@{'1' * 40}/a.json", tmp_path, "eval.x")
    with pytest.raises(DataError, match=r"^eval\.x is hf:some/data@main/a\.json: that is no file on the hub"):
        remote.bring("hf:some/data@main/a.json", tmp_path, "eval.x")
    with pytest.raises(DataError, match=r"^eval\.x is no\.json: there is no file of that name\. Allowed: a path, hf:"):
        remote.bring("no.json", tmp_path, "eval.x")


def test_a_file_of_the_web_that_cannot_be_fetched_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(DataError) as refused:
        remote.bring("https://localhost:1/a.json", tmp_path, "eval.compare_with")
    assert refused.value.message.startswith("eval.compare_with is https://localhost:1/a.json: it cannot be fetched (")
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
