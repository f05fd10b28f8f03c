"""Facts about verifiable constraints: what counts as a word, a sentence, a list item, and what never passes."""

import json
import statistics
import time
from pathlib import Path

import pytest

from pairloop.errors import DataError
from pairloop.prompts import counting, kinds
from pairloop.prompts.constraints import check, holds, holds_loosely, parse, share, variants

ROOT = Path(__file__).parents[2]

WORDS = [
    ("今日は、晴れ。", 5),
    ("水 を" + "飲" * 20, 22),
    ("iPhoneを3個", 4),
    ("한국어 문장", 2),
    ("one two three", 3),
    ("Don't stop, they're the dogs' toys.", 6),
    ("Don\u2019t stop", 2),
    ("an ice-cold, state\u2011of\u2011the\u2011art drink", 4),
    ("The sea — grey and wide—rose.", 6),
    ("It costs 3.50 or 1,000 or 10:30.", 7),
    ("Bring fruit, e.g. apples, at 9 a.m. today", 8),
    ("Zürich, naïve, Ελλάδα, 東京", 5),
    ("e\u0301te\u0301", 1),
    ("zero\u200bwidth and soft\u00adhyphen", 3),
    ("and/or", 2),
    ("one,two.three", 3),
    ("_hidden_ **bold** `code`", 3),
    ("- **Hat**: warm\n- **Scarf**: soft", 4),
    ("1. Boil water\n2) Add tea\n**3.** Drink", 5),
    ("12 eggs", 2),
    ("— … !", 0),
    ("🙂 fine 🎉", 1),
    ("rock 'n' roll", 3),
]

SENTENCES = [
    ("The cat sat.", 1),
    ("The cat sat", 1),
    ("The cat sat. It slept. It woke.", 3),
    ("Really?! Yes!!! Well... maybe.", 3),
    ("Wait… what?", 1),
    ("Mr. Smith met Mrs. Jones and Dr. Who on St. John's Road.", 1),
    ("Pack fruit, e.g. apples, i.e. something that keeps.", 1),
    ("We need nails, screws, etc. for the shed. Bring glue.", 2),
    ("It weighs 3.5 kg and costs $1.20. Cheap!", 2),
    ("It opens at 9 a.m. and shuts at 5 p.m. every day.", 1),
    ("It opens at 9 a.m. Come early.", 2),
    ("It was in 1999. Then it closed.", 2),
    ("J. K. Rowling and John F. Kennedy met.", 1),
    ("Oranges have vitamin C. They are sweet.", 2),
    ("It was I. Then he left.", 2),
    ("See No. 5 and Fig. 2. Is it there? No. It is not.", 4),
    ('"Hurry up!" said Ben. "I am coming," said Ada.', 2),
    ("“Stop!” she cried. He did.", 2),
    ('He said "go." Then he went.', 2),
    ("It rained (a lot!) in May. We left.", 2),
    ("the sun set. birds sang. it was late", 3),
    ('"is it late?" she asked. "yes."', 3),
    ("It is red.It is big.", 2),
    ("Use Node.js, version 3.11, from example.com today.", 1),
    ("Ready?Go!", 2),
    ("Bring:\n- a hat\n- a map\n- water", 4),
    ("- Bring a hat. It is hot.\n- Bring a map", 3),
    ("1. Boil water.\n2. Add tea.\n3. Drink.", 3),
    ("Do this: 1. Boil water. 2. Add tea.", 2),
    ("The cat\nsat on\nthe mat.", 1),
    ("Roses are red\nViolets are blue", 2),
    ("Dear Sam,\n\nThank you for the jam. It was good.", 2),
    ("A title\n\nA sentence.", 2),
    ("**Bold words.** Then _more words._ End.", 3),
    ("今日は。元気ですか\uff1fはい\uff01", 3),
    ("... !!! ?", 0),
    ("Great! 🎉 Thanks!", 2),
]

