"""How fast judges read answers with the frozen base: text by text, each judge by itself, and together.

    python -m benchmarks.judging --clock cpu --threads 1

`specialist` needs a middle layer's mean states over an answer, `likelihood` how likely the answer is after its prompt
and after an empty one. The answers are texts of other prompts: what reading costs does not depend on what they say. The
ways take turns, some prompts at a time, so that other work on the machine slows all of them alike.
"""

from collections.abc import Callable, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import click

from benchmarks.sampling import BASE, BASE_SHA256, CLOCKS, located, spread

PLAIN, EACH, TOGETHER = "text by text", "each judge by itself", "together"
Found = list[list[float]]
"""For each answer the score of `likelihood`, then the mean states as shares of their length."""
Way = Callable[[Sequence[str], Sequence[Sequence[str]]], Found]

AT_A_TIME = 20
"""Prompts in a turn."""


@click.command()
@click.option("--model", default=BASE, show_default=True, help="Reference, as base.model in params.yaml.")
@click.option("--sha256", default=None, help="Checksum of the wheel of a pypi: reference.")
@click.option("--pool", type=Path, default=Path("data/prompts/pool.jsonl"), show_default=True, help="A row per prompt.")
@click.option("--prompts", default=60, show_default=True, help="Prompts, spread evenly over the pool.")
@click.option("--n", default=1, show_default=True, help="Answers per prompt.")
@click.option("--characters", default=220, show_default=True, help="Of an answer.")
@click.option("--threads", default=0, help="CPU threads; 0 leaves torch's choice.")
@click.option("--clock", type=click.Choice(list(CLOCKS)), default="wall", show_default=True)
def main(
    model: str, sha256: str | None, pool: Path, prompts: int, n: int, characters: int, threads: int, clock: str
) -> None:
    """Seconds of three ways to read the same answers for two judges, and how far what they find differs."""
    import torch

    from pairloop.models import references

    torch.set_num_threads(threads or torch.get_num_threads())
    folder = located(model, sha256 or (BASE_SHA256 if model == BASE else None))
    ways = readers(references.load_model(folder, "float32"), references.load_tokenizer(folder))
    asked = spread(pool, prompts)
    texts = " ".join(asked) * (1 + characters)
    answers = [
        [texts[start : start + characters] for start in range(97 * i * n, 97 * (i + 1) * n, 97)] for i in range(prompts)
    ]
    seconds, found = taken_in_turns(ways, asked, answers, CLOCKS[clock])
    click.echo(f"{prompts} prompts x {n} answers of {characters} characters, {torch.get_num_threads()} threads")
    for name, taken in seconds.items():
        pairs = zip(chain(*found[name]), chain(*found[PLAIN]), strict=True)
        apart = max(abs(own - plain) for own, plain in pairs)
        click.echo(f"{name:<24}{taken:>8.1f} s {seconds[PLAIN] / taken:>6.2f} x   differs by {apart:.1e} at most")


def taken_in_turns(
    ways: dict[str, Way], prompts: Sequence[str], answers: Sequence[Sequence[str]], clock: Callable[[], float]
) -> tuple[dict[str, float], dict[str, Found]]:
    """Seconds of each way, and what it found."""
    seconds, found = dict.fromkeys(ways, 0.0), {name: [] for name in ways}
    for first in range(0, len(prompts), AT_A_TIME):
        for name, way in ways.items():
            start = clock()
            found[name] += way(prompts[first : first + AT_A_TIME], answers[first : first + AT_A_TIME])
            seconds[name] += clock() - start
    return seconds, found


def readers(model: Any, tokenizer: Any) -> dict[str, Way]:
    """The ways to compare."""
    from pairloop.rankers.reading import Asked, Reader

    reader, layer = Reader(model, tokenizer, 4096), round(0.667 * model.config.num_hidden_layers)
    judges = [Asked(frozenset([layer])), Asked(given=True, alone=True)]

    def read(asked: Sequence[Any]) -> Way:
        def way(prompts: Sequence[str], answers: Sequence[Sequence[str]]) -> Found:
            passes = [[one for own in reader.read(prompts, answers, each) for one in own] for each in asked]
            return [
                row(own[-1].given, own[-1].alone, own[-1].tokens, own[0].states[layer])
                for own in zip(*passes, strict=True)
            ]

        return way

    together = Asked(frozenset([layer]), given=True, alone=True)
    return {PLAIN: text_by_text(model, tokenizer, layer), EACH: read(judges), TOGETHER: read([together])}


def row(given: float, alone: float, tokens: int, states: Any) -> list[float]:
    """What the judges need of an answer, on scales of about 1."""
    import numpy as np

    return [(given - alone / 2) / tokens, *(states / np.linalg.norm(states)).tolist()]


def text_by_text(model: Any, tokenizer: Any, layer: int) -> Way:
    """Two plain passes of transformers over every text: after its prompt, and after an empty one."""
    import torch

    from pairloop.models import chat

    def likely(prompt: str, answer: str) -> tuple[float, Any]:
        told, ids = chat.encode_prompt(tokenizer, prompt), chat.encode_response(tokenizer, answer, end=False)
        with torch.inference_mode():
            output = model(torch.tensor([told + ids]), output_hidden_states=True)
        predicted = output.logits[0, len(told) - 1 : -1].log_softmax(-1)
        log_p = float(predicted.gather(1, torch.tensor(ids)[:, None]).sum())
        return log_p, output.hidden_states[layer][0, len(told) :].mean(0)

    def way(prompts: Sequence[str], answers: Sequence[Sequence[str]]) -> Found:
        found = []
        for prompt, own in zip(prompts, answers, strict=True):
            for answer in own:
                given, states = likely(prompt, answer)
                tokens = len(chat.encode_response(tokenizer, answer, end=False))
                found.append(row(given, likely("", answer)[0], tokens, states.numpy()))
        return found

    return way


if __name__ == "__main__":
    main()
