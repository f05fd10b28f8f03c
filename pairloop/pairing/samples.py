"""Prompts with their responses as readable JSON, for the report."""

import json
from collections.abc import Mapping, Sequence, Set
from typing import Any

from pairloop.files.records import SIDES, Row


def sample(
    row: Row, own: Sequence[Row], stated: Mapping[str, str | None], reasons: Mapping[str, str], test: Set[str]
) -> dict[str, Any]:
    """One prompt with everything that happened to it.

    Args:
        row: of records.RANKING.
        own: the pairs that were made from it.
        stated: the prompts' constraints as JSON or None, by prompt_id; published prompts state none.
        reasons: why a prompt gave no pair, by prompt_id.
        test: prompt_ids that are held out.
    """
    prompt_id = row["prompt_id"]
    constraints = stated.get(prompt_id)
    sides = {side: row["responses"].index(own[-1][side][1]["content"]) if own else None for side in SIDES}
    return {
        "prompt": row["prompt"],
        "constraints": json.loads(constraints) if constraints else None,
        "responses": row["responses"],
        "scores": [round(score, 4) for score in row["scores"]],
        "finish_reasons": row["finish_reasons"],
        **sides,
        "reason": reasons.get(prompt_id),
        "split": ("test" if prompt_id in test else "train") if own else None,
    }