BULLETS = [
    ("- one\n- two", 2),
    ("* one\n* two\n* three", 3),
    ("• one\n•two", 2),
    ("1. one\n2. two\n10) ten", 3),
    ("Here they are:\n\n- **Hat**: warm\n- **Map**: useful\n\nEnjoy!", 2),
    ("* **Hat**\n  * felt\n  * wool", 3),
    ("**1.** Mix\n**2)** Bake", 2),
    ("**Note** this\n*emphasis* here", 0),
    ("-5 degrees\n1.5 litres\n2024. A year", 0),
    ("---\n* * *\n- \n-", 0),
    ("- one\r\n- two\r\n", 2),
    ("a - b\nc * d", 0),
    ("no list at all", 0),
]

PARAGRAPHS = [
    ("one", 1),
    ("one\ntwo", 1),
    ("one\n\ntwo", 2),
    ("one\n \t\n\n\ntwo\n\n", 2),
    ("one\r\n\r\ntwo", 2),
    ("# Title\n\none\n\n---\n\ntwo", 2),
    ("**A mystery**\n\none\n\ntwo", 2),
    ("- a\n- b\n\ntext", 2),
]

COMMAS = [("no", 0), ("a, b, c", 2), ("1,000", 1), ("十\uff0c二、三", 2), ("a; b. c", 0)]


@pytest.mark.parametrize(("text", "count"), WORDS)
def test_words_are_counted_as_a_reader_does(text, count):
    assert counting.words(counting.clean(text)) == count


@pytest.mark.parametrize(("text", "count"), SENTENCES)
def test_sentences_are_counted_as_a_reader_does(text, count):
    assert counting.sentences(counting.clean(text)) == count


@pytest.mark.parametrize(("text", "count"), BULLETS)
def test_list_items_are_counted_by_how_their_line_begins(text, count):
    assert counting.bullets(counting.clean(text)) == count


@pytest.mark.parametrize(("text", "count"), PARAGRAPHS)
def test_paragraphs_are_what_blank_lines_divide(text, count):
    assert counting.paragraphs(counting.clean(text)) == count


@pytest.mark.parametrize(("text", "count"), COMMAS)
def test_commas_of_every_script_and_in_numbers_count(text, count):
    assert counting.commas(counting.clean(text)) == count


@pytest.mark.parametrize(
    ("response", "text", "expected"),
    [
        ("The DARK room", "dark", True),
        ("It was darker in Darkville", "dark", False),
        ('He said "dark".', "dark", True),
        ("a **dark** night, a _dark_ wood, `dark`", "dark", True),
        ("the dark's edge", "dark", True),
        ("dark-eyed", "dark", True),
        ("I can't", "can", False),
        ("I can\u2019t", "can", False),
        ("I can\u2019t", "can't", True),
        ("It'll rain", "it", True),
        ("five o'clock", "clock", False),
        ("it  all\ndepends", "it all depends", True),
        ("It depends.", "it depends", True),
        ("It, depends.", "it depends", False),
        ("cafe\u0301 noir", "café", True),
        ("so\u200bur", "sour", True),
        ("STRASSE", "straße", True),
        ("C++ (and more)", "(and more)", True),
        ("a.b", "axb", False),
        ("axb", "a.b", False),
        ("cold_blooded snake_case", "snake", False),
        ("今日は晴16度です", "晴", True),
        ("今日は晴16度です", "16度", True),
        ("今日は晴16度です", "6度", False),
        ("今日は晴16度です", "雨", False),
        ("iPhoneを買う", "iphone", True),
    ],
)
def test_a_text_is_included_only_as_whole_words(response, text, expected):
    assert check({"kind": "includes", "text": text}, response) is expected
    assert check({"kind": "avoids", "text": text}, response) is not expected


@pytest.mark.parametrize(
    ("response", "text", "expected"),
    [
        ("Because it rained.", "because", True),
        ('  "Because it rained."', "Because", True),
        ("**Because** it rained", "Because", True),
        ("- First, open it.", "First", True),
        ("1. First, open it.", "First", False),
        ("Firstly, open it.", "First", False),
        ("Well, because it rained.", "Because", False),
        ("First,  hide it", "First, hide", True),
        ("First hide it", "First, hide", False),
        ("An archaeologist's job is to dig", "An archaeologist", True),
        ("Be", "Because", False),
    ],
)
def test_an_answer_starts_with_a_text_whatever_marks_stand_before_it(response, text, expected):
    assert check({"kind": "starts", "text": text}, response) is expected


