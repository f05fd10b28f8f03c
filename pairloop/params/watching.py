"""Parameters of the watch for what gets worse."""

from typing import Annotated

from pydantic import Field

from pairloop.params.settings import Count, Positive, Section, ShareFromZero, Text


class Watch(Section):
    """When `eval` raises an alarm, and what follows from it.

    A measure alarms where it has moved for the worse since iteration 0 by more than is allowed here, and the 95 %
    interval of that change leaves out no change at all.
    """

    benign: Text | None = "data/prompts/benign.jsonl"
    """Harmless prompts that careful models refuse, by a word in them: each iteration answers them greedily. A .jsonl or
    .parquet file, or a folder of such files. null: none, and refusals are not measured."""

    benign_tokens: Count = 32
    """Longest answer to one of them, in tokens: a refusal shows in the first words."""

    stop: bool = False
    """Whether an alarm ends the run: a stage `gate` fails before the next iteration begins, and says why. false: alarms
    are only told."""

    fewest: Annotated[int, Field(ge=2)] = 30
    """Fewest prompts that a change must rest on to alarm: the interval of fewer knows little of others."""

    constraints: ShareFromZero = 0.05
    """How far the share of prompts whose constraints all hold may fall, strictly and loosely read."""

    refusals: ShareFromZero = 0.05
    """How far the share of harmless prompts that are refused may rise."""

    repetition: ShareFromZero = 0.05
    """How far the share of answers that loop may rise, and that of answers that repeat their prompt."""

    distinct: ShareFromZero = 0.1
    """How far distinct-1 and distinct-2, the shares of different words and pairs of words, may fall at like numbers of
    words."""

    truncated: ShareFromZero = 0.1
    """How far the share of answers that are cut off may rise."""

    another_script: ShareFromZero = 0.05
    """How far the share of answers in another script than their prompt may rise."""

    another_language: ShareFromZero = 0.05
    """How far the share of answers in another language than their prompt may rise, of those where both are long enough
    to tell."""

    shorter: ShareFromZero = 0.5
    """Share of iteration 0's mean number of words by which answers may become shorter."""

    longer: Positive = 1.0
    """Share of it by which they may become longer: 1 is twice as long."""

    kl: Positive = 0.5
    """How far the policy may be from the base on held-out prompts: estimated KL divergence, in nats per token. The
    default run's third iteration is 0.06 away."""

    perplexity: Positive = 1.0
    """Share by which the base's perplexity on the chosen answers that training holds out may rise above that of
    iteration 1's, which the base wrote itself."""
