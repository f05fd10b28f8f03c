"""Every parameter: its type, its default, its range and its meaning. The only place that knows them.

Each section of params.yaml is a frozen pydantic model in one of this package's modules. `parse` turns the nested
mapping of a YAML file into `Params` and refuses what it does not know. Comments in params.yaml would be lost (`dvc exp
run` rewrites that file), so the documentation lives here, in docs/parameters.md and in conf/params.schema.json, which
are made from it.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from pairloop.errors import ParameterError
from pairloop.params.checking import build, replaced, subsection
from pairloop.params.data import Base, Generate, Pool, Prompts
from pairloop.params.engines import VLLM, Ray
from pairloop.params.exporting import Export
from pairloop.params.harness import LmEval
from pairloop.params.judging import Judge
from pairloop.params.rankers import KINDS, Encoder, Kind, Rankers
from pairloop.params.ranking import Eval, Pair, Rank, Teach
from pairloop.params.settings import Count, Section
from pairloop.params.training import Train
from pairloop.params.watching import Watch

__all__ = [
    "KINDS",
    "VLLM",
    "Base",
    "Encoder",
    "Eval",
    "Export",
    "Generate",
    "Judge",
    "LmEval",
    "Pair",
    "Params",
    "Pool",
    "Prompts",
    "Rank",
    "Rankers",
    "Ray",
    "Teach",
    "Train",
    "Watch",
    "parse",
    "replaced",
    "sections",
]

OVERRIDABLE = ("generate", "rank", "pair", "train")
"""Sections that `overrides` may change for one iteration; the others must be the same for results to compare."""


class Params(Section):
    """All of params.yaml."""

    iterations: Count = 3
    """How many times to generate, rank, pair and train."""

    seed: Annotated[int, Field(ge=0, le=2**31 - 1)] = 0
    """All randomness comes from this, the iteration, the prompt's id and the sample's index."""

    base: Base = Field(default_factory=Base)
    pool: Pool = Field(default_factory=Pool)
    prompts: Prompts = Field(default_factory=Prompts)
    generate: Generate = Field(default_factory=Generate)
    vllm: VLLM = Field(default_factory=VLLM)
    ray: Ray = Field(default_factory=Ray)
    teach: Teach = Field(default_factory=Teach)
    rank: Rank = Field(default_factory=Rank)
    rankers: Rankers = Field(default_factory=Rankers)
    encoder: Encoder = Field(default_factory=Encoder)
    judge: Judge = Field(default_factory=Judge)
    pair: Pair = Field(default_factory=Pair)
    train: Train = Field(default_factory=Train)
    eval: Eval = Field(default_factory=Eval)
    watch: Watch = Field(default_factory=Watch)
    lm_eval: LmEval = Field(default_factory=LmEval)
    export: Export = Field(default_factory=Export)

    @model_validator(mode="after")
    def _engine_has_the_mode(self) -> Self:
        if self.generate.batch_invariant and self.sampler == "transformers":
            engine = "ray.sampler" if self.generate.engine == "ray" else "generate.engine"
            raise ParameterError(
                f"generate.batch_invariant is true, but {engine} is transformers, which has no such mode: set it "
                "to false, or the engine to vllm"
            )
        return self

    @model_validator(mode="after")
    def _one_model_judges_all_iterations(self) -> Self:
        asked = frozenset().union(*map(self._expanded, self.eval_rankers))
        if "judge" in asked and self.judge.model == "self" and not self.judge.endpoint:
            raise ParameterError(
                "judge.model is self, but results of different iterations must be judged by one model: name a model in "
                "judge.model, or leave judge out of eval.judges"
            )
        return self

    @model_validator(mode="after")
    def _lm_eval_has_tasks(self) -> Self:
        own = self.lm_eval
        if own.iterations and not own.tasks:
            raise ParameterError(
                "lm_eval.iterations is set, but lm_eval.tasks is empty: name tasks, or empty lm_eval.iterations too"
            )
        return self

    @model_validator(mode="after")
    def _named_models_are_there(self) -> Self:
        for section, numbers in (("lm_eval", self.lm_eval.iterations), ("export", self.export.iterations)):
            if beyond := [number for number in numbers if number > self.iterations]:
                raise ParameterError(
                    f"{section}.iterations has {beyond[0]}, but iterations is {self.iterations}: there is no such "
                    f"model. Allowed are 0, the base, to {self.iterations}"
                )
        return self

    @model_validator(mode="after")
    def _adapters_are_exported_where_there_are_some(self) -> Self:
        if self.export.iterations and "adapter" in self.export.forms and self.train.method == "full":
            raise ParameterError(
                "export.forms has adapter, but train.method is full: all weights are trained, and there is no adapter. "
                "Take merged or gguf"
            )
        return self

    @model_validator(mode="after")
    def _best_and_worst_are_apart(self) -> Self:
        if self.pair.strategy == "best_k_worst_k" and self.generate.n < 2 * self.pair.k:
            raise ParameterError(
                f"pair.k is {self.pair.k}, but generate.n is {self.generate.n}: best and worst overlap. Lower "
                f"pair.k to {self.generate.n // 2}, or raise generate.n to {2 * self.pair.k}"
            )
        return self

    @model_validator(mode="after")
    def _published_pairs_have_no_probabilities(self) -> Self:
        if self.pair.published and "sppo_soft" in self.train.loss:
            raise ParameterError(
                "train.loss has sppo_soft, which needs each response's probability to win, but pair.published brings "
                "pairs that nothing ranked here: take sppo_hard, or leave pair.published out"
            )
        return self

    @model_validator(mode="after")
    def _some_response_can_lie_two_sigma_below(self) -> Self:
        n = self.generate.n
        if self.pair.strategy == "mean_minus_sigma" and n < 8:
            raise ParameterError(
                f"pair.strategy is mean_minus_sigma, but generate.n is {n}: of {n} responses none lies further than "
                f"(n - 1) / sqrt(n) = {(n - 1) / n**0.5:.2f} standard deviations from the mean, and hardly any so "
                "far: it would take the worst. Raise generate.n to 8 or more, or set pair.strategy to best_worst"
            )
        return self

    @property
    def sampler(self) -> str:
        """What samples the responses: `transformers` or `vllm`, in Ray's actors too."""
        return self._sampling(self.generate.engine)

    @property
    def eval_sampler(self) -> str:
        """The same for the answers to held-out prompts."""
        return self._sampling(self.eval.engine)

    @property
    def eval_rankers(self) -> tuple[Kind, ...]:
        """Those of `eval.judges` that are rankers."""
        return tuple(judge for judge in self.eval.judges if judge != "alpaca_eval")

    @property
    def teachers(self) -> frozenset[str]:
        """The rankers that decide the training data: `rank.ranker`, and what it mixes."""
        return self._expanded(self.rank.ranker)

    @property
    def kinds(self) -> frozenset[str]:
        """Every ranker that is asked for, to teach, to agree or to judge."""
        asked = [self.rank.ranker, *self.eval_rankers, *([self.rank.second] if self.rank.second else [])]
        return frozenset().union(*map(self._expanded, asked))

    def _sampling(self, engine: str) -> str:
        return self.ray.sampler if engine == "ray" else engine

    def _expanded(self, kind: str) -> frozenset[str]:
        return frozenset({kind, *(self.rankers.ensemble if kind == "ensemble" else ())})


