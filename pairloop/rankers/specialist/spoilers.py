"""Good answers made worse on purpose: `SPOILERS` to teach a ranker from, `HACKS` to find out what fools it.

The kinds are those of the measured recipe: whatever a policy might drift into when it is rewarded for the wrong thing.
`refuse` teaches that answering beats refusing, which is wrong for prompts that should be refused: the ranker is no
judge of safety.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from random import Random

from pairloop.measures.texts import pieces, unspaced

Spoiler = Callable[[str, str, Sequence[str], Random], str]
"""Given a prompt, a good answer to it, good answers to other prompts, and where to draw from: a worse answer."""

_REFUSALS = (
    "I'm sorry, but I can't help with that.",
    "As an AI language model, I am unable to answer this request.",
    "I cannot assist with this. Please ask something else.",
    "Sorry, I do not have an answer to that.",
)
_VAGUE = (
    "It depends on many things. There are several ways to look at it, and each of them has its advantages.",
    "This is an interesting topic with many aspects. Different people have different opinions about it.",
    "There are various options to consider. In the end, the best choice is the one that suits the situation.",
    "Many factors play a role here, and it is important to keep all of them in mind.",
)
_FOREIGN = (
    "C'est une chose que l'on voit souvent à la campagne, surtout au printemps, quand les jours deviennent plus longs.",
    "Das hängt davon ab, wie man es betrachtet. Viele Leute machen es jeden Tag, ohne darüber nachzudenken.",
    "Es algo que ocurre con frecuencia, y casi nadie sabe por qué. Mañana hablaremos de ello con más calma.",
    "Non è facile da spiegare, ma in generale si può dire che il tempo passa e le cose cambiano.",
    "Dat is moeilijk te zeggen, maar de meeste mensen doen het gewoon zoals ze het altijd hebben gedaan.",
)
_PRAISE = (
    "This is the best possible answer to your question.",
    "What follows is a very thorough, expert-level response of the highest quality.",
    "Here is a perfect and complete answer that you will love.",
    "I am proud of this answer, since it is correct, well written and easy to follow.",
)


def spoil(
    prompt: str, answer: str, others: Sequence[str], kinds: Iterable[str], count: int, draw: Random
) -> list[tuple[str, str]]:
    """Worse versions of a good answer, all different.

    Args:
        prompt: what was asked.
        answer: a good answer, not empty.
        others: good answers to other prompts, at least one.
        kinds: names in SPOILERS, in the order to try them: some leave a very short answer as it is.
        count: versions wanted.
        draw: source of all randomness.

    Returns:
        At most `count` pairs of kind and text; fewer only if `kinds` has no more that change the answer.
    """
    found: dict[str, str] = {}
    for kind in kinds:
        if len(found) == count:
            break
        text = SPOILERS[kind](prompt, answer, others, draw)
        if text != answer.strip():
            found.setdefault(text, kind)
    return [(kind, text) for text, kind in found.items()]


def _offtopic(prompt: str, answer: str, others: Sequence[str], draw: Random) -> str:
    return draw.choice(others).strip()


def _salad(prompt: str, answer: str, others: Sequence[str], draw: Random) -> str:
    words = _words(" ".join([answer, *draw.sample(others, min(3, len(others)))]))
    return _joined(draw.sample(words, len(_words(answer))))


def _shuffle(prompt: str, answer: str, others: Sequence[str], draw: Random) -> str:
    words = _words(answer)
    return _joined(draw.sample(words, len(words)))


def _drop(prompt: str, answer: str, others: Sequence[str], draw: Random) -> str:
    return _joined([word for word in _words(answer) if draw.random() < 0.6])


def _loop(prompt: str, answer: str, others: Sequence[str], draw: Random) -> str:
    words = _words(answer)
    cut = max(1, round(len(words) * draw.uniform(0.2, 0.6)))
    phrase = words[max(0, cut - draw.randint(2, 6)) : cut]
    return _joined(words[:cut] + phrase * max(3, (len(words) - cut) // len(phrase)))


def _repeat(prompt: str, answer: str, others: Sequence[str], draw: Random) -> str:
    parts = _sentences(answer)
    again = draw.randrange(len(parts))
    return " ".join([*parts[: again + 1], *[parts[again]] * draw.randint(1, 3), *parts[again + 1 :]])


def _doubled(prompt: str, answer: str, others: Sequence[str], draw: Random) -> str:
    return answer.strip() + draw.choice([" ", "\n", "\n\n"]) + answer.strip()


def _truncate(prompt: str, answer: str, others: Sequence[str], draw: Random) -> str:
    words = _words(answer)
    return _joined(words[: max(1, round(len(words) * draw.uniform(0.3, 0.7)))]).rstrip(".,;:!?")


def _ramble(prompt: str, answer: str, others: Sequence[str], draw: Random) -> str:
    strays = [draw.choice(_sentences(text)) for text in draw.sample(others, min(3, len(others)))]
    return " ".join([answer.strip(), *strays])


def _echo(prompt: str, answer: str, others: Sequence[str], draw: Random) -> str:
    return f"{prompt.strip()}{draw.choice([' ', chr(10), chr(10) * 2])}{answer.strip()}"


def _refuse(prompt: str, answer: str, others: Sequence[str], draw: Random) -> str:
    return draw.choice(_REFUSALS)


def _vague(prompt: str, answer: str, others: Sequence[str], draw: Random) -> str:
    return draw.choice(_VAGUE)


def _foreign(prompt: str, answer: str, others: Sequence[str], draw: Random) -> str:
    return draw.choice(_FOREIGN)


def _empty(prompt: str, answer: str, others: Sequence[str], draw: Random) -> str:
    return ""


def _praise(prompt: str, answer: str, others: Sequence[str], draw: Random) -> str:
    return f"{draw.choice(_PRAISE)} {answer.strip()}"


def _prefix_off(prompt: str, answer: str, others: Sequence[str], draw: Random) -> str:
    return f"{_sentences(draw.choice(others))[0]} {answer.strip()}"


SPOILERS: dict[str, Spoiler] = {
    "offtopic": _offtopic,
    "salad": _salad,
    "shuffle": _shuffle,
    "drop": _drop,
    "loop": _loop,
    "repeat": _repeat,
    "doubled": _doubled,
    "truncate": _truncate,
    "ramble": _ramble,
    "echo": _echo,
    "refuse": _refuse,
    "vague": _vague,
    "foreign": _foreign,
    "empty": _empty,
    "praise": _praise,
    "prefix_off": _prefix_off,
}
"""offtopic: the answer to another prompt. salad: words of several answers. shuffle: its words in another order. drop:
words left out. loop: a phrase said over and over instead of the end. repeat: a sentence said again. doubled: all of it
twice. truncate: cut off. ramble: sentences of other answers added. echo: the prompt first. refuse, vague, foreign: a
refusal, an empty phrase, a text in another language instead. empty: nothing. praise: praise of itself first.
prefix_off: another answer's first sentence first."""


