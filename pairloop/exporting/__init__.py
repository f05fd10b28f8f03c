"""Models in the forms that other tools load by themselves: all weights, an adapter with a base, a GGUF file.

How they are trained and what is read of them here: training/, models/.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pairloop.errors import ModelError
from pairloop.models import extrapolated
from pairloop.training import output
from pairloop.training.output import BaseName


@dataclass(frozen=True)
class Exported:
    """What an export is, as its card says it."""

    iteration: int
    """Number of the model; 0 is the base."""

    base: BaseName
    """What iteration 0 is."""

    form: str
    """merged, adapter, or gguf with its number format behind a hyphen, such as gguf-q8_0."""

    dtype: str
    """Of the weights, in the words of the form."""

    extrapolate: float | None = None
    """By how much the model was moved on; None: not at all."""

    @property
    def title(self) -> str:
        """Its name for people."""
        own = self.base.name if self.iteration == 0 else f"{self.base.name}, iteration {self.iteration} of DPO"
        return own if self.extrapolate is None else f"{own}, moved on by {self.extrapolate:g}"


@contextmanager
def whole(out: Path) -> Iterator[Path]:
    """A folder to fill beside `out`, which takes that name, and the place of what was there, when the block ends well.

    Raises:
        PairloopError: the disk is full.
    """
    ready = out.with_name(f".{out.name}.ready")
    shutil.rmtree(ready, ignore_errors=True)
    with output.complete(ready) as folder:
        yield folder
        for path in folder.iterdir():
            path.chmod(folder.stat().st_mode & 0o666)  # some writers leave files to their owner alone
    shutil.rmtree(out, ignore_errors=True)
    ready.replace(out)


@contextmanager
def moved(policy: Path, base: Path, factor: float | None, scratch: Path) -> Iterator[Path]:
    """The folder of a policy, moved on by `factor` as long as the block lasts; without one, its own.

    Raises:
        ModelError: the policy cannot be moved on.
    """
    if factor is None:
        yield policy
        return
    try:
        with extrapolated.moved(policy, base, factor, scratch) as folder:
            yield folder
    except ModelError as error:
        raise ModelError(error.message.replace("eval.extrapolate", "export.extrapolate")) from error
