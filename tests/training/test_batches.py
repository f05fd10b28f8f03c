"""Which pairs are computed together."""

import itertools
import math
import random

import pytest

from pairloop.training import batches

LENGTHS = random.Random(3).choices(range(5, 400), k=43)
SHAPES = list(itertools.product([1, 2, 8, 43, 128], [1, 2, 3, 8], [1, 2, 8]))


def weights(planned: list[list[list[batches.Batch]]], step: int) -> dict[int, float]:
    """What each row counts in the mean of a step over devices and micro-batches."""
    found: dict[int, float] = {}
    shares = [device[step] for device in planned]
    for batch in itertools.chain(*shares):
        for row in batch.rows:
            share = batch.weight / len(batch.rows) / (len(shares) * len(shares[0]))
            found[row] = found.get(row, 0.0) + share
    return found


@pytest.mark.parametrize(("batch_pairs", "devices", "most"), SHAPES)
def test_every_row_counts_once_and_equally_in_its_step(batch_pairs: int, devices: int, most: int) -> None:
    planned = batches.plan(LENGTHS, batch_pairs, devices, most)
    for step, start in enumerate(range(0, len(LENGTHS), batch_pairs)):
        rows = range(start, min(start + batch_pairs, len(LENGTHS)))
        assert weights(planned, step) == pytest.approx(dict.fromkeys(rows, 1 / len(rows)))


@pytest.mark.parametrize(("batch_pairs", "devices", "most"), SHAPES)
def test_devices_compute_equally_often_and_never_more_rows_than_fit(batch_pairs: int, devices: int, most: int) -> None:
    planned = batches.plan(LENGTHS, batch_pairs, devices, most)
    assert len(planned) == devices
    counts = [[len(step) for step in device] for device in planned]
    assert all(count == counts[0] for count in counts)
    assert len(counts[0]) == math.ceil(len(LENGTHS) / batch_pairs)
    assert len({*counts[0][:-1]}) <= 1 and counts[0][-1] <= counts[0][0]
    assert all(1 <= len(batch.rows) <= most for device in planned for step in device for batch in step)


def test_pairs_of_like_length_are_computed_together_the_longest_first() -> None:
    [[step]] = batches.plan([3, 9, 4, 8, 1, 7], 6, 1, 2)
    assert [batch.rows for batch in step] == [(1, 3), (5, 2), (0, 4)]


def test_a_device_without_a_row_computes_one_that_does_not_count() -> None:
    first, second = batches.plan([5, 6, 7], 2, 2, 1)
    assert [[(batch.rows, batch.weight) for batch in step] for step in first] == [[((1,), 1.0)], [((2,), 2.0)]]
    assert [[(batch.rows, batch.weight) for batch in step] for step in second] == [[((0,), 1.0)], [((2,), 0.0)]]