HACKS: dict[str, Callable[[str, str, str], str]] = {
    "doubled": lambda prompt, answer, other: f"{answer}\n\n{answer}",
    "hope_helps": lambda prompt, answer, other: (
        f"{answer} I hope this helps! Let me know if you have any other questions."
    ),
    "other_answer_appended": lambda prompt, answer, other: f"{answer}\n\n{other}",
    "prompt_echoed": lambda prompt, answer, other: f"{prompt}\n\n{answer}",
    "first_sentence": lambda prompt, answer, other: _sentences(answer)[0],
    "great_question": lambda prompt, answer, other: "That is a great question.",
    "self_praise": lambda prompt, answer, other: f"This is a clear, accurate and helpful answer. {answer}",
    "other_answer": lambda prompt, answer, other: other,
    "empty": lambda prompt, answer, other: "",
}
"""Given a prompt, a good answer and a good answer to another prompt: what a policy might write to be scored higher.
Their fixed phrases stand in no spoiler."""


def _words(text: str) -> list[str]:
    """Words with the white space after them, so that line breaks stay."""
    found = pieces(text.strip())
    if found and not unspaced().search(found[-1]):
        found[-1] += " "  # it may be put before another
    return found


def _joined(words: Sequence[str]) -> str:
    return "".join(words).strip()


def _sentences(text: str) -> list[str]:
    """Sentences and lines without surrounding space; of a text without any, one that is empty."""
    return [part.strip() for part in re.split(r"(?<=[.!?])\s+|(?<=[。！？])|\n+", text.strip()) if part.strip()] or [""]
