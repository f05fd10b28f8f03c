"""AlpacaEval's numbers, equal to those that its leaderboard and its package give."""

import csv
import json
import os
from pathlib import Path
from typing import Any

import pytest

from pairloop.errors import DataError
from pairloop.evaluation import alpaca

DATA = os.environ.get("PAIRLOOP_ALPACA_DATA")
MODELS = ("FuseChat-Llama-3.2-1B-Instruct", "Mixtral-8x7B-Instruct-v0.1_concise", "vicuna-7b")

published = pytest.mark.skipif(
    DATA is None,
    reason="PAIRLOOP_ALPACA_DATA names no folder with AlpacaEval's annotations, which are not ours to ship",
)


def table(name: str) -> list[dict[str, str]]:
    with (Path(DATA or "") / name).open(encoding="utf-8") as lines:
        return list(csv.DictReader(lines))


def expected(model: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((Path(DATA or "") / "expected.json").read_text())[model]
    return found


def annotated(model: str) -> list[dict[str, str]]:
    return [row for row in table("annotations.csv") if row["model"] == model]


def preferences(model: str) -> list[float]:
    return [float(row["preference"]) for row in annotated(model)]


def controlled(model: str, form: alpaca.Form) -> tuple[float, float]:
    rows, gamed = annotated(model), table("df_gamed_reconstructed.csv")
    columns = [
        [float(row[name]) for row in gamed] for name in ("preference", "std_delta_len", "instruction_difficulty")
    ]
    difficulties = [float(row["instruction_difficulty"]) for row in table("instruction_difficulty_recovered.csv")]
    lengths, reference = ([int(row[name]) for row in rows] for name in ("len_2", "len_1"))
    return alpaca.length_controlled(preferences(model), lengths, reference, difficulties, alpaca.Gamed(*columns), form)


@published
@pytest.mark.parametrize("model", [*MODELS, "Mistral-7B-Instruct-v0.2/alpaca_eval_cot_gpt4_turbo_fn"])
def test_win_rates_are_the_leaderboard_s(model: str) -> None:
    ours, theirs = alpaca.win_rate(preferences(model)), expected(model)["published"]
    assert ours.win_rate == pytest.approx(theirs["win_rate"], abs=1e-6)
    assert ours.standard_error == pytest.approx(theirs["standard_error"], abs=1e-6)
    assert (ours.wins, ours.losses, ours.draws) == (theirs["n_wins"], theirs["n_wins_base"], theirs["n_draws"])
    if theirs.get("discrete_win_rate") is not None:
        assert ours.discrete_win_rate == pytest.approx(theirs["discrete_win_rate"], abs=1e-6)


@published
@pytest.mark.parametrize("model", MODELS)
def test_length_controlled_win_rates_are_the_leaderboard_s(model: str) -> None:
    leaderboard = expected(model)["published"]["length_controlled_winrate"]
    assert controlled(model, "exact")[0] == pytest.approx(leaderboard, abs=0.2)
    assert controlled(model, "exact")[0] == pytest.approx(expected(model)["exact_unregularised_fit_lc"], abs=1e-5)


@published
@pytest.mark.parametrize("model", MODELS)
def test_the_cross_validated_form_is_the_package_s(model: str) -> None:
    package = expected(model)["alpaca_eval_0_6_6_with_reconstructed_df_gamed"]
    found = controlled(model, "cross_validated")
    assert found == pytest.approx((package["length_controlled_winrate"], package["lc_standard_error"]), abs=1e-6)


def test_a_draw_has_two_names_and_a_missing_verdict_none() -> None:
    found = alpaca.win_rate([2.0, 1.5, 0.0, 1.0, 1.2, None, float("nan")])
    assert (found.wins, found.losses, found.draws, found.total) == (1, 2, 2, 5)
    assert found.win_rate == pytest.approx(100 * (1 + 0.5 + 0.5 + 0 + 0.2) / 5)
    assert found.discrete_win_rate == pytest.approx(100 * (1 + 0.5 + 0.5) / 5)


def test_what_is_no_preference_is_named_with_its_row() -> None:
    with pytest.raises(DataError, match=r"row 1: the preference is 0\.7"):
        alpaca.win_rate([1.0, 0.7])
    with pytest.raises(DataError, match="of 2 rows 1 have one"):
        alpaca.win_rate([1.0, None])
    with pytest.raises(DataError, match="2, 2, 1, 2 rows"):
        alpaca.length_controlled([1.0, 2.0], [1, 2], [1], [0.0, 0.0], alpaca.Gamed([], [], []))


def test_without_difficulties_equal_lengths_leave_the_win_rate_and_length_that_explains_all_leaves_half() -> None:
    assert alpaca.length_controlled_minimal([2.0, 1.0, 1.5, 2.0], [5] * 4, [7] * 4) == pytest.approx(62.5)
    lengths = [10, 20, 30, 40, 50, 60, 70, 80]
    bought = [1.1, 1.2, 1.3, 1.4, 1.6, 1.7, 1.8, 1.9]
    assert alpaca.length_controlled_minimal(bought, lengths, [45] * 8) == pytest.approx(50)
    assert alpaca.length_controlled_minimal([2.0, 2.0, 2.0], [1, 2, 3], [3, 1, 1]) > 99
