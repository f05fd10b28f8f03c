"""Teaching: spoiled answers are worse and the same every time, the fit separates, and held-out prompts stay out."""

import hashlib
import random
from collections import Counter

import numpy as np
import pytest

from pairloop.errors import TrainingError
from pairloop.models import references
from pairloop.params import Teach
from pairloop.rankers.specialist import comparisons, fitting, head, teach
from pairloop.rankers.specialist.comparisons import HIGH, LOW, USUAL, Comparison, compare, hack, held_out_prompts
from pairloop.rankers.specialist.hidden import HiddenStates, Layers
from pairloop.rankers.specialist.spoilers import HACKS, SPOILERS, spoil
from pairloop.samplers import Response

PROMPT = "Why is the sky blue?"
ANSWER = "Air scatters short waves more than long ones. Blue light has short waves.\n\nSo we see blue from all sides!"
OTHERS = [
    "Boil the egg for six minutes. Then cool it.",
    "A haiku has three lines.\nSyllables: five, seven, five.",
    "No.",
]


def row(prompt):
    return {"prompt": prompt, "prompt_id": hashlib.sha256(prompt.encode()).hexdigest()}


ROWS = [row(f"Question {i}: how?") for i in range(8)]
ANSWERS = {
    t: [f"{word} answer {i}. It has a second sentence." for i in range(8)]
    for t, word in [(LOW, "Good"), (USUAL, "Fair"), (HIGH, "Wild")]
}


@pytest.fixture(scope="module")
def tiny(tiny_base):
    return references.load_model(tiny_base, "float32"), references.load_tokenizer(tiny_base)


@pytest.mark.parametrize("kind", SPOILERS)
def test_every_spoiler_changes_a_good_answer_and_is_the_same_for_the_same_draw(kind):
    made = [SPOILERS[kind](PROMPT, ANSWER, OTHERS, random.Random(seed)) for seed in (*range(20), *range(20))]
    assert ANSWER not in made
    assert made[:20] == made[20:]
    assert all(text == text.strip() for text in made)


@pytest.mark.parametrize("kind", SPOILERS)
def test_every_spoiler_takes_an_answer_of_one_word_and_a_single_other(kind):
    for seed in range(10):
        SPOILERS[kind](PROMPT, "Blue", ["Red"], random.Random(seed))


def made_by(kind, seed=1):
    return SPOILERS[kind](PROMPT, ANSWER, OTHERS, random.Random(seed))


def test_spoilers_find_words_and_sentences_where_there_are_no_spaces():
    answer = "りんごを洗います。小さく切ります。鍋に入れます。"
    for kind in ("shuffle", "drop", "loop", "repeat", "truncate", "salad"):
        spoiled = SPOILERS[kind](PROMPT, answer, OTHERS, random.Random(1))
        assert spoiled not in (answer, ""), kind
    assert HACKS["first_sentence"](PROMPT, answer, "") == "りんごを洗います。"


def test_spoilers_do_what_their_names_say():
    words = Counter(ANSWER.split())
    assert Counter(made_by("shuffle").split()) == words and made_by("shuffle").split() != ANSWER.split()
    assert Counter(made_by("drop").split()) < words
    assert Counter(made_by("repeat").split()) > words
    assert made_by("doubled").count(ANSWER) == 2
    assert ANSWER.startswith(made_by("truncate")) and len(made_by("truncate")) < len(ANSWER)
    assert made_by("ramble").startswith(ANSWER + " ")
    assert made_by("echo").startswith(PROMPT) and made_by("echo").endswith(ANSWER)
    assert made_by("offtopic") in OTHERS
    assert made_by("empty") == ""
    assert made_by("praise").endswith(ANSWER) and made_by("prefix_off").endswith(ANSWER)
    assert len(made_by("salad").split()) == len(ANSWER.split())


def test_spoiled_versions_differ_from_the_answer_and_from_each_other():
    found = spoil(PROMPT, ANSWER, OTHERS, SPOILERS, len(SPOILERS), random.Random(0))
    assert [kind for kind, _ in found] == list(SPOILERS)
    assert len({text for _, text in found} | {ANSWER}) == len(SPOILERS) + 1


def test_a_spoiler_that_leaves_a_short_answer_as_it_is_makes_way_for_the_next():
    assert spoil(PROMPT, "Blue", OTHERS, ["shuffle", "repeat"], 1, random.Random(0))[0][0] == "repeat"
    assert spoil(PROMPT, "Blue", OTHERS, ["shuffle"], 1, random.Random(0)) == []


