"""How fast Pairloop's PairRM ranks, beside llm_blender on the same texts and weights, in one process.

    pip install '.[llm-blender]'
    python -m benchmarks.ranking

The weights are random, of DeBERTa-v3-small's size: what a comparison costs does not depend on what they know. Texts
are at most as long as an answer of the default run (`generate.max_new_tokens`) unless --longest says otherwise. They
have no control tokens, none is cut, and every score is compared with the package's own at batch size 1, the only one
at which its scores do not depend on the batch.
"""

import json
import random
import time
from collections.abc import Callable
from itertools import islice, product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click

ONE, EIGHT, PAIRLOOP = "llm_blender, batch_size=1", "llm_blender, batch_size=8", "pairloop"
Scores = list[list[float]]
Way = Callable[[list[str], list[list[str]]], Scores]

VOCABULARY = 128_005
"""Tokens of PairRM: DeBERTa-v3's, [MASK] and the four that mark a prompt and its responses."""

SHAPE = {
    "hidden_size": 768,
    "num_hidden_layers": 6,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
    "position_buckets": 256,
    "relative_attention": True,
    "share_att_key": True,
    "pos_att_type": ["p2c", "c2p"],
    "norm_rel_ebd": "layer_norm",
    "position_biased_input": False,
    "type_vocab_size": 0,
    "layer_norm_eps": 1e-7,
}
"""config.json of microsoft/deberta-v3-small, but for the dropout and the vocabulary."""


@click.command()
@click.option("--prompts", default=64, show_default=True, help="Prompts.")
@click.option("--n", default=5, show_default=True, help="Responses per prompt.")
@click.option("--longest", default=64, show_default=True, help="Longest text in words, which are a token each.")
@click.option("--batch-tokens", default=4096, show_default=True, help="As rank.batch_tokens in params.yaml.")
@click.option("--threads", default=0, help="CPU threads; 0 leaves torch's choice.")
def main(prompts: int, n: int, longest: int, batch_tokens: int, threads: int) -> None:
    """Comparisons per second of three ways to rank the same responses, and how far their scores differ.

    The shorter the texts, the further ahead Pairloop is: the package projects all 512 relative positions anew for
    every comparison and layer.
    """
    import torch

    torch.set_num_threads(threads or torch.get_num_threads())
    with TemporaryDirectory() as folder:
        words = write_checkpoint(Path(folder))
        ways = rankers(Path(folder), batch_tokens)
    asked = texts(words, prompts, n, longest)
    for warm_up in ways.values():
        warm_up(asked[0][:1], asked[1][:1])
    seconds, scores = taken_in_turns(ways, *asked)
    tokens = sum(len(text.split()) for own in asked[1] for text in own) / (prompts * n)
    click.echo(f"{prompts} prompts x {n} responses of {tokens:.0f} words, {torch.get_num_threads()} threads")
    click.echo(table(seconds, scores, prompts * n * (n - 1)))


def taken_in_turns(
    ways: dict[str, Way], prompts: list[str], candidates: list[list[str]]
) -> tuple[dict[str, float], dict[str, Scores]]:
    """Seconds and scores of each way; eight prompts a turn, so that other work on the machine slows all alike."""
    seconds = dict.fromkeys(ways, 0.0)
    scores: dict[str, Scores] = {name: [] for name in ways}
    for first in range(0, len(prompts), 8):
        for name, way in ways.items():
            start = time.perf_counter()
            scores[name] += way(prompts[first : first + 8], candidates[first : first + 8])
            seconds[name] += time.perf_counter() - start
    return seconds, scores


def rankers(folder: Path, batch_tokens: int) -> dict[str, Way]:
    """The ways to compare: each takes prompts and candidates and returns scores."""
    from pairloop.rankers.pairrm.llm_blender import LLMBlender
    from pairloop.rankers.pairrm.ranker import PairRM

    package, ours = LLMBlender(folder).blender, PairRM(folder, "float32", batch_tokens)

    def of_the_package(batch_size: int) -> Way:
        settings = {"return_scores": True, "batch_size": batch_size, "disable_tqdm": True}
        return lambda prompts, candidates: package.rank(prompts, candidates, **settings).tolist()

    return {ONE: of_the_package(1), EIGHT: of_the_package(8), PAIRLOOP: ours.score}


