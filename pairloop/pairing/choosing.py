"""One prompt: which of its responses are chosen and rejected, or why none are."""

import random
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from math import log

from pairloop.files.records import Row
from pairloop.measures.texts import words
from pairloop.params import Pair


@dataclass(frozen=True)
class Response:
    """What decides about a response that has any text: numbers, so that those of all prompts fit in memory."""

    index: int
    """Its place among the prompt's responses."""

    text: int
    """The place of the first response with the same text."""

    score: float
    """Higher is better."""

    characters: int
    """Length, which the penalty is for."""

    words: int
    """Length, as people see it."""

    truncated: bool
    """It was cut off at the limit of tokens."""


@dataclass(frozen=True)
class Choice:
    """What a prompt gives."""

    pairs: tuple[tuple[int, int], ...]
    """Indices of the chosen and the rejected response of each pair; none where there is a reason."""

    margin: float
    """By how much the first pair's scores differ, the penalty taken off; 0 without a pair."""

    reason: str | None
    """Why there is no pair."""


def seen(row: Row) -> list[Response]:
    """The responses of a row of records.RANKING, without those that are empty."""
    texts = row["responses"]
    return [
        Response(i, texts.index(text), row["scores"][i], len(text), len(words(text)), reason == "length")
        for i, (text, reason) in enumerate(zip(texts, row["finish_reasons"], strict=True))
        if text.strip()
    ]


def penalised(responses: Sequence[Response], penalty: float) -> list[float]:
    """Scores less the penalty for each standard deviation of log length, within the prompt."""
    if penalty == 0:
        return [response.score for response in responses]
    lengths = [log(response.characters) for response in responses]
    centre, spread = statistics.fmean(lengths), statistics.pstdev(lengths) or 1.0
    return [
        response.score - penalty * (length - centre) / spread
        for response, length in zip(responses, lengths, strict=True)
    ]


def choose(responses: Sequence[Response], params: Pair, penalty: float, draw: random.Random) -> Choice:
    """Chosen and rejected responses of one prompt, or the reason why there are none.

    Args:
        responses: as `seen` gives them.
        params: strategy and filters; `length_penalty` and `keep_share`, which concern all prompts, are not read.
        penalty: what the scores lose per standard deviation of log length.
        draw: decides where the strategy leaves it to chance.
    """
    usable = list(responses)
    if len(usable) < 2:
        return _none("empty")
    if params.drop_truncated is True:
        usable = [response for response in usable if not response.truncated]
        if len(usable) < 2:
            return _none("truncated")
    usable = [response for response in usable if response.words >= params.fewest_words]
    if len(usable) < 2:
        return _none("fewest_words")
    if len({response.text for response in usable}) == 1:
        return _none("identical")
    ordered = _ordered(usable, penalty, params.tie_break)
    if params.strategy == "best_k_worst_k":
        ordered = _each_text_once(ordered)
    if ordered[0].score == ordered[-1].score:
        return _none("tie")
    ended = [response for response in ordered if not (response.truncated and params.drop_truncated == "chosen")]
    if not ended or ended[0].score == ordered[-1].score:
        return _none("truncated")
    apart = [
        (best, worst)
        for best, worst in _pick(ended, ordered, params, draw)
        if best.score > worst.score and best.score - worst.score >= params.min_margin and best.text != worst.text
    ]
    pairs = [(best, worst) for best, worst in apart if _alike_in_length(best, worst, params.max_length_ratio)]
    if not pairs:
        return _none("max_length_ratio" if apart else "min_margin")
    return Choice(tuple((b.index, w.index) for b, w in pairs), pairs[0][0].score - pairs[0][1].score, None)


def _none(reason: str) -> Choice:
    return Choice((), 0.0, reason)


def _alike_in_length(best: Response, worst: Response, ratio: float) -> bool:
    return ratio == 0 or max(best.words, worst.words) <= ratio * min(best.words, worst.words)


def _ordered(usable: Sequence[Response], penalty: float, tie_break: str) -> list[Response]:
    """With penalised scores, from best to worst; of equals the shorter first, or the one that was sampled first."""
    both = zip(usable, penalised(usable, penalty), strict=True)
    found = [Response(r.index, r.text, score, r.characters, r.words, r.truncated) for r, score in both]
    return sorted(found, key=lambda r: (-r.score, r.words if tie_break == "length" else 0, r.index))


def _each_text_once(ordered: Sequence[Response]) -> list[Response]:
    """Of each text the first response: what was sampled twice would else be learnt twice."""
    found: dict[int, Response] = {}
    for response in ordered:
        found.setdefault(response.text, response)
    return list(found.values())


def _pick(
    ended: Sequence[Response], ordered: Sequence[Response], params: Pair, draw: random.Random
) -> list[tuple[Response, Response]]:
    """Best responses of `ended`, and the worst of all; both lists fall, and the first that ended is not the worst.

    Where the scores of a pair do not differ, nor do those of the pairs after it. Of those before it no response is in
    two, since the chosen ones have higher scores than all that are rejected.
    """
    best, lower = ended[:1], [response for response in ordered if response.score < ended[0].score]
    worst = lower
    match params.strategy:
        case "best_random":
            return [(ended[0], draw.choice(lower))]
        case "best_k_worst_k":
            best = ended[: params.k]
        case "mean_minus_sigma":
            worst = [_far_below(ordered, lower)]
    return _matched(best, worst, lower if params.tie_break == "length" else [])


def _far_below(ordered: Sequence[Response], lower: Sequence[Response]) -> Response:
    """The response below the best whose score is nearest the mean less two standard deviations; of two, the lower."""
    scores = [response.score for response in ordered]
    aim = statistics.fmean(scores) - 2 * statistics.stdev(scores)
    return min(reversed(lower), key=lambda response: abs(response.score - aim))


def _matched(
    best: Sequence[Response], worst: Sequence[Response], equals: Sequence[Response]
) -> list[tuple[Response, Response]]:
    """Each of the best with one of the worst, from the last up; among `equals`, with the one nearest in length."""
    left, found = list(equals), []
    for chosen, rejected in zip(best, reversed(worst), strict=False):
        same = [response for response in left if response.score == rejected.score]
        # The nearest of those with the same score, of which there are still enough, since each pair takes one.
        taken = min(same, key=lambda r: (abs(r.words - chosen.words), r.index)) if same else rejected
        left = [response for response in left if response is not taken]
        found.append((chosen, taken))
    return found
