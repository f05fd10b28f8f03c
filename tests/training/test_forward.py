"""Common beginnings are read once, and nothing else changes."""

import random
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from architectures import DECODERS, write_decoder
from transformers import AutoModelForCausalLM
from trl.trainer.dpo_trainer import DataCollatorForPreference
from trl.trainer.utils import add_fused_lm_head

from pairloop.training import batches, forward, head

OUTPUTS = ("log_probs", "entropy", "mean_logits", "is_top1")
UNABLE = {"bloom", "mpt"}
"""Models that count positions themselves."""


def pairs(length: int = 1) -> list[dict[str, list[int]]]:
    """Pairs of mixed lengths, in tokens of a tiny model: one template, and responses that begin alike and do not."""
    draw = random.Random(0)

    def some(count: int) -> list[int]:
        return [draw.randrange(3, 60) for _ in range(count * length)]

    opening, alike = some(3), some(2)
    return [
        {"prompt_ids": opening + some(7), "chosen_ids": alike + some(5), "rejected_ids": alike + some(2)},
        {"prompt_ids": opening + some(2), "chosen_ids": some(1), "rejected_ids": some(6)},
        {"prompt_ids": opening + some(4), "chosen_ids": alike, "rejected_ids": alike + some(1)},
    ]


def trainer(model: Any, rows: list[dict[str, list[int]]], max_length: int | None = None) -> Any:
    """What `forward.prepare` asks of TRL's trainer."""
    import datasets
    from accelerate import Accelerator

    add_fused_lm_head(model, outputs=OUTPUTS)
    arguments = SimpleNamespace(train_batch_size=len(rows), bf16=False, fp16=False)
    return SimpleNamespace(
        **{"model": model, "ref_model": None, "args": arguments, "use_weighting": False},
        **{"accelerator": Accelerator(cpu=True), "train_dataset": datasets.Dataset.from_list(rows)},
        data_collator=DataCollatorForPreference(pad_token_id=0, max_length=max_length),
        _prepare_inputs=lambda batch: batch,
    )


def load(kind: str, folder: Path, **changes: Any) -> Any:
    return AutoModelForCausalLM.from_pretrained(write_decoder(folder / kind, kind, **changes)).eval()


def read(made: Any, rows: list[dict[str, list[int]]]) -> Any:
    """Log-probabilities [2B, T] of the rows as one batch."""
    return forward.log_probabilities(made, made.data_collator(rows))[0]


class Counted:
    """The tokens that a model's first layer reads."""

    def __init__(self, model: Any) -> None:
        self.tokens = 0
        model.get_input_embeddings().register_forward_hook(self._count)

    def _count(self, module: Any, inputs: Any, output: Any) -> None:
        self.tokens += output.shape[0] * output.shape[1]


@pytest.mark.parametrize("kind", [kind for kind in DECODERS if kind not in UNABLE])
def test_sharing_gives_what_reading_every_sequence_gives(kind: str, tmp_path: Path) -> None:
    made = trainer(load(kind, tmp_path), pairs())
    wanted = read(made, pairs())
    forward.prepare(made, True)
    assert made.model.base_model.shares_prompts
    counted = Counted(made.model)
    assert torch.allclose(read(made, pairs()), wanted, atol=1e-5)
    assert counted.tokens < 6 * wanted.shape[1]