@pytest.mark.parametrize(
    ("response", "text", "expected"),
    [
        ("And then: you can do it!", "you can do it", True),
        ("And then: “You can do it.”  \n", "you can do it", True),
        ("Then **lights out**.", "Lights out!", True),
        ("Then the delights out", "lights out", False),
        ("lights out, then sleep", "lights out", False),
        ("add fresh basil", "basil", True),
        ("Kind regards,\nAnna", "Kind regards", False),
        ("Kind regards,", "Kind regards", True),
    ],
)
def test_an_answer_ends_with_a_text_whatever_marks_follow_it(response, text, expected):
    assert check({"kind": "ends", "text": text}, response) is expected


@pytest.mark.parametrize(
    ("response", "case", "expected"),
    [
        ("all small, 3 times.", "lower", True),
        ("All small", "lower", False),
        ("ALL BIG, 3 TIMES!", "upper", True),
        ("ALL BIg", "upper", False),
        ("élan à ß", "lower", True),
        ("ÉLAN", "upper", True),
        ("Élan", "lower", False),
        ("ǅ", "lower", False),
        ("123", "lower", False),
        ("123", "upper", False),
        ("東京", "lower", False),
    ],
)
def test_case_needs_letters_and_none_of_the_other_case(response, case, expected):
    assert check({"kind": "case", "case": case}, response) is expected


@pytest.mark.parametrize(
    ("response", "expected"),
    [
        ('{"name": "Ada", "age": 0}', True),
        ('\n{"name": "Ada", "age": false, "more": 1}\n', True),
        ('```json\n{"name": "Ada", "age": 3}\n```', True),
        ('```\n{\n "name": "Ada",\n "age": 3\n}\n```', True),
        ('Here you are: {"name": "Ada", "age": 3}', False),
        ('{"name": "Ada", "age": 3} Enjoy!', False),
        ('{"Name": "Ada", "age": 3}', False),
        ('{"name": "Ada"}', False),
        ('{"name": "", "age": 3}', False),
        ('{"name": "Ada", "age": null}', False),
        ('[{"name": "Ada", "age": 3}]', False),
        ("{'name': 'Ada', 'age': 3}", False),
        ('{"name": "Ada", "age": 3', False),
        ('"name age"', False),
        ("[" * 100_000 + "1", False),
        ('{"name": "Ada", "age": ' + "9" * 10_000 + "}", False),
    ],
)
def test_json_means_that_the_whole_answer_is_one_object_with_filled_keys(response, expected):
    assert check({"kind": "json", "keys": ["name", "age"]}, response) is expected


NUMBERS = [
    ("1. one\n2) two\n 10. ten", [1, 2, 10]),
    ("**1.** Mix\n**2. Bake**", [1, 2]),
    ("> 1. quoted", [1]),
    ("1.\n2. \n3. **", []),
    ("- one\n1.5 litres\n2024. A year\nStep 1: mix\nthen 2. bake", []),
]


@pytest.mark.parametrize(("text", "expected"), NUMBERS)
def test_the_items_of_a_numbered_list_begin_with_a_number_and_go_on(text, expected):
    assert counting.numbers(counting.clean(text)) == expected


