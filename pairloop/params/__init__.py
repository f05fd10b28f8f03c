"""Every parameter: its type, its default, its range and its meaning. The only place that knows them.

Each section of params.yaml is a frozen dataclass in one of this package's modules. `parse` turns the nested mapping of
a YAML file into `Params` and refuses what it does not know. Comments in params.yaml would be lost (`dvc exp run`
rewrites that file), so the documentation lives here and in docs/parameters.md, which is made from it.
"""

import dataclasses
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from pairloop.errors import ParameterError
from pairloop.params.data import Base, Generate, Pool, Prompts
from pairloop.params.engines import VLLM, Ray
from pairloop.params.judging import Judge
from pairloop.params.rankers import KINDS, Encoder, Rankers
from pairloop.params.ranking import Eval, Pair, Rank, Teach
from pairloop.params.settings import build, integer
from pairloop.params.training import Train

__all__ = [
    "KINDS",
    "VLLM",
    "Base",
    "Encoder",
    "Eval",
    "Generate",
    "Judge",
    "Pair",
    "Params",
    "Pool",
    "Prompts",
    "Rank",
    "Rankers",
    "Ray",
    "Teach",
    "Train",
    "parse",
    "sections",
]

OVERRIDABLE = ("generate", "rank", "pair", "train")
"""Sections that `overrides` may change for one iteration; the others must be the same for results to compare."""


@dataclass(frozen=True)
class Params:
    """All of params.yaml."""

    iterations: int = integer(3, low=1)
    """How many times to generate, rank, pair and train."""

    seed: int = integer(0, low=0, high=2**31 - 1)
    """All randomness comes from this, the iteration, the prompt's id and the sample's index."""

    base: Base = field(default_factory=Base)
    pool: Pool = field(default_factory=Pool)
    prompts: Prompts = field(default_factory=Prompts)
    generate: Generate = field(default_factory=Generate)
    vllm: VLLM = field(default_factory=VLLM)
    ray: Ray = field(default_factory=Ray)
    teach: Teach = field(default_factory=Teach)
    rank: Rank = field(default_factory=Rank)
    rankers: Rankers = field(default_factory=Rankers)
    encoder: Encoder = field(default_factory=Encoder)
    judge: Judge = field(default_factory=Judge)
    pair: Pair = field(default_factory=Pair)
    train: Train = field(default_factory=Train)
    eval: Eval = field(default_factory=Eval)

    def __post_init__(self) -> None:
        if self.generate.batch_invariant and self.sampler == "transformers":
            engine = "ray.sampler" if self.generate.engine == "ray" else "generate.engine"
            raise ParameterError(
                f"generate.batch_invariant is true, but {engine} is transformers, which has no such mode: set it "
                "to false, or the engine to vllm"
            )
        asked = frozenset().union(*map(self._expanded, self.eval.judges))
        if "judge" in asked and self.judge.model == "self" and not self.judge.endpoint:
            raise ParameterError(
                "judge.model is self, but results of different iterations must be judged by one model: name a model in "
                "judge.model, or leave judge out of eval.judges"
            )

    @property
    def sampler(self) -> str:
        """What samples the responses: `transformers` or `vllm`, in Ray's actors too."""
        return self.ray.sampler if self.generate.engine == "ray" else self.generate.engine

    @property
    def teachers(self) -> frozenset[str]:
        """The rankers that decide the training data: `rank.ranker`, and what it mixes."""
        return self._expanded(self.rank.ranker)

    @property
    def kinds(self) -> frozenset[str]:
        """Every ranker that is asked for, to teach, to agree or to judge."""
        asked = [self.rank.ranker, *self.eval.judges, *([self.rank.second] if self.rank.second else [])]
        return frozenset().union(*map(self._expanded, asked))

    def _expanded(self, kind: str) -> frozenset[str]:
        return frozenset({kind, *(self.rankers.ensemble if kind == "ensemble" else ())})


def parse(values: Mapping[str, Any], iteration: int | None = None) -> Params:
    """The typed parameters, with those that `overrides` changes for `iteration`.

    Args:
        values: the content of params.yaml, with or without `schedule`.
        iteration: number from 1, or None for the values common to all iterations.

    Raises:
        ParameterError: a key is unknown (the nearest known name is given), of the wrong type or out of range.
    """
    overrides = values.get("overrides") or {}
    check_overrides(overrides)
    own = {key: value for key, value in values.items() if key not in ("overrides", "schedule")}
    params: Params = build(Params, own, "")
    changes = overrides.get(str(iteration), {}) if iteration is not None else {}
    changed = {step: build(type(getattr(params, step)), own.get(step, {}) | new, step) for step, new in changes.items()}
    return dataclasses.replace(params, **changed)


def check_overrides(overrides: Any) -> None:
    """Refuse `overrides` that name no iteration, section or parameter.

    Raises:
        ParameterError: says which key, and what is allowed.
    """
    if not isinstance(overrides, Mapping):
        raise ParameterError(f"overrides is {overrides!r}: it must map iteration numbers to sections")
    for number, steps in overrides.items():
        if not (isinstance(number, str) and number.isdecimal() and number[0] != "0"):
            raise ParameterError(f"overrides: {number!r} must be the number of an iteration, in quotes")
        for step, values in (steps or {}).items():
            if step not in OVERRIDABLE:
                allowed = ", ".join(OVERRIDABLE)
                raise ParameterError(f"overrides.{number}.{step}: only {allowed} can differ between iterations")
            build(dict(sections())[step], values, f"overrides.{number}.{step}")


def sections() -> list[tuple[str, Any]]:
    """Name and dataclass of each section of params.yaml, in order."""
    types = typing.get_type_hints(Params)
    return [(f.name, types[f.name]) for f in fields(Params) if dataclasses.is_dataclass(types[f.name])]
