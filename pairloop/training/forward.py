"""What the model computes of a batch: tokens that several sequences begin with are read once.

Chosen and rejected begin with the same template and prompt, and so do, by their template, different pairs. The model is
causal: what it makes of a token depends on those before it alone. So the sequences of a batch are laid out as trees, in
which what several begin with is one branch; each token sees the branch that leads to it, and stands at the position
that it has in its sequence. TRL gets the hidden states in the layout that it asked for, so its loss is its own.
"""

import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from itertools import chain
from types import MethodType
from typing import Any

import click
import numpy as np
import torch

from pairloop.training import head
from pairloop.training.batches import Batch

EXACT = 1e-4
"""Nats by which a token's log-probability may differ in float32, at most, for sharing to be taken as exact."""

ROUNDED = 0.05
"""Likewise on average in 16 bits, where every order of summation rounds differently."""


class Tree:
    """Sequences of tokens; what several begin with stands in it once."""

    def __init__(self, sequences: Sequence[Sequence[int]]) -> None:
        self.tokens: list[int] = []
        self.positions: list[int] = []
        self._parents: list[int] = []
        self._known: dict[tuple[int, int], int] = {}
        self.paths = [self._add(sequence) for sequence in sequences]
        """For each sequence, where its tokens stand in the tree."""

    def _add(self, sequence: Sequence[int]) -> list[int]:
        path, parent = [], -1
        for position, token in enumerate(sequence):
            at = self._known.setdefault((parent, token), len(self.tokens))
            if at == len(self.tokens):
                self.tokens.append(token)
                self.positions.append(position)
                self._parents.append(parent)
            path.append(at)
            parent = at
        return path

    def visible(self, width: int) -> Any:
        """What each of the tree's tokens sees, and of padding up to `width` itself: booleans [width, width]."""
        seen = np.eye(width, dtype=bool)
        for at, parent in enumerate(self._parents):
            if parent >= 0:
                seen[at, : parent + 1] = seen[parent, : parent + 1]
        return seen


def trees(sequences: Sequence[Sequence[int]], most: int) -> tuple[list[Tree], list[list[int]]]:
    """The sequences in as few trees as have at most `most` tokens each; a pair is never parted.

    Args:
        sequences: B chosen ones, then B rejected.
        most: tokens in a tree of several pairs.

    Returns:
        The trees, and the numbers of the sequences in each, in the order of its paths.
    """
    half = len(sequences) // 2
    members: list[list[int]] = []
    found: list[Tree] = []
    for pair in range(half):
        own = [pair, half + pair]
        if members:
            joined = Tree([sequences[i] for i in members[-1] + own])
            if len(joined.tokens) <= most:
                members[-1] += own
                found[-1] = joined
                continue
        members.append(own)
        found.append(Tree([sequences[i] for i in own]))
    return found, members


class Layout:
    """A batch as the model reads it, and where its places are found in that."""

    def __init__(self, input_ids: Any, attention_mask: Any, most: int) -> None:
        ids, lengths = input_ids.tolist(), attention_mask.sum(dim=1).tolist()
        found, members = trees([row[:length] for row, length in zip(ids, lengths, strict=True)], most)
        width = max(len(tree.tokens) for tree in found)
        tokens, positions = (np.zeros((len(found), width), dtype=np.int64) for _ in range(2))
        places = np.zeros(input_ids.shape, dtype=np.int64)
        for row, (tree, numbers) in enumerate(zip(found, members, strict=True)):
            tokens[row, : len(tree.tokens)] = tree.tokens
            positions[row, : len(tree.tokens)] = tree.positions
            for number, path in zip(numbers, tree.paths, strict=True):
                places[number] = row * width  # padding: whatever stands first, which no loss reads
                places[number, : len(path)] = row * width + np.array(path)
        device = input_ids.device
        self.tokens = torch.from_numpy(tokens).to(device)
        """[R, N] tokens of R trees, padded with 0."""
        self.positions = torch.from_numpy(positions).to(device)
        """[R, N] positions of the tokens in their sequences."""
        self.visible = torch.from_numpy(np.stack([tree.visible(width) for tree in found]))[:, None].to(device)
        """[R, 1, N, N], true where a token sees another."""
        self.places = torch.from_numpy(places).to(device)
        """[2B, T] where each place of the batch stands in the R × N places of the trees."""


def shares(model: Any) -> bool:
    """Whether a causal language model can be told positions and what each token sees.

    A model that takes both and heeds neither is found by `agrees`.
    """
    backbone = model.base_model
    return (
        "position_ids" in inspect.signature(backbone.forward).parameters
        and model.config._attn_implementation in ("sdpa", "eager")
        and not getattr(model.config.get_text_config(), "output_router_logits", False)
    )


def window(config: Any) -> int | None:
    """The tokens that some layer sees at most, where the model's configuration says so. Up to there nothing is hidden
    that a mask of ours shows."""
    stated = config.get_text_config()
    names = ("sliding_window", "window_size", "attention_chunk_size", "local_attention_window", "sliding_window_size")
    found = [value for name in names if isinstance(value := getattr(stated, name, None), int) and value > 0]
    return min(found, default=None)


