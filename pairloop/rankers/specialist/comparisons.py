"""Pairs of answers of which one is better by construction, to fit a ranker to and to test it on. Nobody labels them."""

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from random import Random

from pairloop.errors import TrainingError
from pairloop.files.records import Row
from pairloop.rankers.specialist.spoilers import HACKS, SPOILERS, spoil
from pairloop.work.shards import seed_of

LOW, USUAL, HIGH = 0.2, 0.9, 1.5
"""Temperatures of the answers. At 1.5 a small model's text falls apart; at 0.2 it is about as good as it can be."""

Answers = Mapping[float, Sequence[str]]
"""For each temperature one answer to each of the P prompts."""

Preference = tuple[str, str, str]
"""A prompt, the response that the user prefers, and the one that is rejected."""

LEARNT = ("low_over_high", "usual_over_high", "spoiled", "preference")
"""Kinds of comparison that are fitted and, on held-out prompts, tested."""


@dataclass(frozen=True)
class Comparison:
    """Two answers to a prompt."""

    prompt: str
    better: str
    worse: str
    kind: str
    """low_over_high, usual_over_high or low_over_usual (temperatures), spoiled, preference, or a name in HACKS."""

    fitted: bool
    """Whether the ranker is fitted to it, or tested on it."""

    @property
    def usable(self) -> bool:
        """Whether the better answer says something, and not the same as the worse one."""
        return bool(self.better.strip()) and self.better.strip() != self.worse.strip()


def held_out_prompts(
    prompts: Sequence[Row], preferences: Sequence[Preference], share: float, seed: int
) -> frozenset[str]:
    """Prompts that nothing is fitted to: a share of the sampled ones, and of those that only preferences have.

    At least one and never all of each, where there are two. Depends on the seed and the prompts, not on their order.
    """
    sampled = {row["prompt"] for row in prompts}
    preferred = {prompt for prompt, _, _ in preferences} - sampled
    return _share(sampled, share, seed) | _share(preferred, share, seed)


def _share(prompts: Set[str], share: float, seed: int) -> frozenset[str]:
    ordered = sorted(prompts, key=lambda prompt: seed_of(seed, "teach", "held_out", prompt))
    return frozenset(ordered[: min(max(1, round(share * len(ordered))), len(ordered) - 1)] if ordered else ())


def compare(prompts: Sequence[Row], answers: Answers, held_out: Set[str], spoilers: int, seed: int) -> list[Comparison]:
    """Constructed comparisons of each prompt's answers. Some may not be usable.

    Args:
        prompts: P rows with prompt_id and prompt.
        answers: at LOW, USUAL and HIGH.
        held_out: prompts whose comparisons are not fitted. Only these have low_over_usual, which is never fitted.
        spoilers: spoiled versions of each answer at LOW; each kind is used equally often.
        seed: the run's seed.

    Raises:
        TrainingError: fewer than two prompts have an answer at LOW that says something.
    """
    answered = sum(bool(text.strip()) for text in answers[LOW])
    if answered < 2:
        raise TrainingError(
            f"the base model answered {answered} of {len(prompts)} prompts at temperature {LOW}: nothing can be learnt "
            "from empty answers. Use an instruction-tuned base.model, or another rank.ranker"
        )
    made: list[Comparison] = []
    for i, row in enumerate(prompts):
        prompt, low, usual, high = row["prompt"], answers[LOW][i], answers[USUAL][i], answers[HIGH][i]
        fitted = prompt not in held_out
        made.append(Comparison(prompt, low, high, "low_over_high", fitted))
        made.append(Comparison(prompt, usual, high, "usual_over_high", fitted))
        if not fitted:
            made.append(Comparison(prompt, low, usual, "low_over_usual", False))
        if low.strip():
            draw = Random(seed_of(seed, "teach", "spoil", row["prompt_id"]))
            spoiled = spoil(prompt, low, _others(answers[LOW], i), _kinds(i * spoilers, seed), spoilers, draw)
            made += [Comparison(prompt, low, text, "spoiled", fitted) for _, text in spoiled]
    return made


def hack(good: Sequence[tuple[str, str]], held_out: Set[str]) -> list[Comparison]:
    """Each held-out good answer over what each of HACKS makes of it. Never fitted.

    Args:
        good: different prompts, each with a good answer that says something; at least two.
        held_out: prompts whose answers are used; the others lend theirs to the hacks.
    """
    made: list[Comparison] = []
    for i, (prompt, answer) in enumerate(good):
        if prompt in held_out:
            own, other = answer.strip(), good[(i + 1) % len(good)][1].strip()
            made += [Comparison(prompt, own, f(prompt, own, other), name, False) for name, f in HACKS.items()]
    return made


def _kinds(start: int, seed: int) -> list[str]:
    """All spoilers in one shuffled order that begins at another place for each prompt."""
    ordered = sorted(SPOILERS, key=lambda kind: seed_of(seed, "teach", "order", kind))
    start %= len(ordered)
    return ordered[start:] + ordered[:start]


def _others(answers: Sequence[str], i: int) -> list[str]:
    """The answers to the other prompts that say something, from the next prompt on."""
    return [text for text in [*answers[i + 1 :], *answers[:i]] if text.strip()]
