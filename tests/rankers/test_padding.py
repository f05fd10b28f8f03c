"""What stands beside a text in a batch changes no score: each is that of one forward pass over the text alone."""

from pathlib import Path
from typing import Any

import pytest
import torch
from architectures import CLASSIFIERS, DECODERS, write_decoder
from ranker_data import TEMPLATE, write_encoder
from transformers import AutoModel, AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer

from pairloop.errors import ModelError
from pairloop.models import chat, references
from pairloop.params import Encoder as EncoderParams
from pairloop.rankers.likelihood import Likelihood, LogProbability
from pairloop.rankers.reading import Reader
from pairloop.rankers.reward import Reward
from pairloop.rankers.specialist.comparisons import Comparison
from pairloop.rankers.specialist.encoder import Encoder, train_encoder
from pairloop.rankers.specialist.hidden import HiddenStates

pytestmark = pytest.mark.slow

PROMPT = "Name three birds that can not fly, please."
ANSWERS = ["Yes.", "A far longer answer, with many words in it. " * 3, "x"]
ENDS_IN_EOS = TEMPLATE.replace("\n' }}{% endfor %}", "' }}{% endfor %}")
PADDING = [(0, "right"), (0, "left"), (None, "right"), (None, "left"), (2, "right"), (2, "left")]
"""Padding tokens of config.json (2 is the end token), and the tokenizer's side."""


def set_tokenizer(folder: Path, pad: int | None, side: str, template: str | None = None) -> None:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.pad_token = None if pad is None else tokenizer.convert_ids_to_tokens(pad)
    tokenizer.padding_side = side
    tokenizer.chat_template = template or tokenizer.chat_template
    tokenizer.save_pretrained(folder)


def rewards_alone(folder: Path) -> list[float]:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    found = []
    for answer in ANSWERS:
        turns = [{"role": "user", "content": PROMPT}, {"role": "assistant", "content": answer}]
        ids = tokenizer.apply_chat_template(turns, return_tensors="pt", return_dict=True)["input_ids"]
        with torch.no_grad():
            found.append(float(model(input_ids=ids).logits[0, 0]))
    return found


@pytest.mark.parametrize("template", [ENDS_IN_EOS, TEMPLATE], ids=["ends in eos", "ends in a line"])
@pytest.mark.parametrize(("pad", "side"), PADDING)
def test_a_reward_is_read_where_the_model_reads_it_alone(
    pad: int | None, side: str, template: str, tmp_path: Path
) -> None:
    folder = write_decoder(tmp_path, "llama", labels=1, pad_token_id=pad)
    set_tokenizer(folder, pad, side, template)
    assert Reward(folder, "float32", 4096).score([PROMPT], [ANSWERS])[0] == pytest.approx(
        rewards_alone(folder), abs=1e-5
    )


@pytest.mark.parametrize("pad", [-1, 50_000])
def test_a_padding_token_that_the_model_does_not_have_is_not_used(pad: int, tmp_path: Path) -> None:
    folder = write_decoder(tmp_path, "gpt2", labels=1, pad_token_id=pad)
    set_tokenizer(folder, 0, "right", ENDS_IN_EOS)
    assert Reward(folder, "float32", 4096).score([PROMPT], [ANSWERS])[0] == pytest.approx(
        rewards_alone(folder), abs=1e-5
    )


@pytest.mark.parametrize("kind", CLASSIFIERS)
def test_a_reward_model_of_any_architecture_without_padding_is_read_to_its_end(kind: str, tmp_path: Path) -> None:
    folder = write_decoder(tmp_path, kind, labels=1, pad_token_id=None)
    set_tokenizer(folder, None, "right", ENDS_IN_EOS)
    assert Reward(folder, "float32", 4096).score([PROMPT], [ANSWERS])[0] == pytest.approx(
        rewards_alone(folder), abs=1e-5
    )


def read_alone(model: Any, tokenizer: Any, answer: str) -> tuple[float, Any]:
    """log p of an answer, and the mean state of layer 1 over it."""
    prompt_ids, ids = chat.encode_prompt(tokenizer, PROMPT), chat.encode_response(tokenizer, answer, end=False)
    with torch.no_grad():
        output = model(torch.tensor([prompt_ids + ids]), output_hidden_states=True)
    predicted = output.logits[0].log_softmax(-1)
    told = sum(predicted[len(prompt_ids) + i - 1, token].item() for i, token in enumerate(ids))
    return told, output.hidden_states[1][0, len(prompt_ids) :].mean(0)


