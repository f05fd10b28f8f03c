"""Which losses there are, what each of them reads, and which choices of them mean nothing."""

from typing import Any, Literal

from pairloop.errors import ParameterError

Loss = Literal[
    "sigmoid",
    "hinge",
    "ipo",
    "exo_pair",
    "nca_pair",
    "robust",
    "bco_pair",
    "sppo_hard",
    "sppo_soft",
    "aot",
    "aot_unpaired",
    "apo_zero",
    "apo_down",
    "discopop",
    "sft",
    "sigmoid_norm",
]
"""All of TRL's, by its names, and sppo_soft."""

SMOOTHED = ("robust", "exo_pair", "aot", "aot_unpaired")
"""Read label_smoothing."""

OF_DIFFERENCES = ("sigmoid", "sigmoid_norm", "hinge", "ipo", "exo_pair", "robust", "discopop")
"""Read nothing but the chosen response's score less the rejected one's. Only there does the term cancel that another
divergence than reverse KL adds (f-DPO, Wang et al. 2023, arXiv 2309.16240)."""

SORTED = ("aot", "aot_unpaired")
"""Sort the pairs of a batch, after which no value belongs to a pair."""

UNWEIGHTED = {
    **dict.fromkeys(SORTED, "sorts the pairs of a batch, so that no weight of a pair belongs to a value"),
    "sft": "is one mean over all tokens of a batch, and has no value for a pair",
    "hinge": "is multiplied in place by TRL, which its gradient does not survive",
    "sppo_soft": "has no published form with weights",
}
"""Losses without WPO's weights (Zhou et al. 2024, arXiv 2406.11827), and why."""


def check(train: Any) -> None:
    """Refuse losses that do not go together with the other parameters, and parameters that no loss would read.

    Args:
        train: the section Train.

    Raises:
        ParameterError: says which, why, and what to do.
    """
    _check_weights(train)
    _check_smoothing(train)
    _check_divergence(train)
    _check_weighting(train)
    _check_lengths(train)
    if alone := [loss for loss in train.loss if loss in SORTED]:
        _check_batch(train, alone[0])
    if "sppo_soft" in train.loss and train.data != "current":
        raise ParameterError(
            f"train.data is {train.data}, but the loss sppo_soft needs each response's probability to win, which is "
            "known of this iteration's only: set train.data to current, or take sppo_hard"
        )


def _check_weights(train: Any) -> None:
    if train.loss_weights and len(train.loss_weights) != len(train.loss):
        raise ParameterError(
            f"train.loss_weights has {_count(train.loss_weights)}, but train.loss names {len(train.loss)} "
            f"({', '.join(train.loss)}): give one number for each, or null for 1.0 each"
        )


def _count(weights: tuple[float, ...]) -> str:
    return "1 number" if len(weights) == 1 else f"{len(weights)} numbers"


def _check_smoothing(train: Any) -> None:
    names = ", ".join(train.loss)
    if train.label_smoothing and not set(train.loss) & set(SMOOTHED):
        raise ParameterError(
            f"train.label_smoothing is {train.label_smoothing}, but the loss {names} does not read it: set it to 0, or "
            f"train.loss to one of {', '.join(SMOOTHED)}"
        )
    if "exo_pair" in train.loss and not train.label_smoothing:
        raise ParameterError(
            "train.label_smoothing is 0, but the loss exo_pair takes its logarithm: set it to 0.001, as its paper does"
        )


def _check_divergence(train: Any) -> None:
    chosen, others = train.f_divergence_type, [loss for loss in train.loss if loss not in OF_DIFFERENCES]
    unread = others if len(others) == len(train.loss) else [loss for loss in others if loss != "sft"]
    if chosen != "reverse_kl" and unread:
        raise ParameterError(
            f"train.f_divergence_type is {chosen}, which exists only for losses of the difference of two scores, and "
            f"{unread[0]} is none: set it to reverse_kl, or take {', '.join(OF_DIFFERENCES)}"
        )
    if train.f_alpha_divergence_coef != 0.5 and chosen != "alpha_divergence":
        raise ParameterError(
            f"train.f_alpha_divergence_coef is {train.f_alpha_divergence_coef}, but the divergence {chosen} does not "
            "read it: set it to 0.5, or train.f_divergence_type to alpha_divergence"
        )


def _check_weighting(train: Any) -> None:
    for loss, why in UNWEIGHTED.items():
        if train.use_weighting and loss in train.loss:
            raise ParameterError(
                f"train.use_weighting is true, but the loss {loss} {why}: set it to false, or take another loss"
            )


def _check_lengths(train: Any) -> None:
    if train.ld_alpha != 1 and train.loss == ("sft",):
        raise ParameterError(
            f"train.ld_alpha is {train.ld_alpha}, but the loss sft does not read it: set it to 1, or add another loss"
        )


def _check_batch(train: Any, loss: str) -> None:
    if train.per_device_train_batch_size == 1:
        raise ParameterError(
            f"train.per_device_train_batch_size is 1, but the loss {loss} compares the pairs of a batch, sorted, and "
            "would be sigmoid with one pair: raise it to 2 at least, better to as many as fit, or take another loss"
        )
