"""How varied words are."""

import pytest

from pairloop.evaluation import diversity


def distinct(*texts: str, n: int = 1) -> float | None:
    found = diversity.distinct(diversity.told([[text] for text in texts]), n)
    return None if found is None else found[0]


def test_distinct_is_the_share_of_different_sequences_over_all_answers() -> None:
    assert distinct("the cat sat", "The cat ran") == 4 / 6
    assert distinct("the cat sat", "The cat ran", n=2) == 3 / 4
    assert distinct("a b", "b a", n=2) == 1.0  # and no sequence reaches from one answer into the next
    assert distinct("", "") is None


def test_leaving_out_a_prompt_gives_what_the_others_alone_do() -> None:
    texts = ["the cat sat", "the cat ran away", "a dog sat", "no"]
    found = diversity.distinct(diversity.told([[text] for text in texts]), 1)
    assert found is not None
    assert found[1] == [distinct(*texts[:i], *texts[i + 1 :]) for i in range(4)]


def test_two_models_are_compared_at_like_numbers_of_words() -> None:
    own, other = diversity.told([["a b c d"], ["e f"]]), diversity.told([["w x"], ["y z y z"]])
    assert diversity.alike(own, other) == ([[["a", "b"]], [["e", "f"]]], [[["w", "x"]], [["y", "z"]]])


def test_the_interval_is_the_jackknifes() -> None:
    found = diversity.estimated(0.5, [0.4, 0.5, 0.6])
    error = (2 / 3 * 0.02) ** 0.5
    assert (found.low, found.high) == pytest.approx((0.5 - 1.96 * error, 0.5 + 1.96 * error))


def test_the_interval_is_as_wide_as_other_prompts_would_make_it() -> None:
    import random
    import statistics

    draw = random.Random(0)

    def answers() -> list[list[str]]:
        return [[" ".join(f"w{int(draw.paretovariate(0.8))}" for _ in range(draw.randint(5, 30)))] for _ in range(60)]

    found = [diversity.distinct(diversity.told(answers()), 1) for _ in range(200)]
    intervals = [diversity.estimated(*one) for one in found if one]
    truth = statistics.fmean(one.value for one in intervals)
    assert 0.9 < statistics.fmean(one.low <= truth <= one.high for one in intervals) <= 1.0