KINDS = [
    ({"kind": "choice", "options": ["yes", "no"]}, ["Yes.", "**no**", " NO! ", '"yes"'], ["Yes, it is.", "yes or no"]),
    ({"kind": "choice", "options": ["Eat well", "Sleep well"]}, ["“Sleep well!”", "eat\nwell"], ["well", "Sleep"]),
    (
        {"kind": "numbered", "min": 3, "max": 3},
        ["Sure:\n1. a b\n2. b\n3. c\nBye!", "1) a\n\n2) b\n\n3) c", "1. a\n- x\n2. b\n3. c"],
        ["- a\n- b\n- c", "1. a\n3. b\n2. c", "1. a\n2. b", "1. a\n1. b\n1. c", "0. a\n1. b\n2. c", "1. a 2. b 3. c"],
    ),
    ({"kind": "numbered", "max": 0}, ["- a\n- b", "none"], ["1. a"]),
    ({"kind": "lines", "min": 2, "max": 2}, ["One\ntwo", "One\n\n---\ntwo\r\n"], ["one", "a\nb\nc"]),
    (
        {"kind": "separated", "by": ",", "min": 3, "max": 3},
        ["red, blue, green", " red,blue,dark green.\n", "**red**, blue, green", "sand, band, candy"],
        ["red, blue and green", "red, blue, and green", "red,\nblue,\ngreen", "a, b, c, d", "red, , green", "a, b, c,"],
    ),
    ({"kind": "separated", "by": "/", "min": 2}, ["cold / large"], ["cold", "cold / ", "cold / and large", "a\nb / c"]),
    ({"kind": "separated", "by": "-", "max": 2}, ["run\u2011jump", "run"], ["run-jump-rest", "-run"]),
    ({"kind": "digits", "max": 0}, ["six o'clock", "½ a cup"], ["6 o'clock", "1. One", "٣"]),
    ({"kind": "digits", "min": 2}, ["12 eggs", "1 or 2"], ["1 egg", "two"]),
    ({"kind": "marks", "mark": "!", "max": 0}, ["Well done."], ["Well done!", "No! No!"]),
    ({"kind": "marks", "mark": "!", "min": 2}, ["Well! Done!", "Yes!!"], ["Well done!"]),
    ({"kind": "marks", "mark": "\u2019", "min": 1}, ["don't", "don\u2019t"], ["do not"]),
    (
        {"kind": "last", "mark": "?"},
        ["Is it?", 'He asked, "Is it?"', "**Really?** \n", "(Is it?)"],
        ["Is it? Yes.", "It is", "Is it?!", "Is it? 🙂"],
    ),
    ({"kind": "last", "mark": ")"}, ["It is (so)", 'a "(b)"'], ["It is (so).", "It is"]),
    (
        {"kind": "quoted", "mark": '"'},
        ['"A short sleep."', "\u201cA nap\u201d", '"A nap".\n', "«A nap»"],
        ['It is "a nap"', '"A" or "B"', "A nap", '"A nap', "'A nap'", 'a"', '"A nap"..'],
    ),
    (
        {"kind": "repeats", "text": "rain", "min": 2, "max": 3},
        ["Rain, **rain**, go away", "rain rain rain"],
        ["Rainy rain", "one rain", "rain " * 4],
    ),
    ({"kind": "repeats", "text": "no no", "min": 2}, ["No no! No no!"], ["No no no."]),
    ({"kind": "line", "text": "P.S."}, ["Dear Opa,\nhello\n**P.S.:** I swam.", "p.s. hi"], ["Dear Opa, P.S. hello"]),
    ({"kind": "line", "text": "To"}, ["From: Ida\n  - To: Wanda"], ["From: Ida\nTogether", "From\n\n?!\n\nMe"]),
    (
        {"kind": "bold", "min": 1},
        ["A **map** helps.", "**1**"],
        ["A map", "** a **", "**", "* a\n* b", "**a\nb**", "**!**"],
    ),
    ({"kind": "bold", "min": 2}, ["**a** and **b**"], ["**a** and b", "**a b**"]),
    ({"kind": "bold", "text": "warm"}, ["**Warm** bread", "the **warm bread**"], ["warm **bread**", "**warmer**"]),
    ({"kind": "bold", "text": "warm", "min": 2}, ["**warm** and **warm**"], ["**warm** and **hot**", "**warm warm**"]),
]


@pytest.mark.parametrize(("constraint", "good", "bad"), KINDS, ids=lambda value: str(value)[:60])
def test_an_answer_satisfies_what_each_further_kind_demands_and_no_other_does(constraint, good, bad):
    assert parse([constraint]) == [constraint]
    assert [text for text in good if not check(constraint, text)] == []
    assert [text for text in bad if check(constraint, text)] == []


