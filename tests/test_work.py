"""Work that survives a kill."""

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from pairloop import work

ITEMS = [{"n": n} for n in range(10)]


class Doubler:
    """Counts the shards that it really computes."""

    def __init__(self, stop_after: int = 99) -> None:
        self.calls = 0
        self.stop_after = stop_after

    def __call__(self, shard: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        if self.calls == self.stop_after:
            raise KeyboardInterrupt
        self.calls += 1
        return [{"double": 2 * item["n"], "third": item["n"] / 3} for item in shard]


def run(scratch: Path, doubler: Doubler, items: Sequence[dict[str, Any]] = ITEMS, **fingerprint: Any) -> list[Any]:
    return [row for shard in work.shards(items, 3, fingerprint, doubler, scratch) for row in shard]


def test_an_interrupted_run_goes_on_where_it_stopped_with_the_same_result(tmp_path: Path) -> None:
    unbroken = run(tmp_path / "a", Doubler())
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "b", Doubler(stop_after=2))
    rest = Doubler()
    assert run(tmp_path / "b", rest) == unbroken
    assert rest.calls == 2


def test_items_added_at_the_end_cost_only_their_own_shards(tmp_path: Path) -> None:
    run(tmp_path, Doubler())
    more = Doubler()
    run(tmp_path, more, [*ITEMS, {"n": 10}, {"n": 11}])
    assert more.calls == 1


def test_another_fingerprint_shares_nothing(tmp_path: Path) -> None:
    run(tmp_path, Doubler(), temperature=0.7)
    other = Doubler()
    run(tmp_path, other, temperature=0.8)
    assert other.calls == 4


def test_a_damaged_shard_is_computed_again_with_a_warning(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = run(tmp_path, Doubler())
    stored = sorted(path for path in tmp_path.rglob("*") if path.is_file())
    stored[0].write_bytes(stored[0].read_bytes()[:-3])
    again = Doubler()
    assert run(tmp_path, again) == whole
    assert again.calls == 1
    assert "damaged" in capsys.readouterr().err


def test_pruning_takes_the_oldest_first_and_spares_what_is_in_use(tmp_path: Path) -> None:
    run(tmp_path, Doubler())
    stored = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert work.prune(tmp_path, max_bytes=0) == 0
    for path in stored[:2]:
        os.utime(path, (time.time() - 7200, time.time() - 7200))
    assert work.prune(tmp_path, max_bytes=0) > 0
    assert [path for path in stored if path.exists()] == stored[2:]


def test_a_seed_depends_on_every_part_and_on_nothing_else() -> None:
    assert work.seed_of(0, 1, "a", 2) == work.seed_of(0, 1, "a", 2)
    assert (
        len(
            {
                work.seed_of(*parts)
                for parts in [(0, 1, "a", 2), (1, 1, "a", 2), (0, 2, "a", 2), (0, 1, "b", 2), (0, 1, "a", 3)]
            }
        )
        == 5
    )
    assert work.seed_of(1, 23) != work.seed_of(12, 3)
