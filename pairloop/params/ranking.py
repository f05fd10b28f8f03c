"""Parameters of scoring, pairing and evaluation."""

import re
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from pairloop.errors import ParameterError
from pairloop.params.annotating import Annotating
from pairloop.params.rankers import Kind, Referee
from pairloop.params.settings import (
    AutoOrNumber,
    Count,
    Factors,
    NotNegative,
    OneOrSeveral,
    Positive,
    ProperShare,
    Section,
    Several,
    Share,
    Text,
    Words,
    ZeroOrFromOne,
)

PINNED = re.compile(r"hf:([\w.-]+/[\w.-]+)@([0-9a-f]{40})")
"""How published pairs on the hub are named: with the commit."""


Judged = Literal["all", "unconstrained"]
"""Which held-out prompts judges compare the answers to."""


class Teach(Section):
    """How the ranker `specialist` is trained from the frozen base model."""

    preferences: Text | None = None
    """The user's own preferences to learn from: a .jsonl file of {"prompt", "chosen", "rejected"}, or a folder of such
    files. data/preferences/README.md describes the format.
    null: none."""

    constructed: bool = True
    """Learn from pairs that are made of the base model's own answers. false: from the preferences alone, which needs no
    sampling."""

    prompts: Annotated[int, Field(ge=4)] = 56
    """Prompts, from the end of the pool, whose answers the teacher learns from. No iteration uses them, even where
    `teach.constructed` is false."""

    depth: OneOrSeveral[Share] = (0.5, 0.667)
    """Layers to read, as shares of the depth (0.667: layer 20 of 30). Of several, cross-validation over the fitted
    prompts chooses one; reading the shallower ones too takes no longer."""

    regularisation: OneOrSeveral[Positive] = (1e-4, 1e-3, 1e-2)
    """Inverse strength C of the L2 penalty of the Bradley-Terry fit; smaller is stronger. Of several, cross-validation
    chooses one, together with the layer."""

    spoilers: Annotated[int, Field(ge=1, le=16)] = 3
    """Spoiled versions made of each good answer."""

    held_out: ProperShare = 0.2
    """Share of the prompts kept out of the fit and of all choices, on which accuracy is reported."""

    max_new_tokens: Annotated[int, Field(ge=8)] = 64
    """Longest answer, in tokens, that the teacher is shown."""

    top_p: Share = 0.95
    """Nucleus of those answers, as in `generate.top_p`."""

    top_k: Count = 64
    """Never look beyond this many tokens. Far fewer than in `generate`: at temperature 1.5 more is mere noise."""

    shard_prompts: Count = 64
    """Prompts answered together; a finished shard survives a kill."""

    @model_validator(mode="after")
    def _something_to_learn_from(self) -> Self:
        if not self.constructed and self.preferences is None:
            raise ParameterError(
                "teach.constructed is false and teach.preferences is null: there is nothing to learn from. Name a "
                ".jsonl file of preferences, or set teach.constructed: true"
            )
        return self


