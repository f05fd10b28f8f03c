"""Twenty kills at random moments in generate, and twenty in rank: whatever was interrupted, the file is the same."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml
from warm import Started, Warm

from pairloop.files import records

ROOT = Path(__file__).parents[2]
KILLS = 20
PROMPTS = 36


@dataclass
class Verb:
    """A verb, with a scratch folder of its own for each try."""

    name: str
    folder: Path
    arguments: list[str]
    out: str
    warm: Warm
    whole: bytes = b""
    seconds: float = 0.0
    shards: int = 0
    landed: list[str] = field(default_factory=list)

    def start(self, scratch: Path) -> Started:
        """In milliseconds, so that nearly all of the kills come while it works, not while it loads libraries."""
        return self.warm.start(f"stages.{self.name}", self.words(scratch), self.folder, self.environment(scratch))

    def words(self, scratch: Path) -> list[str]:
        scratch.mkdir(exist_ok=True)
        made = [str(scratch / name) for name in (self.out, "metrics.json", "time.json")]
        return ["--iteration", "1", *self.arguments, *made]

    def environment(self, scratch: Path) -> dict[str, str]:
        return os.environ | {"DVC_ROOT": str(scratch), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}

    def unbroken(self, scratch: Path) -> bytes:
        """As DVC starts it, in a Python of its own: what is forked has one hash seed, and this has another."""
        command = [sys.executable, "-m", f"stages.{self.name}", *self.words(scratch)]
        subprocess.run(command, cwd=self.folder, env=self.environment(scratch), check=True, stderr=subprocess.DEVNULL)
        return (scratch / self.out).read_bytes()

    def finish(self, scratch: Path) -> bytes:
        assert self.start(scratch).wait() == 0
        return (scratch / self.out).read_bytes()


def stored(scratch: Path) -> dict[str, int]:
    """Finished shards, and which file each is."""
    files = (scratch / ".dvc/tmp/pairloop").rglob("*")
    return {path.name: path.stat().st_ino for path in files if path.is_file() and not path.suffix}


@pytest.fixture
def verbs(tiny_base: Path, warm: Warm, tmp_path: Path) -> list[Verb]:
    """generate and rank on the tiny model, both run unbroken."""
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    params["pair"] |= {"strategy": "best_worst"}
    params["generate"] |= {"n": 3, "max_new_tokens": 16, "shard_prompts": 3}
    params["rank"] |= {"ranker": "likelihood", "shard_prompts": 2}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))
    rows = [{"prompt_id": str(n), "prompt": f"Say {n}.", "source": "s", "constraints": None} for n in range(PROMPTS)]
    records.write(tmp_path / "prompts.parquet", records.PROMPT, [rows])
    base, responses = str(tiny_base), str(tmp_path / "whole" / "responses.parquet")
    found = [
        Verb("generate", tmp_path, [base, base, "prompts.parquet"], "responses.parquet", warm),
        Verb("rank", tmp_path, [base, base, "teacher", "prompts.parquet", responses], "rankings.parquet", warm),
    ]
    for verb in found:
        verb.whole = verb.unbroken(tmp_path / "whole")
        verb.shards = len(stored(tmp_path / "whole")) - sum(other.shards for other in found)
        start = time.monotonic()
        assert verb.finish(tmp_path / f"{verb.name}-timed") == verb.whole
        verb.seconds = time.monotonic() - start
    return found


def kill(verb: Verb, scratch: Path, draw: random.Random, anywhere: bool) -> None:
    """Kill the verb at a random moment: anywhere in its life, or while shards are being finished and written."""
    running = verb.start(scratch)
    start = time.monotonic()
    if anywhere:
        time.sleep(draw.uniform(0, verb.seconds))
    else:
        awaited = draw.randint(1, verb.shards)
        while len(stored(scratch)) < awaited and running.poll() is None:
            time.sleep(0.002)
        time.sleep(draw.uniform(0, 0.1))
    running.kill()
    if running.wait() != -signal.SIGKILL:  # it had ended by itself: no kill
        verb.seconds = min(verb.seconds, time.monotonic() - start)
        shutil.rmtree(scratch)
        kill(verb, scratch, draw, anywhere)


def kill_and_resume(verb: Verb, number: int) -> None:
    scratch = verb.folder / f"{verb.name}-{number}"
    kill(verb, scratch, random.Random(f"{verb.name} {number}"), anywhere=number % 2 == 0)
    before = stored(scratch)
    written = (scratch / verb.out).exists()
    verb.landed.append("written" if written else f"{len(before)} of {verb.shards} shards")
    if written:  # complete, since it has its name
        assert (scratch / verb.out).read_bytes() == verb.whole
    assert verb.finish(scratch) == verb.whole, f"{verb.name}, kill {number}, {verb.landed[-1]}"
    after = stored(scratch)
    assert before.items() <= after.items() and len(after) == verb.shards  # what was finished was not made again
    assert not list(scratch.glob(".*.partial"))
    shutil.rmtree(scratch)


@pytest.mark.slow
def test_twenty_kills_in_generate_and_in_rank_change_no_byte(verbs: list[Verb]) -> None:
    def kills(verb: Verb) -> None:
        for number in range(KILLS):
            kill_and_resume(verb, number)

    with ThreadPoolExecutor() as pool:
        list(pool.map(kills, verbs))
    for verb in verbs:
        print(verb.name, f"{verb.seconds:.1f} s", json.dumps(sorted(verb.landed)))
        assert len(verb.landed) == KILLS
        assert len(set(verb.landed)) >= 5  # at many different moments, some of them with work half done
        assert sum(" of " in where and not where.startswith("0 ") for where in verb.landed) >= 5
