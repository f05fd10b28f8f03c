"""Which pairs are computed together, and where: a function of their lengths, the batch and the devices alone.

One optimiser step reads `batch_pairs` pairs, whatever computes them. Its pairs are sorted by length and cut into
micro-batches, so that those computed together are of like length and little padding is computed.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Batch:
    """A micro-batch: what one device computes in one forward pass."""

    rows: tuple[int, ...]
    """Indices of its rows; never empty, since all devices compute together."""

    weight: float
    """What its mean loss is multiplied by. The mean over devices and micro-batches is then the step's over its pairs,
    however unequal the micro-batches are. 0 for a device for which no row is left, which computes another's."""


Plan = list[list[list[Batch]]]
"""The micro-batches of one pass over the rows: by device, by optimiser step, in the order of computing."""


def plan(lengths: Sequence[int], batch_pairs: int, devices: int, most: int) -> Plan:
    """Share one pass over the rows.

    All devices have equally many in a step, and all steps but the last, which may be shorter, have equally many. The
    longest come first: a batch that does not fit into memory is met at once.

    Args:
        lengths: tokens of each row, in the order of training.
        batch_pairs: rows of an optimiser step, over all devices.
        devices: that share each step.
        most: rows of a micro-batch.
    """
    steps = [range(start, min(start + batch_pairs, len(lengths))) for start in range(0, len(lengths), batch_pairs)]
    shared = [_share(sorted(step, key=lambda row: (-lengths[row], row)), devices, most) for step in steps]
    return [[step[device::devices] for step in shared] for device in range(devices)]


def passes(rows: int, devices: int, most: int) -> int:
    """Micro-batches that each device computes in a step of so many rows, `most` at a time."""
    return math.ceil(math.ceil(rows / devices) / most)


def _share(rows: Sequence[int], devices: int, most: int) -> list[Batch]:
    """The micro-batches of a step; number i is for device i modulo `devices`."""
    count = passes(len(rows), devices, most) * devices
    bounds = [round(len(rows) * i / count) for i in range(count + 1)] if len(rows) >= count else range(count + 1)
    parts = [tuple(rows[bounds[i] : bounds[i + 1]]) for i in range(count)]
    # The shortest row for a device without one: it is waited for by none.
    return [Batch(part or tuple(rows[-1:]), len(part) * count / len(rows)) for part in parts]
