"""release: give the published run's models and data a version, by annotated tags of git that gto and DVC read."""

import re
import subprocess
from pathlib import Path

import click

from pairloop.errors import PairloopError
from stages import artifacts, common, publish

PIPELINE = Path("dvc.yaml")


@click.command(cls=common.Verb)
@click.argument("version")
def main(version: str) -> None:
    """Register every artifact of dvc.yaml at this commit as VERSION, such as v1.0.0.

    Refuses unless the run is clean and committed and others can read it.
    """
    _refuse_unless_semantic(version)
    names = _names()
    _refuse_unless_new(names, version)
    common.refuse_unless_clean("release")
    _refuse_unless_public()
    register(names, version)
    tags = " ".join(f"{name}@{version}" for name in names)
    click.echo(f"Registered {tags}.\nFor others: git push origin HEAD {tags}")


def _refuse_unless_semantic(version: str) -> None:
    from gto.constants import semver

    if not re.fullmatch(f"v{semver}", version):
        raise PairloopError(
            f"release: {version} is no version. Needed: v, three numbers and the dots between them, such as v1.0.0 or "
            "v1.1.0-rc.1 (semver.org)"
        )


def _names() -> list[str]:
    text = PIPELINE.read_text(encoding="utf-8")
    if artifacts.renewed(text, common.load().iterations) != text:
        raise PairloopError(
            f"release: `artifacts` in {PIPELINE} does not name the models of this run's iterations. Run "
            f"`python -m stages.artifacts {PIPELINE}`, and commit."
        )
    return artifacts.names(text)


def _refuse_unless_new(names: list[str], version: str) -> None:
    """One version is one commit, and one commit one version: gto refuses these one by one, after the first are made."""
    if taken := [tag for tag in _tags() if tag.endswith(f"@{version}")]:
        raise PairloopError(f"release: {version} exists ({taken[0]}). Needed: a version that is not there yet.")
    if here := [tag for tag in _tags("--points-at", "HEAD") if tag.partition("@v")[0] in names]:
        raise PairloopError(
            f"release: this commit is released already, as {here[0]}. Needed: a commit with something new."
        )


def _tags(*where: str) -> list[str]:
    return subprocess.run(["git", "tag", *where], capture_output=True, text=True, check=True).stdout.split()


def _refuse_unless_public() -> None:
    """A version is for those who have the git URL, and the remote in the repository is not for them."""
    remote = publish.configured("core.remote")
    if remote in ("", publish.REMOTE):
        raise PairloopError(
            f"release: the default remote is `{remote or 'none'}`, from which no git URL gets a file. Publish where "
            "others read: make publish TO=…, and commit."
        )
    if absent := publish.unpushed(remote):
        raise PairloopError(
            f"release: the run is not published: {len(absent)} of its files are not in the remote `{remote}`, the "
            f"first is {absent[0]}. Run make publish TO=…, and commit."
        )


def register(names: list[str], version: str) -> None:
    """Tag the commit for each name: all of them, or none.

    Raises:
        PairloopError: gto or git refuses one.
    """
    from gto import api
    from gto.exceptions import GTOException
    from scmrepo.exceptions import SCMError

    made: list[str] = []
    try:
        for name in names:
            api.register(".", name, "HEAD", version=version, message=f"{name} {version}")
            made.append(f"{name}@{version}")
    except (GTOException, SCMError) as error:
        if made:
            subprocess.run(["git", "tag", "--delete", *made], capture_output=True, check=True)
        raise PairloopError(f"release: gto refuses {name}@{version}, and nothing is registered: {error}") from error


if __name__ == "__main__":
    main()
