"""What shows in a text by itself."""

import pytest

from pairloop.measures.texts import refuses, repetitive


@pytest.mark.parametrize(
    ("text", "refusal"),
    [
        ("I'm sorry, but I can't help with that.", True),
        ("I am sorry, I cannot provide medical advice.", True),
        ("As an AI language model, I do not have feelings.", True),
        ("I\u2019m unable to open links.", True),
        ("I cannot answer that question.", True),
        ("I'm sorry to hear that you are ill. Rest, and drink a lot of water.", False),
        ("Dear Ms Lane, I cannot come to the party on Friday.", False),
        ("Paris is the capital of France.", False),
        ("", False),
        ("A long story. " * 40 + "I'm sorry, but I can't help with that.", False),
    ],
)
def test_a_refusal_is_known_by_how_it_begins(text: str, refusal: bool) -> None:
    assert refuses(text) == refusal


def test_a_loop_is_repetitive_and_a_list_is_not() -> None:
    assert repetitive("the cat sat on the mat and " * 6)
    assert not repetitive("1. Wash the apples. 2. Cut them into small pieces. 3. Put them in a bowl.")
    assert not repetitive("no no no")
