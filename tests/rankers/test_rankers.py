"""Rankers: features that do not depend on the batch, likelihoods as defined, shares before scores."""

import math
import random

import numpy as np
import pytest
import torch

from pairloop.errors import DataError, ModelError, RankingError
from pairloop.models import chat, references
from pairloop.rankers import score_unique
from pairloop.rankers.likelihood import Likelihood
from pairloop.rankers.prefix import batches
from pairloop.rankers.specialist import head
from pairloop.rankers.specialist.head import Head, Specialist
from pairloop.rankers.specialist.hidden import HiddenStates, Layers
from pairloop.rankers.verifiable import First, Verifiable, constraints_first

PROMPTS = ["Hi", "Name three birds that can not fly, please, and say why. " * 3, "Ünï ☃ <|im_end|> text"]
ANSWERS = [
    ["Yes.", "A far longer answer, with many words in it. " * 5, "", "x", "No", "Maybe so"],
    ["Emu, kiwi, ostrich.", "I do not know."],
    ["<|im_start|>user", "\n\n", "Well, ☃!", ""],
]


@pytest.fixture(scope="module")
def tiny(tiny_base):
    return references.load_model(tiny_base, "float32"), references.load_tokenizer(tiny_base)


def one_by_one(model, tokenizer, prompt, answer, layer):
    """The mean state over an answer's tokens, from a plain forward pass over one text."""
    prompt_ids = chat.encode_prompt(tokenizer, prompt)
    ids = prompt_ids + chat.encode_response(tokenizer, answer, end=False)
    with torch.no_grad():
        states = model(torch.tensor([ids]), output_hidden_states=True).hidden_states[layer][0]
    return states[len(prompt_ids) :].mean(0) if answer else states[-1]


@pytest.mark.parametrize("batch_tokens", [1, 100, 4096])
def test_features_in_any_batch_equal_those_of_each_text_alone(tiny, batch_tokens):
    hidden = HiddenStates(*tiny, 0.5, batch_tokens)
    for prompt, answers, found in zip(PROMPTS, ANSWERS, hidden.means(PROMPTS, ANSWERS), strict=True):
        expected = torch.stack([one_by_one(*tiny, prompt, answer, 1) for answer in answers])
        np.testing.assert_allclose(found, expected, atol=1e-4)


def test_features_are_the_same_bytes_whichever_prompts_are_scored_beside(tiny):
    hidden = HiddenStates(*tiny, 0.5, 512)
    together = hidden.means(PROMPTS, ANSWERS)
    alone = [hidden.means([prompt], [answers])[0] for prompt, answers in zip(PROMPTS, ANSWERS, strict=True)]
    assert [found.tobytes() for found in together] == [found.tobytes() for found in alone]


def test_layers_above_the_one_that_is_read_are_not_computed_and_no_hook_stays(tiny):
    model, tokenizer = tiny
    called, before = [], [len(layer._forward_hooks) for layer in model.model.layers]
    watch = model.model.layers[1].register_forward_hook(lambda *_: called.append(1))
    HiddenStates(model, tokenizer, 0.5, 512).means(PROMPTS, ANSWERS)
    assert not called
    HiddenStates(model, tokenizer, 1.0, 512).means(PROMPTS, ANSWERS)
    assert called
    watch.remove()
    assert [len(layer._forward_hooks) for layer in model.model.layers] == before


@pytest.mark.parametrize(("depth", "layer"), [(0.01, 1), (0.667, 1), (0.8, 2), (1.0, 2)])
def test_depth_names_the_nearest_layer_and_never_none(tiny, depth, layer):
    assert HiddenStates(*tiny, depth, 512).layer == layer


def test_several_layers_are_read_in_one_pass_and_each_is_as_if_alone(tiny):
    model, _ = tiny
    passes, before = [], [len(layer._forward_hooks) for layer in model.model.layers]
    watch = model.model.layers[0].register_forward_hook(lambda *_: passes.append(1))
    both = Layers(*tiny, (1.0, 0.5), 512).means(PROMPTS, ANSWERS)
    several = len(passes)
    alone = [HiddenStates(*tiny, depth, 512).means(PROMPTS, ANSWERS) for depth in (1.0, 0.5)]
    watch.remove()
    assert len(passes) == 3 * several
    for found, *single in zip(both, *alone, strict=True):
        np.testing.assert_allclose(found, np.stack(single), atol=1e-6)
    assert [len(layer._forward_hooks) for layer in model.model.layers] == before