class Rank(Section):
    """What scores the responses."""

    ranker: Kind = "specialist"
    """The teacher. `specialist`: a head on the frozen base, trained by the stage `teach`. `likelihood`:
    log p(response | prompt) - ½ log p(response) per token under the frozen base. `pairrm`: the published recipe's
    ranker, 0.4 billion parameters that compare every two responses in both orders; `llm_blender`: the same by its
    makers' package. `reward`: a reward model (`rankers.reward`). `encoder`: a small sentence encoder, trained by
    `teach`. `judge`: a language model that is asked (section `judge`). `verifiable`: share of a prompt's constraints
    that hold. `ensemble`: several of these (`rankers.ensemble`)."""

    engine: Literal["local", "ray"] = "local"
    """Where it scores. `local`: in this process. `ray`: in actors, here or on a cluster (section `ray`), with the same
    result."""

    second: Kind | None = None
    """Another ranker, whose agreement with the first is reported. It decides nothing."""

    constraints_first: Annotated[bool | Literal["only"], Words("true, false or only")] = True
    """Where a prompt has verifiable constraints, the share that holds decides and the ranker breaks ties. `only`:
    there nothing else counts and the ranker is not asked; it ranks the responses to the other prompts."""

    loops_last: bool = False
    """A response that loops, fewer than three in four of its four-word sequences or of its lines being different, ranks
    below all of its prompt's that do not, whatever constraints and ranker say of it."""

    echoes_last: bool = False
    """So does one that repeats its prompt, nearly all of the prompt's words in one run. Not for prompts that ask for
    just that, as to correct a text."""

    fewest_words: Annotated[int, Field(ge=0)] = 0
    """A response of fewer words ranks below all of its prompt's others, unless the prompt limits the words itself:
    it is rejected then, where `pair.fewest_words` leaves it out of the pairs. 0: the number of words says nothing."""

    batch_tokens: Annotated[int, Field(ge=64)] = 4096
    """Padded tokens in one forward pass."""

    shard_prompts: Count = 16
    """Prompts scored together; a finished shard survives a kill."""


class Pair(Section):
    """How scores become a chosen and a rejected response."""

    strategy: Literal["best_worst", "best_random", "best_k_worst_k", "mean_minus_sigma"] = "best_worst"
    """`best_worst`: one pair of the highest and the lowest score (the recipe). `best_random`: the highest against one
    of the others. `best_k_worst_k`: the k highest against the k lowest, one by one, of equal texts the first only.
    `mean_minus_sigma`: the highest against the one nearest the prompt's mean less two standard deviations (arXiv
    2502.16825); needs `generate.n` of 8 or more."""

    k: Count = 2
    """At most so many pairs per prompt of `best_k_worst_k`: fewer where fewer scores differ. The other strategies do
    not read it."""

    test_fraction: ProperShare = 0.1
    """Share of the prompts whose pairs are held out of training, as test_iteration_n."""

    min_margin: NotNegative = 0.0
    """Pairs whose scores differ by less are dropped, and counted; equal scores always are."""

    drop_truncated: Annotated[bool | Literal["chosen"], Words("true, false or chosen")] = False
    """Leave out responses that were cut off at max_new_tokens. `chosen`: they may be rejected, but are not chosen, so
    that training learns to end; a prompt of which no finished response beats another gives no pair, and is counted."""

    fewest_words: Annotated[int, Field(ge=0)] = 0
    """Leave out responses of fewer words, neither chosen nor rejected: "garden" alone has the word that a letter is
    asked for, and training would learn to write no letter. A prompt of which fewer than two are left gives no pair, and
    is counted. 0 leaves out none. `rank.fewest_words` ranks such responses last instead, so that they are rejected."""

    tie_break: Literal["none", "length"] = "none"
    """Between equal scores. `none`: of equal best the one that was sampled first, of equal worst the last. `length`: of
    equal best the shortest, in words, and of equal worst the one nearest to it in length (WPO v2)."""

    keep_share: Share = 1.0
    """Share of the prompts with pairs, those with the largest margins, that is kept (arXiv 2502.14560); the others are
    dropped, and counted. 1 keeps all."""

    length_penalty: AutoOrNumber = 0.0
    """Subtracted from each score per standard deviation of log length, within the prompt. 0 ignores length, and below
    0 long responses gain by it. `auto`: the penalty with which chosen and rejected responses have equally many words on
    average (DICE); each iteration's pair.json says which it was."""

    max_length_ratio: ZeroOrFromOne = 0.0
    """Pairs are dropped, and counted, where one response has more than this many times the other's words. 0 keeps
    all. It works in both directions: against a ranker that likes long text, and against one that likes short text."""

    published: Text | None = None
    """Pairs that others made, instead of our own: a folder of parquet files, or `hf:owner/name@commit`, with splits
    train_iteration_n and test_iteration_n in the format of this project's. Then nothing is sampled and ranked, the
    other parameters of `pair` are not read, and `rank.ranker` only says who ranked them. null: our own.
    docs/recipes.md."""

    @model_validator(mode="after")
    def _published_pairs_are_pinned(self) -> Self:
        if self.published and self.published.startswith("hf:") and not PINNED.fullmatch(self.published):
            raise ParameterError(
                f"pair.published is {self.published}: a data set on the hub is written hf:owner/name@commit, with all "
                "40 digits of the commit, because a name or branch may be other data tomorrow"
            )
        return self


