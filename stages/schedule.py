"""schedule: refuse a params.yaml that is wrong or stale, before any other stage touches its outputs.

`dvc repro` does not compose params.yaml. After a hand edit of `iterations` or `overrides` it would quietly loop over
the schedule of before, so this stage stops it. With --write, bring params.yaml up to date instead.
"""

import sys
from pathlib import Path
from typing import Any

import click

from pairloop import params as parameters
from pairloop.errors import ParameterError
from pairloop.files import records
from stages import common

REMEDY = """params.yaml: `schedule` does not follow from `iterations` and `overrides`.
`dvc repro` cannot work it out. Run either
    dvc exp run
or
    python -m stages.schedule --write && dvc repro"""


def composed(changes: tuple[str, ...] = ()) -> Any:
    """What `dvc exp run -S CHANGE …` would write to params.yaml, in the way DVC does it."""
    from hydra import compose, initialize_config_dir
    from hydra.core.plugins import Plugins
    from hydra.errors import HydraException
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
    except (HydraException, OmegaConfBaseException) as error:
        reason = error.__cause__ or error
        raise ParameterError(f"params.yaml: {str(reason).splitlines()[0]}") from error
    except YAMLError as error:
        raise ParameterError(f"conf: a recipe is no valid YAML: {' '.join(str(error).split())}") from error
    return params


def check() -> None:
    """Refuse a params.yaml whose values or schedule are wrong.

    Raises:
        ParameterError: says which key, what was found and what to do.
    """
    from omegaconf import OmegaConf

    common.load()
    if OmegaConf.to_container(composed()) != common.raw():
        raise ParameterError(REMEDY)


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