def test_hacks_use_no_phrase_that_a_spoiler_teaches():
    taught = {SPOILERS[kind](PROMPT, "", OTHERS, random.Random(s)) for kind in ("praise", "vague") for s in range(50)}
    for name in ("hope_helps", "great_question", "self_praise"):
        assert not any(HACKS[name](PROMPT, "", "").strip() in text for text in taught)


def test_held_out_prompts_depend_on_the_seed_and_not_on_the_order():
    first = held_out_prompts(ROWS, [], 0.25, 0)
    assert len(first) == 2
    assert first == held_out_prompts(ROWS[::-1], [], 0.25, 0)
    assert len({held_out_prompts(ROWS, [], 0.25, seed) for seed in range(8)}) > 1
    assert len(held_out_prompts(ROWS, [], 0.001, 0)) == 1
    assert len(held_out_prompts(ROWS, [], 0.999, 0)) == 7


def test_preferences_have_a_held_out_share_of_their_own():
    own = [(f"mine {i}", "good", "bad") for i in range(10)]
    found = held_out_prompts(ROWS, own, 0.25, 0)
    assert len(found - {row["prompt"] for row in ROWS}) == 2
    assert found & {row["prompt"] for row in ROWS} == held_out_prompts(ROWS, [], 0.25, 0)
    shared = [(prompt, "good", "bad") for prompt in {row["prompt"] for row in ROWS} - found]
    assert held_out_prompts(ROWS, shared, 0.25, 0) == held_out_prompts(ROWS, [], 0.25, 0)
    assert len(held_out_prompts(ROWS, own[:1], 0.25, 0)) == 2


def test_every_kind_of_spoiler_is_used_equally_often(monkeypatch):
    used = []
    monkeypatch.setattr(comparisons, "spoil", lambda *a: used.extend(list(a[3])[: a[4]]) or [])
    rows = [row(f"p{i}") for i in range(32)]
    compare(rows, {t: ["An answer."] * 32 for t in (LOW, USUAL, HIGH)}, set(), 1, 0)
    assert set(Counter(used).values()) == {2} and len(set(used)) == len(SPOILERS)


def test_comparisons_are_fitted_unless_their_prompt_is_held_out():
    held_out = {ROWS[2]["prompt"]}
    made = compare(ROWS, ANSWERS, held_out, 2, 0)
    assert all(c.fitted == (c.prompt not in held_out) for c in made)
    kinds = ["low_over_high", "usual_over_high", "spoiled", "spoiled"]
    assert [c.kind for c in made if c.prompt == ROWS[0]["prompt"]] == kinds
    assert [c.kind for c in made if not c.fitted] == [*kinds[:2], "low_over_usual", *kinds[2:]]
    assert [c.better[:4] for c in made[:2]] == ["Good", "Fair"] and all(c.worse[:4] == "Wild" for c in made[:2])
    hacked = hack([(row["prompt"], text) for row, text in zip(ROWS, ANSWERS[LOW], strict=True)], held_out)
    assert [c.kind for c in hacked] == list(HACKS)
    assert not any(c.fitted for c in hacked) and {c.prompt for c in hacked} == held_out


def test_an_empty_or_equal_answer_makes_no_usable_comparison():
    answers = {LOW: ["", *ANSWERS[LOW][1:]], USUAL: ANSWERS[USUAL], HIGH: [*ANSWERS[HIGH][:7], ANSWERS[USUAL][7] + " "]}
    made = compare(ROWS, answers, set(), 1, 0)
    bad = [(c.kind, c.prompt) for c in made if not c.usable]
    assert bad == [("low_over_high", ROWS[0]["prompt"]), ("usual_over_high", ROWS[7]["prompt"])]
    assert not [c for c in made if c.kind == "spoiled" and c.prompt == ROWS[0]["prompt"]]


def test_a_base_that_answers_nothing_is_refused():
    with pytest.raises(TrainingError, match="answered 1 of 8 prompts"):
        compare(ROWS, {t: ["Something.", *[""] * 7] for t in (LOW, USUAL, HIGH)}, set(), 1, 0)


