"""One answer of each of several models to a prompt: the only one, or the best of several by a ranker."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from pairloop.rankers import scoring
from pairloop.samplers import Request, Response, Sampler
from pairloop.work import shards

STREAM = "chat"
"""What the random streams depend on beside the seed, the prompt and the answer's index: every model's are the same."""


@dataclass(frozen=True)
class Picked:
    """A model's answer."""

    response: Response
    """What it said."""

    score: float | None = None
    """What the ranker gave it, to be compared with the other models' for this prompt; None where nobody ranked."""

    others: Sequence[float] = ()
    """Scores of all answers that it was picked from, itself among them."""


def answer(prompt: str, samplers: Mapping[str, Sampler], seed: int) -> dict[str, Picked]:
    """The answer of every model, by its name."""
    return {name: Picked(own[0]) for name, own in _sampled(prompt, samplers, seed, 1).items()}


def best(
    prompt: str, samplers: Mapping[str, Sampler], seed: int, count: int, ranking: scoring.Ranking
) -> dict[str, Picked]:
    """Of every model's `count` answers the one that the ranker likes best; of equals the first.

    All models' answers are ranked together, so that the scores compare even where a ranker compares answers.

    Raises:
        RankingError: a score is not a finite number.
    """
    said = _sampled(prompt, samplers, seed, count)
    texts = [response.text for own in said.values() for response in own]
    row = {"prompt": prompt, "responses": texts, "constraints": None}
    # What people type is not kept.
    with TemporaryDirectory() as scratch:
        ((found,),) = scoring.score([row], ranking, 1, Path(scratch))
    scores = iter(found["scores"])
    return {name: _best(own, [next(scores) for _ in own]) for name, own in said.items()}


def _sampled(prompt: str, samplers: Mapping[str, Sampler], seed: int, count: int) -> dict[str, list[Response]]:
    request = Request(prompt, tuple(shards.seed_of(seed, STREAM, prompt, k) for k in range(count)))
    return {name: sampler.sample([request])[0] for name, sampler in samplers.items()}


def _best(responses: Sequence[Response], scores: Sequence[float]) -> Picked:
    place = max(range(len(scores)), key=scores.__getitem__)
    return Picked(responses[place], scores[place], scores)
