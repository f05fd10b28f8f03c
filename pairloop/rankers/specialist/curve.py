"""Would more labels pay? How held-out accuracy grows with the number of comparisons that are fitted."""

from collections.abc import Sequence
from itertools import accumulate, repeat, takewhile

from pairloop.files.records import Row
from pairloop.measures import statistics
from pairloop.rankers.specialist.comparisons import LEARNT, Comparison
from pairloop.rankers.specialist.fitting import Features, fit
from pairloop.rankers.specialist.head import Head
from pairloop.work.shards import seed_of

SMALLEST = 50
"""Comparisons of the first fit; each next one has twice as many."""

RESAMPLES = 1000
"""Resamples of the held-out prompts behind each interval."""


def learning_curve(comparisons: Sequence[Comparison], features: Features, regularisation: float, seed: int) -> Row:
    """Held-out accuracy after fitting 50, 100, 200, … and all comparisons.

    Each set holds the one before it, in an order that depends on the seed. Layer and penalty stay as they were chosen
    with all comparisons, which flatters the small sets a little.

    Args:
        comparisons: fitted and held-out ones.
        features: array [H] of each prompt and answer in them, of the chosen layer.
        regularisation: scikit-learn's C.
        seed: the run's seed.

    Returns:
        learning_curve: rows of pairs, accuracy, low and high, the ends of a 95 % interval (see `estimate`); none where
        nothing is held out. last_doubling: `pairs_before`, `pairs`, and the gain in accuracy from the first to the
        second with its low and high, for the same held-out pairs; None where there are fewer than 100 fitted ones.
    """
    fitted = sorted(
        (c for c in comparisons if c.fitted), key=lambda c: seed_of(seed, "teach", "curve", c.prompt, c.better, c.worse)
    )
    tested = [c for c in comparisons if not c.fitted and c.kind in LEARNT]
    if not tested:
        return {"learning_curve": [], "last_doubling": None}
    right = {size: _right(fitted[:size], tested, features, regularisation) for size in sizes(len(fitted))}
    rows = []
    for size, values in right.items():
        found = estimate(tested, values, seed)
        low, high = max(0.0, found.low), min(1.0, found.high)
        rows.append({"pairs": size, "accuracy": found.value, "low": low, "high": high})
    return {"learning_curve": rows, "last_doubling": _doubling(right, tested, seed)}


def sizes(count: int) -> list[int]:
    """50, 100, 200, … below `count`, and `count`."""
    doubled = accumulate(repeat(2), lambda size, two: size * two, initial=SMALLEST)
    return [*takewhile(lambda size: size < count, doubled), count]


def estimate(comparisons: Sequence[Comparison], values: Sequence[float], seed: int) -> statistics.Estimate:
    """Mean of one value per comparison, with the 95 % interval of resampling the prompts, whose pairs stay together.

    Where every value is 1, or every one 0, resampling would see no doubt at all. The interval then reaches, to either
    side, as far as the exact binomial one: to the rate at which so many prompts come out alike 2.5 % of the time.
    """
    prompts = [comparison.prompt for comparison in comparisons]
    if set(values) in ({0.0}, {1.0}):
        mean, doubt = values[0], 1 - 0.025 ** (1 / len(set(prompts)))
        return statistics.Estimate(mean, mean - doubt, mean + doubt)
    return statistics.estimate(values, RESAMPLES, seed, groups=prompts)


def _right(
    fitted: Sequence[Comparison], tested: Sequence[Comparison], features: Features, regularisation: float
) -> list[float]:
    """For each tested comparison 1, 0 or, for a tie, ½."""
    head = Head(*fit(fitted, features, regularisation), layer=0, depth=0.0, base={})
    better = [float(head.scores(features[c.prompt, c.better])) for c in tested]
    worse = [float(head.scores(features[c.prompt, c.worse])) for c in tested]
    return statistics.outcomes(better, worse)


def _doubling(right: dict[int, list[float]], tested: Sequence[Comparison], seed: int) -> Row | None:
    last = max(right)
    before = max((size for size in right if 2 * size <= last), default=None)
    if before is None:
        return None
    gains = [after - was for was, after in zip(right[before], right[last], strict=True)]
    found = estimate(tested, gains, seed)
    return {"pairs_before": before, "pairs": last, "gain": found.value, "low": found.low, "high": found.high}
