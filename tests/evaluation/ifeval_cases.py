"""Authored answers for every kind of IFEval's instructions, with the verdict of its published rules."""

from typing import Any

LONG = "I'd begin with the soup. Then comes bread, and at last the cheese! Would that do?"
FRENCH = "Le chat dort sur le canapé pendant que la pluie tombe doucement sur le toit de la maison."
ENGLISH = "The cat sleeps on the sofa while the rain falls softly on the roof of the old house."

Case = tuple[dict[str, Any], str, bool]

CASES: dict[str, list[Case]] = {
    "keywords:existence": [
        ({"keywords": ["soup", "cheese"]}, LONG, True),
        ({"keywords": ["soup", "wine"]}, LONG, False),
        ({"keywords": ["CHEESE"]}, LONG, True),
        ({"keywords": ["rea"]}, LONG, True),  # inside "bread"
    ],
    "keywords:frequency": [
        ({"keyword": "the", "relation": "at least", "frequency": 2}, LONG, True),
        ({"keyword": "the", "relation": "less than", "frequency": 2}, LONG, False),
        ({"keyword": "the", "relation": "at least", "frequency": 4}, LONG, False),  # "the", "Then", "the"
        ({"keyword": " soup ", "relation": "at least", "frequency": 1}, LONG, True),
        ({"keyword": "wine", "relation": "less than", "frequency": 1}, LONG, True),
    ],
    "keywords:forbidden_words": [
        ({"forbidden_words": ["wine"]}, LONG, True),
        ({"forbidden_words": ["wine", "Bread"]}, LONG, False),
        ({"forbidden_words": ["rea"]}, LONG, True),  # whole words only
    ],
    "keywords:letter_frequency": [
        ({"letter": "o", "let_relation": "at least", "let_frequency": 3}, "Hello, good fox", True),
        ({"letter": "O", "let_relation": "less than", "let_frequency": 4}, "Hello, good fox", False),
        ({"letter": "z", "let_relation": "less than", "let_frequency": 1}, "Hello", True),
    ],
    "language:response_language": [
        ({"language": "fr"}, FRENCH, True),
        ({"language": "fr"}, ENGLISH, False),
        ({"language": "en"}, ENGLISH, True),
        ({"language": "fr"}, "1234", True),  # no language can be told: counts as followed
    ],
    "length_constraints:number_sentences": [
        ({"relation": "at least", "num_sentences": 3}, LONG, True),
        ({"relation": "less than", "num_sentences": 3}, LONG, False),
        ({"relation": "less than", "num_sentences": 2}, "Mr. Hill met Dr. Moss at 3 p.m. on Monday.", True),
        ({"relation": "at least", "num_sentences": 2}, "No full stop", False),
        ({"relation": "less than", "num_sentences": 2}, "It costs 3.50 in all.", True),
    ],
    "length_constraints:number_paragraphs": [
        ({"num_paragraphs": 2}, "One.\n***\nTwo.", True),
        ({"num_paragraphs": 2}, "***\nOne.\n***\nTwo.\n***", True),
        ({"num_paragraphs": 2}, "One.\n\nTwo.", False),
        ({"num_paragraphs": 2}, "One.\n***\n***\nTwo.", False),
        ({"num_paragraphs": 1}, "One.\n\nTwo.", True),
    ],
    "length_constraints:number_words": [
        ({"relation": "at least", "num_words": 4}, "It is ice-cold", True),
        ({"relation": "less than", "num_words": 4}, "It is ice-cold", False),
        ({"relation": "at least", "num_words": 2}, "...", False),
    ],
    "length_constraints:nth_paragraph_first_word": [
        ({"num_paragraphs": 2, "nth_paragraph": 2, "first_word": "Bread"}, "Soup.\n\nbread, too.", True),
        ({"num_paragraphs": 2, "nth_paragraph": 2, "first_word": "bread"}, 'Soup.\n\n"Bread" too.', True),
        ({"num_paragraphs": 2, "nth_paragraph": 1, "first_word": "bread"}, "Soup.\n\nBread.", False),
        ({"num_paragraphs": 3, "nth_paragraph": 2, "first_word": "bread"}, "Soup.\n\nBread.", False),
        ({"num_paragraphs": 2, "nth_paragraph": 3, "first_word": "bread"}, "Soup.\n\nBread.", False),
        ({"num_paragraphs": 2, "nth_paragraph": 2, "first_word": "bread"}, "Soup.\n\n\n\nBread.", False),
        ({"num_paragraphs": 1, "nth_paragraph": 1, "first_word": "don"}, "Don't.", True),
    ],
    "detectable_content:number_placeholders": [
        ({"num_placeholders": 2}, "Dear [name], come to [place].", True),
        ({"num_placeholders": 3}, "Dear [name], come to [place].", False),
        ({"num_placeholders": 1}, "Dear [na\nme]", False),
    ],
    "detectable_content:postscript": [
        ({"postscript_marker": "P.S."}, "Yours.\n\nP.S. Bring bread.", True),
        ({"postscript_marker": "P.S."}, "Yours.\n\np. s. Bring bread.", True),
        ({"postscript_marker": "P.S."}, "Yours.\n\nPS Bring bread.", False),
        ({"postscript_marker": "P.P.S"}, "Yours.\n\nP.P.S. Bring bread.", True),
        ({"postscript_marker": "P.P.S"}, "Yours.\n\nP.S. Bring bread.", False),
        ({"postscript_marker": "Note:"}, "Yours. note: bread", True),
    ],
    "detectable_format:number_bullet_lists": [
        ({"num_bullets": 2}, "* One\n* Two", True),
        ({"num_bullets": 2}, "Here:\n- One\n  * Two", True),
        ({"num_bullets": 2}, "* One\n* Two\n- Three", False),
        ({"num_bullets": 1}, "**Bold**", False),
        ({"num_bullets": 1}, "1. One", False),
    ],
    "detectable_format:constrained_response": [
        ({}, "My answer is yes.", True),
        ({}, "Well: My answer is maybe. Or so.", True),
        ({}, "My answer is Yes", False),
    ],
    "detectable_format:number_highlighted_sections": [
        ({"num_highlights": 2}, "*One* and *two*", True),
        ({"num_highlights": 2}, "**One**", False),
        ({"num_highlights": 1}, "**One**", True),
        ({"num_highlights": 1}, "* *", False),
        ({"num_highlights": 1}, "*One\ntwo*", False),
    ],
    "detectable_format:multiple_sections": [
        ({"section_spliter": "Section", "num_sections": 2}, "Section 1\nSoup\nSection 2\nBread", True),
        ({"section_spliter": "Section", "num_sections": 3}, "Section 1\nSoup\nSection 2\nBread", False),
        ({"section_spliter": "SECTION", "num_sections": 1}, "Section 1\nSoup", False),
        ({"section_spliter": "Day ", "num_sections": 1}, "Day1: soup", True),
    ],
    "detectable_format:json_format": [
        ({}, '{"soup": 1}', True),
        ({}, '```json\n{"soup": [1, 2]}\n```', True),
        ({}, 'Here: {"soup": 1}', False),
        ({}, "{'soup': 1}", False),
        ({}, "[" * 20, False),
    ],
    "detectable_format:title": [
        ({}, "<<Soup>>\nBread", True),
        ({}, "<< >>", False),
        ({}, "<Soup>", False),
        ({}, "<<Soup\nBread>>", False),
    ],
    "combination:two_responses": [
        ({}, "One.\n******\nTwo.", True),
        ({}, "******\nOne.\n******\nTwo.\n******", True),
        ({}, "One.\n******\nOne.", False),
        ({}, "One.\n******\nTwo.\n******\nThree.", False),
        ({}, "One.\n******\n\n******\nTwo.", False),
        ({}, "One.", False),
    ],
    "combination:repeat_prompt": [
        ({"prompt_to_repeat": "Name a fruit."}, "name a fruit. An apple.", True),
        ({"prompt_to_repeat": " Name a fruit. "}, "\nName a fruit.", True),
        ({"prompt_to_repeat": "Name a fruit."}, 'You asked: "Name a fruit."', False),
    ],
    "startend:end_checker": [
        ({"end_phrase": "Any other questions?"}, "Soup. any other questions?\n", True),
        ({"end_phrase": "Any other questions?"}, '"Soup. Any other questions?"', True),
        ({"end_phrase": "Any other questions?"}, "Any other questions? None.", False),
    ],
    "change_case:capital_word_frequency": [
        ({"capital_relation": "at least", "capital_frequency": 2}, "HOT soup and WARM bread.", True),
        ({"capital_relation": "less than", "capital_frequency": 2}, "HOT soup and WARM bread.", False),
        ({"capital_relation": "at least", "capital_frequency": 1}, "ice-COLD Soup", False),
        ({"capital_relation": "less than", "capital_frequency": 1}, "I do.", False),
    ],
    "change_case:english_capital": [
        ({}, ENGLISH.upper(), True),
        ({}, ENGLISH, False),
        ({}, FRENCH.upper().replace("É", "E"), False),
    ],
    "change_case:english_lowercase": [
        ({}, ENGLISH.lower(), True),
        ({}, ENGLISH, False),
        ({}, FRENCH.lower(), False),
        ({}, "1234", False),
    ],
    "punctuation:no_comma": [
        ({}, "Soup and bread", True),
        ({}, "Soup, bread", False),
        ({}, "Soup， bread", True),  # only the comma of ASCII
    ],
    "startend:quotation": [
        ({}, ' "Soup." ', True),
        ({}, '"Soup.', False),
        ({}, '"', False),
        ({}, "“Soup.”", False),
    ],
}
"""For each kind: arguments, an answer, and whether it is followed as it is."""
