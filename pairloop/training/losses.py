"""The losses of a run as TRL takes them, and the one that TRL has not: SPPO's with probabilities to win.

Imported only where training happens: it loads torch and TRL.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from trl import DPOConfig, DPOTrainer
from trl.trainer.dpo_trainer import DataCollatorForPreference

from pairloop.params import Train

WINS = "win_probabilities"
"""Column of a row: how likely chosen and rejected are to beat the policy's other responses."""


@dataclass
class LossConfig(DPOConfig):
    """TRL's configuration, and the weight of the loss that it has not."""

    sppo_soft_weight: float = 0.0
    """Of sppo_soft in the sum; 0 is without it."""


def settings(params: Train) -> dict[str, Any]:
    """The fields of LossConfig that decide the loss."""
    weights = dict(zip(params.loss, params.loss_weights or [1.0] * len(params.loss), strict=True))
    soft = weights.pop("sppo_soft", 0.0)
    return {
        "loss_type": list(weights),
        "loss_weights": list(weights.values()),
        "sppo_soft_weight": soft,
        "label_smoothing": params.label_smoothing,
        "use_weighting": params.use_weighting,
        "f_divergence_type": params.f_divergence_type,
        "f_alpha_divergence_coef": params.f_alpha_divergence_coef,
        "ld_alpha": None if params.ld_alpha == 1 else params.ld_alpha,
    }


class Collator(DataCollatorForPreference):
    """TRL's collator, which also stacks the probabilities to win: B of chosen responses, then B of rejected."""

    def torch_call(self, examples: list[dict[str, Any]]) -> dict[str, Any]:
        """A batch of rows."""
        batch: dict[str, Any] = super().torch_call(examples)
        if WINS in examples[0]:
            batch[WINS] = torch.tensor([example[WINS] for example in examples]).T.reshape(-1)
        return batch


class LossTrainer(DPOTrainer):
    """DPOTrainer whose sum of losses may hold sppo_soft."""

    _signature_columns: list[str] | None

    def _set_signature_columns_if_needed(self) -> None:
        # TRL leaves out of a row all columns but those that it names here.
        super()._set_signature_columns_if_needed()
        self._signature_columns = list(dict.fromkeys([*(self._signature_columns or ()), WINS]))

    def compute_ref_log_probs(self, model: Any, inputs: Mapping[str, Any]) -> Any:
        """The reference's log-probabilities of a batch."""
        return super().compute_ref_log_probs(model, {name: value for name, value in inputs.items() if name != WINS})

    def _compute_loss(self, model: Any, inputs: Mapping[str, Any], return_outputs: bool) -> Any:
        own = {name: value for name, value in inputs.items() if name != WINS}
        if not self.args.sppo_soft_weight:
            return super()._compute_loss(model, own, return_outputs)
        seen: list[Any] = []

        def called(**arguments: Any) -> Any:
            output = model(**arguments)
            seen.append(output.log_probs)
            return output

        others = super()._compute_loss(called, own, return_outputs)
        mask = inputs["completion_mask"][:, 1:]
        sums = response_log_probabilities(seen[0], mask, self.ld_alpha)
        ratios = sums - torch.cat([inputs["ref_chosen_logps"], inputs["ref_rejected_logps"]])
        return others + self.args.sppo_soft_weight * sppo_soft(ratios, inputs[WINS], self.beta)


def sppo_soft(ratios: torch.Tensor, wins: torch.Tensor, beta: float) -> torch.Tensor:
    """Self-Play Preference Optimization's loss (Wu et al. 2024, arXiv 2405.00675, equation 4.7), with eta = 1 / beta.

    Each response's log-ratio shall be eta (P - 1/2), P its probability to beat the policy's responses. With P 1 for
    chosen and 0 for rejected this is TRL's sppo_hard.

    Args:
        ratios: [2B] log-ratios of policy to reference in nats, of B chosen responses, then of B rejected.
        wins: [2B] probabilities, likewise.
        beta: above 0.

    Returns:
        The mean over the pairs of both squared errors, without dimension.
    """
    chosen, rejected = ((ratios - (wins - 0.5) / beta) ** 2).chunk(2)
    return (chosen + rejected).mean()


def response_log_probabilities(tokens: Any, mask: Any, alpha: float | None) -> Any:
    """Log-probability of each response as TRL's loss takes it, to the bit.

    Args:
        tokens: [2B, T] log-probabilities in nats: B chosen responses, then B rejected.
        mask: [2B, T], 1 for a response's token.
        alpha: DPOConfig's ld_alpha, the weight of tokens by which a response is longer than the other; None is 1.

    Returns:
        Tensor [2B].
    """
    if alpha is None:
        return tokens.sum(dim=1)
    chosen, rejected = mask.sum(dim=1).chunk(2)
    tail = mask.cumsum(dim=1) > torch.minimum(chosen, rejected).repeat(2)[:, None]
    return (tokens * (mask.bool() & ~tail)).sum(dim=1) + alpha * (tokens * tail).sum(dim=1)
