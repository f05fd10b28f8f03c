"""What every verb shares: the parameters, the scratch folder, the clock, and errors without a traceback."""

import gc
import os
import resource
import subprocess
import sys
import time
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from pairloop import params as parameters
from pairloop.errors import DataError, PairloopError
from pairloop.files import disk, records
from pairloop.work import threads

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
threads.wait_briefly()
# Libraries warn each other of their next versions; requirements.lock says which ones are used.
warnings.filterwarnings("ignore", category=FutureWarning)
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")

PARAMS = Path("params.yaml")
UNUSED = "unused.json"
"""In the teacher's folder where no ranker was trained, since another one ranks."""


class Verb(click.Command):
    """A command that says in one line when the disk is full or a place forbidden, as every other user's mistake."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        # The libraries make a million objects at import that stay until the end. Looking for garbage among them, at
        # the usual rate and once more at exit, takes two of the five seconds of a short stage.
        gc.set_threshold(50_000, 20, 100)
        try:
            return super().invoke(ctx)
        except OSError as error:
            said = disk.problem(error, (scratch(), Path()))
            if not said:
                raise
            raise PairloopError(said) from error
        finally:
            gc.freeze()


def load(iteration: int | None = None) -> parameters.Params:
    """The parameters of params.yaml, with those that `overrides` changes for `iteration`."""
    return parameters.parse(raw(), iteration)


def raw() -> dict[str, Any]:
    """params.yaml as it lies."""
    from pairloop.params import reading

    try:
        text = PARAMS.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise DataError(f"{PARAMS}: no such file. Run in the project's root.") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{PARAMS}: byte {error.start} is no UTF-8. Save the file in that encoding.") from None
    return reading.mapping(text, str(PARAMS))


def scratch() -> Path:
    """Where unfinished work is kept. `dvc exp run --temp` names the real project's root in DVC_ROOT."""
    return Path(os.environ.get("DVC_ROOT") or ".") / ".dvc" / "tmp" / "pairloop"


@contextmanager
def clock(path: Path) -> Iterator[dict[str, Any]]:
    """Time a verb, and write what the block puts in the mapping, seconds and peak memory to `path`.

    Times have a file of their own, so that every other file of a run is the same when the run is.
    """
    start = time.monotonic()
    measured: dict[str, Any] = {}
    yield measured
    seconds = time.monotonic() - start
    if "tokens" in measured:
        measured["tokens_per_second"] = round(measured.pop("tokens") / max(seconds, 1e-9), 1)
    # Of the processes that it started, the largest, should that be more.
    peak = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)) / 1024
    records.write_json(path, {"seconds": round(seconds, 1), "peak_memory_mb": round(peak)} | _gpu() | measured)


def _gpu() -> dict[str, Any]:
    """Name and memory of the GPU that has computed, as its driver has them; nothing where a processor has."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available():
        return {}
    own = torch.cuda.get_device_properties(0)
    return {"gpu": own.name, "gpu_memory_mb": round(own.total_memory / 2**20), "gpus": torch.cuda.device_count()}


@contextmanager
def progress(total: int, label: str) -> Iterator[Any]:
    """A bar with prompts done, rate and time left, on a terminal only."""
    from tqdm import tqdm

    with tqdm(total=total, desc=label, unit=" prompts", disable=None, dynamic_ncols=True) as bar:
        yield bar


def run(verb: str, *command: str) -> str:
    """What another program prints; `verb` is who asks it.

    Raises:
        PairloopError: it failed.
    """
    found = subprocess.run(command, capture_output=True, text=True)
    if found.returncode:
        raise PairloopError(f"{verb}: `{' '.join(command)}` failed:\n{(found.stderr or found.stdout).strip()}")
    return found.stdout


def refuse_unless_clean(verb: str) -> None:
    """Refuse to make public what no commit names.

    Raises:
        PairloopError: something is not committed, or the run is not what its parameters and code would give.
    """
    if changed := run(verb, "git", "status", "--porcelain").strip():
        raise PairloopError(f"{verb}: there are changes that are not committed. Commit them first.\n{changed}")
    status = run(verb, "dvc", "status")
    if "up to date" not in status:
        remedy = "Run `dvc repro` and commit first; `dvc pull` brings what is only missing."
        raise PairloopError(f"{verb}: the run is not clean. {remedy}\n{status.strip()}")


def warn(text: str | None) -> None:
    """Say something on the terminal that nobody should overlook, if there is something to say."""
    if text:
        click.echo(text, err=True)


def collect(shards: Iterable[list[Any]], total: int, label: str) -> list[Any]:
    """Everything in the shards, while a bar shows how far they are."""
    found: list[Any] = []
    with progress(total, label) as bar:
        for shard in shards:
            found += shard
            bar.update(len(shard))
    return found
