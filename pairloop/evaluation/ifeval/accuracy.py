"""Which instructions an answer follows, strictly and loosely, and the accuracies of a model."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from pairloop.evaluation.ifeval import Instruction, Prompt
from pairloop.evaluation.ifeval.checks import CHECKS, NEEDS, covered
from pairloop.measures.statistics import estimate

Verdicts = list[bool | None]
"""For each instruction of a prompt whether it is followed; None: its kind is not covered."""


def strict(prompt: Prompt, answer: str) -> Verdicts:
    """The verdicts on an answer as it is. An empty one follows nothing."""
    return [_followed(instruction, [answer]) for instruction in prompt.instructions]


def loose(prompt: Prompt, answer: str) -> Verdicts:
    """The verdicts where one of eight versions is enough: without its first line, its last, both, and without stars.

    So "Sure, here it is:" and bold type are no faults.
    """
    lines = answer.split("\n")
    cut = ["\n".join(part).strip() for part in (lines[1:], lines[:-1], lines[1:-1])]
    versions = [answer, *cut]
    versions += [version.replace("*", "") for version in versions]
    return [_followed(instruction, versions) for instruction in prompt.instructions]


def _followed(instruction: Instruction, versions: Sequence[str]) -> bool | None:
    if not covered(instruction.kind):
        return None
    check = CHECKS[instruction.kind]
    return any(bool(text.strip()) and check(text, instruction.arguments) for text in versions)


def summary(
    prompts: Sequence[Prompt],
    strictly: Sequence[Verdicts],
    loosely: Sequence[Verdicts],
    resamples: int,
    seed: int,
) -> dict[str, Any]:
    """The accuracies, which leave out what is not covered, and count it.

    Args:
        prompts: all that were answered.
        strictly: the strict verdicts on each answer.
        loosely: the loose ones.
        resamples: resamples of the bootstrap over prompts.
        seed: the run's seed.

    Returns:
        prompts, covered (those all of whose instructions are), strict and loose (see `_accuracy`), by_kind
        (instructions, strict and loose shares), and not_covered (instructions by kind).
    """
    kinds = [[own.kind for own in prompt.instructions] for prompt in prompts]
    flat = [kind for own in kinds for kind in own]
    both = zip(flat, (v for own in strictly for v in own), (v for own in loosely for v in own), strict=True)
    judged = [(kind, strict, loose) for kind, strict, loose in both if strict is not None and loose is not None]
    counts = Counter(kind for kind, _, _ in judged)
    return {
        "prompts": len(prompts),
        "covered": sum(None not in own for own in strictly),
        "strict": _accuracy(strictly, resamples, seed),
        "loose": _accuracy(loosely, resamples, seed),
        "by_kind": {
            kind: {
                "instructions": count,
                "strict": sum(bool(strict) for name, strict, _ in judged if name == kind) / count,
                "loose": sum(bool(loose) for name, _, loose in judged if name == kind) / count,
            }
            for kind, count in sorted(counts.items())
        },
        "not_covered": dict(sorted((Counter(flat) - counts).items())),
    }


def _accuracy(verdicts: Sequence[Verdicts], resamples: int, seed: int) -> dict[str, float] | None:
    """Shares with 95 % intervals over prompts; None where no prompt is covered.

    Returns:
        prompt: share of the covered prompts all of whose instructions are followed, low, high; instruction: share of
        the covered instructions of all prompts, instruction_low, instruction_high.
    """
    whole = [float(all(own)) for own in verdicts if None not in own]
    if not whole:
        return None
    single = [(place, float(v)) for place, own in enumerate(verdicts) for v in own if v is not None]
    prompt = estimate(whole, resamples, seed)
    instruction = estimate([value for _, value in single], resamples, seed, [place for place, _ in single])
    return {
        "prompt": prompt.value,
        "low": prompt.low,
        "high": prompt.high,
        "instruction": instruction.value,
        "instruction_low": instruction.low,
        "instruction_high": instruction.high,
    }


def missing(not_covered: Mapping[str, int]) -> str | None:
    """What to say of instructions that were not checked, and what to do; None where all were.

    Args:
        not_covered: instructions by kind.
    """
    if not not_covered:
        return None
    named = ", ".join(f"{kind} ({count})" for kind, count in not_covered.items())
    packages = sorted({NEEDS[kind] for kind in not_covered if kind in NEEDS})
    remedy = f" {' and '.join(packages)} would check more: in the project's folder, pip install '.[ifeval]'."
    said = f"IFEval: {sum(not_covered.values())} instructions are not checked, and left out: {named}."
    return said + (remedy if packages else "")
