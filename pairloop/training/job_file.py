"""A job as a file, for the processes that train it together."""

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pairloop.files import records
from pairloop.params import Train, replaced

if TYPE_CHECKING:
    from pairloop.training.dpo import Job


def write(path: Path, job: "Job", out: Path) -> None:
    """Write a job and the folder that it is to make."""
    values: dict[str, Any] = {field.name: getattr(job, field.name) for field in dataclasses.fields(job)}
    values |= {name: str(Path(values[name]).resolve()) for name in ("parent", "base")}
    values |= {"pairs": list(job.pairs), "test_pairs": list(job.test_pairs), "splits": dict(job.splits)}
    values |= {"params": job.params.model_dump(), "sampled": [[*key, list(ids)] for key, ids in job.sampled.items()]}
    records.write_text(path, json.dumps({"job": values, "out": str(out.resolve())}))


def read(path: Path) -> tuple["Job", Path]:
    """The job of a file, and the folder that it is to make."""
    from pairloop.training.dpo import Job

    found = records.read_json(path)
    values = found["job"]
    values |= {name: Path(values[name]) for name in ("parent", "base")}
    values["params"] = replaced(Train(), "train", **values["params"])
    values["sampled"] = {(prompt_id, text): ids for prompt_id, text, ids in values["sampled"]}
    return Job(**values), Path(found["out"])