@pytest.mark.parametrize(
    ("constraint", "response"),
    [
        ({"kind": "choice", "options": ["yes", "no"]}, "Here is my answer:\nyes"),
        ({"kind": "lines", "max": 1}, "Sure:\nA line."),
        ({"kind": "separated", "by": ",", "min": 2}, "Sure:\na, b\nEnjoy!"),
        ({"kind": "last", "mark": "?"}, "Is it?\nI hope that helps!"),
        ({"kind": "quoted", "mark": '"'}, '**"A nap"**'),
        ({"kind": "digits", "max": 0}, "Here are 2:\nA and B"),
    ],
)
def test_the_further_kinds_are_read_loosely_too(constraint, response):
    assert not holds([constraint], response) and holds_loosely([constraint], response)


@pytest.mark.parametrize("response", ["", " \n\t", "...", "?!", "—", "- \n- ", "{}", "🙂", "\u200b", "**"])
@pytest.mark.parametrize(
    "constraint",
    [
        {"kind": "avoids", "text": "sour"},
        {"kind": "commas", "max": 0},
        {"kind": "words", "max": 20},
        {"kind": "sentences", "max": 2},
        {"kind": "paragraphs", "max": 2},
        {"kind": "bullets", "max": 3},
        {"kind": "starts", "text": "The"},
        {"kind": "ends", "text": "end"},
        {"kind": "case", "case": "lower"},
        {"kind": "json", "keys": ["a"]},
        {"kind": "choice", "options": ["a", "b"]},
        {"kind": "numbered", "max": 3},
        {"kind": "lines", "max": 3},
        {"kind": "separated", "by": ",", "max": 3},
        {"kind": "digits", "max": 0},
        {"kind": "marks", "mark": "!", "max": 0},
        {"kind": "marks", "mark": ".", "min": 1},
        {"kind": "last", "mark": "."},
        {"kind": "quoted", "mark": "?"},
        {"kind": "repeats", "text": "a", "max": 0},
        {"kind": "line", "text": "a"},
        {"kind": "bold", "min": 1},
    ],
)
def test_an_answer_without_a_letter_or_digit_satisfies_nothing(constraint, response):
    assert parse([constraint])
    assert not check(constraint, response)
    assert share([constraint], response) == 0.0
    assert not holds([constraint], response)


@pytest.mark.parametrize(
    ("bounds", "expected"),
    [
        ({"min": 3}, True),
        ({"min": 4}, False),
        ({"max": 3}, True),
        ({"max": 2}, False),
        ({"min": 3, "max": 3}, True),
    ],
)
def test_both_bounds_are_inclusive_and_either_may_be_absent(bounds, expected):
    assert check({"kind": "words", **bounds}, "one two three") is expected


def test_the_share_is_of_constraints_and_holds_means_all():
    constraints = parse([{"kind": "words", "max": 3}, {"kind": "includes", "text": "sun"}])
    assert share(constraints, "the sun") == 1.0 and holds(constraints, "the sun")
    assert share(constraints, "the moon") == 0.5 and not holds(constraints, "the moon")
    assert share([], "") == 1.0 and holds([], "")


def test_loosely_read_an_answer_may_have_a_frame_and_asterisks():
    one = [{"kind": "starts", "text": "Sun"}, {"kind": "ends", "text": "moon"}]
    framed = "Here you are:\nSun and moon\nI hope that helps!"
    assert not holds(one, framed) and holds_loosely(one, framed)
    assert holds_loosely([], framed)
    assert not holds_loosely([{"kind": "words", "max": 2}], framed)
    assert not holds_loosely([{"kind": "commas", "max": 0}], "")


def test_each_constraint_may_hold_without_another_part_of_the_frame():
    first, last = {"kind": "starts", "text": "Sure"}, {"kind": "ends", "text": "moon"}
    assert holds_loosely([first, last], "Sure:\nSun and moon\nBye!")