def prepare(trainer: Any, share: bool) -> None:
    """Change how a trainer's policy and reference answer TRL, which has given them heads that return log-probabilities.

    Args:
        trainer: TRL's, before it trains or computes the reference's log-probabilities.
        share: read common beginnings once. The trainer's first batch is read both ways, and if that is not the same,
            or the model cannot do it, a line of stderr says so and the model is read as TRL reads it.
    """
    policy = _causal(trainer.model)
    models = [policy, *([trainer.ref_model] if trainer.ref_model is not None else [])]
    for model in models:
        if not trainer.use_weighting:  # which reads more of what TRL's own head gives
            head.install(model)
        if share and shares(model):
            _share(model.base_model, model.config)
    if share and not (shares(policy) and _agrees(trainer, policy)):
        for model in models:
            model.base_model.shares_prompts = False
        kind = policy.config.model_type
        click.echo(
            f"train: a model of type {kind} cannot share prompts exactly: each response is read with its own",
            err=True,
        )


def _causal(model: Any) -> Any:
    """The model of transformers in PEFT's wrapper, if it is in one."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def _share(backbone: Any, config: Any) -> None:
    """Make a backbone read common beginnings once. `backbone.shares_prompts` turns it off and on."""
    plain: Callable[..., Any] = backbone.forward
    # A window may be counted in columns, so a tree must not be wider. Without one, attention's share of the work stays
    # small in trees that are no wider than the model.
    widest = window(config)
    most = min(config.get_text_config().hidden_size, widest or sys.maxsize)
    boolean = config._attn_implementation == "sdpa"

    @wraps(plain)
    def forward(self: Any, input_ids: Any = None, attention_mask: Any = None, **options: Any) -> Any:
        # Who says where tokens stand, or nothing of padding, does not ask for a batch of TRL's.
        ours = self.shares_prompts and attention_mask is not None and options.get("position_ids") is None
        layout = Layout(input_ids, attention_mask, most) if ours else None
        if layout is None or (widest is not None and layout.tokens.shape[1] > widest):
            return plain(input_ids=input_ids, attention_mask=attention_mask, **options)
        mask = layout.visible if boolean else _additive(layout.visible, self.dtype)
        options["position_ids"] = layout.positions
        output = plain(input_ids=layout.tokens, attention_mask=mask, **options)
        states = output.last_hidden_state
        output.last_hidden_state = states.flatten(0, 1)[layout.places]
        return output

    backbone.shares_prompts, backbone.tree_tokens, backbone.window_tokens = True, most, widest
    backbone.forward = MethodType(forward, backbone)


def wasted(trainer: Any, rows: Sequence[Mapping[str, Any]], planned: Sequence[Batch]) -> float:
    """Share of the positions that the model computes that are padding, or repeat a row for a device without one.

    Args:
        trainer: one that `prepare` has changed.
        rows: of `data.encode`.
        planned: what all devices compute in one pass over them.
    """
    backbone, most = _causal(trainer.model).base_model, trainer.args.max_length
    computed = useful = 0
    for batch in planned:
        pairs = [rows[row] for row in batch.rows]
        sides = ("chosen_ids", "rejected_ids")
        whole = [list(chain(pair["prompt_ids"], pair[side]))[:most] for side in sides for pair in pairs]
        lengths = _read(backbone, whole)
        computed += len(lengths) * max(lengths)
        useful += sum(lengths) if batch.weight else 0
    return 1 - useful / computed


def _read(backbone: Any, sequences: Sequence[Sequence[int]]) -> list[int]:
    """Lengths of what a backbone reads of a batch: trees, or where it shares nothing the sequences."""
    if not getattr(backbone, "shares_prompts", False):
        return [len(sequence) for sequence in sequences]
    lengths = [len(tree.tokens) for tree in trees(sequences, backbone.tree_tokens)[0]]
    too_wide = backbone.window_tokens is not None and max(lengths) > backbone.window_tokens
    return [len(sequence) for sequence in sequences] if too_wide else lengths


def _additive(visible: Any, dtype: Any) -> Any:
    """The mask as attention adds it to scores: 0 where a token is seen, the lowest number elsewhere."""
    return torch.zeros(visible.shape, dtype=dtype, device=visible.device).masked_fill(~visible, torch.finfo(dtype).min)


def _agrees(trainer: Any, policy: Any) -> bool:
    """Whether reading common beginnings once gives what reading them with every sequence does, on the first batch."""
    rows = trainer.train_dataset.select(range(min(len(trainer.train_dataset), trainer.args.train_batch_size)))
    batch = trainer._prepare_inputs(trainer.data_collator(list(rows)))
    trainer.model.eval()
    shared, mask = log_probabilities(trainer, batch)
    policy.base_model.shares_prompts = False
    alone, _ = log_probabilities(trainer, batch)
    policy.base_model.shares_prompts = True
    apart = (shared - alone).abs()[mask.bool()]
    exact = policy.dtype == torch.float32 and not (trainer.args.bf16 or trainer.args.fp16)
    return bool(apart.max() <= EXACT if exact else apart.mean() <= ROUNDED)


def log_probabilities(trainer: Any, batch: Any) -> tuple[Any, Any]:
    """Of the 2B responses of a batch, B chosen ones, then B rejected: log-probability of each token, and which count.

    Returns:
        Tensors [2B, T]: nats, 0 outside the response; 1 for a response's token and 0 for others.
    """
    labels = batch["input_ids"].masked_fill(batch["completion_mask"] == 0, -100)
    with torch.no_grad(), trainer.accelerator.autocast():
        output = trainer.model(
            input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], labels=labels, fused_lm_head=True
        )
    return output.log_probs, batch["completion_mask"][:, 1:]