def texts(words: list[str], prompts: int, n: int, longest: int) -> tuple[list[str], list[list[str]]]:
    """Prompts and responses of 5 to `longest` words each: as many of 5 to 10 as of 10 to 20, and so on."""
    draw = random.Random(0)

    def text() -> str:
        return " ".join(draw.choices(words, k=round(5 * (longest / 5) ** draw.random())))

    return [text() for _ in range(prompts)], [[text() for _ in range(n)] for _ in range(prompts)]


def write_checkpoint(folder: Path) -> list[str]:
    """Random weights in PairRM-hf's layout, and the words that its tokenizer reads as one token each."""
    import torch
    from safetensors.torch import save_file
    from torch import nn
    from transformers import DebertaV2Config, DebertaV2Model

    words = write_tokenizer(folder / "tokenizer.json")
    torch.manual_seed(0)
    config = DebertaV2Config(vocab_size=VOCABULARY, **SHAPE)
    body, hidden = DebertaV2Model(config), config.hidden_size
    head = nn.Sequential(nn.Dropout(), nn.Linear(2 * hidden, hidden), nn.Tanh(), nn.Dropout(), nn.Linear(hidden, 1))
    parts = {f"pretrained_model.{name}": value for name, value in body.state_dict().items()}
    parts |= {f"head_layer.{name}": value for name, value in head.state_dict().items()}
    save_file({name: value.contiguous() for name, value in parts.items()}, folder / "model.safetensors")
    stated = {"model_type": "deberta-v2", "vocab_size": VOCABULARY, "n_tasks": 1, **SHAPE}
    (folder / "config.json").write_text(json.dumps(stated))
    return words


def write_tokenizer(path: Path) -> list[str]:
    """A unigram tokenizer of DeBERTa-v3's size and make, over invented words."""
    from tokenizers import AddedToken, Tokenizer, pre_tokenizers, processors
    from tokenizers.models import Unigram

    syllables = [a + b for a in "bdfgklmnprst" for b in ("a", "e", "i", "o", "u")]
    special, added = ["[PAD]", "[CLS]", "[SEP]", "[UNK]"], ["source", "candidate1", "candidate2", "candidate"]
    words = ["".join(parts) for parts in islice(product(syllables, repeat=3), VOCABULARY - 9)]
    pieces: list[tuple[str, float]] = [(token, 0.0) for token in special] + [(f"▁{word}", -9.0) for word in words]
    tokenizer = Tokenizer(Unigram(pieces, unk_id=3))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")
    tokenizer.add_special_tokens([*special, "[MASK]"])
    tokenizer.add_tokens([AddedToken(f"<|{name}|>", normalized=True, special=False) for name in added])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    assert tokenizer.get_vocab_size() == VOCABULARY
    tokenizer.save(str(path))
    return words


def table(seconds: dict[str, float], scores: dict[str, Scores], comparisons: int) -> str:
    """Times, rates, and how much faster Pairloop is; then the largest difference to the scores at batch size 1."""
    lines = [f"{'':<28}{'seconds':>9}{'pairs/s':>9}{'pairloop':>10}{'difference':>12}"]
    for name, taken in seconds.items():
        furthest = difference(scores[name], scores[ONE])
        times = f"{taken / seconds[PAIRLOOP]:.2f} x"
        lines.append(f"{name:<28}{taken:>9.1f}{comparisons / taken:>9.1f}{times:>10}{furthest:>12.1e}")
    return "\n".join(lines)


def difference(found: Scores, expected: Scores) -> float:
    """The largest between two scores of the same response."""
    pairs: Any = zip(found, expected, strict=True)
    return max(abs(a - b) for own, other in pairs for a, b in zip(own, other, strict=True))


if __name__ == "__main__":
    main()
