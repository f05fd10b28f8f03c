"""Shards on Ray: actors that hold a sampler or ranker, one for each device, here or on a cluster."""

import json
import logging
import os
import socket
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from pairloop.errors import EngineError
from pairloop.models import references
from pairloop.params import Ray
from pairloop.work import threads
from pairloop.work.shards import Function, Item, Keyed


@dataclass(frozen=True)
class Actors:
    """Applies a function to shards in the actors of a Ray Data pipeline: a shards.Elsewhere.

    An actor that dies is started again, and a shard that it was at is computed again. So is what a node takes with it
    that leaves the cluster, by the actors that are left.
    """

    params: Ray
    """Where, and how many."""

    needs: Sequence[Path] = ()
    """Files and folders that every node must see at the same path."""

    parallel: int | None = None
    """GPUs that vLLM spreads a model over, where that is what the actors run; None: they run something else."""

    @property
    def fingerprint(self) -> Item:
        """What decides a shard's bytes beside what decides them here: nothing, on devices of the same kind."""
        device = "cuda" if self._gpus() > 0 else "cpu"
        return {} if device == references.device() else {"device": device}

    def map(self, function: Function, shards: Iterable[Keyed]) -> Iterator[Keyed]:
        """As shards.Elsewhere.map; shards wait in Ray's object store, which moves to the disk what it has no room for.

        Raises:
            EngineError: ray is not installed, the cluster cannot be reached or has no device as asked for, or actors
                die again and again.
            PairloopError: as the function raises it.
        """
        self._check_gpus()
        waiting = {key: self._connected().put(json.dumps(shard)) for key, shard in shards}
        return self._computed(self._connected(), function, waiting) if waiting else iter(())

    def _computed(self, ray: Any, function: Function, waiting: dict[str, Any]) -> Iterator[Keyed]:
        for _ in range(self.params.attempts):
            if not waiting:
                return
            with _named(ray) as names:
                for row in self._dataset(ray, function, dict(waiting), names).iter_rows():
                    if row["error"] is not None:
                        raise EngineError(row["error"])
                    del waiting[row["key"]]
                    yield row["key"], json.loads(row["result"])
        if waiting:
            raise EngineError(
                f"engine ray: {len(waiting)} shards were lost {self.params.attempts} times, because the actors that "
                "were at them died. Look at Ray's logs (out of memory?); what is finished is kept"
            )

    def _dataset(self, ray: Any, function: Function, shards: dict[str, Any], names: Iterator[str]) -> Any:
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        context.max_errored_blocks = -1  # a lost shard is not in the result, and is computed in the next attempt
        # Without retries: a shard that waited for its own actor would wait for ever if the node stays away.
        own = {"max_restarts": -1, "max_task_retries": 0}
        own_threads, gpus = _threads(), self._gpus()
        warnings.filterwarnings("ignore", category=DeprecationWarning, module="pairloop.work.ray")
        rows = ray.data.from_items([{"key": key} for key in shards], override_num_blocks=len(shards))
        return rows.map_batches(
            _Actor,
            fn_constructor_args=(function, shards, [Path.cwd(), *(path.resolve() for path in self.needs)], own_threads),
            batch_size=1,
            batch_format="pyarrow",
            compute=ray.data.ActorPoolStrategy(size=self._count(ray, gpus)),
            num_cpus=self.params.cpus,
            num_gpus=gpus,
            ray_remote_args_fn=lambda: own | {"name": next(names)},
            runtime_env={"env_vars": {"OMP_NUM_THREADS": str(own_threads)} | threads.environment() | _visible(gpus)},
        )

    def _gpus(self) -> float:
        """GPUs of an actor. Ray need not start to answer for this machine: perhaps nothing is left to compute."""
        if self.params.gpus is not None:
            return self.params.gpus
        if self.params.address is None:
            there = references.device() == "cuda"
        else:
            there = self._connected().cluster_resources().get("GPU", 0) >= 1
        return float(self.parallel or 1) if there else 0.0

    def _check_gpus(self) -> None:
        """vLLM takes its share of a GPU's memory at the start: two of them on one would be out of memory."""
        asked = self.params.gpus
        if asked and self.parallel and asked != self.parallel:
            raise EngineError(
                f"ray.gpus is {asked:g}, but an actor that runs vLLM takes vllm.tensor_parallel_size GPUs, "
                f"{self.parallel} here: set ray.gpus to null, or to {self.parallel}"
            )

    def _count(self, ray: Any, gpus: float) -> int:
        """Actors: as asked for, or one for each device that a node has."""
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        rooms = [_room(own, self.params.cpus, gpus) for own in nodes]
        if not any(rooms):
            raise EngineError(
                f"engine ray: no node of the cluster has {self.params.cpus:g} CPUs and {gpus:g} GPUs for an actor: "
                "lower ray.cpus or ray.gpus, or add such a node"
            )
        if self.params.actors is None:
            return sum(room if gpus else min(room, 1) for room in rooms)
        if self.params.actors > sum(rooms):  # Ray itself would wait for them
            raise EngineError(
                f"ray.actors is {self.params.actors}, but there is room for {sum(rooms)}: an actor takes "
                f"{self.params.cpus:g} CPUs and {gpus:g} GPUs. Lower ray.actors (null: one for each device)"
            )
        return self.params.actors

    def _connected(self) -> Any:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        try:
            import ray
            import ray.data
        except ImportError as error:
            raise EngineError(
                f"engine ray: Ray is not installed ({error}): in the project's folder, pip install '.[ray]'"
            ) from None
        if not ray.is_initialized():
            _connect(ray, self.params.address)
        return ray


