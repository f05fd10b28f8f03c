"""A job as a file, for the processes that train it together."""

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pairloop.files import records
from pairloop.params import Train, replaced

if TYPE_CHECKING:
    from pairloop.training.dpo import Job

_BY_RESPONSE = ("sampled", "logps", "win_probabilities")
"""What a job knows of its pairs' responses."""


def write(path: Path, job: "Job", out: Path) -> None:
    """Write a job and the folder that it is to make."""
    values: dict[str, Any] = {field.name: getattr(job, field.name) for field in dataclasses.fields(job)}
    values |= {name: str(Path(values[name]).resolve()) for name in ("parent", "base")}
    values |= {"pairs": list(job.pairs), "test_pairs": list(job.test_pairs), "splits": dict(job.splits)}
    values |= {"params": job.params.model_dump()}
    values |= {name: [[*key, _plain(value)] for key, value in values[name].items()] for name in _BY_RESPONSE}
    records.write_text(path, json.dumps({"job": values, "out": str(out.resolve())}))


def read(path: Path) -> tuple["Job", Path]:
    """The job of a file, and the folder that it is to make."""
    from pairloop.training.dpo import Job

    found = records.read_json(path)
    values = found["job"]
    values |= {name: Path(values[name]) for name in ("parent", "base")}
    values["params"] = replaced(Train(), "train", **values["params"])
    values |= {name: {(prompt_id, text): value for prompt_id, text, value in values[name]} for name in _BY_RESPONSE}
    return Job(**values), Path(found["out"])


def _plain(value: Any) -> Any:
    return value if isinstance(value, float) else list(value)