@pytest.mark.parametrize("kind", sorted(UNABLE | {"mamba"}))
def test_a_model_that_counts_positions_itself_is_read_as_trl_reads_it(
    kind: str, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(DECODERS, "mamba", {"state_size": 4, "time_step_rank": 4})
    made = trainer(load(kind, tmp_path), pairs())
    wanted = read(made, pairs())
    forward.prepare(made, True)
    assert f"a model of type {kind} cannot share prompts exactly" in capfd.readouterr().err
    assert torch.allclose(read(made, pairs()), wanted, atol=1e-5)


def test_a_model_that_takes_a_mask_and_heeds_none_of_it_is_noticed(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = trainer(load("llama", tmp_path), pairs())
    wanted = read(made, pairs())
    plain = made.model.base_model.forward
    deaf = lambda input_ids, attention_mask, position_ids=None, **rest: plain(input_ids=input_ids, **rest)  # noqa: E731
    monkeypatch.setattr(made.model.base_model, "forward", deaf)
    forward.prepare(made, True)
    assert "a model of type llama cannot share prompts exactly" in capfd.readouterr().err
    assert torch.allclose(read(made, pairs()), wanted, atol=1e-5)


@pytest.mark.parametrize("kind", ["mistral", "gemma2", "gpt_neo"])
def test_sequences_longer_than_a_window_are_not_shared(kind: str, tmp_path: Path) -> None:
    model = load(kind, tmp_path)
    made = trainer(model, pairs())
    wanted = [read(made, pairs()), read(made, pairs(length=4))]
    forward.prepare(made, True)
    assert model.base_model.shares_prompts
    for rows, expected in zip((pairs(), pairs(length=4)), wanted, strict=True):
        assert torch.allclose(read(made, rows), expected, atol=1e-5)


def test_sharing_heeds_max_length(tmp_path: Path) -> None:
    made = trainer(load("llama", tmp_path), pairs(), max_length=12)
    wanted = read(made, pairs())
    assert wanted.shape[1] == 11
    forward.prepare(made, True)
    assert torch.allclose(read(made, pairs()), wanted, atol=1e-5)


def test_gradients_are_those_of_the_unshared_forward(tmp_path: Path) -> None:
    found = []
    for share in (False, True):
        model = load("llama", tmp_path / str(share))
        model.get_output_embeddings().weight.requires_grad_(False)
        made = trainer(model, pairs())
        if share:
            forward.prepare(made, True)
        batch = made.data_collator(pairs())
        labels = batch["input_ids"].masked_fill(batch["completion_mask"] == 0, -100)
        answer = model(batch["input_ids"], batch["attention_mask"], labels=labels, fused_lm_head=True).log_probs
        (answer * torch.linspace(-1, 1, answer.numel()).view_as(answer)).sum().backward()
        found.append(model.model.layers[0].self_attn.q_proj.weight.grad)
    assert torch.allclose(*found, atol=1e-5)
    assert found[0].abs().max() > 0.01


def test_templates_of_several_pairs_are_read_once_while_their_tree_is_narrow() -> None:
    sequences = [row["prompt_ids"] + row[side] for side in ("chosen_ids", "rejected_ids") for row in pairs()]
    (one,), members = forward.trees(sequences, most=1000)
    assert members == [[0, 3, 1, 4, 2, 5]]
    assert [[one.tokens[at] for at in path] for path in one.paths] == [sequences[i] for i in members[0]]
    assert len(one.tokens) == 3 + (7 + 2 + 5 + 2) + (2 + 1 + 6) + (4 + 2 + 1)
    several, members = forward.trees(sequences, most=30)
    assert members == [[0, 3, 1, 4], [2, 5]]
    assert [len(tree.tokens) for tree in several] == [28, 10]


def test_a_token_sees_the_beginning_of_its_own_sequences_and_nothing_else() -> None:
    tree = forward.Tree([[1, 2, 3], [1, 4, 5]])
    assert (tree.tokens, tree.positions) == ([1, 2, 3, 4, 5], [0, 1, 2, 1, 2])
    seen = [[at for at in range(6) if row[at]] for row in tree.visible(6)]
    assert seen == [[0], [0, 1], [0, 1, 2], [0, 3], [0, 3, 4], [5]]


def test_the_frozen_head_answers_in_tiles_as_the_whole_would(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(head, "_SCORES", 2 * 50)
    torch.manual_seed(0)
    hidden, weight, targets = torch.randn(7, 8, requires_grad=True), torch.randn(50, 8), torch.randint(50, (7,))
    whole = (hidden @ weight.t()).log_softmax(-1).gather(1, targets[:, None])[:, 0]
    tiled = head._LogProbabilities.apply(hidden, weight, targets)
    assert torch.allclose(whole, tiled, atol=1e-5)
    upstream = torch.linspace(-1, 1, 7)
    gradients = [torch.autograd.grad(each, hidden, upstream)[0] for each in (whole, tiled)]
    assert torch.allclose(*gradients, atol=1e-5)


def reading(**backbone: Any) -> Any:
    """A trainer, as far as the count of what its model reads looks at it."""
    return SimpleNamespace(
        model=SimpleNamespace(base_model=SimpleNamespace(**backbone)), args=SimpleNamespace(max_length=768)
    )


ROWS = [
    {"prompt_ids": [1, 2], "chosen_ids": [3] * 8, "rejected_ids": [4] * 8},
    {"prompt_ids": [1, 2], "chosen_ids": [5] * 6, "rejected_ids": [6] * 4},
    {"prompt_ids": [1], "chosen_ids": [3] * 3, "rejected_ids": [4] * 3},
    {"prompt_ids": [1], "chosen_ids": [3], "rejected_ids": [4] * 3},
]
PLANNED = batches.plan([10, 8, 4, 4], 4, 1, 2)[0][0]


def test_the_share_of_padding_is_that_of_the_computed_positions() -> None:
    assert forward.wasted(reading(), ROWS, PLANNED) == pytest.approx(1 - 48 / (4 * 10 + 4 * 4))
    repeated = [batches.Batch((3,), 1.0), batches.Batch((3,), 0.0)]
    assert forward.wasted(reading(), ROWS, repeated) == pytest.approx(1 - 6 / 16)


def test_of_a_tree_only_what_fills_it_up_is_wasted() -> None:
    # Each pair of the first batch has a tree of its own, of 2 + 8 + 8 and 2 + 6 + 4 tokens; the second batch has one.
    tree = reading(shares_prompts=True, tree_tokens=18, window_tokens=None)
    assert forward.wasted(tree, ROWS, PLANNED) == pytest.approx(1 - (18 + 12 + 7) / (2 * 18 + 7))
    narrow = reading(shares_prompts=True, tree_tokens=12, window_tokens=12)
    assert forward.wasted(narrow, ROWS, PLANNED[:1]) == pytest.approx(1 - (10 + 8 + 10 + 6) / 40)