def test_reading_ends_at_the_deepest_layer_of_those_asked_for(tiny):
    model, tokenizer = tiny
    called = []
    watch = model.model.layers[1].register_forward_hook(lambda *_: called.append(1))
    found = Layers(model, tokenizer, (0.5, 0.01), 512)
    assert found.depth_of == {1: 0.5} and found.means(["Hi"], [["Yes"]])[0].shape == (1, 1, 32)
    assert not called
    Layers(model, tokenizer, (0.5, 1.0), 512).means(["Hi"], [["Yes"]])
    assert called
    watch.remove()


def test_an_empty_answer_is_the_prompt_s_last_state(tiny):
    model, tokenizer = tiny
    ids = torch.tensor([chat.encode_prompt(tokenizer, "Hi")])
    with torch.no_grad():
        last = model(ids, output_hidden_states=True).hidden_states[1][0, -1]
    np.testing.assert_allclose(HiddenStates(*tiny, 0.5, 512).means(["Hi"], [[""]])[0][0], last, atol=1e-4)


def test_a_prompt_without_candidates_has_no_scores(tiny):
    assert [found.shape for found in HiddenStates(*tiny, 0.5, 512).means(["Hi"], [[]])] == [(0, 32)]
    assert Likelihood(*tiny, 512).score(["Hi"], [[]]) == [[]]


def test_batches_hold_every_index_once_within_the_budget():
    lengths = [random.Random(3).randint(1, 40) for _ in range(60)]
    found = batches(lengths, 64)
    assert sorted(i for batch in found for i in batch) == list(range(60))
    assert all(len(batch) * max(lengths[i] for i in batch) <= 64 for batch in found)
    assert batches([100, 1], 64) == [[0], [1]]


def log_probability(model, tokenizer, prompt, answer):
    prompt_ids = chat.encode_prompt(tokenizer, prompt)
    answer_ids = chat.encode_response(tokenizer, answer, end=False)
    with torch.no_grad():
        predicted = model(torch.tensor([prompt_ids + answer_ids])).logits[0].log_softmax(-1)
    return sum(predicted[len(prompt_ids) + i - 1, token].item() for i, token in enumerate(answer_ids)), len(answer_ids)


@pytest.mark.parametrize("batch_tokens", [1, 4096])
def test_likelihood_is_half_pointwise_mutual_information_per_token(tiny, batch_tokens):
    scores = Likelihood(*tiny, batch_tokens).score(PROMPTS, ANSWERS)
    for prompt, answers, found in zip(PROMPTS, ANSWERS, scores, strict=True):
        for answer, score in zip(answers, found, strict=True):
            if answer:
                given, tokens = log_probability(*tiny, prompt, answer)
                alone, _ = log_probability(*tiny, "", answer)
                assert score == pytest.approx((given - 0.5 * alone) / tokens, abs=1e-4)


def test_an_empty_response_scores_as_blind_guessing_whatever_the_others_score(tiny):
    ranker = Likelihood(*tiny, 512)
    guessing = -math.log(tiny[0].config.vocab_size)
    scores = ranker.score(PROMPTS, ANSWERS)
    assert [scores[0][2], scores[2][3]] == [guessing, guessing]
    assert ranker.score(["Hi"], [["", ""]]) == [[guessing, guessing]]
    assert ranker.score(PROMPTS[:1], [["Yes.", "x"]])[0] == pytest.approx([scores[0][0], scores[0][3]], abs=1e-5)


class Recorded:
    """Scores by length, and remembers what it was asked."""

    def __init__(self, odd=None):
        self.asked, self.odd = [], odd or {}

    def score(self, prompts, candidates):
        self.asked += candidates
        return [[self.odd.get(text, float(len(text))) for text in texts] for texts in candidates]


