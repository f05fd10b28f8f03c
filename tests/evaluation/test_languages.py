"""The language of a text, where there is enough of it to tell."""

import pytest

from pairloop.evaluation import changes
from pairloop.evaluation.languages import in_another_language, language

ENGLISH = "Explain in a few sentences why leaves change their colour in autumn."
GERMAN = "Die Blätter verlieren im Herbst ihren grünen Farbstoff, und andere Farben werden sichtbar."
SPANISH = "Las hojas pierden su color verde en otoño y otros colores se vuelven visibles."


def test_a_sentence_shows_its_language_and_a_word_does_not() -> None:
    assert [language(text) for text in (ENGLISH, GERMAN, SPANISH)] == ["en", "de", "es"]
    assert language("Yes.") is None and language("") is None and language("1234567890 " * 20) is None


def test_the_same_text_has_the_same_language_each_time() -> None:
    language.cache_clear()
    first = language(GERMAN)
    language.cache_clear()
    assert language(GERMAN) == first


def test_an_answer_is_in_another_language_only_where_both_can_be_told() -> None:
    assert in_another_language(GERMAN, ENGLISH) is True and in_another_language(ENGLISH, ENGLISH) is False
    assert in_another_language("Ja.", ENGLISH) is None and in_another_language(GERMAN, "Why?") is None


def test_prompts_that_only_one_side_has_a_value_for_are_left_out_of_a_change() -> None:
    found = changes.paired([1.0, None, 1.0, 0.0], [0.0, 1.0, None, 0.0], 200, 0)
    assert found is not None and found.change is not None
    assert (found.prompts, found.value.value, found.base, found.change.value) == (2, 0.5, 0.0, 0.5)
    alone = changes.paired([1.0, None], [None, 1.0], 200, 0)
    assert alone is not None and alone.change is None and alone.prompts == 1


@pytest.mark.parametrize(("answer", "value"), [(GERMAN, 1.0), (ENGLISH, 0.0), ("Ja.", None)])
def test_the_watch_measures_it(answer: str, value: float | None) -> None:
    assert changes.another_language({"prompt": ENGLISH, "responses": [answer]}, 0) == value
