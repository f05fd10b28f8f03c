"""schedule: refuse a params.yaml that is wrong or stale, before any other stage touches its outputs.

`dvc repro` does not compose params.yaml. After a hand edit of `iterations`, `overrides` or a path it would quietly
follow the schedule of before, so this stage stops it. With --write, bring params.yaml up to date instead.
"""

import os
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click

from pairloop import params as parameters
from pairloop.errors import ParameterError
from pairloop.files import records
from stages import common

REMEDY = """params.yaml: `schedule` does not follow from the other parameters: `iterations`, `overrides` and paths.
`dvc repro` cannot work it out. Run either
    dvc exp run
or
    python -m stages.schedule --write && dvc repro"""

_RESOLVING = "ValueError raised while resolving interpolation: "
"""What OmegaConf puts before the words of conf/hydra_plugins/schedule.py."""

_AMBIGUOUS = "Ambiguous value for argument '"
"""What Hydra says of several values, which only `dvc exp run --queue` takes."""


TEMPORARY = (
    "The project has it, but this temporary copy of the project holds only what git tracks. Track it, give its "
    "absolute path, or run with `--copy-paths {path}`."
)


def composed(changes: tuple[str, ...] = ()) -> Any:
    """What `dvc exp run -S CHANGE …` would write to params.yaml, in the way DVC does it."""
    from hydra import compose, initialize_config_dir
    from hydra.core.plugins import Plugins
    from hydra.errors import HydraException, OverrideParseException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    common.raw()
    sys.path.append("conf")
    Plugins.instance()
    try:
        with initialize_config_dir(str(Path("conf").resolve()), version_base=None):
            params = compose("schedule", overrides=list(changes))
            OmegaConf.resolve(params)
    except OverrideParseException as error:
        raise ParameterError(_unread(error.override)) from error
    except (HydraException, OmegaConfBaseException) as error:
        reason = str(error.__cause__ or error).splitlines()[0].removeprefix(_RESOLVING)
        if reason.startswith(_AMBIGUOUS):
            raise ParameterError(_unread(reason[len(_AMBIGUOUS) : -1])) from error
        raise ParameterError(f"params.yaml: {reason}") from error
    except YAMLError as error:
        raise ParameterError(f"conf: a recipe is no valid YAML: {' '.join(str(error).split())}") from error
    except UnicodeDecodeError as error:
        raise ParameterError(f"conf: a recipe is no UTF-8 ({error}). Save the file in that encoding") from error
    return params


def _unread(change: str) -> str:
    """What to do about a change that Hydra's grammar has no reading for."""
    key, equals, value = change.partition("=")
    if not equals:
        return f"{change} is no change. Write KEY=VALUE, as in train.beta=0.3"
    text = value.strip("\"'")
    return (
        f"{change}: the value cannot be read. A text with =, a comma, a bracket or the like stands in double quotes, "
        f"and all of it in single ones: '{key}=\"{text}\"'. A list is [1,2], and a mapping {{a:1}}."
    )


def check() -> None:
    """Refuse a params.yaml whose values or schedule are wrong.

    Raises:
        ParameterError: says which key, what was found and what to do.
    """
    from omegaconf import OmegaConf

    _check_package(common.load())
    current = composed()
    _check_files(current.schedule.files)
    given = {name: item.outputs for name, item in current.schedule.annotated.items()}
    _check_files({"eval.compare_with": {name: given[name] for name in current.eval.compare_with if name in given}})
    if OmegaConf.to_container(current) != common.raw():
        raise ParameterError(REMEDY)


def _check_package(params: parameters.Params) -> None:
    """Refuse a judge whose package is not installed, before hours of training and not after them."""
    if "alpaca_eval" in params.eval.judges and find_spec("alpaca_eval") is None:
        raise ParameterError(
            "eval.judges has alpaca_eval, but that package is not installed: pip install '.[alpaca]', or leave it out"
        )


def _check_files(files: Any) -> None:
    """Refuse a path where there is nothing, before DVC does with a message that names no parameter."""
    for section, names in files.items():
        for name, path in names.items():
            if not Path(path).exists():
                # `dvc exp run --temp` names the real project's root.
                aside = (Path(os.environ.get("DVC_ROOT") or ".") / path).exists()
                hint = TEMPORARY.format(path=path) if aside else "Correct it, or put the file there."
                raise ParameterError(f"{section}.{name} is {path}: there is no file or folder of that name. {hint}")


@click.command(cls=common.Verb)
@click.option(
    "--write", is_flag=True, help="Bring params.yaml up to date, with CHANGES if any, instead of checking it."
)
@click.argument("changes", nargs=-1)
def main(write: bool, changes: tuple[str, ...]) -> None:
    """Check that params.yaml is valid and what `dvc exp run` would compose from it."""
    if not write:
        check()
        return
    from omegaconf import OmegaConf

    params = composed(changes)
    values: Any = OmegaConf.to_container(params)
    parameters.parse(values)
    records.write_text(common.PARAMS, OmegaConf.to_yaml(params))


if __name__ == "__main__":
    main()
