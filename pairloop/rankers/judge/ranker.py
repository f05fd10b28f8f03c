"""A language model as the ranker: it gives points, or says which of two responses is better."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Protocol

from pairloop.files.records import Row
from pairloop.rankers import advantages
from pairloop.rankers.judge import rubrics
from pairloop.samplers import Request, Sampler
from pairloop.work.shards import seed_of


@dataclass(frozen=True)
class Verdict:
    """What a judge wrote, and what it cost."""

    text: str
    """The whole answer."""

    prompt_tokens: int = 0
    """Tokens of the question, where the server counts them."""

    completion_tokens: int = 0
    """Tokens of the answer."""

    retried: int = 0
    """Times that the question was sent again."""

    cut_off: bool = False
    """Whether the answer ended at the limit of its tokens."""


class Asker(Protocol):
    """Whoever puts questions to a language model."""

    def ask(self, questions: Sequence[str]) -> list[Verdict]:
        """One verdict for each question, in their order."""
        ...


@dataclass(frozen=True)
class LocalJudge:
    """Asks a model on this machine: any, or the policy itself. A question's text never becomes a control token."""

    sampler: Sampler
    """The model; what it has said before is not asked again where the sampler keeps it."""

    def ask(self, questions: Sequence[str]) -> list[Verdict]:
        """As `Asker.ask`; the same question has the same verdict."""
        requests = [Request(question, (seed_of("judge", question),)) for question in questions]
        return [
            Verdict(said.text, completion_tokens=len(said.token_ids), cut_off=said.finish_reason == "length")
            for (said,) in self.sampler.sample(requests)
        ]


@dataclass(frozen=True)
class Judged:
    """What a judge found about the responses to one prompt."""

    scores: list[float]
    """One for each response; relative to the others where responses were compared."""

    comparisons: list[list[float]] | None
    """[i][j] is 1 where response i, shown first, beats response j, -1 where it loses, 0 at a tie; None for points."""

    counts: dict[str, int]
    """`requests`, `unparsable`, `cut_off` (how many of those ended at the limit), `prompt_tokens`,
    `completion_tokens`, `retried`."""


@dataclass(frozen=True)
class Judge:
    """Ranks by asking a language model. Responses with the same text are asked about once.

    A verdict that cannot be read is counted, and nothing is made up for it. With points, such a response gets the mean
    of the prompt's others, so that it is neither the best nor the worst; where none can be read, all get 0 and tie.
    Comparing two, it counts as a tie.
    """

    asker: Asker
    """Who puts the questions."""

    rubric: str
    """`additive`: 1 to 5 points for each response. `pairwise`: which of two, in both orders, since judges favour a
    place; the score is the mean over all n responses of M_ij - M_ji, so that favour cancels."""

    def score(self, prompts: Sequence[str], candidates: Sequence[Sequence[str]]) -> list[list[float]]:
        """As `Ranker.score`: points, or from -2 to 2."""
        return [found.scores for found in self.judged(prompts, candidates)]

    def judged(self, prompts: Sequence[str], candidates: Sequence[Sequence[str]]) -> list[Judged]:
        """Scores with the comparisons behind them and what the judge cost, for each prompt."""
        cases = [_case(self.rubric, prompt, texts) for prompt, texts in zip(prompts, candidates, strict=True)]
        verdicts = iter(self.asker.ask([question for case in cases for question in case.questions]))
        return [case.read([next(verdicts) for _ in case.questions], case.texts) for case in cases]


@dataclass(frozen=True)
class _Case:
    """The questions about one prompt, and how their verdicts become scores."""

    texts: Sequence[str]
    questions: list[str]
    read: Callable[[list[Verdict], Sequence[str]], Judged] = field(repr=False)


def _case(rubric: str, prompt: str, texts: Sequence[str]) -> _Case:
    different = list(dict.fromkeys(texts))
    if rubric == "additive":
        return _Case(texts, [rubrics.additive(prompt, text) for text in different], _points)
    return _Case(texts, [rubrics.pairwise(prompt, *both) for both in _ordered_pairs(different)], _preferences)


def _ordered_pairs(texts: Sequence[str]) -> Iterator[tuple[str, str]]:
    return ((first, second) for first in texts for second in texts if first != second)


def _points(verdicts: list[Verdict], texts: Sequence[str]) -> Judged:
    found = [rubrics.points(verdict.text, verdict.cut_off) for verdict in verdicts]
    read = [value for value in found if value is not None]
    neutral = fmean(read) if read else 0.0
    score_of = dict(
        zip(dict.fromkeys(texts), [neutral if value is None else float(value) for value in found], strict=True)
    )
    return Judged([score_of[text] for text in texts], None, _counts(verdicts, found))


def _preferences(verdicts: list[Verdict], texts: Sequence[str]) -> Judged:
    found = [rubrics.preference(verdict.text, verdict.cut_off) for verdict in verdicts]
    said = dict(zip(_ordered_pairs(list(dict.fromkeys(texts))), found, strict=True))
    matrix = [[float(said.get((first, second)) or 0) for second in texts] for first in texts]
    return Judged(advantages(matrix), matrix, _counts(verdicts, found))


def counted(rows: Sequence[Row]) -> dict[str, int] | None:
    """What a judge was asked and could not answer, over all rows of `scoring.score`; None where none was asked."""
    found = [row["judge"] for row in rows if row["judge"] is not None]
    return {name: sum(count[name] for count in found) for name in found[0]} if found else None


def unread(counts: Mapping[str, int] | None, max_new_tokens: int) -> str | None:
    """A sentence about the verdicts that could not be read; None where all could.

    Args:
        counts: as `Judged.counts`; None where no judge was asked.
        max_new_tokens: `judge.max_new_tokens`.
    """
    if not counts or not counts["unparsable"]:
        return None
    told = f"judge: {counts['unparsable']} of {counts['requests']} verdicts cannot be read"
    if not counts["cut_off"]:
        return f"{told}: the judge does not keep to the form that it is asked for"
    return f"{told}, {counts['cut_off']} of them cut off at judge.max_new_tokens ({max_new_tokens}): raise it"


def _counts(verdicts: Sequence[Verdict], found: Sequence[int | None]) -> dict[str, int]:
    lost = [verdict for verdict, value in zip(verdicts, found, strict=True) if value is None]
    sums = {
        name: sum(getattr(verdict, name) for verdict in verdicts)
        for name in ("prompt_tokens", "completion_tokens", "retried")
    }
    cut_off = sum(verdict.cut_off for verdict in lost)
    return {"requests": len(verdicts), "unparsable": len(lost), "cut_off": cut_off} | sums
