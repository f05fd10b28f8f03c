"""Parameters of the training step."""

from dataclasses import dataclass

from pairloop.params.settings import choice, flag, integer, names, real

_EVERY_LINEAR_LAYER = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


@dataclass(frozen=True)
class Train:
    """DPO on the pairs. Names that TRL's DPOConfig has too mean the same as there."""

    method: str = choice("lora", "lora", "full")
    """`lora` trains one adapter, continued from iteration to iteration. `full` trains every weight."""

    reference: str = choice("previous", "previous", "base")
    """What the policy is held to: the model before this iteration (the recipe), or always iteration 0."""

    beta: float = real(0.1, "a number above 0", lambda v: v > 0)
    """How strongly the policy is held to the reference. Zephyr's recipe has 0.01, for full training of 7B."""

    learning_rate: float = real(2e-4, "a number above 0", lambda v: v > 0)
    """Peak learning rate."""

    lr_scheduler_type: str = choice("cosine", "cosine", "linear", "constant", "constant_with_warmup")
    """How the learning rate falls after its peak."""

    warmup_ratio: float = real(0.1, "a number from 0 to 1", lambda v: 0 <= v <= 1)
    """Share of the steps in which the learning rate rises from zero."""

    num_train_epochs: int = integer(1, low=1)
    """Passes over the pairs."""

    per_device_train_batch_size: int = integer(4, low=1)
    """Pairs in one forward pass, on each device."""

    gradient_accumulation_steps: int = integer(1, low=1)
    """Forward passes per optimiser step."""

    max_length: int = integer(768, low=8)
    """Prompt and response are cut to this many tokens; pairs whose prompt alone fills it are dropped and counted."""

    max_grad_norm: float = real(1.0, "a number above 0", lambda v: v > 0)
    """Gradients longer than this are scaled down to it."""

    weight_decay: float = real(0.0, "a number, at least 0", lambda v: v >= 0)
    """AdamW's weight decay."""

    loss_type: str = choice("sigmoid", "sigmoid", "ipo", "hinge", "robust", "sigmoid_norm")
    """DPO's loss (sigmoid), or one of its relatives in TRL."""

    label_smoothing: float = real(0.0, "a number from 0, below 0.5", lambda v: 0 <= v < 0.5)
    """Assumed share of wrong labels. TRL reads it with the loss `robust` only, so it must be 0 with the others."""

    ld_alpha: float = real(1.0, "a number from 0 to 1", lambda v: 0 <= v <= 1)
    """Weight of the tokens by which one response is longer than the other (LD-DPO, Liu et al. 2024, arXiv 2409.06411).
    1 is plain DPO; below it a response gains less by its length alone."""

    gradient_checkpointing: bool = flag(False)
    """Recompute activations in the backward pass: less memory, more time."""

    lora_r: int = integer(8, low=1)
    """Rank of the adapter's matrices. The adapter's size is in proportion."""

    lora_alpha: int = integer(16, low=1)
    """Scale of the adapter: its output counts lora_alpha / lora_r times."""

    lora_target_modules: tuple[str, ...] = names(_EVERY_LINEAR_LAYER)
    """Linear layers that get an adapter, by the end of their name."""

    save_dtype: str = choice("float32", "float32", "bfloat16", "float16")
    """Number format of the saved weights. The next iteration starts from what was saved."""

    save_steps: int = integer(50, low=1)
    """Optimiser steps between checkpoints in the scratch folder, from which a killed run goes on."""