def assert_read_as_alone(folder: Path) -> None:
    tokenizer, plain = references.load_tokenizer(folder), AutoModelForCausalLM.from_pretrained(folder).eval()
    alone = [read_alone(plain, tokenizer, answer) for answer in ANSWERS]
    model = references.load_model(folder, "float32")
    found = LogProbability(Reader(model, tokenizer, 4096)).score([PROMPT], [ANSWERS])[0]
    assert found == pytest.approx([told for told, _ in alone], abs=1e-2)
    states = HiddenStates(model, tokenizer, 0.5, 4096).means([PROMPT], [ANSWERS])[0]
    torch.testing.assert_close(torch.tensor(states), torch.stack([mean for _, mean in alone]), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(("pad", "side"), PADDING)
def test_likelihood_and_specialist_read_as_the_base_alone(pad: int | None, side: str, tmp_path: Path) -> None:
    folder = write_decoder(tmp_path, "llama", pad_token_id=pad)
    set_tokenizer(folder, pad, side)
    assert_read_as_alone(folder)


@pytest.mark.parametrize("kind", DECODERS)
def test_likelihood_and_specialist_read_every_architecture_as_it_is_alone(kind: str, tmp_path: Path) -> None:
    assert_read_as_alone(write_decoder(tmp_path, kind, pad_token_id=None))


@pytest.mark.parametrize("kind", ["bert", "roberta"])
@pytest.mark.parametrize("pad", ["[PAD]", "[SEP]", None])
def test_an_encoder_reads_each_text_as_alone(kind: str, pad: str | None, tmp_path: Path) -> None:
    folder = write_encoder(tmp_path, kind)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.pad_token = pad
    model = AutoModel.from_pretrained(folder).eval()
    torch.manual_seed(0)
    model.head = torch.nn.Linear(32, 1)
    ranker = Encoder(model, tokenizer, 60, 4096)
    found = ranker.score(["say tea"], [["rain", "milk and rain on the road", ""]])[0]
    for text, score in zip(["rain", "milk and rain on the road", ""], found, strict=True):
        ids, first = ranker.encode("say tea", text)
        kinds = [0] * first + [1] * (len(ids) - first) if kind == "bert" else [0] * len(ids)
        with torch.no_grad():
            states = model(torch.tensor([ids]), token_type_ids=torch.tensor([kinds])).last_hidden_state
            assert score == pytest.approx(float(model.head(states.mean(1))), abs=1e-5)


@pytest.mark.parametrize("kind", ["likelihood", "specialist"])
def test_a_token_beyond_the_base_s_embedding_is_refused_with_the_folder(kind: str, tmp_path: Path) -> None:
    tokenizer = references.load_tokenizer(write_decoder(tmp_path, "llama"))
    tokenizer.add_tokens(["kiwi"])
    model = references.load_model(tmp_path, "float32")
    with pytest.raises(ModelError, match=f"{tmp_path}: the tokenizer gives token 259, but the model embeds 259"):
        if kind == "likelihood":
            Likelihood(model, tokenizer, 512).score([PROMPT], [["emu", "kiwi"]])
        else:
            HiddenStates(model, tokenizer, 0.5, 512).means([PROMPT], [["emu", "kiwi"]])


@pytest.mark.parametrize(("kind", "room"), [("bert", 64), ("roberta", 63)])
def test_an_encoder_is_asked_for_no_more_tokens_than_it_reads(kind: str, room: int, tmp_path: Path) -> None:
    source, comparison = write_encoder(tmp_path / "published", kind), Comparison("say", "tea", "milk " * 99, "x", True)
    asked: dict[str, Any] = {"model": str(source), "sha256": None, "epochs": 1}
    train_encoder([comparison], EncoderParams(**asked, max_tokens=room), tmp_path / "out", 0, 512)
    with pytest.raises(ModelError, match=rf"encoder\.max_tokens is {room + 1}, but encoder\.model reads {room} tokens"):
        train_encoder([comparison], EncoderParams(**asked, max_tokens=room + 1), tmp_path / "out", 0, 512)