def test_duplicates_are_scored_once_and_share_their_score():
    ranker = Recorded()
    assert score_unique(ranker, ["p", "q"], [["a", "bb", "a"], ["a"]]) == [[1.0, 2.0, 1.0], [1.0]]
    assert ranker.asked == [["a", "bb"], ["a"]]


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_score_that_is_not_finite_is_refused_by_prompt_and_response(bad):
    with pytest.raises(RankingError, match=r"(?s)Recorded.*'why'.*'because'"):
        score_unique(Recorded({"because": bad}), ["how", "why"], [["so"], ["fine", "because"]])


def test_a_model_with_broken_weights_is_refused(tiny, tiny_base):
    model = references.load_model(tiny_base, "float32")
    model.model.layers[0].mlp.up_proj.weight.data[0, 0] = math.nan
    with pytest.raises(RankingError, match="'Hi'"):
        score_unique(Likelihood(model, tiny[1], 512), ["Hi"], [["Yes"]])


def test_scores_must_fit_their_candidates():
    class Short:
        def score(self, prompts, candidates):
            return [[0.0] for _ in prompts]

    with pytest.raises(RankingError, match="1 scores for 2 responses"):
        score_unique(Short(), ["p"], [["a", "b"]])
    with pytest.raises(RankingError, match="2 prompts, but candidates for 1"):
        score_unique(Short(), ["p", "q"], [["a"]])
    Short.score = lambda self, prompts, candidates: []
    with pytest.raises(RankingError, match="scored 0 prompts of 1"):
        score_unique(Short(), ["p"], [["a"]])


def test_verifiable_gives_the_share_of_constraints_and_ties_where_there_are_none():
    rules = [{"kind": "words", "max": 2}, {"kind": "includes", "text": "sun"}]
    ranker = Verifiable({"a": rules, "b": []})
    responses = ["the sun", "moon", "so much of the sun", "there is nothing here"]
    assert ranker.score(["a", "b"], [responses, ["x", ""]]) == [[1.0, 0.5, 0.5, 0.0], [0.0, 0.0]]
    with pytest.raises(RankingError, match="'c'"):
        ranker.score(["c"], [["x"]])


def test_a_higher_share_wins_whatever_the_score_and_the_score_breaks_ties():
    scores, shares = [9.0, -50.0, 3.0, 4.0, 0.0], [1 / 3, 2 / 3, 2 / 3, 0.0, 1.0]
    combined = constraints_first([scores], [shares])[0]
    order = sorted(range(5), key=lambda i: combined[i], reverse=True)
    assert order == [4, 2, 1, 0, 3]
    assert combined[2] - combined[1] == pytest.approx(53.0)
    assert combined[1] - combined[0] >= 59 - 1e-9


def test_the_order_is_lexicographic_for_any_scores():
    draw = random.Random(0)
    for _ in range(500):
        count, parts = draw.randint(1, 6), draw.randint(1, 7)
        spread = draw.choice([0.0, 1e-9, 1.0, 1e6])
        scores = [draw.gauss(0, spread) for _ in range(count)]
        shares = [draw.randint(0, parts) / parts for _ in range(count)]
        combined = constraints_first([scores], [shares])[0]
        key = list(zip(shares, scores, strict=True))
        assert sorted(range(count), key=lambda i: combined[i]) == sorted(range(count), key=lambda i: key[i])


def test_equal_shares_leave_the_scores_as_they_are():
    assert constraints_first([[3.0, 1.0], []], [[0.5, 0.5], []]) == [[3.0, 1.0], []]


def test_what_loops_or_repeats_its_prompt_comes_last_whatever_it_satisfies_and_however_it_scores():
    loops, plain, wrong, echo = "tea for two " * 5, "a cup of tea", "a glass of water", "What goes into tea? Tea!"
    rows = [
        {"prompt": "What goes into tea?", "responses": [loops, plain, wrong, echo], "constraints": asked}
        for asked in ('[{"kind": "includes", "text": "tea"}]', None)
    ]
    scores = [[9.0, 1.0, 2.0, 8.0]] * 2

    def order(first):
        return [sorted(range(4), key=lambda i: -own[i]) for own in first.ordered(rows, scores)]

    assert order(First(constraints=True, loops_last=True, echoes_last=True)) == [[1, 2, 0, 3], [2, 1, 0, 3]]
    assert order(First(loops_last=True, echoes_last=True)) == [[2, 1, 0, 3]] * 2
    assert order(First(loops_last=True)) == [[3, 2, 1, 0]] * 2
    assert order(First(echoes_last=True)) == [[0, 2, 1, 3]] * 2
    assert order(First(constraints=True)) == [[0, 3, 1, 2], [0, 3, 2, 1]]


