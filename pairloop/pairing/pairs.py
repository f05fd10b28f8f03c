"""The pairs of an iteration: rows for training, and which of them are held out."""

from collections import Counter
from collections.abc import Iterable

from pairloop.files.records import Row
from pairloop.pairing.choosing import seen
from pairloop.pairing.rules import Rule
from pairloop.work.shards import seed_of


def pair(ranked: Iterable[Row], rule: Rule) -> tuple[list[Row], dict[str, str]]:
    """Preference pairs of ranked responses.

    Args:
        ranked: rows of records.RANKING.
        rule: as `rules.settle` gives it.

    Returns:
        Rows of records.PAIR in the order of `ranked`, and for each prompt_id that gave no pair the reason: `empty` and
        `truncated` (fewer than two responses are left without those, or none that may be chosen beats another),
        `fewest_words` (fewer than two have so many), `identical` (all texts are the same), `tie` (all scores are),
        `min_margin` (no pair's scores differ so much), `max_length_ratio` (no such pair's responses are so close in
        length) and `keep_share` (the share of the prompts that is kept have larger margins).
    """
    pairs: list[Row] = []
    reasons: dict[str, str] = {}
    for row in ranked:
        found = rule.choice(row["prompt_id"], seen(row))
        pairs += [_pair_row(row, chosen, rejected) for chosen, rejected in found.pairs]
        if found.reason:
            reasons[row["prompt_id"]] = found.reason
    return pairs, reasons


def count(reasons: dict[str, str]) -> dict[str, int]:
    """How many prompts were dropped for each reason."""
    return dict(sorted(Counter(reasons.values()).items()))


def _pair_row(row: Row, chosen: int, rejected: int) -> Row:
    return {
        "prompt_id": row["prompt_id"],
        "prompt": row["prompt"],
        "chosen": _conversation(row["prompt"], row["responses"][chosen]),
        "rejected": _conversation(row["prompt"], row["responses"][rejected]),
        "all_generated_responses": row["responses"],
        "all_rm_scores": row["scores"],
    }


def _conversation(prompt: str, response: str) -> list[dict[str, str]]:
    return [{"content": prompt, "role": "user"}, {"content": response, "role": "assistant"}]


def test_prompts(prompt_ids: Iterable[str], test_fraction: float, seed: int) -> set[str]:
    """Which of the prompts that gave pairs are held out: at least one if there are two.

    It depends on the seed and their ids, not on their order or the prompts' scores. All pairs of a prompt go together.
    """
    prompts = sorted(set(prompt_ids), key=lambda prompt_id: seed_of(seed, "test", prompt_id))
    return set(prompts[: max(1, round(test_fraction * len(prompts))) if len(prompts) > 1 else 0])
