"""Reward models: an encoder and a decoder with random weights, whose scores are those of transformers one by one."""

import json
from pathlib import Path

import pytest
import torch
from ranker_data import write_reward_model

from pairloop.errors import ModelError
from pairloop.models import chat
from pairloop.models.random_model import write_random_model
from pairloop.params import Rankers
from pairloop.rankers import scoring
from pairloop.rankers.reward import Reward

PROMPTS = ["Hi", "Name three birds that can not fly, please, and say why. " * 3, "Ünï ☃ text"]
ANSWERS = [
    ["Yes.", "A far longer answer, with many words in it. " * 5, "", "x", "No", "Yes."],
    ["Emu, kiwi, ostrich.", "I do not know."],
    ["\n\n", "Well, ☃!", "", " spaced "],
]


@pytest.fixture(scope="module", params=["encoder", "decoder", "decoder padded on the left"])
def folder(request, tmp_path_factory):
    kind, _, left = request.param.partition(" ")
    return write_reward_model(tmp_path_factory.mktemp(kind), kind, "left" if left else "right")


def one_by_one(folder: Path, prompt: str, response: str) -> float:
    """The template rendered and read by transformers, one text in a batch."""
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    turns = [{"role": "user", "content": prompt}, {"role": "assistant", "content": response}]
    ids = tokenizer.apply_chat_template(turns, return_tensors="pt", return_dict=True)["input_ids"]
    with torch.no_grad():
        return float(model(input_ids=ids).logits[0, 0])


@pytest.mark.slow
@pytest.mark.parametrize("batch_tokens", [1, 600, 100_000])
def test_scores_in_any_batch_are_those_of_each_text_alone(folder, batch_tokens):
    ranker = Reward(folder, "float32", batch_tokens)
    found = ranker.score(PROMPTS, ANSWERS)
    for prompt, answers, own in zip(PROMPTS, ANSWERS, found, strict=True):
        assert own == pytest.approx([one_by_one(folder, prompt, answer) for answer in answers], abs=1e-5)
    assert found[0][0] == found[0][5]
    assert len({round(score, 4) for own in found for score in own}) == 11  # and no two others are alike
    assert ranker.cut == 0


def test_the_order_of_the_rows_changes_nothing(folder):
    ranker = Reward(folder, "float32", 600)
    backwards = [own[::-1] for own in ranker.score(PROMPTS[::-1], [own[::-1] for own in ANSWERS[::-1]])][::-1]
    for own, other in zip(ranker.score(PROMPTS, ANSWERS), backwards, strict=True):
        assert own == pytest.approx(other, abs=1e-5)


def test_no_prompts_and_no_responses_have_no_scores(folder):
    ranker = Reward(folder, "float32", 600)
    assert ranker.score([], []) == []
    assert ranker.score(["Hi"], [[]]) == [[]]
    assert len(ranker.score(["Hi"], [["alone"]])[0]) == 1


@pytest.mark.parametrize(
    "text", ["<|im_end|>", "<|im_start|>user\n", "a<|endoftext|>b", "[INST]", "<|im_end|><|im_end|>"]
)
def test_control_tokens_spelled_out_in_a_text_stay_text(folder, text):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    plain = chat.encode_exchange(tokenizer, "Hi", "Yes")
    hostile = chat.encode_exchange(tokenizer, f"Hi{text}", f"{text}Yes")
    assert [hostile.count(token) for token in range(3)] == [plain.count(token) for token in range(3)] == [0, 3, 2]
    assert tokenizer.decode(hostile) == tokenizer.decode(plain).replace("Hi", f"Hi{text}").replace("Yes", f"{text}Yes")
    scores = Reward(folder, "float32", 600).score(["Hi"], [["Yes", f"Yes{text}"]])[0]
    assert abs(scores[0] - scores[1]) > 1e-4


def test_an_exchange_has_the_ids_of_the_tokenizer_s_own_template(real_tokenizer):
    for prompt, response in (("Hi", "Yes."), (" a\n", ""), ("naïve ☃", "\n\nno  way "), ("x" * 50, "Hello, world")):
        turns = [{"role": "user", "content": prompt}, {"role": "assistant", "content": response}]
        expected = real_tokenizer.apply_chat_template(turns, return_dict=True)["input_ids"]
        assert chat.encode_exchange(real_tokenizer, prompt, response) == expected


def test_a_template_that_strips_white_space_strips_ours(real_tokenizer):
    real_tokenizer.chat_template = (
        "{% for m in messages %}{{ m['role'] + ': ' + m['content'] | trim + '\n' }}{% endfor %}"
    )
    assert chat.encode_exchange(real_tokenizer, " a ", "b\n") == chat.encode_exchange(real_tokenizer, "a", "b")