class Eval(Annotating):
    """How every iteration's model is measured on held-out prompts."""

    prompts: Annotated[int, Field(ge=2)] = 120
    """Held-out prompts to answer: the first of the eval set, in the file's order."""

    engine: Literal["transformers", "vllm", "ray"] = "transformers"
    """What answers the held-out prompts, as in `generate.engine`. The same for every iteration. With `ray` the judges
    score in actors too."""

    temperatures: OneOrSeveral[NotNegative] = (1.0,)
    """Softmax temperatures; 0 is greedy. The first is the main one, whose numbers stand first; each other is measured
    beside it. By default as in `generate`: a model is measured as it was sampled to learn. AlpacaEval's config of the
    published model has 0.5."""

    samples: Count = 1
    """Answers to each prompt at each of these temperatures. Their mean stands for the prompt: more answers narrow what
    sampling adds to an interval, more prompts the rest. A greedy answer is always the same and given once."""

    best_of: Count = 1
    """Answers to each prompt, at `eval.best_of_temperature`, of which `rank.ranker` picks one; that one is measured
    too, against iteration 0's plain answers. The published model has 16. 1: none."""

    best_of_temperature: Positive = 0.7
    """Softmax temperature of the answers to pick from; 0.7 is the published model's."""

    top_p: Share = 0.95
    """Nucleus, as in `generate.top_p`."""

    top_k: Count = 512
    """As `generate.top_k`."""

    frequency_penalty: Annotated[float, Field(ge=0, le=2)] = 0.0
    """Subtracted from a token's logit for each time that the answer has it already, as OpenAI and vLLM do it, in greedy
    answers too: small models loop without. The same for every model, the base too. Responses to learn from have none,
    so that loops are seen and lose. 0: none."""

    max_new_tokens: Count = 64
    """Longest answer in tokens."""

    judges: Several[Referee] = ("specialist", "likelihood")
    """Who compares each answer with iteration 0's: rankers, as in `rank.ranker`. The one that also ranked the training
    data is labelled so. `alpaca_eval` adds a stage of its own, in which the package of that name asks
    `eval.annotator`."""

    judged: Judged = "all"
    """Which held-out prompts' answers the judges compare. `unconstrained`: those to prompts without constraints, since
    what the others demand is counted by a program; win rates, length control and what reads every answer with the base
    then speak of those prompts only."""

    extrapolate: Factors = ()
    """Factors a by which each iteration's model is moved on from iteration 0, without training, and measured once more:
    weights = iteration 0 + (1 + a) (iteration n - iteration 0) (ExPO, which has 0.3 to 0.5). Each takes another
    evaluation. Empty: none."""

    ifeval: Text | None = None
    """IFEval's prompts, which every iteration's model answers too, greedily: a .jsonl file in the published format, or
    `hf:google/IFEval@revision`. null: it is not measured. docs/ifeval.md."""

    ifeval_max_new_tokens: Count = 1280
    """Longest answer to one of them, in tokens; others evaluate with 1,280."""

    preferences: Text | None = None
    """Held-out preferences of the kind that a teacher was taught by `teach.preferences`: a file or folder of the same
    form, with other prompts. Each model is measured on them, and its answers by a judge that is fitted to them alone.
    null: none. docs/another-axis.md."""

    bootstrap: Annotated[int, Field(ge=100)] = 2000
    """Resamples of the prompts behind each 95 % interval."""

    shard_prompts: Count = 60
    """Prompts answered and judged together; a finished shard survives a kill."""