def test_what_has_too_few_words_comes_last_of_all_unless_the_prompt_limits_them():
    texts = [
        "garden",
        "my garden is full of roses",
        "no roses here, none at all",
        "a rose is a rose is a rose is a rose",
    ]
    asked = ('[{"kind": "includes", "text": "garden"}]', '[{"kind": "words", "max": 6}]', None)
    rows = [{"prompt": "What is there?", "responses": texts, "constraints": own} for own in asked]
    scores = [[9.0, 1.0, 2.0, 3.0]] * 3
    found = First(constraints=True, loops_last=True, fewest_words=5).ordered(rows, scores)
    assert [sorted(range(4), key=lambda i: -own[i]) for own in found] == [[1, 2, 3, 0], [0, 2, 1, 3], [2, 1, 3, 0]]
    found = First(constraints=True, fewest_words=1).ordered(rows, scores)
    assert sorted(range(4), key=lambda i: -found[0][i]) == [0, 1, 3, 2]


def test_with_constraints_only_the_ranker_has_no_say_where_there_are_any():
    texts = ["tea", "a cup of tea", "milk"]
    rows = [{"responses": texts, "constraints": own} for own in ('[{"kind": "includes", "text": "tea"}]', None)]
    only = First(constraints="only")
    constrained, free = only.ordered(rows, [[5.0, 1.0, 9.0]] * 2)
    assert constrained[0] == constrained[1] > constrained[2]
    assert free == [5.0, 1.0, 9.0]
    assert [only.leaves_out(row) for row in rows] == [True, False]
    assert not First(constraints=True).leaves_out(rows[0])


def some_head(size=32, layer=1):
    draw = np.random.default_rng(0)
    return Head(draw.normal(size=size), draw.normal(size=size), draw.uniform(1, 2, size=size), layer, 0.5, {"a": "b"})


def test_a_specialist_scores_by_standardised_features(tiny):
    head, hidden = some_head(), HiddenStates(*tiny, 0.5, 512)
    scores = Specialist(head, hidden).score(PROMPTS, ANSWERS)
    expected = one_by_one(*tiny, PROMPTS[0], ANSWERS[0][1], 1).double().numpy()
    assert scores[0][1] == pytest.approx(((expected - head.mean) / head.scale * head.weight).sum(), abs=1e-3)
    assert [len(found) for found in scores] == [6, 2, 4]


def test_a_saved_head_scores_the_same_after_loading(tmp_path, tiny):
    fitted, hidden = some_head(), HiddenStates(*tiny, 0.5, 512)
    head.save(fitted, tmp_path)
    loaded = head.load(tmp_path, {"a": "b"})
    assert Specialist(loaded, hidden).score(PROMPTS, ANSWERS) == Specialist(fitted, hidden).score(PROMPTS, ANSWERS)
    first = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    head.save(loaded, tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == first
    assert set(first) == {"head.json", "head.safetensors"}


def test_a_head_of_another_base_is_refused(tmp_path, tiny):
    head.save(some_head(), tmp_path)
    with pytest.raises(ModelError, match="another base"):
        head.load(tmp_path, {"a": "c"})
    with pytest.raises(ModelError, match="layer 2"):
        Specialist(some_head(layer=2), HiddenStates(*tiny, 0.5, 512))
    with pytest.raises(ModelError, match="31 hidden units"):
        Specialist(some_head(size=31), HiddenStates(*tiny, 0.5, 512))


def test_a_missing_or_damaged_head_is_a_plain_error(tmp_path):
    with pytest.raises(DataError, match=r"head\.json"):
        head.load(tmp_path, {"a": "b"})
    head.save(some_head(), tmp_path)
    (tmp_path / "head.safetensors").write_bytes(b"broken")
    with pytest.raises(ModelError, match=r"head\.safetensors"):
        head.load(tmp_path, {"a": "b"})
