"""Held-out preferences of one kind: whether a model finds the chosen responses likelier, and whether it answers so.

Two looks at the same axis. What a model finds likely is read off the preferences themselves. How it answers is told by
a judge that is fitted to these preferences and to nothing else, so that no teacher of the training data has a part.
"""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pairloop.errors import DataError
from pairloop.evaluation.winrate import length_controlled
from pairloop.files.records import Row
from pairloop.measures.statistics import Estimate, estimate, outcomes
from pairloop.params import Teach
from pairloop.rankers.reading import Asked, Reader
from pairloop.rankers.specialist import fitting
from pairloop.rankers.specialist.comparisons import Comparison, Preference
from pairloop.rankers.specialist.head import Head, Specialist
from pairloop.rankers.specialist.hidden import HiddenStates, Layers

Likelihoods = list[tuple[float, float]]
"""For each preference the mean log p per token of the chosen and of the rejected response, in nats."""


@dataclass(frozen=True)
class Judge:
    """A ranker that was fitted to held-out preferences alone."""

    ranker: Specialist
    """It reads with the frozen base."""

    head: Head
    """Its layer and weights."""

    regularisation: float
    """The penalty that was chosen: scikit-learn's C."""

    accuracy: float | None
    """Share of the preferences that fits without them get right; None where there was one prompt only."""


def refuse_known(held_out: Sequence[Preference], known: Mapping[str, str], path: str) -> None:
    """Refuse held-out preferences of prompts that something was learnt from.

    Args:
        held_out: the preferences.
        known: prompts that are trained on, and where each stands.
        path: the parameter and the file of the preferences, for the message.

    Raises:
        DataError: there is such a prompt; names the first, where it stands, and how many there are.
    """
    both = [prompt for prompt in dict.fromkeys(prompt for prompt, _, _ in held_out) if prompt in known]
    if both:
        raise DataError(
            f"{path}: {len(both)} of its prompts stand in what is trained on, such as {both[0]!r:.80} in "
            f"{known[both[0]]}. What is learnt from is no test: delete them there or here"
        )


def likelihoods(held_out: Sequence[Preference], model: Any, tokenizer: Any, batch_tokens: int) -> Likelihoods:
    """How likely a model finds both responses of each preference, per token, so that length alone decides nothing.

    Args:
        held_out: P preferences.
        model: a causal language model of transformers.
        tokenizer: its tokenizer, with a chat template.
        batch_tokens: padded tokens in one forward pass.
    """
    prompts, responses = [prompt for prompt, _, _ in held_out], [list(both) for _, *both in held_out]
    found = Reader(model, tokenizer, batch_tokens).read(prompts, responses, Asked(given=True))
    return [(chosen.given / chosen.tokens, rejected.given / rejected.tokens) for chosen, rejected in found]


def measured(
    held_out: Sequence[Preference], own: Likelihoods, base: Likelihoods | None, resamples: int, seed: int
) -> Row:
    """What a model finds likely.

    Args:
        held_out: P preferences; intervals come of drawing their prompts again.
        own: of the model.
        base: of iteration 0; None: the model is iteration 0.
        resamples: behind each 95 % interval.
        seed: the run's seed.

    Returns:
        pairs; preferred: the `share` of pairs whose chosen response is the likelier one, with low and high; margin:
        by how many `nats` per token it is, on average; and, where there is a base, moved: the `share` of pairs in
        which the model is further on the side of the chosen response than iteration 0, and gain: by how many `nats`.
    """
    groups = [prompt for prompt, _, _ in held_out]

    def shown(values: Sequence[float], name: str) -> Row:
        return _shown(estimate(values, resamples, seed, groups), name)

    margins = [chosen - rejected for chosen, rejected in own]
    found = {
        "pairs": len(held_out),
        "preferred": shown(outcomes(margins, [0.0] * len(margins)), "share"),
        "margin": shown(margins, "nats"),
    }
    if base is None:
        return found | {"moved": None, "gain": None}
    before = [chosen - rejected for chosen, rejected in base]
    gains = [mine - theirs for mine, theirs in zip(margins, before, strict=True)]
    return found | {"moved": shown(outcomes(margins, before), "share"), "gain": shown(gains, "nats")}


def judge(held_out: Sequence[Preference], layers: Layers, params: Teach, seed: int) -> Judge:
    """Fit a ranker to held-out preferences, as `teach` does to others.

    Args:
        held_out: P preferences.
        layers: how the frozen base reads answers: the layers to choose from.
        params: the penalties to choose from.
        seed: the run's seed.
    """
    comparisons = [Comparison(*preference, "preference", fitted=True) for preference in held_out]
    read = layers.means([c.prompt for c in comparisons], [[c.better, c.worse] for c in comparisons])
    features = {
        layer: {
            (c.prompt, text): states[i, k]
            for c, states in zip(comparisons, read, strict=True)
            for k, text in enumerate((c.better, c.worse))
        }
        for i, layer in enumerate(layers.depth_of)
    }
    best, _ = fitting.choose(comparisons, features, params.regularisation, seed)
    fit = fitting.fit(comparisons, features[best.layer], best.regularisation)
    head = Head(*fit, best.layer, layers.depth_of[best.layer], {})
    hidden = HiddenStates(layers.model, layers.tokenizer, head.depth, layers.batch_tokens)
    return Judge(Specialist(head, hidden), head, best.regularisation, best.accuracy)


def judged(by: Judge, own: Sequence[Row], base: Sequence[Row] | None, resamples: int, seed: int) -> Row:
    """What a judge says of a model's answers beside iteration 0's.

    Args:
        by: who says it.
        own: P rows of `prompt` and `responses`.
        base: iteration 0's on the same prompts, at least as many responses each; None: the model is iteration 0.
        resamples: behind the 95 % interval, which comes of drawing the prompts again.
        seed: the run's seed.

    Returns:
        layer, depth, regularisation and accuracy of the judge, prompts, and win_rate with low and high, and
        length_controlled, over all samples, a tie being half; these four are None for iteration 0.
    """
    described = {
        "layer": by.head.layer,
        "depth": by.head.depth,
        "regularisation": by.regularisation,
        "accuracy": by.accuracy,
        "prompts": len(own),
    }
    if base is None:
        return described | dict.fromkeys(("win_rate", "low", "high", "length_controlled"))
    prompts, texts = [row["prompt"] for row in own], [row["responses"] for row in own]
    opposed = [row["responses"][: len(mine)] for row, mine in zip(base, texts, strict=True)]
    mine, theirs = (by.ranker.score(prompts, answers) for answers in (texts, opposed))
    won = [outcomes(*both) for both in zip(mine, theirs, strict=True)]
    rate = _shown(estimate([statistics.fmean(each) for each in won], resamples, seed), "win_rate")
    lengths = ([len(text) for answers in side for text in answers] for side in (texts, opposed))
    return described | rate | {"length_controlled": length_controlled([w for each in won for w in each], *lengths)}


def _shown(found: Estimate, name: str) -> Row:
    return {name: found.value, "low": found.low, "high": found.high}
