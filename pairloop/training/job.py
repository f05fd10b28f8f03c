"""What is to be trained, and the file that tells it to the processes that train it together."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pairloop.files import records
from pairloop.files.records import Row
from pairloop.params import Train, replaced
from pairloop.training import data, reference

_BY_RESPONSE = ("sampled", "logps", "win_probabilities")
"""What a job knows of its pairs' responses."""


@dataclass(frozen=True)
class Job:
    """Everything that decides what training gives."""

    pairs: Sequence[Row]
    """Rows of `records.PAIR` to train on, in any order."""

    test_pairs: Sequence[Row]
    """Held-out rows of `records.PAIR`."""

    parent: Path
    """The policy that made the responses: models/iteration_{n-1}."""

    base: Path
    """models/iteration_0, which adapters are relative to."""

    params: Train
    """The section `train` of the parameters."""

    dtype: str
    """`base.dtype`: float32, bfloat16 or float16."""

    seed: int
    """`seed` of the parameters."""

    iteration: int
    """Number of the model to make, from 1."""

    splits: Mapping[str, str] = field(default_factory=dict)
    """Name and sha256 of the files with the pairs, for the lineage."""

    sampled: data.Sampled = field(default_factory=dict)
    """The pairs' responses as they were sampled, where they were; others are tokenised."""

    win_probabilities: data.Wins = field(default_factory=dict)
    """How likely the pairs' responses are to beat the others of their prompt, for the loss sppo_soft."""

    logps: reference.Known = field(default_factory=dict)
    """The log-probabilities of those responses, where sampling gave them."""

    engine: str = ""
    """A sentence about the engine that sampled the responses, for the model card."""

    @property
    def learning_rate(self) -> float:
        """This iteration's peak learning rate."""
        rates = self.params.learning_rate
        return rates[min(self.iteration, len(rates)) - 1]

    def write(self, path: Path, out: Path) -> None:
        """Write the job and the folder that it is to make, for the processes that train it together."""
        values: dict[str, Any] = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        values |= {name: str(Path(values[name]).resolve()) for name in ("parent", "base")}
        values |= {"pairs": list(self.pairs), "test_pairs": list(self.test_pairs), "splits": dict(self.splits)}
        values |= {"params": self.params.model_dump()}
        values |= {name: [[*key, _plain(value)] for key, value in values[name].items()] for name in _BY_RESPONSE}
        records.write_text(path, json.dumps({"job": values, "out": str(out.resolve())}))


def read(path: Path) -> tuple[Job, Path]:
    """The job of a file, and the folder that it is to make."""
    found = records.read_json(path)
    values = found["job"]
    values |= {name: Path(values[name]) for name in ("parent", "base")}
    values["params"] = replaced(Train(), "train", **values["params"])
    values |= {name: {(prompt_id, text): value for prompt_id, text, value in values[name]} for name in _BY_RESPONSE}
    return Job(**values), Path(found["out"])


def _plain(value: Any) -> Any:
    return value if isinstance(value, float) else list(value)
