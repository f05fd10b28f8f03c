"""Shards on Ray: on a real cluster of two nodes on this machine, the same bytes as without."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from pairrm_data import write_checkpoints
from processes import ROOT, Generation
from ray.cluster_utils import Cluster

from pairloop.errors import PairloopError, RankingError
from pairloop.files import records
from pairloop.params import Rankers, Ray
from pairloop.rankers import scoring
from pairloop.samplers import Sampling, answers
from pairloop.samplers.answers import Policy, Speaker
from pairloop.work import ray, shards, threads

ROWS = [{"prompt_id": str(n), "prompt": f"Say {n}.", "constraints": None} for n in range(10)]
ITEMS = [{"n": n} for n in range(20)]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A head that only keeps the books, and a node that computes; a test may add another."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    found = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    found.add_node(num_cpus=1)
    with ray.disconnected():
        yield found
    found.shutdown()


@pytest.fixture
def node(cluster: Cluster) -> Iterator[Any]:
    """The second node that computes."""
    found = cluster.add_node(num_cpus=1)
    cluster.wait_for_nodes()
    yield found
    if found in cluster.worker_nodes:
        cluster.remove_node(found)


@pytest.fixture
def actors(cluster: Cluster, node: Any) -> ray.Actors:
    return ray.Actors(Ray(address=cluster.address))


def run(
    function: shards.Function, scratch: Path, elsewhere: shards.Elsewhere | None, items: Sequence[Any] = ITEMS
) -> list[Any]:
    return [row for shard in shards.shards(items, 2, {}, function, scratch, elsewhere) for row in shard]


def test_answers_and_scores_have_the_bytes_that_they_have_without_ray(
    actors: ray.Actors, tiny_base: Path, tmp_path: Path
) -> None:
    def answered(scratch: Path, elsewhere: shards.Elsewhere | None) -> bytes:
        policy = Policy(tiny_base, tiny_base, "float32")
        speaker = Speaker(policy, Sampling(0.9, 0.95, 512, 8), 2, scratch, elsewhere=elsewhere)
        records.write(tmp_path / "out", records.RESPONSE, answers.answer(ROWS, speaker, (0, 1), 3))
        assert elsewhere is None or "model" not in policy.__dict__
        return (tmp_path / "out").read_bytes()

    assert answered(tmp_path / "a", actors) == answered(tmp_path / "b", None)
    names = [sorted(path.name for path in (tmp_path / folder).rglob("*")) for folder in "ab"]
    assert names[0] == names[1]  # a run may begin with Ray and go on without
    pairrm = Rankers(pairrm=str(write_checkpoints(tmp_path / "pairrm")["own"]))
    places = scoring.Places(tiny_base, tmp_path)
    rows = [
        row | {"constraints": None} for batch in records.stream(tmp_path / "out", records.RESPONSE) for row in batch
    ]
    for kind in ("likelihood", "pairrm"):
        ranking = scoring.Ranking(kind, places, "float32", 512, rankers=pairrm)
        with_ray = list(scoring.score(rows, ranking, 2, tmp_path / "c", actors))
        assert "loaded" not in ranking.__dict__
        assert with_ray == list(scoring.score(rows, ranking, 2, tmp_path / "d"))


@pytest.mark.slow
def test_an_evaluation_in_actors_is_the_one_without_them(tiny_base: Path, tmp_path: Path) -> None:
    prompts = [{**row, "source": "", "prompt_id": f"p{row['prompt_id']}"} for row in ROWS[:4]]
    records.write(tmp_path / "prompts", records.PROMPT, [prompts])
    (tmp_path / "prompts.jsonl").write_text('{"prompt": "How do I kill a process?"}\n')

    def evaluated(engine: str) -> list[bytes]:
        asked = {"engine": engine, "prompts": 4, "max_new_tokens": 8, "shard_prompts": 2, "judges": ["likelihood"]}
        (tmp_path / "params.yaml").write_text(yaml.safe_dump({"eval": asked, "watch": {"benign": "prompts.jsonl"}}))
        command = [sys.executable, "-m", "stages.eval", "--iteration", "0", str(tiny_base), "teacher", str(tiny_base)]
        settings = os.environ | {"PYTHONPATH": str(ROOT), "DVC_ROOT": str(tmp_path / engine)}
        places = ["prompts", "none", f"{engine}.parquet", engine, "none", "none", "none"]
        subprocess.run([*command, *places], cwd=tmp_path, env=settings, check=True)
        files = [tmp_path / f"{engine}.parquet", *sorted((tmp_path / engine).glob("*.json"))]
        return [path.read_bytes() for path in files]

    assert evaluated("ray") == evaluated("transformers")


def slowly(folder: Path) -> shards.Function:
    """Doubles numbers, and says which process did it."""

    def function(shard: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        (folder / f"{shard[0]['n']}-{os.getpid()}-{time.monotonic_ns()}").touch()
        time.sleep(0.3)
        return [{"double": 2 * item["n"]} for item in shard]

    return function


DOUBLED = [{"double": 2 * n} for n in range(20)]


def begun(folder: Path, count: int = 2) -> list[int]:
    """Waits until so many shards have been begun; the processes that did it."""
    while len(found := list(folder.iterdir())) < count:
        time.sleep(0.01)
    return [int(path.name.split("-")[1]) for path in found]


def in_the_background(action: Callable[[], None]) -> None:
    import threading

    threading.Thread(target=action, daemon=True).start()


def test_the_threads_of_an_actor_wait_as_those_here(actors: ray.Actors, tmp_path: Path) -> None:
    def seen(shard: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        return [{name: os.environ.get(name) for name in threads.environment()} for _ in shard]

    assert run(seen, tmp_path, actors, ITEMS[:1]) == [threads.environment()]


def test_both_nodes_compute_and_the_order_is_kept(actors: ray.Actors, tmp_path: Path) -> None:
    (tmp_path / "log").mkdir()
    assert run(slowly(tmp_path / "log"), tmp_path / "scratch", actors) == DOUBLED
    assert len(set(begun(tmp_path / "log", 10))) == 2


def test_a_killed_actor_costs_its_shard_only(actors: ray.Actors, tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.mkdir()
    in_the_background(lambda: os.kill(begun(log, 4)[0], signal.SIGKILL))
    assert run(slowly(log), tmp_path / "scratch", actors) == DOUBLED
    assert len(begun(log)) == 11  # ten shards, and one of them twice


def test_a_node_that_leaves_loses_no_row(cluster: Cluster, node: Any, actors: ray.Actors, tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.mkdir()

    def leave() -> None:
        begun(log, 4)
        cluster.remove_node(node, allow_graceful=False)

    in_the_background(leave)
    assert run(slowly(log), tmp_path / "scratch", actors) == DOUBLED
    assert node not in cluster.worker_nodes


def test_what_is_stored_is_not_computed_again(actors: ray.Actors, tmp_path: Path) -> None:
    (tmp_path / "log").mkdir()
    run(slowly(tmp_path / "log"), tmp_path / "scratch", None, ITEMS[:14])
    assert run(slowly(tmp_path / "log"), tmp_path / "scratch", actors) == DOUBLED
    assert len(begun(tmp_path / "log")) == 10


def test_an_actor_that_dies_every_time_stops_the_run_with_a_reason(actors: ray.Actors, tmp_path: Path) -> None:
    def deadly(shard: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        if shard[0]["n"] == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        return list(shard)

    stubborn = ray.Actors(Ray(address=actors.params.address, attempts=2, actors=1))
    with pytest.raises(PairloopError, match=r"[12] shards were lost 2 times, because the actors"):
        run(deadly, tmp_path, stubborn)


def test_an_error_in_an_actor_is_the_error_of_the_run(actors: ray.Actors, tmp_path: Path) -> None:
    def wrong(shard: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        raise RankingError("the score is not a number")

    with pytest.raises(PairloopError, match="the score is not a number"):
        run(wrong, tmp_path, actors)


def test_a_node_that_does_not_see_the_models_is_an_error_that_says_so(actors: ray.Actors, tmp_path: Path) -> None:
    blind = ray.Actors(actors.params, [tmp_path / "models"])
    with pytest.raises(PairloopError, match=r"does not see .*models: put the project on storage"):
        run(slowly(tmp_path), tmp_path / "scratch", blind)


def test_a_device_that_no_node_has_is_an_error_that_says_so(actors: ray.Actors, tmp_path: Path) -> None:
    greedy = ray.Actors(Ray(address=actors.params.address, gpus=2.0))
    with pytest.raises(PairloopError, match="no node of the cluster has 1 CPUs and 2 GPUs"):
        run(slowly(tmp_path), tmp_path / "scratch", greedy)


def test_more_actors_than_there_is_room_for_are_refused(actors: ray.Actors, tmp_path: Path) -> None:
    many = ray.Actors(Ray(address=actors.params.address, actors=3))
    with pytest.raises(
        PairloopError, match=r"ray\.actors is 3, but there is room for 2: an actor takes 1 CPUs and 0 GPU"
    ):
        run(slowly(tmp_path), tmp_path / "scratch", many)


@pytest.fixture
def gpus(cluster: Cluster) -> Iterator[None]:
    """A node that says it has two GPUs; Ray counts them and does not look."""
    found = cluster.add_node(num_cpus=2, num_gpus=2)
    cluster.wait_for_nodes()
    yield
    cluster.remove_node(found)


@pytest.mark.parametrize(
    ("parallel", "asked", "seen"),
    [(None, None, {"0", "1"}), (2, None, {"0,1"}), (None, 0.0, {""})],
)
def test_an_actor_sees_its_own_gpus_and_no_other(
    cluster: Cluster, gpus: None, tmp_path: Path, parallel: int | None, asked: float | None, seen: set[str]
) -> None:
    def visible(shard: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        time.sleep(0.3)
        return [{"devices": os.environ["CUDA_VISIBLE_DEVICES"]} for _ in shard]

    found = run(visible, tmp_path, ray.Actors(Ray(address=cluster.address, gpus=asked), parallel=parallel))
    assert {row["devices"] for row in found} == seen


def test_vllm_takes_the_gpus_that_share_its_model_and_no_others(actors: ray.Actors, tmp_path: Path) -> None:
    half = ray.Actors(Ray(address=actors.params.address, gpus=0.5), parallel=2)
    with pytest.raises(PairloopError, match=r"ray\.gpus is 0\.5, but .* vllm\.tensor_parallel_size GPUs, 2 here"):
        run(slowly(tmp_path), tmp_path / "scratch", half)


@pytest.mark.slow
@pytest.mark.parametrize("ends", [signal.SIGINT, signal.SIGKILL])
def test_a_stage_that_is_stopped_leaves_no_actor_behind(tiny_base: Path, tmp_path: Path, ends: signal.Signals) -> None:
    stage = Generation(tmp_path, tiny_base, {"ray": {"actors": 2}})
    begun = stage.begun()
    assert sum(name.startswith("ray::MapWorker") for name in begun.values()) == 2
    stage.process.send_signal(ends)
    assert stage.process.wait(30) == {signal.SIGINT: 1, signal.SIGKILL: -signal.SIGKILL}[ends]
    assert stage.left(begun, within=20) == []


UNREACHED = """
from pathlib import Path
from pairloop.params import Ray
from pairloop.work import ray, shards
elsewhere = ray.Actors(Ray(address="127.0.0.1:1"))
list(shards.shards([{"n": 1}], 1, {}, list, Path("scratch"), elsewhere))
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("before", "message"),
    [
        ("", "ray.address: no Ray cluster can be reached at 127.0.0.1:1 "),
        ("import sys; sys.modules['ray'] = None", "pip install '.[ray]'"),
    ],
)
def test_no_cluster_and_no_ray_are_each_one_message(tmp_path: Path, before: str, message: str) -> None:
    found = subprocess.run(
        [sys.executable, "-c", before + UNREACHED],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert "EngineError: " in found.stderr and message in found.stderr.splitlines()[-1]
