"""One of several processes that train a job together: `workers` starts it, hears it and ends it."""

import json
import os
import signal
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pairloop.errors import PairloopError
from pairloop.training.job import Job, read

Log = Callable[[int, dict[str, float]], None]


Work = Callable[[Job, Path, Path, Log, int, int], Any]
"""`dpo.work`."""


def serve(folder: Path, work: Work) -> None:
    """Train the job in a folder as one of several processes."""
    say = _channel()
    threading.Thread(target=_end_with_starter, daemon=True).start()
    rank, processes = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    try:
        _work(work, folder, rank, processes, lambda step, values: say({"step": step, "values": values}))
        return
    except PairloopError as error:
        say({"error": type(error).__name__, "message": error.message})
    except Exception:
        # Of all that fail after the first only the first is of interest.
        say({"traceback": traceback.format_exc(), "process": f"process {rank + 1} of {processes}"})
    # To end now would make the others fail, who would be heard instead.
    threading.Event().wait()


def _work(work: Work, folder: Path, rank: int, processes: int, log: Log) -> None:
    import torch

    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    job, out = read(folder / "job.json")
    work(job, out, folder, log, rank, processes)


def _channel() -> Callable[[dict[str, Any]], None]:
    """A way to the starter; whatever else is printed goes to standard error."""
    channel = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)

    def say(said: dict[str, Any]) -> None:
        channel.write(f"{json.dumps(said)}\n")

    return say


def _end_with_starter() -> None:
    os.read(0, 1)
    os.kill(os.getpid(), signal.SIGKILL)
