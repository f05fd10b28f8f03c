"""Which prompts belong to whom: of the pool a block to each iteration and the end to the teacher; what is held out."""

from collections.abc import Sequence

from pairloop.errors import DataError
from pairloop.files.records import Row
from pairloop.params import Prompts
from pairloop.params.ranking import Judged


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


def judged_rows(rows: Sequence[Row], judged: Judged) -> list[Row]:
    """Those of the held-out prompts, or of the answers to them, that judges compare.

    Args:
        rows: with `constraints`.
        judged: the parameter `eval.judged`.
    """
    return [row for row in rows if judged == "all" or not row["constraints"]]


def refuse_few_judged(rows: Sequence[Row], judged: Judged, source: str) -> None:
    """Refuse held-out prompts of which too few would be judged for a win rate with an interval.

    Raises:
        DataError: fewer than two; names `source`.
    """
    found = len(judged_rows(rows, judged))
    if found < 2:
        raise DataError(
            f"eval.judged is {judged}, but of the {len(rows)} prompts of {source} that are evaluated {found} have no "
            "constraints, and a win rate needs two: add such prompts, or set it to all"
        )


def askable(pool_rows: list[Row], settings: Prompts, reserved: int) -> list[Row]:
    """The prompts that iterations may take, in the pool's order: not the teacher's, and of the kind that is wanted.

    Args:
        pool_rows: the whole pool, in its order.
        settings: which kind is wanted.
        reserved: rows at the pool's end that belong to the teacher (see `teacher_rows`).
    """
    found = pool_rows[: max(0, len(pool_rows) - reserved)]
    return _of_kind(found, True) if settings.constrained == "only" else found


def slice_for(pool_rows: list[Row], iteration: int, settings: Prompts, reserved: int) -> list[Row]:
    """The prompts of one iteration: the n-th block of those that can be asked, whatever the number of iterations.

    Args:
        pool_rows: the whole pool, in its order.
        iteration: number from 1.
        settings: the block's size, what goes into it, and whether to begin again where the pool is used up. Within one
            iteration no prompt comes twice. With a share of prompts with constraints, these come first.
        reserved: rows at the pool's end that belong to the teacher (see `teacher_rows`).

    Raises:
        DataError: too few prompts; says how many are needed and how many there are.
    """
    found, count, share = askable(pool_rows, settings, reserved), settings.per_iteration, settings.constrained
    others = f"(of {len(pool_rows)}; {reserved} are reserved for the teacher)"
    if isinstance(share, str):
        label = " with constraints" if share == "only" else ""
        return _block(found, count, iteration, settings.reuse, label, others)
    stated = round(count * share)
    return [
        *_block(_of_kind(found, True), stated, iteration, settings.reuse, " with constraints", others),
        *_block(_of_kind(found, False), count - stated, iteration, settings.reuse, " without constraints", others),
    ]


def _of_kind(rows: list[Row], constrained: bool) -> list[Row]:
    return [row for row in rows if (row["constraints"] is not None) == constrained]


def _block(found: list[Row], count: int, iteration: int, reuse: bool, label: str, others: str) -> list[Row]:
    """The n-th `count` of the rows; `label` and `others`: of which kind they are, and what else the pool has."""
    first = (iteration - 1) * count
    last = first + count
    if last > len(found) and not (reuse and count <= len(found)):
        needed = f"{count} prompts" if reuse else f"prompts {first + 1} to {last}"
        remedies = [
            "lower prompts.per_iteration",
            "add such prompts" if label else "add prompts",
            *([] if reuse else ["set prompts.reuse: true"]),
            *(["set prompts.constrained: any"] if label else []),
        ]
        raise DataError(
            f"iteration {iteration} needs {needed}{label}, the pool has {len(found)} {others}: {_either(remedies)}"
        )
    return [found[place % len(found)] for place in range(first, last)]


def _either(ways: list[str]) -> str:
    *others, last = ways
    return f"{', '.join(others)}{',' if len(others) > 1 else ''} or {last}"


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