def _connect(ray: Any, address: str | None) -> None:
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    host, _, port = (address or "127.0.0.1:").rpartition(":")
    if host in ("localhost", "127.0.0.1"):
        _stay_on_loopback()
    try:
        if address is not None:
            socket.create_connection((host, int(port)), timeout=10).close()  # Ray itself tries for minutes
        ray.init(address or "local", include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    except (OSError, ValueError, RuntimeError) as error:
        raise EngineError(
            f"ray.address: no Ray cluster can be reached at {address} ({error}). Start one with `ray start --head`, "
            "or set ray.address: null to use this machine"
        ) from error


def _stay_on_loopback() -> None:
    """Listen on 127.0.0.1 only, as Ray does by itself on other systems than Linux, where it has no switch for it."""
    from ray._private import ray_constants

    ray_constants.ENABLE_RAY_CLUSTER = False


def _room(own: dict[str, float], cpus: float, gpus: float) -> int:
    """Actors that a node with these resources has room for; as good as any number where they take nothing."""
    whole = [int(own.get(name, 0) / taken + 1e-6) for name, taken in (("CPU", cpus), ("GPU", gpus)) if taken]
    return min(whole, default=1_000_000)


@contextmanager
def disconnected() -> Iterator[None]:
    """Leave Ray behind at the end; a Ray that was started here ends too."""
    try:
        yield
    finally:
        import sys

        if "ray" in sys.modules:
            sys.modules["ray"].shutdown()


def _visible(gpus: float) -> dict[str, str]:
    """What makes an actor see its own GPUs and no other: Ray by itself shows all of them to who takes none."""
    return {"RAY_EXPERIMENTAL_NOSET_CUDA_VISIBLE_DEVICES": ""} | ({} if gpus else {"CUDA_VISIBLE_DEVICES": ""})


def _threads() -> int:
    """As many as this process computes with: their number changes float sums."""
    import torch

    return int(torch.get_num_threads())


@contextmanager
def _named(ray: Any) -> Iterator[Iterator[str]]:
    """Names for actors, which end with the block: Ray Data leaves those that failed where they are, device and all."""
    given: list[str] = []

    def names() -> Iterator[str]:
        while True:
            given.append(f"pairloop-{uuid4().hex}")
            yield given[-1]

    try:
        yield names()
    finally:
        for name in given:
            with suppress(ValueError):  # it has ended by itself
                ray.kill(ray.get_actor(name), no_restart=True)


class _Actor:
    """A function with all that it has loaded, in a process of its own."""

    def __init__(self, function: Function, shards: dict[str, Any], needs: Sequence[Path], threads: int) -> None:
        """`shards` are references into the object store; the first of `needs` is the folder to work in."""
        self.function, self.shards, self.needs, self.threads = function, shards, needs, threads
        self.ready = False

    def __call__(self, batch: Any) -> Any:
        import click
        import pyarrow as pa
        import ray

        (key,) = batch["key"].to_pylist()
        result, error = None, None
        try:
            self._prepare()
            result = json.dumps(self.function(json.loads(ray.get(self.shards[key]))))
        except click.ClickException as problem:
            error = problem.message
        types = pa.schema([("key", pa.string()), ("result", pa.string()), ("error", pa.string())])
        return pa.table({"key": [key], "result": [result], "error": [error]}, schema=types)

    def _prepare(self) -> None:
        if self.ready:
            return
        for path in self.needs:
            if not path.exists():
                raise EngineError(
                    f"engine ray: the node {socket.gethostname()} does not see {path}: put the project on storage "
                    "that every node has at the same path"
                )
        import torch

        os.chdir(self.needs[0])
        torch.set_num_threads(self.threads)
        self.ready = True