def parse(values: Mapping[str, Any], iteration: int | None = None) -> Params:
    """The typed parameters, with those that `overrides` changes for `iteration`.

    Args:
        values: the content of params.yaml, with or without `schedule`.
        iteration: number from 1, or None for the values common to all iterations.

    Raises:
        ParameterError: a key is unknown (the nearest known name is given), of the wrong type or out of range, here or
            in any iteration's overrides.
    """
    own = {key: value for key, value in values.items() if key not in ("overrides", "schedule")}
    params = build(Params, own, "")
    overrides = values.get("overrides")
    found = {number: _overridden(params, number, steps) for number, steps in _iterations(overrides).items()}
    return found.get(str(iteration), params)


def _iterations(overrides: Any) -> Mapping[str, Any]:
    """What `overrides` says, once its keys are numbers of iterations."""
    if overrides is None:
        return {}
    if not isinstance(overrides, Mapping):
        raise ParameterError(f"overrides is {overrides!r}: it must map iteration numbers to sections")
    for number in overrides:
        if not (isinstance(number, str) and number.isdecimal() and number[0] != "0"):
            raise ParameterError(f"overrides: {number!r} must be the number of an iteration, in quotes")
    return overrides


def _overridden(params: Params, number: str, steps: Any) -> Params:
    """The parameters with one iteration's changes."""
    where = f"overrides.{number}"
    if not isinstance(steps, Mapping | None):
        raise ParameterError(f"{where} is {steps!r}: it must map sections to changes, such as {{train: {{beta: 0.2}}}}")
    try:
        changed = {step: _changed(params, step, values, f"{where}.{step}") for step, values in (steps or {}).items()}
        return replaced(params, where, **changed)
    except ParameterError as error:
        if error.message.startswith(where):
            raise
        raise ParameterError(f"{where}: {error.message}") from None


def _changed(params: Params, step: str, values: Any, where: str) -> Section:
    """A section of the parameters with changes to some of its values."""
    if step not in OVERRIDABLE:
        raise ParameterError(f"{where}: only {', '.join(OVERRIDABLE)} can differ between iterations")
    section: Section = getattr(params, step)
    whole = {**dict(section), **values} if isinstance(values, Mapping) else values
    return build(type(section), whole, where)


def sections() -> list[tuple[str, type[Section]]]:
    """Name and model of each section of params.yaml, in order."""
    found = [(name, subsection(field)) for name, field in Params.model_fields.items()]
    return [(name, section) for name, section in found if section is not None]
