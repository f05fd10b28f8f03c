"""Parameters of scoring, pairing and evaluation."""

from dataclasses import dataclass

from pairloop.errors import ParameterError
from pairloop.params.rankers import KINDS
from pairloop.params.settings import choice, flag, integer, names, optional_choice, optional_text, real, reals


@dataclass(frozen=True)
class Teach:
    """How the default ranker, `specialist`, is trained from the frozen base model."""

    preferences: str | None = optional_text()
    """The user's own preferences to learn from: a .jsonl file of {"prompt", "chosen", "rejected"}, or a folder of such
    files. Only what lies in data/preferences is watched for changes; data/preferences/README.md describes the format.
    null: none."""

    constructed: bool = flag(True)
    """Learn from pairs that are made of the base model's own answers. false: from the preferences alone, which needs no
    sampling."""

    prompts: int = integer(56, low=4)
    """Prompts, from the end of the pool, whose answers the teacher learns from. No iteration uses them, even where
    `teach.constructed` is false."""

    depth: tuple[float, ...] = reals((0.5, 0.667), "a number above 0, at most 1", lambda v: 0 < v <= 1)
    """Layers to read, as shares of the depth (0.667: layer 20 of 30). Of several, cross-validation over the fitted
    prompts chooses one; reading the shallower ones too takes no longer."""

    regularisation: tuple[float, ...] = reals((1e-4, 1e-3, 1e-2), "a number above 0", lambda v: v > 0)
    """Inverse strength C of the L2 penalty of the Bradley-Terry fit; smaller is stronger. Of several, cross-validation
    chooses one, together with the layer."""

    spoilers: int = integer(3, low=1, high=16)
    """Spoiled versions made of each good answer."""

    held_out: float = real(0.2, "a number above 0 and below 1", lambda v: 0 < v < 1)
    """Share of the prompts kept out of the fit and of all choices, on which accuracy is reported."""

    max_new_tokens: int = integer(64, low=8)
    """Longest answer, in tokens, that the teacher is shown."""

    top_p: float = real(0.95, "a number above 0, at most 1", lambda v: 0 < v <= 1)
    """Nucleus of those answers, as in `generate.top_p`."""

    top_k: int = integer(64, low=1)
    """Never look beyond this many tokens. Far fewer than in `generate`: at temperature 1.5 more is mere noise."""

    shard_prompts: int = integer(64, low=1)
    """Prompts answered together; a finished shard survives a kill."""

    def __post_init__(self) -> None:
        """Refuse a teacher that would learn from nothing.

        Raises:
            ParameterError: there are neither constructed pairs nor preferences.
        """
        if not self.constructed and self.preferences is None:
            raise ParameterError(
                "teach.constructed is false and teach.preferences is null: there is nothing to learn from. Name a "
                ".jsonl file of preferences, or set teach.constructed: true"
            )


@dataclass(frozen=True)
class Rank:
    """What scores the responses."""

    ranker: str = choice("specialist", *KINDS)
    """The teacher. `specialist`: a head on the frozen base, trained by the stage `teach`. `likelihood`:
    log p(response | prompt) - ½ log p(response) per token under the frozen base. `pairrm`: the published recipe's
    ranker, 0.4 billion parameters that compare every two responses in both orders; `llm_blender`: the same by its
    makers' package. `reward`: a reward model (`rankers.reward`). `encoder`: a small sentence encoder, trained by
    `teach`. `judge`: a language model that is asked (section `judge`). `verifiable`: share of a prompt's constraints
    that hold. `ensemble`: several of these (`rankers.ensemble`)."""

    engine: str = choice("local", "local", "ray")
    """Where it scores. `local`: in this process. `ray`: in actors, here or on a cluster (section `ray`), with the same
    result."""

    second: str | None = optional_choice(*KINDS)
    """Another ranker, whose agreement with the first is reported. It decides nothing."""

    constraints_first: bool = flag(True)
    """Where a prompt has verifiable constraints, the share that holds decides and the ranker breaks ties."""

    batch_tokens: int = integer(4096, low=64)
    """Padded tokens in one forward pass."""

    shard_prompts: int = integer(16, low=1)
    """Prompts scored together; a finished shard survives a kill."""


@dataclass(frozen=True)
class Pair:
    """How scores become a chosen and a rejected response."""

    strategy: str = choice("best_worst", "best_worst", "best_random", "best_k_worst_k")
    """`best_worst`: one pair of the highest and the lowest score (the recipe). `best_random`: the highest against one
    of the others. `best_k_worst_k`: the k highest against the k lowest, one by one."""

    k: int = integer(2, low=1)
    """Pairs per prompt of `best_k_worst_k`; the other strategies do not read it."""

    test_fraction: float = real(0.1, "a number above 0 and below 1", lambda v: 0 < v < 1)
    """Share of the prompts whose pairs are held out of training, as test_iteration_n."""

    min_margin: float = real(0.0, "a number, at least 0", lambda v: v >= 0)
    """Pairs whose scores differ by less are dropped, and counted; equal scores always are."""

    drop_truncated: bool = flag(False)
    """Leave out responses that were cut off at max_new_tokens."""

    length_penalty: float = real(0.0, "a number, at least 0", lambda v: v >= 0)
    """Subtracted from each score per standard deviation of log length, within the prompt. 0 ignores length."""

    max_length_ratio: float = real(0.0, "0 or a number, at least 1", lambda v: v == 0 or v >= 1)
    """Pairs are dropped, and counted, where one response has more than this many times the other's words. 0 keeps
    all. It works in both directions: against a ranker that likes long text, and against one that likes short text."""


@dataclass(frozen=True)
class Eval:
    """How every iteration's model is measured on held-out prompts."""

    prompts: int = integer(120, low=2)
    """Held-out prompts to answer: the first of the eval set, in the file's order."""

    engine: str = choice("transformers", "transformers", "vllm")
    """What answers the held-out prompts, as in `generate.engine`. The same for every iteration."""

    temperature: float = real(1.0, "a number, at least 0", lambda v: v >= 0)
    """Softmax temperature; 0 is greedy. By default as in `generate`: a model is measured as it was sampled to learn.
    AlpacaEval's config of the published model has 0.5."""

    top_p: float = real(0.95, "a number above 0, at most 1", lambda v: 0 < v <= 1)
    """Nucleus, as in `generate.top_p`."""

    top_k: int = integer(512, low=1)
    """As `generate.top_k`."""

    max_new_tokens: int = integer(64, low=1)
    """Longest answer in tokens."""

    judges: tuple[str, ...] = names(("specialist", "likelihood"), *KINDS)
    """Who compares each answer with iteration 0's: rankers, as in `rank.ranker`. The one that also ranked the training
    data is labelled so."""

    bootstrap: int = integer(2000, low=100)
    """Resamples of the prompts behind each 95 % interval."""

    shard_prompts: int = integer(60, low=1)
    """Prompts answered and judged together; a finished shard survives a kill."""
