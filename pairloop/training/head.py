"""Log-probabilities of tokens under a frozen head on a CPU, with their gradient made in the same pass.

With respect to the hidden states the gradient of a token's log-probability is its row of the head less the mean row,
weighted by the probabilities. Both are at hand when the log-probability is computed, so nothing is computed again in
the backward pass, and the scores [tokens, vocabulary] never stand in memory whole.
"""

from collections.abc import Callable
from types import MethodType
from typing import Any

import torch
from torch import nn
from trl.trainer.utils import FusedCausalLMOutput

_SCORES = 2**22
"""Scores in memory at a time: 16 MiB of them."""


class _LogProbabilities(torch.autograd.Function):
    """Log-probability of each of N targets, from hidden states [N, H] and the head's weight [V, H]."""

    @staticmethod
    def forward(ctx: Any, hidden: torch.Tensor, weight: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        slopes = torch.empty_like(hidden) if ctx.needs_input_grad[0] else None
        found = hidden.new_empty(len(hidden))
        rows = max(1, _SCORES // len(weight))
        for start in range(0, len(hidden), rows):
            part = slice(start, start + rows)
            scores = hidden[part] @ weight.t()
            scores -= scores.amax(dim=1, keepdim=True)
            wanted = scores.gather(1, targets[part, None])[:, 0]
            total = scores.exp_().sum(dim=1)
            found[part] = wanted - total.log()
            if slopes is not None:
                slopes[part] = weight[targets[part]] - scores @ weight / total[:, None]
        ctx.slopes = slopes
        return found

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> Any:
        return gradient[:, None] * ctx.slopes, None, None


def applies(model: Any) -> bool:
    """Whether the head is a plain product with frozen float32 weights on a CPU. Elsewhere TRL's own is as good."""
    config, head = model.config.get_text_config(), model.get_output_embeddings()
    scaled = ("final_logit_softcapping", "logit_scale", "output_multiplier", "lm_head_multiplier", "logits_scaling")
    return (
        isinstance(head, nn.Linear)
        and head.bias is None
        and type(head.weight) is nn.Parameter
        and not head.weight.requires_grad
        and head.weight.dtype == torch.float32
        and head.weight.device.type == "cpu"
        and all(getattr(config, name, None) is None for name in scaled)
        and not getattr(config, "output_router_logits", False)
    )


def install(model: Any) -> None:
    """Let a model that TRL has given a head answer with log-probabilities alone, where `applies` says so."""
    trl: Callable[..., Any] = model.forward

    def forward(self: Any, *args: Any, fused_lm_head: bool = False, labels: Any = None, **options: Any) -> Any:
        if not fused_lm_head or "shift_labels" in options or torch.is_autocast_enabled("cpu") or not applies(self):
            return trl(*args, fused_lm_head=fused_lm_head, labels=labels, **options)
        options["use_cache"] = False
        states = self.base_model(*args, **options).last_hidden_state[:, :-1]
        targets = labels[:, 1:]
        counted = targets != -100
        found = _LogProbabilities.apply(states[counted], self.get_output_embeddings().weight, targets[counted])
        # Connected to the model even where no token counts.
        log_probs = found.new_zeros(targets.shape).masked_scatter(counted, found)
        # TRL averages the others into measures that nobody reads here.
        nothing = torch.zeros_like(log_probs)
        return FusedCausalLMOutput(
            log_probs=log_probs, entropy=nothing, mean_logits=nothing, is_top1=nothing.bool(), label_mask=counted
        )

    model.forward = MethodType(forward, model)