def test_over_long_texts_are_cut_to_the_context_and_counted(tmp_path):
    folder = write_reward_model(tmp_path, "decoder", context=128)
    ranker = Reward(folder, "float32", 4096)
    prompts, answers = ["Hi", "p" * 300], [["a" * 300, "a" * 400, "short"], ["a" * 300, "b", "b" + "a" * 300]]
    found = ranker.score(prompts, answers)
    assert ranker.cut == 5
    assert found[0][0] == pytest.approx(found[0][1], abs=1e-5) and abs(found[0][0] - found[0][2]) > 1e-4
    assert len({round(score, 4) for score in found[1]}) == 3  # the prompt leaves half of the context to responses
    ids = ranker._encode("p" * 300, "a" * 300)
    assert len(ids) == 128 and ids == chat.encode_exchange(ranker._tokenizer, "p" * 42, "a" * 64)


def test_a_context_that_does_not_hold_the_template_is_refused(tmp_path):
    folder = write_reward_model(tmp_path, "decoder", context=16)
    with pytest.raises(ModelError, match=r"template alone takes 22 tokens, and the model reads 16"):
        Reward(folder, "float32", 4096).score(["Hi"], [["Yes"]])


def test_lower_precision_stays_close(folder):
    rough, exact = (Reward(folder, dtype, 600).score(PROMPTS, ANSWERS) for dtype in ("bfloat16", "float32"))
    for own, other in zip(rough, exact, strict=True):
        assert own == pytest.approx(other, abs=0.3)


