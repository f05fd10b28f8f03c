"""One process for each device: started, followed and ended together.

The processes get the job as a file, and say through their standard output what they have to say, a line of JSON each.
Their standard input is a pipe that nobody writes to: it ends when the process that started them does, however that
happens, and then they end too.
"""

import json
import os
import selectors
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

import pairloop
from pairloop import errors
from pairloop.errors import PairloopError, TrainingError
from pairloop.params import Train
from pairloop.training import launcher

Log = Callable[[int, dict[str, float]], None]


def count(params: Train, dtype: str) -> int:
    """How many processes train.

    Raises:
        TrainingError: more devices are asked for than there are, or `train.launcher` contradicts the parameters.
    """
    import torch

    gpus = torch.cuda.device_count()
    if params.launcher is not None:
        return launcher.processes(params, dtype, gpus)
    if torch.cuda.is_available() and (params.devices or 1) > gpus:
        raise TrainingError(
            f"train.devices is {params.devices}, but {gpus} GPUs are visible. Lower it, set it to null for all there "
            "are, or check CUDA_VISIBLE_DEVICES."
        )
    # Of more devices than a step has pairs some would have nothing to do.
    return params.devices or min(max(gpus, 1), params.batch_pairs)


def alone(processes: int, config: str | None) -> bool:
    """Whether no other process is needed. One that sees several GPUs would take all: it is told its own."""
    import torch

    return processes == 1 and config is None and torch.cuda.device_count() < 2


def run(folder: Path, processes: int, config: str | None, log: Log) -> None:
    """Train the job in `folder`, job.json, on several devices, and return when it is done.

    Args:
        folder: of the job's checkpoints.
        processes: how many to start.
        config: an accelerate config that starts them, or None.
        log: called after each step, as in `dpo.train`.

    Raises:
        PairloopError: what the first process that failed has said. The others have been ended.
    """
    module = ["-m", "pairloop.training.dpo", str(folder.resolve())]
    with _started(module, processes, config) as workers:
        for worker, line in _lines(workers):
            if line is None:
                _check_ended(workers, worker)
                continue
            said = json.loads(line)
            if "traceback" in said:
                _check_others(workers, worker)
            _hear(said, log)


@contextmanager
def _started(module: list[str], processes: int, config: str | None) -> Iterator[list[Any]]:
    """The processes, in the order of their ranks, or accelerate's own; at the end of the block none of them is left."""
    if config is not None:
        commands: list[tuple[list[str], dict[str, str]]] = [
            (["-m", "accelerate.commands.launch", "--config_file", config, *module], {})
        ]
    else:
        commands = [(module, place) for place in _places(processes)]
    workers: list[Any] = []
    try:
        for arguments, place in commands:
            workers.append(_start(arguments, _environment(processes) | place))
        yield workers
    finally:
        for worker in workers:
            worker.kill()
            worker.stdin.close()
        for worker in workers:
            worker.stdout.read()  # until those that accelerate started are gone as well
            worker.stdout.close()
            worker.wait()


def _start(arguments: Sequence[str], environment: dict[str, str]) -> Any:
    return subprocess.Popen(
        [sys.executable, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment,
        start_new_session=True,  # Ctrl-C is for the process that started them
    )


def _environment(processes: int) -> dict[str, str]:
    """The environment of all; each gets its share of the processors, or they would wait for one another."""
    root = str(Path(pairloop.__file__).parents[1])
    paths = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    threads = str(max(1, len(os.sched_getaffinity(0)) // processes))
    return {"OMP_NUM_THREADS": threads, **os.environ, "PYTHONPATH": paths}


def _places(processes: int) -> list[dict[str, str]]:
    """What torch.distributed reads of each process's place among all."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    shared |= {"WORLD_SIZE": str(processes), "LOCAL_WORLD_SIZE": str(processes)}
    return [shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(processes)]


def _lines(workers: Sequence[Any]) -> Iterator[tuple[Any, bytes | None]]:
    """What the processes say, as they say it; None when one has ended."""
    with selectors.DefaultSelector() as waiting:
        left = dict.fromkeys(range(len(workers)), b"")
        for number, worker in enumerate(workers):
            waiting.register(worker.stdout, selectors.EVENT_READ, number)
        while left:
            for key, _ in waiting.select():
                chunk = os.read(key.fd, 1 << 16)
                *lines, rest = (left[key.data] + chunk).split(b"\n")
                yield from ((workers[key.data], line) for line in lines)
                left[key.data] = rest
                if not chunk:
                    waiting.unregister(key.fileobj)
                    del left[key.data]
                    yield workers[key.data], None


def _check_ended(workers: Sequence[Any], worker: Any) -> None:
    code = worker.wait()
    if code == 0:
        return
    number = workers.index(worker) + 1
    how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
    hint = " The system does that when memory runs out." if code == -signal.SIGKILL else ""
    raise TrainingError(
        f"train: process {number} of {len(workers)} {how}, so the others were ended too.{hint} Run again to go on from "
        "the last checkpoint."
    )


def _check_others(workers: Sequence[Any], failed: Any) -> None:
    """A process may have failed only because another was killed: then that one is to be named.

    The neighbours of a killed process can know of it before the system says here that it has ended, so nothing is told
    by whether it has. How it ended is: the others are ended by SIGTERM, which changes nothing for one that was killed.
    """
    others = [worker for worker in workers if worker is not failed]
    for worker in others:
        worker.terminate()
    for worker in others:
        if worker.wait() != -signal.SIGTERM:
            _check_ended(workers, worker)


def _hear(said: dict[str, Any], log: Log) -> None:
    if "step" in said:
        log(said["step"], said["values"])
    elif "traceback" in said:
        click.echo(said["traceback"], err=True)
        raise PairloopError(f"train: {said['process']} failed; what it said stands above. The others were ended.")
    else:
        raise getattr(errors, said["error"])(said["message"])
