"""vLLM in the actors of Ray, both real, on a machine without a GPU: `make test-vllm`."""

import logging
import os
import signal
import threading
import time
import weakref
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from processes import Generation

from pairloop.files import records
from pairloop.params import VLLM, Judge, Ray
from pairloop.rankers import scoring
from pairloop.samplers import Sampling, answers, vllm
from pairloop.samplers.answers import Policy, Speaker
from pairloop.work import ray

pytestmark = pytest.mark.vllm

CPU = VLLM(enforce_eager=True, kv_cache_gib=0.25, max_model_len=1024)
SHARED = CPU.model_copy(update={"tensor_parallel_size": 2})
ROWS = [{"prompt_id": str(n), "prompt": f"Say {n}.", "constraints": None} for n in range(24)]


@pytest.fixture
def here() -> Iterator[None]:
    """Ray on this machine, which ends with the test."""
    with ray.disconnected():
        yield


def answered(base: Path, scratch: Path, elsewhere: ray.Actors | None) -> bytes:
    """The file of responses, two prompts a shard."""
    policy = Policy(base, base, "float32")
    speaker = Speaker(policy, Sampling(0.9, 0.95, 512, 64), 2, scratch, "vllm", CPU, elsewhere=elsewhere)
    out = scratch.with_suffix(".parquet")
    records.write(out, records.RESPONSE, answers.answer(ROWS, speaker, (0, 1), 3))
    return out.read_bytes()


def actors_here() -> list[psutil.Process]:
    return [
        child
        for child in psutil.Process().children(recursive=True)
        if " ".join(child.cmdline()).startswith("ray::MapWorker")
    ]


def kill_one_at_work(scratch: Path, killed: list[int]) -> None:
    """SIGKILL to one of two actors once a shard is stored and most are not."""
    while len([path for path in scratch.rglob("*/*/*") if path.is_file() and not path.suffix]) < 2:
        time.sleep(0.01)
    found = actors_here()
    assert len(found) == 2
    found[0].send_signal(signal.SIGKILL)
    killed.append(found[0].pid)


@pytest.mark.usefixtures("here")
def test_two_actors_give_the_bytes_of_vllm_alone_though_one_of_them_is_killed(tiny_base: Path, tmp_path: Path) -> None:
    killed: list[int] = []
    threading.Thread(target=kill_one_at_work, args=(tmp_path / "a", killed), daemon=True).start()
    with_ray = answered(tiny_base, tmp_path / "a", ray.Actors(Ray(actors=2)))
    assert killed and psutil.wait_procs(actors_here(), 20)[1] == []
    assert with_ray == answered(tiny_base, tmp_path / "b", None)
    names = [sorted(path.name for path in (tmp_path / folder).rglob("*")) for folder in "ab"]
    assert names[0] == names[1]  # a run may begin with Ray and go on without


def test_a_stage_that_is_killed_leaves_neither_actor_nor_the_processes_that_share_its_model(
    tiny_base: Path, tmp_path: Path
) -> None:
    params = {"ray": {"sampler": "vllm"}, "vllm": SHARED.model_dump()}
    stage = Generation(tmp_path, tiny_base, params)
    begun = stage.begun()
    assert sum(name.startswith("VLLM::Worker") for name in begun.values()) == 2
    os.kill(stage.process.pid, signal.SIGKILL)
    stage.process.wait()
    assert stage.left(begun, within=20) == []


@pytest.fixture
def unlogged() -> Iterator[None]:
    """pytest keeps warnings with the call that they come from, and what that has made."""
    logging.disable()
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.usefixtures("unlogged")
def test_a_judge_that_vllm_answers_for_leaves_its_memory_to_the_next_ranker(tiny_base: Path, tmp_path: Path) -> None:
    judge = Judge(model="random:0", engine="vllm", max_new_tokens=8)
    asked = scoring.Ranking("judge", scoring.Places(tiny_base, tmp_path), "float32", 512, judge=judge, vllm=CPU)
    rows = [{"prompt": "Hi", "responses": ["Hello", "Ho"], "constraints": None}]
    list(scoring.score(rows, asked, 4, tmp_path))
    assert len(vllm._HELD) == 1 and asked.parallel == 1
    engine = weakref.ref(vllm._HELD[0][1])
    scoring.make_room(scoring.Ranking("likelihood", asked.places, "float32", 512))
    assert vllm._HELD == []
    assert engine() is None