def change_config(folder: Path, **values: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def test_more_than_one_output_is_refused(tmp_path):
    with pytest.raises(ModelError, match="the model has 3 outputs, but a reward model has one"):
        Reward(write_reward_model(tmp_path, "encoder", labels=3), "float32", 600)


def test_a_language_model_is_refused(tmp_path):
    write_random_model(0, tmp_path)
    with pytest.raises(ModelError, match="says LlamaForCausalLM, but a reward model is a sequence classifier"):
        Reward(tmp_path, "float32", 600)


def test_a_head_that_would_be_random_is_refused(tmp_path):
    write_random_model(0, tmp_path)
    change_config(tmp_path, architectures=["LlamaForSequenceClassification"], id2label={"0": "reward"})
    with pytest.raises(ModelError, match=r"the weights lack 1 of the reward model's, such as score\.weight"):
        Reward(tmp_path, "float32", 600)


def test_a_head_of_another_size_is_refused_in_one_line(tmp_path):
    change_config(write_reward_model(tmp_path, "decoder"), id2label={"0": "reward"}, hidden_size=64)
    with pytest.raises(ModelError, match="the reward model cannot be loaded") as error:
        Reward(tmp_path, "float32", 600)
    assert "\n" not in error.value.message


def test_a_tokenizer_without_a_chat_template_is_refused(tmp_path):
    (write_reward_model(tmp_path, "encoder") / "chat_template.jinja").unlink()
    with pytest.raises(ModelError, match="has no chat template"):
        Reward(tmp_path, "float32", 600)


def test_a_pickle_is_refused(tmp_path):
    write_reward_model(tmp_path, "encoder")
    (tmp_path / "model.safetensors").rename(tmp_path / "pytorch_model.bin")
    with pytest.raises(ModelError, match="cannot be loaded"):
        Reward(tmp_path, "float32", 600)


def test_a_template_that_leaves_out_the_answer_is_refused(tmp_path):
    folder = write_reward_model(tmp_path, "encoder")
    (folder / "chat_template.jinja").write_text("{{ messages[0]['content'] }}")
    with pytest.raises(ModelError, match="leaves out the user's text or the answer"):
        Reward(folder, "float32", 600).score(["Hi"], [["Yes"]])


def test_the_pipeline_ranks_by_it(folder, tmp_path):
    places, weights = scoring.Places(Path("none"), Path("none")), Rankers(reward=str(folder))
    ranking = scoring.Ranking("reward", places, "float32", 600, rankers=weights)
    rows = [{"prompt": p, "responses": own, "constraints": None} for p, own in zip(PROMPTS, ANSWERS, strict=True)]
    (found,) = scoring.score(rows, ranking, 3, tmp_path)
    for own, other in zip(found, Reward(folder, "float32", 600).score(PROMPTS, ANSWERS), strict=True):
        assert own["scores"] == pytest.approx(other, abs=1e-5)
    assert "model.safetensors" in ranking.fingerprint["files"]["0"]


QWEN3 = (  # the parts that deal with thoughts
    "{% for m in messages %}{% set content = m['content'] %}{% set thought = '' %}"
    "{% if m['role'] == 'assistant' and '</think>' in content %}"
    "{% set thought = content.split('</think>')[0].rstrip('\n').split('<think>')[-1].lstrip('\n') %}"
    "{% set content = content.split('</think>')[-1].lstrip('\n') %}{% endif %}"
    "{{ '<|im_start|>' + m['role'] + '\n' }}{% if m['role'] == 'assistant' %}"
    "{{ '<think>\n' + thought.strip('\n') + '\n</think>\n\n' }}{% endif %}{{ content + '<|im_end|>\n' }}{% endfor %}"
)
DEEPSEEK = (
    "{% for m in messages %}{% set content = m['content'] %}{% if '</think>' in content %}"
    "{% set content = content.split('</think>')[-1] | trim %}{% endif %}"
    "{{ '<|im_start|>' + m['role'] + '\n' + content + '<|im_end|>' }}{% endfor %}"
)
THOUGHTS = ["<think>\nLet me see.\n</think>\n\nYes.", "Yes.", "<think>No.</think>No.", "<think>cut off", "</think> x"]


def thinking(folder: Path, template: str) -> Path:
    """A reward model whose tokenizer has tokens for thoughts, and whose template rewrites them."""
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    write_reward_model(folder, "decoder")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens(["<think>", "</think>"])
    tokenizer.chat_template = template
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    model = AutoModelForSequenceClassification.from_pretrained(folder)
    model.resize_token_embeddings(len(tokenizer))
    model.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("template", [QWEN3, DEEPSEEK], ids=["Qwen3", "DeepSeek"])
def test_thoughts_are_read_as_the_template_writes_them(tmp_path, template):
    folder = thinking(tmp_path, template)
    found = Reward(folder, "float32", 600).score(["Hi"], [THOUGHTS])[0]
    assert found == pytest.approx([one_by_one(folder, "Hi", text) for text in THOUGHTS], abs=1e-5)
    if template == DEEPSEEK:
        assert found[0] == pytest.approx(found[1], abs=1e-5)


@pytest.mark.parametrize("template", [QWEN3, DEEPSEEK], ids=["Qwen3", "DeepSeek"])
@pytest.mark.parametrize("text", THOUGHTS)
def test_control_tokens_beside_thoughts_stay_text(tmp_path, template, text):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(thinking(tmp_path, template))
    plain = chat.encode_exchange(tokenizer, "Hi", f"{text}END")
    hostile = chat.encode_exchange(tokenizer, "Hi<|im_start|>", f"{text}<|im_end|>")
    written = tokenizer.decode(plain).replace("Hi", "Hi<|im_start|>").replace("END", "<|im_end|>")
    assert tokenizer.decode(hostile) == written
    assert [hostile.count(i) for i in tokenizer.all_special_ids] == [plain.count(i) for i in tokenizer.all_special_ids]
    thoughts = tokenizer.convert_tokens_to_ids(["<think>", "</think>"])
    assert [hostile.count(i) for i in thoughts] == [plain.count(i) for i in thoughts]


def test_a_template_that_cannot_be_rendered_is_named_with_its_folder(tmp_path):
    folder = write_reward_model(tmp_path, "decoder")
    (folder / "chat_template.jinja").write_text("{{ raise_exception('a system turn is needed') }}")
    with pytest.raises(ModelError, match=f"{folder}: .*a system turn is needed") as error:
        Reward(folder, "float32", 600).score(["Hi"], [["Yes"]])
    assert "\n" not in error.value.message


def test_named_templates_without_a_default_are_refused_with_their_names(tmp_path):
    folder = write_reward_model(tmp_path, "decoder")
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.chat_template = {"rag": "{{ messages }}", "tool_use": "{{ messages }}"}
    (folder / "chat_template.jinja").unlink()
    tokenizer.save_pretrained(folder)
    with pytest.raises(ModelError, match=rf"{folder}: .*no default.*rag.*tool_use.*chat_template\.jinja") as error:
        Reward(folder, "float32", 600).score(["Hi"], [["Yes"]])
    assert "\n" not in error.value.message


def test_a_token_beyond_the_embedding_is_refused_with_the_folder(tmp_path):
    from transformers import AutoTokenizer

    folder = write_reward_model(tmp_path, "decoder")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens(["yes"])
    tokenizer.save_pretrained(folder)
    with pytest.raises(ModelError, match=f"{folder}: the tokenizer gives token 259, but the model embeds 259"):
        Reward(folder, "float32", 600).score(["Hi"], [["yes"]])
    assert len(Reward(folder, "float32", 600).score(["Hi"], [["no"]])[0]) == 1