def test_the_loose_readings_are_ifevals_eight():
    assert variants("*a*\nb\nc") == ["*a*\nb\nc", "b\nc", "*a*\nb", "b", "a\nb\nc", "b\nc", "a\nb", "b"]
    assert variants("one") == ["one", "", "", ""] * 2


def test_constraints_come_as_a_list_as_its_json_text_or_as_none():
    constraints = [{"kind": "json", "keys": ["a"]}, {"kind": "commas", "max": 0}]
    assert parse(constraints) == parse(json.dumps(constraints)) == constraints
    assert parse(None) == parse([]) == []


def test_fields_come_in_the_order_of_their_kind_whatever_the_order_of_a_file():
    mixed = {"max": 3, "keys": None, "min": 2, "by": ",", "kind": "separated"}
    assert [*parse([mixed])[0].items()] == [("kind", "separated"), ("by", ","), ("min", 2), ("max", 3)]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("{", "no JSON"),
        ({"kind": "words", "max": 1}, "must be a list"),
        (["words"], "constraint 1 is 'words': it must be an object"),
        ([{"max": 3}], "constraint 1 has no kind"),
        ([{"kind": "wrods", "max": 3}], "unknown kind 'wrods': did you mean words?"),
        ([{"kind": 3}], "unknown kind 3"),
        ([{"kind": ["words"]}], "unknown kind"),
        ([{"kind": "words", "maximum": 3}], "unknown field 'maximum': did you mean max?"),
        ([{"kind": "words", "max": 3, "text": "a"}], "unknown field 'text'"),
        ([{"kind": "words"}], "(words) has no min and no max"),
        ([{"kind": "commas", "max": 0}, {"kind": "includes"}], "constraint 2 (includes) has no text"),
        ([{"kind": "words", "max": True}], "max is True, it must be a whole number"),
        ([{"kind": "words", "max": 3.0}], "max is 3.0"),
        ([{"kind": "words", "max": "3"}], "max is '3'"),
        ([{"kind": "words", "max": None}], "(words) has no min and no max"),
        ([{"kind": "words", "min": 0}], "min is 0, it must be a whole number, at least 1"),
        ([{"kind": "words", "min": 5, "max": 3}], "min is 5, above max, which is 3"),
        ([{"kind": "words", "max": 0}], "max is 0, which no answer can satisfy"),
        ([{"kind": "commas", "max": -1}], "max is -1"),
        ([{"kind": "includes", "text": "?!"}], "it must be a text with a letter or digit"),
        ([{"kind": "starts", "text": ["a"]}], "it must be a text"),
        ([{"kind": "case", "case": "title"}], "case is 'title', it must be lower or upper"),
        ([{"kind": "case", "case": ["lower"]}], "it must be lower or upper"),
        ([{"kind": "json", "keys": []}], "keys is []"),
        ([{"kind": "json", "keys": "name"}], "keys is 'name'"),
        ([{"kind": "json", "keys": ["a", "a"]}], "different names"),
        ([{"kind": "json", "keys": [1]}], "different names"),
        ([{"kind": "choice"}], "(choice) has no options"),
        ([{"kind": "choice", "options": ["yes"]}], "it must be a list of two or more different texts with a letter or"),
        ([{"kind": "choice", "options": ["yes", "yes"]}], "two or more different texts"),
        ([{"kind": "choice", "options": ["yes", "?"]}], "options is ['yes', '?']"),
        ([{"kind": "choice", "options": "yes"}], "options is 'yes'"),
        ([{"kind": "numbered"}], "(numbered) has no min and no max"),
        ([{"kind": "lines", "max": 0}], "max is 0, which no answer can satisfy"),
        ([{"kind": "separated", "min": 3}], "(separated) has no by"),
        ([{"kind": "separated", "by": ","}], "(separated) has no min and no max"),
        ([{"kind": "separated", "by": "and", "min": 3}], "by is 'and', it must be one character that is no letter"),
        ([{"kind": "separated", "by": "\n", "min": 3}], "one character that is no letter, digit or space"),
        ([{"kind": "separated", "by": ",", "max": 0}], "max is 0, which no answer can satisfy"),
        ([{"kind": "marks", "max": 0}], "(marks) has no mark"),
        ([{"kind": "marks", "mark": "!"}], "(marks) has no min and no max"),
        ([{"kind": "marks", "mark": "!", "min": 0}], "min is 0"),
        ([{"kind": "last", "mark": "a"}], "mark is 'a'"),
        ([{"kind": "last", "mark": ""}], "mark is ''"),
        ([{"kind": "quoted", "mark": ["!"]}], "mark is ['!']"),
        ([{"kind": "quoted", "mark": "\u200b"}], "it must be one character"),
        ([{"kind": "repeats", "min": 2}], "(repeats) has no text"),
        ([{"kind": "repeats", "text": "a"}], "(repeats) has no min and no max"),
        ([{"kind": "line", "text": "-"}], "it must be a text with a letter or digit"),
        ([{"kind": "bold"}], "(bold) has no text and no min"),
        ([{"kind": "bold", "max": 3}], "unknown field 'max'"),
        ([{"kind": "numberd", "min": 3}], "did you mean numbered?"),
    ],
)
def test_a_wrong_constraint_is_refused_with_what_it_must_be(value, message):
    with pytest.raises(DataError) as refused:
        parse(value)
    assert message in refused.value.message


