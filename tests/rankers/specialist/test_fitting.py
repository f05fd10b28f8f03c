"""Choosing a layer and a penalty without looking at held-out prompts, and what more comparisons are worth."""

import time

import numpy as np
import pytest

from pairloop.errors import TrainingError
from pairloop.rankers.specialist import curve, fitting
from pairloop.rankers.specialist.comparisons import Comparison


def noisy(pairs, size, signal, seed=0, per_prompt=1, kind="preference"):
    """Comparisons, the last fifth held out, whose better answer is ahead by `signal` in the first of `size` numbers."""
    draw = np.random.default_rng(seed)
    features, made = {}, []
    for i in range(pairs):
        prompt = f"p{i // per_prompt}"
        for text, ahead in ((f"good {i}", signal), (f"bad {i}", -signal)):
            features[prompt, text] = draw.normal(size=size) + ahead * (np.arange(size) == 0)
        made.append(Comparison(prompt, f"good {i}", f"bad {i}", kind, i < 0.8 * pairs))
    return made, features


def fitted(made):
    return [c for c in made if c.fitted]


def test_the_layer_that_tells_answers_apart_is_chosen_wherever_it_stands():
    made, clear = noisy(200, 8, 1.0)
    _, blank = noisy(200, 8, 0.0, seed=1)
    for order in ({3: blank, 7: clear}, {7: clear, 3: blank}):
        best, tried = fitting.choose(fitted(made), order, (1e-3, 1.0), 0)
        assert best.layer == 7 and best.accuracy > 0.8
        assert [(c.layer, c.regularisation) for c in tried] == [(n, c) for n in order for c in (1e-3, 1.0)]
        assert all(abs(c.accuracy - 0.5) < 0.15 for c in tried if c.layer == 3)


def test_among_equally_accurate_candidates_the_surer_one_is_chosen_and_then_the_first():
    made, features = noisy(100, 2, 20.0)
    best, tried = fitting.choose(fitted(made), {1: features}, (1e-4, 1.0, 1e-2), 0)
    assert {c.accuracy for c in tried} == {1.0} and best.regularisation == 1.0
    best, _ = fitting.choose(fitted(made), {2: features, 1: features}, (1.0,), 0)
    assert best.layer == 2


def test_accuracy_decides_before_likelihood():
    made, features = noisy(200, 40, 0.3, seed=1)
    best, (weak, strong) = fitting.choose(fitted(made), {1: features}, (1e-4, 1e-2), 0)
    assert weak.accuracy > strong.accuracy and weak.log_likelihood < strong.log_likelihood
    assert best == weak


def test_a_prompt_is_never_on_both_sides_of_a_fold():
    made, features = noisy(100, 60, 0.0, per_prompt=4)
    # All answers to a prompt are alike, and which of them is better is drawn once for each prompt.
    for c in made:
        features[c.prompt, c.better] = features[c.prompt, made[4 * int(c.prompt[1:])].better]
        features[c.prompt, c.worse] = features[c.prompt, made[4 * int(c.prompt[1:])].worse]
    best, _ = fitting.choose(fitted(made), {1: features}, (100.0,), 0)
    assert best.accuracy < 0.8


def test_the_folds_depend_on_the_seed_and_not_on_the_order():
    made, features = noisy(60, 4, 0.3)
    first, _ = fitting.choose(fitted(made), {1: features}, (1.0,), 0)
    again, _ = fitting.choose(fitted(made)[::-1], {1: features}, (1.0,), 0)
    assert again.log_likelihood == pytest.approx(first.log_likelihood, abs=1e-3)
    assert len({fitting.choose(fitted(made), {1: features}, (1.0,), seed)[0].log_likelihood for seed in range(4)}) > 1


def test_one_prompt_cannot_be_tested_so_that_the_first_candidate_is_taken():
    made, features = noisy(4, 3, 1.0, per_prompt=4)
    best, tried = fitting.choose(fitted(made), {5: features, 6: features}, (0.1, 1.0), 0)
    assert best == tried[0] == fitting.Candidate(5, 0.1, None, None)
    with pytest.raises(TrainingError, match=r"teach\.preferences"):
        fitting.choose([], {5: features}, (0.1,), 0)


