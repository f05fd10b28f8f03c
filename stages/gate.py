"""gate: stop the run before the next iteration where this one raised an alarm."""

from pathlib import Path

import click

from pairloop.errors import AlarmError
from pairloop.files import records
from stages import common


@click.command(cls=common.Verb)
@click.option("--iteration", type=click.IntRange(min=1), required=True)
@click.argument("watched", type=Path)
@click.argument("out", type=Path)
def main(iteration: int, watched: Path, out: Path) -> None:
    """Fail with the alarms of WATCHED, if there are any; else write OUT, which is always the same.

    So the next iteration, which reads OUT, does not run again for a measure that has changed and is still allowed.
    """
    alarms = records.read_json(watched)["alarms"]
    if alarms and common.load().watch.stop:
        raise AlarmError(_message(iteration, watched, alarms))
    records.write_json(out, {"stop": False})


def _message(iteration: int, watched: Path, alarms: list[str]) -> str:
    return "\n".join(
        [
            f"iteration {iteration} is worse than iteration 0, and watch.stop is true, so iteration {iteration + 1} "
            "does not begin:",
            *(f"- {alarm}" for alarm in alarms),
            f"{watched} has all measures. Train more gently (lower train.learning_rate, raise train.beta), allow more "
            "(section watch), or go on regardless: `dvc exp run -S watch.stop=false`.",
        ]
    )


if __name__ == "__main__":
    main()