@pytest.mark.parametrize("filler", [" ", "!", "a", "- ", ". ", "a.", '"', "\n", "*", "1.", "e.g. ", "','"])
def test_a_very_long_answer_takes_no_more_than_a_moment(filler):
    response = "x" + filler * 50_000 + "y"
    began = time.perf_counter()
    for kind in ("words", "sentences", "paragraphs", "bullets", "commas", "numbered", "lines", "digits"):
        check({"kind": kind, "max": 3}, response)
    for kind in ("includes", "avoids", "starts", "ends", "line", "bold"):
        check({"kind": kind, "text": "the end"}, response)
    for kind in ("marks", "last", "quoted"):
        check({"kind": kind, "mark": '"', "max": 3}, response)
    check({"kind": "repeats", "text": "a", "max": 3}, response)
    check({"kind": "separated", "by": ",", "max": 3}, response)
    check({"kind": "choice", "options": ["a", "b"]}, response)
    check({"kind": "json", "keys": ["a"]}, response)
    assert time.perf_counter() - began < 20


def test_what_length_alone_satisfies_is_known_by_cutting_texts_that_know_nothing_of_the_demand():
    rows = [json.loads(line) for line in (ROOT / "data/prompts/eval.jsonl").read_text(encoding="utf-8").splitlines()]
    texts = [row["prompt"].split() for row in rows if not row["constraints"]][:30]
    demands = [one for row in rows for one in row["constraints"] or []]
    found = {True: [], False: []}
    for one in demands:
        shares = [
            statistics.fmean(check(one, " ".join(text[:length])) for text in texts) for length in (1, 2, 4, 8, 16)
        ]
        found[kinds.beyond_length(one)].append(max(shares))
    assert statistics.fmean(found[True]) < 0.05 and statistics.fmean(found[False]) > 0.5
    assert max(found[True]) < 0.5 and len(found[True]) > 200


@pytest.mark.parametrize(
    ("constraint", "beyond"),
    [
        ({"kind": "bullets", "min": 3, "max": 3}, True),
        ({"kind": "bullets", "max": 2}, False),
        ({"kind": "repeats", "text": "rain", "min": 2}, True),
        ({"kind": "repeats", "text": "rain", "max": 2}, False),
        ({"kind": "bold", "text": "rain"}, True),
        ({"kind": "sentences", "min": 1, "max": 1}, False),
        ({"kind": "avoids", "text": "rain"}, False),
        ({"kind": "case", "case": "lower"}, True),
    ],
)
def test_a_demand_for_no_more_than_some_is_met_by_a_text_without_any(constraint, beyond):
    assert kinds.beyond_length(constraint) is beyond
    assert set(kinds.BEYOND_LENGTH) <= set(kinds.FIELDS)
