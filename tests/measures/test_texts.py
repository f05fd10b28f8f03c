"""What shows in a text by itself."""

import pytest

from pairloop.measures.texts import echoes, in_another_script, pieces, refuses, repetitive, script, words


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


@pytest.mark.parametrize(
    ("text", "loops"),
    [
        ("1. Fish\n2. Fish\n3. A duck", True),
        ("1. Yes\n2. yes", True),
        ("- a cat\n\n- a cat\n\n- a dog", True),
        ("* a hat\n* a cap\n* a hood", False),
        ("1. 1. 1.\n2. 1. 1.", False),  # nothing is left of them
        ("1. Fish\n2. A frog\n3. An otter\n4. fish", False),  # three in four
        ("The moon,\nso round,\nthe moon,\nso white,\nis there.", False),  # a refrain
        ("1. A costume of a hat\n2. A costume of a hat and\n3. A costume of a hat and a", True),  # by their sequences
        ("3.5 litres\n3.5 metres", False),
    ],
)
def test_a_list_that_says_the_same_again_is_repetitive_whatever_its_numbers(text: str, loops: bool) -> None:
    assert repetitive(text) == loops


@pytest.mark.parametrize(
    "text",
    [
        "",
        "one",
        "  two\n words ",
        "it's - well... e.g. 3,5 \u00a0 \U0001f600 na\u00efve",
        "한국어 문장 하나",
        "слово за словом",
    ],
)
def test_words_of_a_script_with_spaces_are_what_stands_between_them(text: str) -> None:
    assert words(text) == text.split() == [piece.strip() for piece in pieces(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("今日は、晴れ。", ["今", "日", "は、", "晴", "れ。"]),
        ("「今日」はiPhoneを 3個", ["「今", "日」", "は", "iPhone", "を", "3", "個"]),
        ("คนดี", ["ค", "น", "ดี"]),
        ("カード", ["カ", "ー", "ド"]),
    ],
)
def test_of_a_script_without_spaces_every_letter_is_a_word(text: str, expected: list[str]) -> None:
    assert words(text) == expected
    assert "".join(pieces(text)) == text


@pytest.mark.parametrize("letter", ["字", "あ", "ア", "ก", "ກ", "ក", "က", "𠀀"])
def test_8_and_256_letters_are_as_many_words(letter: str) -> None:
    assert [len(words(letter * count)) for count in (8, 256)] == [8, 256]


ASKED = 'We have two days at the coast. What will we do? The word "swim" must be included.'


@pytest.mark.parametrize(
    ("prompt", "text", "echo"),
    [
        (ASKED, ASKED, True),
        (ASKED, f"Sure! You said: {ASKED.upper()} Here is a plan.", True),
        # A word that was changed at the end is still a repetition; half of the prompt is none.
        (ASKED, ASKED.replace("included", "there"), True),
        (ASKED, "We have two days at the coast. We could swim.", False),
        (ASKED, "Walk, swim and eat ice cream.", False),
        # An answer may take its question up.
        ("What is the trick to threading a needle?", "The trick to threading a needle is to wet the thread.", False),
        ("What is the point of warming up before a run?", "The point of warming up before a run is blood.", False),
        ('Put it right: "She don\'t like no mushrooms."', "She doesn't like mushrooms.", False),
        ("Say hello to me.", "Say hello to me.", True),
        ("Say hello.", "I say hello.", False),
        (ASKED, "", False),
        ("", "", False),
        ("雨が降る日には何をしますか", "雨が降る日には何をしますか。本を読みます。", True),
        ("雨が降る日には何をしますか", "雨が降る日には本を読みます。", False),
    ],
)
def test_an_answer_that_repeats_its_prompt_is_known_by_one_long_run(prompt: str, text: str, echo: bool) -> None:
    assert echoes(text, prompt) is echo


def test_a_loop_without_spaces_is_repetitive_and_a_sentence_is_not() -> None:
    assert repetitive("雨が降る。" * 6)
    assert not repetitive("りんごを洗って小さく切り、鍋に入れて弱火で二十分ほど煮ます。")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Hello, wörld 42!", "LATIN"),
        ("Привет, you", "CYRILLIC"),
        ("今日はカードがある", "CJK"),
        ("안녕하세요", "HANGUL"),
        ("مرحبا", "ARABIC"),
        ("42 + 1 = 43 🙂", None),
        ("", None),
    ],
)
def test_a_texts_script_is_that_of_most_of_its_letters(text: str, expected: str | None) -> None:
    assert script(text) == expected


def test_an_answer_without_letters_is_in_no_other_script() -> None:
    assert in_another_script("Конечно.", "Say yes.")
    assert not in_another_script("Natürlich.", "Say yes.")
    assert not in_another_script("42", "Say a number.")
    assert not in_another_script("Yes.", "1 + 1 = 2?")
