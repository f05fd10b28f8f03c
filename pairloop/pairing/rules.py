"""All prompts of an iteration: the settings that only all of them together decide."""

import math
import random
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from pairloop.pairing.choosing import Choice, Response, choose
from pairloop.params import Pair
from pairloop.work.shards import seed_of

DOUBLINGS, HALVINGS = 30, 20
"""At most so often the penalty is doubled until it is too large, and then the interval halved."""

Prompts = Mapping[str, Sequence[Response]]
"""For each prompt_id its responses, as `choosing.seen` gives them."""


@dataclass(frozen=True)
class Rule:
    """How the responses of an iteration become pairs, every number known."""

    params: Pair
    """Strategy and filters."""

    penalty: float
    """What `pair.length_penalty` is, or was found to be."""

    kept: frozenset[str] | None
    """The prompts with the largest margins; None where all are kept."""

    seed: int
    """The run's; only `best_random` draws."""

    iteration: int
    """Part of each draw's seed."""

    def choice(self, prompt_id: str, responses: Sequence[Response]) -> Choice:
        """What a prompt gives; `keep_share` where others have larger margins."""
        draw = random.Random(seed_of(self.seed, "pair", self.iteration, prompt_id))
        found = choose(responses, self.params, self.penalty, draw)
        if found.pairs and self.kept is not None and prompt_id not in self.kept:
            return Choice((), 0.0, "keep_share")
        return found


def needs_all(params: Pair) -> bool:
    """Whether what becomes of a prompt depends on the others."""
    return params.length_penalty == "auto" or params.keep_share < 1


def settle(params: Pair, seed: int, iteration: int, prompts: Prompts) -> Rule:
    """The rule that the parameters make for these prompts.

    Args:
        params: the section `pair`.
        seed: the run's.
        iteration: its number.
        prompts: all of the iteration's, where `needs_all`; else none are looked at.
    """
    rule = Rule(params, 0.0, None, seed, iteration)
    stated = params.length_penalty
    rule = replace(rule, penalty=_balanced(rule, prompts) if stated == "auto" else stated)
    if params.keep_share == 1:
        return rule
    return replace(rule, kept=_largest_margins(rule, _choices(rule, prompts)))


def _choices(rule: Rule, prompts: Prompts) -> dict[str, Choice]:
    return {prompt_id: rule.choice(prompt_id, own) for prompt_id, own in prompts.items()}


def _largest_margins(rule: Rule, found: Mapping[str, Choice]) -> frozenset[str]:
    """The share of the prompts with pairs that is kept, at least one; of equal margins by a draw of the prompt."""
    margins = {prompt_id: choice.margin for prompt_id, choice in found.items() if choice.pairs}
    ordered = sorted(margins, key=lambda prompt_id: (-margins[prompt_id], seed_of(rule.seed, "keep", prompt_id)))
    return frozenset(ordered[: math.ceil(rule.params.keep_share * len(ordered))])


def _balanced(rule: Rule, prompts: Prompts) -> float:
    """The penalty with which chosen responses have on average as many words as rejected ones.

    Bisection: the larger the penalty, the shorter is what is chosen. It is below 0 where without it the rejected
    responses are the longer ones. The difference falls in steps, one for each pair that changes, so that it may only
    come near 0: of what was tried, the penalty that came nearest is taken. After DICE (Chen et al., arXiv 2406.09760;
    sail-sg/dice), which tries penalties one by one.
    """
    start = _longer(rule, prompts)
    tried = {0.0: start}

    def too_small(size: float) -> bool:
        penalty = math.copysign(size, start)
        tried[penalty] = _longer(replace(rule, penalty=penalty), prompts)
        return tried[penalty] * start > 0

    near, far = 0.0, _spread(prompts)
    for _ in range(DOUBLINGS):
        if start == 0 or not too_small(far):
            break
        near, far = far, 2 * far
    for _ in range(HALVINGS):
        if 0 in tried.values():
            break
        middle = (near + far) / 2
        near, far = (middle, far) if too_small(middle) else (near, middle)
    return min(tried, key=lambda penalty: (abs(tried[penalty]), abs(penalty)))


def _longer(rule: Rule, prompts: Prompts) -> float:
    """Words of the chosen responses less those of the rejected, on average over the pairs; 0 where there are none."""
    found = _choices(rule, prompts)
    kept = _largest_margins(rule, found)
    told = {prompt_id: {response.index: response.words for response in prompts[prompt_id]} for prompt_id in kept}
    return statistics.fmean(
        [told[name][chosen] - told[name][rejected] for name in kept for chosen, rejected in found[name].pairs] or [0]
    )


def _spread(prompts: Prompts) -> float:
    """How far the scores of a prompt lie apart, on average: the unit in which penalties are tried."""
    found = [statistics.pstdev([response.score for response in own]) for own in prompts.values() if own]
    return (statistics.fmean(found) if found else 0.0) or 1.0
