"""Which prompts belong to whom: of the pool a block to each iteration and the end to the teacher; what is held out."""

from pairloop.errors import DataError
from pairloop.files.records import Row


def held_out_rows(rows: list[Row], count: int, source: str) -> list[Row]:
    """The first `count` held-out prompts, which evaluation answers.

    Raises:
        DataError: there are fewer; names `source`.
    """
    if count > len(rows):
        raise DataError(
            f"eval.prompts is {count}, but {source} holds {len(rows)} different prompts that can be used: lower it or "
            "add prompts"
        )
    return rows[:count]


def slice_for(pool_rows: list[Row], iteration: int, per_iteration: int, reserved: int, reuse: bool) -> list[Row]:
    """The prompts of one iteration: the n-th block of the pool, whatever the number of iterations.

    Args:
        pool_rows: the whole pool, in its order.
        iteration: number from 1.
        per_iteration: prompts in a block.
        reserved: rows at the pool's end that belong to the teacher (see `teacher_rows`).
        reuse: begin again where the pool is used up. Within one iteration no prompt comes twice.

    Raises:
        DataError: too few prompts; says how many are needed and how many there are.
    """
    available = max(0, len(pool_rows) - reserved)
    first = (iteration - 1) * per_iteration
    last = first + per_iteration
    if last > available and not (reuse and per_iteration <= available):
        there = f"{available} (of {len(pool_rows)}; {reserved} are reserved for the teacher)"
        remedy = "lower prompts.per_iteration or add prompts"
        if reuse:
            raise DataError(f"iteration {iteration} needs {per_iteration} prompts, the pool has {there}: {remedy}")
        remedy = "lower prompts.per_iteration, add prompts, or set prompts.reuse: true"
        raise DataError(f"iteration {iteration} needs prompts {first + 1} to {last}, the pool has {there}: {remedy}")
    return [pool_rows[place % available] for place in range(first, last)]


def teacher_rows(pool_rows: list[Row], count: int) -> list[Row]:
    """The last `count` prompts of the pool, from which the teacher learns.

    Raises:
        DataError: the pool has fewer.
    """
    if count > len(pool_rows):
        raise DataError(
            f"the teacher needs {count} prompts, the pool has {len(pool_rows)}: lower teach.prompts or add prompts"
        )
    return pool_rows[len(pool_rows) - count :]
