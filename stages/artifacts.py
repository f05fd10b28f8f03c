"""artifacts: name each iteration's model in dvc.yaml, so that a release can be had by name.

DVC has no loop over artifacts, and a run may have any number of iterations.
"""

import re
from pathlib import Path

import click

from pairloop.files import records
from stages import common

SECTION = "artifacts:\n"

MODEL = """\
  iteration-{n}:
    path: models/iteration_{n}
    type: model
    desc: The model of iteration {n}
"""

_NAMED = re.compile(r"^  iteration-[0-9]+:\n(?:    .*\n)+", re.MULTILINE)


@click.command(cls=common.Verb)
@click.argument("pipeline", type=Path)
def main(pipeline: Path) -> None:
    """Name the models of params.yaml's iterations in the section `artifacts` of PIPELINE, which is dvc.yaml."""
    text = pipeline.read_text(encoding="utf-8")
    current = renewed(text, common.load().iterations)
    if current != text:
        records.write_text(pipeline, current)
        click.echo(f"{pipeline}: `artifacts` now names the models of this run's iterations. Commit it.")


def renewed(text: str, iterations: int) -> str:
    """The text of dvc.yaml with an artifact for each iteration's model; every other line stays as it is."""
    before, found, rest = f"\n{text}".partition(f"\n{SECTION}")
    if not found:
        return f"{text}\n{SECTION}{_models(iterations)}"
    own, *others = re.split(r"^(?=[^\s#])", rest, maxsplit=1, flags=re.MULTILINE)
    return f"{before}{found}{_models(iterations)}{_NAMED.sub('', own)}{''.join(others)}"[1:]


def names(text: str) -> list[str]:
    """The artifacts of a dvc.yaml."""
    import yaml

    return list(yaml.safe_load(text).get("artifacts") or {})


def _models(iterations: int) -> str:
    return "".join(MODEL.format(n=number) for number in range(1, iterations + 1))


if __name__ == "__main__":
    main()
