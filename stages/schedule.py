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
from pairloop.errors import ParameterError, meant
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

_NO_GROUP = ". No match in the defaults list."
"""What Hydra says of recipe=NAME, without the plus sign."""

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
        raise ParameterError(_wrong(error)) from error
    except YAMLError as error:
        raise ParameterError(f"conf: a recipe is no valid YAML: {' '.join(str(error).split())}") from error
    except UnicodeDecodeError as error:
        raise ParameterError(f"conf: a recipe is no UTF-8 ({error}). Save the file in that encoding") from error
    return params


def _wrong(error: Exception) -> str:
    """What Hydra or OmegaConf found, in words of params.yaml."""
    from hydra.errors import MissingConfigException
    from omegaconf import DictConfig
    from omegaconf.errors import ConfigAttributeError, ConfigKeyError

    cause = error.__cause__ or error
    if isinstance(error, MissingConfigException) and error.options is not None:
        group, _, name = str(error.missing_cfg_file).rpartition("/")
        return f"there is no {group} {name}{meant(name, error.options)}"
    if isinstance(cause, ConfigAttributeError | ConfigKeyError) and isinstance(cause.parent_node, DictConfig):
        known = sorted(set(map(str, cause.parent_node)) - {"hydra"})
        absent = f"params.yaml has no {cause.full_key}"
        return f"{absent}{meant(str(cause.key), known)}" if known else _missing(absent, error)
    if _NO_GROUP in str(error):
        return _missing(str(error).splitlines()[0].removesuffix(_NO_GROUP), error)
    reason = str(cause).splitlines()[0].removeprefix(_RESOLVING)
    return _unread(reason[len(_AMBIGUOUS) : -1]) if reason.startswith(_AMBIGUOUS) else f"params.yaml: {reason}"


def _missing(what: str, error: Exception) -> str:
    """What to do about a name that is missing where others may be added: Hydra ends with the change that adds it."""
    *_, added = str(error).split()
    return f"{what}: to add it, as to overrides or with a recipe, write {added}"


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