def test_225_pairs_of_576_numbers_take_seconds():
    made, features = noisy(281, 576, 1.0)
    _, other = noisy(281, 576, 0.5, seed=1)
    start = time.process_time()
    best, _ = fitting.choose(fitted(made), {1: features, 2: other}, (1e-4, 1e-3, 1e-2), 0)
    curve.learning_curve(made, features, best.regularisation, 0)
    assert time.process_time() - start < 5


@pytest.mark.parametrize(
    ("count", "expected"),
    [(7, [7]), (50, [50]), (51, [50, 51]), (100, [50, 100]), (225, [50, 100, 200, 225]), (400, [50, 100, 200, 400])],
)
def test_the_curve_doubles_from_50_and_ends_with_all(count, expected):
    assert curve.sizes(count) == expected


def test_accuracy_grows_with_the_pairs_and_ends_at_that_of_all_of_them():
    made, features = noisy(1000, 100, 0.4)
    found = curve.learning_curve(made, features, 1e-2, 0)
    rows = found["learning_curve"]
    assert [row["pairs"] for row in rows] == [50, 100, 200, 400, 800]
    assert rows[-1]["accuracy"] > rows[0]["accuracy"] + 0.05
    assert all(0 <= row["low"] <= row["accuracy"] <= row["high"] <= 1 for row in rows)
    assert all(0.05 < row["high"] - row["low"] < 0.25 for row in rows)
    gain = found["last_doubling"]
    assert (gain["pairs_before"], gain["pairs"]) == (400, 800)
    assert gain["gain"] == pytest.approx(rows[-1]["accuracy"] - rows[-2]["accuracy"])
    assert gain["low"] <= gain["gain"] <= gain["high"]
    weight, _, scale = fitting.fit(fitted(made), features, 1e-2)
    margins = [(features[c.prompt, c.better] - features[c.prompt, c.worse]) / scale @ weight for c in made[800:]]
    assert rows[-1]["accuracy"] == np.mean([margin > 0 for margin in margins])


def test_the_last_doubling_is_a_doubling_at_least():
    made, features = noisy(200, 4, 1.0)
    found = curve.learning_curve(made, features, 1.0, 0)["last_doubling"]
    assert (found["pairs_before"], found["pairs"]) == (50, 160)


def test_the_curve_is_the_same_again_and_knows_no_order():
    made, features = noisy(200, 10, 0.5)
    first = curve.learning_curve(made, features, 1e-2, 0)
    assert first == curve.learning_curve(made, features, 1e-2, 0)
    assert (
        first["learning_curve"][0]
        == curve.learning_curve(made[:160][::-1] + made[160:], features, 1e-2, 0)["learning_curve"][0]
    )
    assert first != curve.learning_curve(made, features, 1e-2, 1)


def test_hacks_are_no_part_of_the_curve_and_without_held_out_pairs_there_is_none():
    made, features = noisy(40, 4, 1.0)
    hacked = [Comparison(c.prompt, c.worse, c.better, "doubled", False) for c in made if not c.fitted]
    assert curve.learning_curve(made + hacked, features, 1.0, 0) == curve.learning_curve(made, features, 1.0, 0)
    assert curve.learning_curve(fitted(made), features, 1.0, 0) == {"learning_curve": [], "last_doubling": None}
    assert curve.learning_curve(made, features, 1.0, 0)["last_doubling"] is None


def test_pairs_of_one_prompt_are_one_witness():
    apart = [Comparison(f"p{i}", "good", "bad", "spoiled", False) for i in range(60)]
    together = [Comparison(f"p{i // 6}", "good", "bad", "spoiled", False) for i in range(60)]
    values = [1.0] * 36 + [0.0] * 24
    narrow, wide = (curve.estimate(made, values, 0) for made in (apart, together))
    assert narrow.value == wide.value == 0.6
    assert wide.high - wide.low > 1.8 * (narrow.high - narrow.low)


@pytest.mark.parametrize(("prompts", "doubt"), [(1, 0.975), (10, 0.308), (40, 0.088)])
def test_an_accuracy_of_all_or_none_has_an_interval_too(prompts, doubt):
    made = [Comparison(f"p{i}", "good", "bad", "spoiled", False) for i in range(prompts)]
    right, wrong = curve.estimate(made, [1.0] * prompts, 0), curve.estimate(made, [0.0] * prompts, 0)
    assert 1 - right.low == pytest.approx(doubt, abs=1e-3) and wrong.high == pytest.approx(doubt, abs=1e-3)
