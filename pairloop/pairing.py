"""Scores to preferences: which response of a prompt is chosen, which rejected, and which prompts give no pair."""

import random
import statistics
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from math import log

from pairloop.files.records import Row
from pairloop.measures.statistics import length_correlation, mean_of_defined
from pairloop.measures.texts import refuses, words
from pairloop.params import Pair
from pairloop.work.shards import seed_of

Candidate = tuple[float, int]
"""A response's score, after the length penalty, and its index."""


def pair(ranked: Iterable[Row], params: Pair, seed: int, iteration: int) -> tuple[list[Row], dict[str, str]]:
    """Preference pairs of ranked responses.

    Args:
        ranked: rows of records.RANKING.
        params: strategy and filters.
        seed: the run's seed; only `best_random` draws.
        iteration: number of the iteration, part of each draw's seed.

    Returns:
        Rows of records.PAIR in the order of `ranked`, and for each prompt_id that gave no pair the reason: `empty` and
        `truncated` (fewer than two responses are left without those), `identical` (all texts are the same), `tie`
        (all scores are), `min_margin` (no pair's scores differ so much) and `max_length_ratio` (no such pair's
        responses are so close in length).
    """
    pairs: list[Row] = []
    reasons: dict[str, str] = {}
    for row in ranked:
        draw = random.Random(seed_of(seed, "pair", iteration, row["prompt_id"]))
        found, reason = choose(row, params, draw)
        pairs += [_pair_row(row, best, worst) for best, worst in found]
        if reason:
            reasons[row["prompt_id"]] = reason
    return pairs, reasons


def count(reasons: dict[str, str]) -> dict[str, int]:
    """How many prompts were dropped for each reason."""
    return dict(sorted(Counter(reasons.values()).items()))


def choose(row: Row, params: Pair, draw: random.Random) -> tuple[list[tuple[int, int]], str | None]:
    """Indices of chosen and rejected responses of one prompt, or the reason why there are none."""
    texts = row["responses"]
    usable = [i for i, text in enumerate(texts) if text.strip()]
    if len(usable) < 2:
        return [], "empty"
    if params.drop_truncated:
        usable = [i for i in usable if row["finish_reasons"][i] != "length"]
        if len(usable) < 2:
            return [], "truncated"
    if len({texts[i] for i in usable}) == 1:
        return [], "identical"
    ordered = sorted(_penalised(row, usable, params.length_penalty), key=lambda c: (-c[0], c[1]))
    if ordered[0][0] == ordered[-1][0]:
        return [], "tie"
    apart = [
        (best[1], worst[1])
        for best, worst in _pick(ordered, params, draw)
        if best[0] > worst[0] and best[0] - worst[0] >= params.min_margin and texts[best[1]] != texts[worst[1]]
    ]
    pairs = [(i, j) for i, j in apart if _alike_in_length(texts[i], texts[j], params.max_length_ratio)]
    return (pairs, None) if pairs else ([], "max_length_ratio" if apart else "min_margin")


def _alike_in_length(chosen: str, rejected: str, ratio: float) -> bool:
    if ratio == 0:
        return True
    shorter, longer = sorted(len(words(text)) for text in (chosen, rejected))
    return longer <= ratio * shorter


def _penalised(row: Row, usable: Sequence[int], penalty: float) -> list[Candidate]:
    scores = [row["scores"][i] for i in usable]
    if penalty == 0:
        return list(zip(scores, usable, strict=True))
    lengths = [log(len(row["responses"][i])) for i in usable]
    centre, spread = statistics.fmean(lengths), statistics.pstdev(lengths) or 1.0
    return [
        (score - penalty * (length - centre) / spread, i)
        for score, length, i in zip(scores, lengths, usable, strict=True)
    ]


def _pick(ordered: list[Candidate], params: Pair, draw: random.Random) -> list[tuple[Candidate, Candidate]]:
    """Best and worst candidates of a list that falls from best to worst and has at least two different scores."""
    match params.strategy:
        case "best_random":
            return [(ordered[0], draw.choice([lower for lower in ordered if lower[0] < ordered[0][0]]))]
        case "best_k_worst_k":
            k = min(params.k, len(ordered) // 2)
            return list(zip(ordered[:k], reversed(ordered[-k:]), strict=True))
        case _:
            return [(ordered[0], ordered[-1])]


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


class Summary:
    """Figures about pairs, gathered a batch at a time: numbers stay in memory, texts do not.

    Beside the pairs stand those that there would be without the length penalty and the length limit.
    """

    def __init__(self, params: Pair, seed: int, iteration: int) -> None:
        self._params, self._seed, self._iteration = params, seed, iteration
        self._figures: list[tuple[float, ...]] = []
        self._uncontrolled: list[tuple[float, ...]] = []
        self._correlations: list[float | None] = []
        self._uncontrolled_correlations: list[float | None] = []

    def add(self, ranked: Sequence[Row], pairs: Sequence[Row]) -> None:
        """Count ranked rows and the pairs made from them."""
        free = self._params.model_copy(update={"length_penalty": 0.0, "max_length_ratio": 0.0})
        self._figures += map(_figures, pairs)
        self._uncontrolled += map(_figures, pair(ranked, free, self._seed, self._iteration)[0])
        self._correlations += _length_correlations(ranked, self._params.length_penalty)
        self._uncontrolled_correlations += _length_correlations(ranked, 0.0)

    def result(self) -> dict[str, float | None]:
        """The figures.

        Returns:
            Means over pairs: `mean_margin` in the ranker's unit, `chosen_words` and `rejected_words`, and
            `chosen_refusals` and `rejected_refusals`, the shares that refuse to answer; 0 where there are no pairs.
            `length_correlation`, the mean rank correlation within a prompt of penalised score and number of words; and
            with the prefix `uncontrolled_` the same of the scores as they are, and `pairs`, `chosen_words` and
            `rejected_words` of pairs made with `length_penalty` and `max_length_ratio` at 0.
        """
        free = _means(self._uncontrolled)
        return _means(self._figures) | {
            "length_correlation": mean_of_defined(self._correlations),
            "uncontrolled_length_correlation": mean_of_defined(self._uncontrolled_correlations),
            "uncontrolled_pairs": len(self._uncontrolled),
            "uncontrolled_chosen_words": free["chosen_words"],
            "uncontrolled_rejected_words": free["rejected_words"],
        }


def _figures(pair: Row) -> tuple[float, ...]:
    chosen, rejected = (pair[side][1]["content"] for side in ("chosen", "rejected"))
    return margin(pair), len(words(chosen)), len(words(rejected)), refuses(chosen), refuses(rejected)


def _means(figures: Sequence[tuple[float, ...]]) -> dict[str, float | None]:
    names = ("mean_margin", "chosen_words", "rejected_words", "chosen_refusals", "rejected_refusals")
    columns = zip(*figures, strict=True) if figures else [(0.0,)] * len(names)
    return {name: statistics.fmean(column) for name, column in zip(names, columns, strict=True)}


def _length_correlations(ranked: Sequence[Row], penalty: float) -> Iterator[float | None]:
    for row in ranked:
        usable = [i for i, text in enumerate(row["responses"]) if text.strip()]
        if usable:
            scores = [score for score, _ in _penalised(row, usable, penalty)]
            yield length_correlation(scores, [row["responses"][i] for i in usable])


def margin(row: Row) -> float:
    """Score of the chosen response minus score of the rejected one."""
    scores = dict(zip(row["all_generated_responses"], row["all_rm_scores"], strict=True))
    return float(scores[row["chosen"][1]["content"]] - scores[row["rejected"][1]["content"]])
