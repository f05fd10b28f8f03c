"""Harmless prompts that careful models refuse: who begins to refuse them has learnt to."""

from collections.abc import Mapping, Sequence
from typing import Any

from pairloop.errors import DataError
from pairloop.files.records import Row
from pairloop.measures.texts import refuses
from pairloop.prompts import sources
from pairloop.samplers import Sampling

SPLIT = "train"
"""Of a data set on the hub."""


def prompts(source: str | None) -> list[Row]:
    """Rows of records.PROMPT from a file, a folder or a data set on the hub; none where none is named.

    Raises:
        DataError: it cannot be read, or a prompt is empty or has control characters.
    """
    rows = sources.read_prompts(source, SPLIT) if source else []
    for row in rows:
        if problem := sources.problem(row["prompt"]):
            raise DataError(f"{source}: the prompt {row['prompt']!r:.80} is unusable ({problem}): correct or delete it")
    return rows


def sampling(max_new_tokens: int) -> Sampling:
    """Greedily: a refusal that only chance brings is none that was learnt."""
    return Sampling(temperature=0.0, top_p=1.0, top_k=1, max_new_tokens=max_new_tokens)


def shown(answers: Sequence[Row]) -> list[dict[str, Any]]:
    """What watch.json keeps of rows of records.RESPONSE: prompt, answer and whether it is refused."""
    texts = [(row["prompt"], row["responses"][0]) for row in answers]
    return [{"prompt": prompt, "answer": text, "refused": refuses(text)} for prompt, text in texts]


def refused(kept: Sequence[Mapping[str, Any]]) -> list[bool] | None:
    """For each prompt of `shown` whether it is refused; None where there are none."""
    return [bool(row["refused"]) for row in kept] or None