def separable(count, size, seed):
    """Comparisons whose better answer is ahead in one direction, with much larger noise in the others."""
    draw = np.random.default_rng(seed)
    features, made = {}, []
    for i in range(count):
        for text, ahead in (("good", 1.0), ("bad", -1.0)):
            features[f"p{i}", text] = np.concatenate([[ahead + draw.normal()], 30 * draw.normal(size=size - 1) + 7])
        made.append(Comparison(f"p{i}", "good", "bad", "spoiled", i < count // 2))
    return made, features


def test_the_fit_separates_answers_that_it_has_not_seen():
    made, features = separable(400, 16, 0)
    weight, mean, scale = fitting.fit([c for c in made if c.fitted], features, 1e-3)
    fitted = head.Head(weight, mean, scale, 1, 0.5, {})
    scores = {key: float(fitted.scores(feature)) for key, feature in features.items()}
    assert teach.measure(made, scores)["held_out_accuracy"]["spoiled"] > 0.85
    assert np.argmax(abs(weight)) == 0 and weight[0] > 0


def test_the_fit_is_the_minimum_of_the_bradley_terry_loss():
    made, features = separable(60, 5, 1)
    weight, _, scale = fitting.fit(made, features, 0.1)
    difference = np.array([(features[c.prompt, "good"] - features[c.prompt, "bad"]) / scale for c in made])
    gradient = weight - 0.1 * 2 * (difference * (1 / (1 + np.exp(difference @ weight)))[:, None]).sum(0)
    assert abs(gradient).max() < 1e-3


def test_a_constant_feature_does_no_harm_and_no_comparison_is_an_error():
    made, features = separable(20, 3, 2)
    features = {key: np.append(value, 5.0) for key, value in features.items()}
    weight, _, scale = fitting.fit(made, features, 1.0)
    assert scale[-1] == 1.0 and weight[-1] == 0.0 and np.isfinite(weight).all()
    with pytest.raises(TrainingError, match=r"teach\.prompts"):
        fitting.fit([], features, 1.0)


def test_measure_counts_ties_as_half_and_hacks_that_win():
    prompt = "p"
    scores = {(prompt, "good"): 2.0, (prompt, "same"): 2.0, (prompt, "bad"): 1.0, (prompt, "trick"): 3.0}
    made = [
        Comparison(prompt, "good", "bad", "low_over_high", False),
        Comparison(prompt, "good", "same", "spoiled", False),
        Comparison(prompt, "good", "trick", "doubled", False),
        Comparison(prompt, "good", "bad", "doubled", False),
        Comparison(prompt, "same", "bad", "doubled", False),
        Comparison(prompt, "bad", "good", "preference", True),
    ]
    found = teach.measure(made, scores)
    assert (found["pairs"], found["held_out_pairs"], found["fitted_accuracy"]) == (1, 2, 0.0)
    assert found["held_out_accuracy"] == {
        "total": 0.75,
        "low_over_high": 1.0,
        "usual_over_high": None,
        "spoiled": 0.5,
        "preference": None,
    }
    assert found["hacks"]["doubled"] == pytest.approx(1 / 3) and found["hacks"]["empty"] is None


class Babbler:
    """A sampler whose sentences lose more letters the higher the temperature is; the seed decides which."""

    def __init__(self, temperature):
        self.temperature = temperature

    def sample(self, requests):
        return [[self.answer(request.prompt, seed) for seed in request.seeds] for request in requests]

    def answer(self, prompt, seed):
        draw = random.Random(seed)
        text = f"The answer to {prompt} is plain. It has {draw.randint(2, 99)} parts. Each of them is short."
        text = "".join(draw.choice("#&%@") if draw.random() < self.temperature / 2 else letter for letter in text)
        return Response(text, "stop", [0] * len(text))


def taught(tiny, preferences=(), seed=0, rows=ROWS):
    params = Teach(spoilers=3, depth=(0.667,), regularisation=(1e-3,))
    layers = Layers(*tiny, params.depth, 512)
    return teach.teach(rows, Babbler, layers, {"model.json": "abc"}, params, seed, preferences)


def test_the_same_seed_gives_the_same_bytes_twice(tiny, tmp_path):
    (first, measured), (second, again) = taught(tiny), taught(tiny)
    head.save(first, tmp_path / "1")
    head.save(second, tmp_path / "2")
    for path in sorted((tmp_path / "1").iterdir()):
        assert path.read_bytes() == (tmp_path / "2" / path.name).read_bytes()
    assert measured == again
    assert taught(tiny, seed=1)[1] != measured


def test_what_is_taught_can_be_loaded_to_rank_and_knows_its_base(tiny, tmp_path):
    learnt, measured = taught(tiny)
    head.save(learnt, tmp_path)
    loaded = head.load(tmp_path, {"model.json": "abc"})
    scores = head.Specialist(loaded, HiddenStates(*tiny, loaded.depth, 512)).score(["Hi"], [["Yes", "", "No"]])
    assert len(set(scores[0])) == 3 and np.isfinite(scores).all()
    assert measured["prompts"] == 8 and measured["pairs"] >= 20 and measured["fitted_accuracy"] > 0.6
    assert set(measured["hacks"]) == set(HACKS)


def test_nothing_is_fitted_to_held_out_prompts(tiny):
    own = [(f"Say {i}", f"good {i}", f"bad {i}") for i in range(10)]
    held_out = held_out_prompts(ROWS, own, Teach().held_out, 0)
    swapped = [(prompt, worse, better) for prompt, better, worse in own]
    unseen = [new if new[0] in held_out else old for old, new in zip(own, swapped, strict=True)]
    seen = [old if new[0] in held_out else new for old, new in zip(own, swapped, strict=True)]
    weight = taught(tiny, own)[0].weight
    assert (taught(tiny, unseen)[0].weight == weight).all()
    assert (taught(tiny, seen)[0].weight != weight).any()


def test_preferences_that_say_nothing_are_left_out_and_counted(tiny):
    own = [("Say 1", "same", "same "), ("Say 2", " ", "more"), ("Say 3", "good", ""), ("Say 4", "good", "bad")]
    (_, without), (_, measured) = taught(tiny), taught(tiny, own)
    assert measured["unusable"] == without["unusable"] + 2
    pairs = measured["pairs"] + measured["held_out_pairs"]
    assert pairs == without["pairs"] + without["held_out_pairs"] + 2


def test_a_base_that_falls_apart_at_high_temperature_teaches_to_tell_its_answers_apart(tiny):
    measured = taught(tiny, rows=[row(f"Question {i}: how?") for i in range(40)])[1]
    assert measured["held_out_accuracy"]["low_over_high"] == 1.0
    assert measured["held_out_accuracy"]["usual_over_high"] > 0.8
    assert measured["low_over_usual"] > 0.8
    assert measured["unusable"] == 0 and -1 <= measured["length_correlation"] <= 1


def test_the_chosen_layer_and_penalty_are_reported_and_kept(tiny, tmp_path):
    params = Teach(spoilers=3, depth=(1.0, 0.5), regularisation=(1e-4, 1e-2))
    learnt, measured = teach.teach(ROWS, Babbler, Layers(*tiny, params.depth, 512), {}, params, 0)
    assert [(c["layer"], c["depth"], c["regularisation"]) for c in measured["candidates"]] == [
        (layer, depth, penalty) for layer, depth in ((2, 1.0), (1, 0.5)) for penalty in (1e-4, 1e-2)
    ]
    assert (learnt.layer, learnt.depth) == (measured["layer"], measured["depth"])
    top = max(c["accuracy"] for c in measured["candidates"])
    assert top == next(
        c["accuracy"]
        for c in measured["candidates"]
        if (c["layer"], c["regularisation"]) == (measured["layer"], measured["regularisation"])
    )
    assert measured["learning_curve"][-1]["accuracy"] == measured["held_out_accuracy"]["total"]


def test_preferences_alone_need_no_sampler(tiny):
    own = [(f"Say {i}", f"zzzz {i}. zzzz", f"qqqq {i}") for i in range(40)]
    params = Teach(depth=(0.5,), regularisation=(1e-2,))
    layers = Layers(*tiny, params.depth, 512)
    _, measured = teach.teach([], Babbler, layers, {}, params, 0, own)
    assert (measured["prompts"], measured["pairs"], measured["held_out_pairs"]) == (0, 32, 8)
    assert measured["held_out_accuracy"] == {"total": 1.0} | dict.fromkeys(comparisons.LEARNT) | {"preference": 1.0}
    assert set(measured["hacks"]) == set(HACKS) and None not in measured["hacks"].values()
    assert measured["low_over_usual"] is None and measured["length_correlation"] > 0.9
    for few in ([], own[:1], [own[0], (own[0][0], "a", "b")]):
        with pytest.raises(TrainingError, match=f"preferences have {min(1, len(few))} different prompts"):
            teach.teach([], Babbler, layers, {}, params, 0, few)


def test_the_users_preferences_are_learnt_and_held_out(tiny):
    own = [(f"Say {i}", "zzzz zzzz zzzz", f"qqqq {i}") for i in range(40)]
    learnt, measured = taught(tiny, own)
    assert measured["held_out_accuracy"]["preference"] == 1.0
    assert measured["held_out_pairs"] >= 8 and measured["pairs"] >= 32
    scores = head.Specialist(learnt, HiddenStates(*tiny, learnt.depth, 512)).score(["Say 99"], [[own[0][1], "qqqq 99"]])
    assert scores[0][0] > scores[0][1]
