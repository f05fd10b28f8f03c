"""What a report is made from. The keys of each mapping are listed in pairloop/report/__init__.py."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pairloop.errors import DataError

Metrics = Mapping[str, Any]
"""The content of one step's JSON file."""

_COUNTS = ("rows_in", "rows_out", "dropped")

_NEEDED = {
    "pool": (*_COUNTS, "eval_rows_in", "eval_rows_out", "eval_dropped", "with_constraints", "by_source"),
    "teacher": ("pairs", "held_out_pairs", "held_out_accuracy", "by_kind", "length_correlation", "hacks"),
    "generate": (*_COUNTS, "responses", "tokens", "mean_tokens", "truncated_share"),
    "rank": (
        *(*_COUNTS, "responses", "ties", "length_correlation", "constraint_share", "ranker"),
        *("position_bias", "margins", "second"),
    ),
    "pair": (
        *(*_COUNTS, "files", "train_pairs", "test_pairs", "mean_margin", "chosen_words", "rejected_words"),
        *("chosen_refusals", "rejected_refusals", "length_correlation"),
        *("uncontrolled_chosen_words", "uncontrolled_rejected_words", "uncontrolled_length_correlation"),
    ),
    "train": (*_COUNTS, "steps", "loss_first", "loss_last", "before", "after"),
    "curve": ("step", "loss", "margin"),
    "eval": (
        *("prompts", "judged", "constraints", "mean_words", "mean_tokens"),
        *("truncated_share", "repetitive_share", "echoing_share"),
    ),
    "compared": ("win_rate",),
    "further": ("win_rate", "constraints", "mean_words", "truncated_share"),
    "judge": ("win_rate", "low", "high", "teacher", "unconstrained"),
    "agreement": ("judges", "prompts", "same"),
    "watch": ("measures", "alarms"),
    "annotated": ("name", "annotator", "win_rate", "verdicts"),
    "ifeval": ("prompts", "covered", "strict", "loose"),
    "preferences": ("pairs", "preferred", "margin", "moved", "gain", "judge"),
    "constraints": (
        *("prompts", "pass_rate", "low", "high", "gain", "gain_low", "gain_high"),
        *("beyond_length", "like_length", "in_full", "by_kind"),
    ),
    "time": ("stage", "iteration", "seconds"),
    "sample": (
        *("iteration", "prompt", "constraints", "responses", "scores", "finish_reasons"),
        *("chosen", "rejected", "reason", "split"),
    ),
    "answer": ("prompt", "constraints", "outputs", "passes", "met"),
}


@dataclass(frozen=True)
class Iteration:
    """What one turn of the loop reported."""

    generate: Metrics | None
    """How many responses were sampled, and how long they are; None where the pairs are published."""

    rank: Metrics | None
    """How many responses were scored; None likewise."""

    pair: Metrics
    """How many preference pairs came of them."""

    train: Metrics
    """What training did to the held-out pairs."""

    curve: Sequence[Metrics]
    """One row per logged optimiser step."""

    prompts: Metrics | None = None
    """The slice of the pool; None where it is not known."""


@dataclass(frozen=True)
class ReportData:
    """Everything that the page shows."""

    base: str
    """Reference to the base model, as written in params.yaml."""

    ranker: str
    """Name of the ranker that scored the training data: the teacher."""

    responses: int
    """Responses per prompt (K)."""

    parameters: Mapping[str, Any]
    """The content of params.yaml."""

    pool: Metrics
    """Where the prompts came from."""

    teacher: Metrics | None
    """How the ranker was trained and tested; None where the run trained none."""

    iterations: Sequence[Iteration]
    """Iteration 1, 2, …"""

    models: Sequence[Metrics]
    """Eval metrics of iteration 0 (the base model), 1, 2, …"""

    times: Sequence[Metrics]
    """Seconds per stage."""

    samples: Sequence[Metrics]
    """Prompts with all their responses and scores, as they were paired."""

    answers: Sequence[Metrics]
    """Held-out prompts with every model's answer."""

    watches: Mapping[int, Metrics] = field(default_factory=dict)
    """What the watch measured, by iteration."""

    annotated: Sequence[Metrics] = ()
    """AlpacaEval's figures of this run's iterations and of what stands beside them."""

    ifeval: Mapping[int, Metrics] = field(default_factory=dict)
    """IFEval's figures, by iteration."""

    preferences: Mapping[int, Metrics] = field(default_factory=dict)
    """What was measured on held-out preferences, by iteration."""

    lm_eval: Mapping[int, Metrics] = field(default_factory=dict)
    """lm-eval's figures, by iteration."""

    published: Mapping[str, Any] | None = None
    """The parameters of the published run; None where they are not known."""

    def __post_init__(self) -> None:
        """Refuse what cannot be shown.

        Raises:
            DataError: there is no iteration, a model is missing, or a mapping lacks a key; says which.
        """
        if not self.iterations or len(self.models) != len(self.iterations) + 1:
            raise DataError(
                f"the report has {len(self.iterations)} iterations and {len(self.models)} evaluated models: it needs "
                "at least one iteration, and the evaluation of iteration 0 and of each iteration"
            )
        _need("pool", self.pool, "pool metrics")
        if self.teacher is not None:
            _need("teacher", self.teacher, "teacher metrics")
        for number, iteration in enumerate(self.iterations, 1):
            _check_iteration(number, iteration)
        for number, model in enumerate(self.models):
            _check_model(number, model)
        for kind, rows in (("time", self.times), ("sample", self.samples), ("answer", self.answers)):
            for number, row in enumerate(rows):
                _need(kind, row, f"{kind} {number}")
        for number, watch in self.watches.items():
            _need("watch", watch, f"iteration {number}, watch")
        for number, found in self.ifeval.items():
            _need("ifeval", found, f"iteration {number}, ifeval")
        for number, found in self.preferences.items():
            _need("preferences", found, f"iteration {number}, preferences")
        for result in self.annotated:
            _need("annotated", result, f"annotated, {result.get('name')}")


def _check_iteration(number: int, iteration: Iteration) -> None:
    for step in ("generate", "rank", "pair", "train"):
        found = getattr(iteration, step)
        if found is not None or step in ("pair", "train"):
            _need(step, found or {}, f"iteration {number}, {step} metrics")
    for row in iteration.curve:
        _need("curve", row, f"iteration {number}, training curve")


def _check_model(number: int, model: Metrics) -> None:
    _need("eval", model, f"iteration {number}, eval metrics")
    if model["constraints"]:
        _need("constraints", model["constraints"], f"iteration {number}, eval metrics, constraints")
    if number:
        _need("compared", model, f"iteration {number}, eval metrics")
    for beyond in model.get("further", ()):
        _need("further", beyond, f"iteration {number}, eval metrics, further")
        if beyond["constraints"]:
            _need("constraints", beyond["constraints"], f"iteration {number}, eval metrics, further, constraints")
    for agreed in model.get("agreement") or ():
        _need("agreement", agreed, f"iteration {number}, eval metrics, agreement")
    for judge, rates in (model["win_rate"] if number else {}).items():
        _need("judge", rates, f"iteration {number}, eval metrics, win rate of {judge}")


def _need(kind: str, found: Metrics, where: str) -> None:
    missing = [key for key in _NEEDED[kind] if key not in found]
    if missing:
        raise DataError(f"{where}: lacks {', '.join(missing)}. Delete the file and run `dvc repro`, which remakes it.")
