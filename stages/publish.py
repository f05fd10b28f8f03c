"""publish: put the committed run's data and models into the remote that lies in the repository."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import click

from pairloop.errors import PairloopError
from pairloop.files import records
from stages import common
from stages.check import damaged_objects

REMOTE = "published"
FOLDER = Path("published")
PARAMETERS = Path("conf/published.yaml")
MOST_BYTES = 25_000_000


@click.command(cls=common.Verb)
def main() -> None:
    """Store what dvc.lock names in published/. Refuses unless the run is clean and committed."""
    _refuse_unless_clean()
    _refuse_unless_compared()
    partial = FOLDER.with_name(".published.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    # A remote of its own for this one push: an interrupted one leaves the published files as they were.
    _run("dvc", "remote", "add", "--local", "--force", "publishing", str(partial.resolve()))
    try:
        _run("dvc", "push", "--remote", "publishing")
        _replace(partial)
    finally:
        _run("dvc", "remote", "remove", "--local", "publishing")
        shutil.rmtree(partial, ignore_errors=True)


def _refuse_unless_clean() -> None:
    if changed := _run("git", "status", "--porcelain").strip():
        raise PairloopError(f"publish: there are changes that are not committed. Commit them first.\n{changed}")
    status = _run("dvc", "status")
    if "up to date" not in status:
        raise PairloopError(f"publish: the run is not clean. Run `dvc repro` and commit first.\n{status.strip()}")


def _refuse_unless_compared() -> None:
    """The page compares a run with the published one's parameters: they are to be this run's, before it is drawn."""
    if written(PARAMETERS, parameters(common.raw())):
        raise PairloopError(
            f"publish: {PARAMETERS} now holds this run's parameters, from which the report says what differs. Run "
            "`dvc repro`, commit, and publish again."
        )


def parameters(values: dict[str, Any]) -> str:
    """params.yaml without the schedule, which follows from the rest, as text."""
    import yaml

    kept = {key: value for key, value in values.items() if key != "schedule"}
    text = yaml.safe_dump(kept, sort_keys=False)
    return f"# The parameters of the published run, written by `make publish`.\n{text}"


def written(path: Path, text: str) -> bool:
    """Write a text where there was another, and say whether there was."""
    if path.is_file() and path.read_text(encoding="utf-8") == text:
        return False
    records.write_text(path, text)
    return True


def _replace(partial: Path) -> None:
    if damaged := damaged_objects(partial):
        raise PairloopError(
            f"publish: {len(damaged)} objects of DVC's cache are damaged. `python -m stages.check` says what to do."
        )
    size = sum(path.stat().st_size for path in partial.rglob("*") if path.is_file())
    if size > MOST_BYTES:
        raise PairloopError(
            f"publish: the run's files have {size / 1e6:.1f} MB, at most {MOST_BYTES / 1e6:.0f} MB go into the "
            "repository. Lower train.lora_r, use fewer train.lora_target_modules, or set train.save_dtype: float16."
        )
    shutil.rmtree(FOLDER, ignore_errors=True)
    partial.rename(FOLDER)
    # By force: git ignores what others write there.
    _run("git", "add", "--all", "--force", str(FOLDER))
    click.echo(f"{FOLDER}/ holds {size / 1e6:.1f} MB, and git has them staged: git commit")


def _run(*command: str) -> str:
    found = subprocess.run(command, capture_output=True, text=True)
    if found.returncode:
        raise PairloopError(f"publish: `{' '.join(command)}` failed:\n{(found.stderr or found.stdout).strip()}")
    return found.stdout


if __name__ == "__main__":
    main()
