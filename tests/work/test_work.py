"""Work that survives a kill."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from pairloop.params import Prompts
from pairloop.prompts import slices
from pairloop.training import checkpoint
from pairloop.work import shards

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
    return [row for shard in shards.shards(items, 3, fingerprint, doubler, scratch) for row in shard]


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


def stored(scratch: Path) -> list[Path]:
    """Files of finished shards."""
    return sorted(path for path in scratch.rglob("*") if path.is_file() and path.suffix != ".lock")


@pytest.mark.parametrize(
    "damage", [lambda whole: whole[:-3], lambda whole: whole[:80] + b"9" + whole[81:], lambda _: b""]
)
def test_a_damaged_shard_is_computed_again_with_a_warning(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], damage: Callable[[bytes], bytes]
) -> None:
    whole = run(tmp_path, Doubler())
    first = stored(tmp_path)[0]
    first.write_bytes(damage(first.read_bytes()))
    again = Doubler()
    assert run(tmp_path, again) == whole
    assert again.calls == 1
    assert "damaged" in capsys.readouterr().err
    assert run(tmp_path, Doubler(stop_after=0)) == whole


def test_items_are_taken_as_they_are_needed_and_their_batches_leave_no_trace(tmp_path: Path) -> None:
    taken: list[int] = []

    def items() -> Iterator[dict[str, Any]]:
        for n in range(10):
            taken.append(n)
            yield {"n": n}

    found = shards.shards(items(), 3, {}, Doubler(), tmp_path)
    next(found)
    assert taken == [0, 1, 2]
    assert [row for shard in found for row in shard] == run(tmp_path, Doubler(stop_after=0))[3:]


@pytest.mark.parametrize(("before", "size"), [(48, 16), (20_000, 256), (401, 20)])
def test_ten_per_cent_more_prompts_cost_at_most_fifteen_per_cent(tmp_path: Path, before: int, size: int) -> None:
    """The default, the published recipe, and the worst case: a last shard of one prompt, 20 of which are 5 %."""
    pool = [{"n": n, "constraints": None} for n in range(2 * before)]
    sampled: list[int] = []

    def sample(shard: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        sampled.extend(item["n"] for item in shard)
        return list(shard)

    for count in (before, before + round(0.1 * before)):
        sampled.clear()
        own = slices.slice_for(pool, 1, Prompts(per_iteration=count), 0)
        assert [row for shard in shards.shards(own, size, {}, sample, tmp_path) for row in shard] == own
    assert len(sampled) <= 0.15 * before


def test_several_results_are_made_together_and_each_only_where_it_is_missing(tmp_path: Path) -> None:
    calls: list[tuple[int, list[str]]] = []

    def made(shard: Sequence[shards.Item], names: Sequence[str]) -> dict[str, list[shards.Item]]:
        calls.append((len(shard), list(names)))
        if len(calls) == 2:
            raise KeyboardInterrupt
        return {name: [{"made": f"{name}{item['n']}"} for item in shard] for name in names}

    items, prints = [{"n": n} for n in range(5)], {"a": {"step": "a"}, "b": {"step": "b"}}
    list(shards.shards(items[:2], 2, {"step": "b"}, lambda shard: made(shard, ["b"])["b"], tmp_path))
    with pytest.raises(KeyboardInterrupt):
        list(shards.together(items, 2, prints, made, tmp_path))
    found = list(shards.together(items, 2, prints, made, tmp_path))
    assert calls == [(2, ["b"]), (2, ["a"]), (2, ["a"]), (2, ["a", "b"]), (1, ["a", "b"])]
    assert [[row["made"] for shard in found for row in shard[name]] for name in ("a", "b")] == [
        ["a0", "a1", "a2", "a3", "a4"],
        ["b0", "b1", "b2", "b3", "b4"],
    ]


def test_pruning_takes_the_oldest_first_until_the_rest_fits(tmp_path: Path) -> None:
    run(tmp_path, Doubler())
    kept = stored(tmp_path)
    for age, path in enumerate(kept):
        os.utime(path, (time.time() - age, time.time() - age))
    total, oldest = sum(path.stat().st_size for path in kept), kept[-1].stat().st_size
    assert shards.prune(tmp_path, max_bytes=total) == 0
    assert shards.prune(tmp_path, max_bytes=total - 1) == oldest
    assert stored(tmp_path) == kept[:-1]
    assert shards.prune(tmp_path, max_bytes=0) > 0
    assert list(tmp_path.iterdir()) == []


def test_pruning_never_takes_what_a_running_stage_uses(tmp_path: Path) -> None:
    running = shards.shards(ITEMS, 3, {"step": "running"}, Doubler(), tmp_path)
    next(running)
    run(tmp_path, Doubler(), step="finished")
    with checkpoint.owned(tmp_path / "training" / "job") as folder:
        folder.mkdir()
        (folder / "checkpoint").write_text("half a day")
        assert shards.prune(tmp_path, max_bytes=0) > 0
        assert len(stored(tmp_path)) == 2  # the running work's first shard, and the checkpoint
    rest = Doubler()
    assert [row for shard in running for row in shard] == run(tmp_path / "b", rest)[3:]


def test_a_killed_process_uses_nothing_any_more(tmp_path: Path) -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", HOLDS, str(tmp_path)], stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]
    )
    assert child.stdout is not None and child.stdout.readline() == "ready\n"
    assert shards.prune(tmp_path, max_bytes=0) == 0
    child.kill()
    child.wait()
    assert shards.prune(tmp_path, max_bytes=0) > 0


HOLDS = """
import sys, time
from pathlib import Path
from pairloop.work import shards
running = shards.shards([{"n": 1}, {"n": 2}], 1, {}, lambda shard: list(shard), Path(sys.argv[1]))
next(running)
print("ready", flush=True)
time.sleep(600)
"""

SAME = """
import random, sys, time
from pathlib import Path
from pairloop.files import records
from pairloop.work import shards

def slow(shard):
    time.sleep(random.random() / 200)
    return [{"prompt_id": str(i["n"]), "prompt": "p", "source": "s", "constraints": None} for i in shard]

rows = shards.shards([{"n": n} for n in range(300)], 2, {}, slow, Path(sys.argv[1]) / "scratch")
records.write(Path(sys.argv[1]) / "out.parquet", records.PROMPT, rows)
"""


@pytest.mark.slow
def test_processes_at_the_same_work_and_the_same_file_do_not_spoil_it(tmp_path: Path) -> None:
    def together(folder: Path, count: int) -> bytes:
        command = [sys.executable, "-c", SAME, str(folder)]
        running = [subprocess.Popen(command, cwd=Path(__file__).parents[2]) for _ in range(count)]
        assert [child.wait() for child in running] == [0] * count
        return (folder / "out.parquet").read_bytes()

    assert together(tmp_path / "a", 1) == together(tmp_path / "b", 4)
    assert {path.name for path in (tmp_path / "b").iterdir()} == {"out.parquet", "scratch"}
    assert len(stored(tmp_path / "b" / "scratch")) == 150  # and nothing half-written


def test_a_seed_depends_on_every_part_and_on_nothing_else() -> None:
    assert shards.seed_of(0, 1, "a", 2) == shards.seed_of(0, 1, "a", 2)
    assert (
        len(
            {
                shards.seed_of(*parts)
                for parts in [(0, 1, "a", 2), (1, 1, "a", 2), (0, 2, "a", 2), (0, 1, "b", 2), (0, 1, "a", 3)]
            }
        )
        == 5
    )
    assert shards.seed_of(1, 23) != shards.seed_of(12, 3)
