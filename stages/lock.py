"""lock: put back dvc.lock where a kill cut it while DVC was writing it, since every `dvc` command refuses a cut one.

Nothing is lost: outputs stay, and what finished after the committed lock comes back from DVC's cache.
"""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import click

from pairloop.errors import DataError
from pairloop.files import locks, records
from stages import common

LOCK = Path("dvc.lock")
BUSY = Path(".dvc") / "tmp" / "lock"
"""What DVC holds while it writes."""

READING = Path(".dvc") / "tmp" / "rwlock"
"""Where DVC notes which process reads and writes what; it begins again without it."""


@click.command(cls=common.Verb)
def main() -> None:
    """Put back the committed dvc.lock if a kill cut it, and say so. Any other dvc.lock is left alone."""
    BUSY.parent.mkdir(parents=True, exist_ok=True)
    with locks.alone(BUSY) as idle:
        if not idle:
            return
        if READING.is_file() and not _is_json(READING):
            READING.unlink()
        if LOCK.is_file() and not is_whole(text := LOCK.read_text(encoding="utf-8", errors="replace")):
            _put_back(text)


NUMBER = re.compile(r"[0-9]+(e[0-9]+)?$")
"""What YAML 1.2 takes for a number, and 1.1 for a text."""


def is_whole(text: str) -> bool:
    """Whether DVC would read it."""
    import yaml
    from dvc.schema import COMPILED_LOCKFILE_SCHEMA
    from voluptuous import Invalid

    # Numbers as YAML 1.2 has them, which DVC reads: a checksum that is cut to 093e6 is one.
    loader: Any = type("Loader", (getattr(yaml, "CSafeLoader", yaml.SafeLoader),), {})
    loader.add_implicit_resolver("tag:yaml.org,2002:float", NUMBER, list("0123456789"))
    try:
        COMPILED_LOCKFILE_SCHEMA(yaml.load(text, Loader=loader))
    except (yaml.YAMLError, Invalid):
        return False
    return True


def _put_back(text: str) -> None:
    if "<<<<<<< " in text:
        raise DataError(f"{LOCK}: holds a merge conflict. Keep a side, as in `git checkout --ours {LOCK}`; run again.")
    kept = common.scratch() / f"{LOCK}.cut"
    records.write_text(kept, text)
    shown = subprocess.run(["git", "show", f"HEAD:./{LOCK}"], capture_output=True, text=True)
    if shown.returncode == 0 and is_whole(shown.stdout):
        records.write_text(LOCK, shown.stdout)
    else:
        LOCK.unlink()
    state = "the committed one is back" if LOCK.is_file() else "there is no committed one, so DVC begins a new one"
    common.warn(
        f"{LOCK}: cut, since DVC was killed while it wrote it; {state}. Outputs stay, and what had finished comes back "
        f"from the cache. The cut one is kept as {kept}."
    )


def _is_json(path: Path) -> bool:
    try:
        json.loads(path.read_bytes())
    except ValueError:
        return False
    return True


if __name__ == "__main__":
    main()
