"""Parameters of the training step."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from pairloop.errors import ParameterError
from pairloop.params import losses
from pairloop.params.settings import (
    Count,
    NotNegative,
    NumberFormat,
    OneOrMany,
    Positive,
    Positives,
    ProperShare,
    Section,
    Several,
    ShareFromZero,
    Text,
)


class Train(Section):
    """DPO on the pairs. Names that TRL's DPOConfig has too mean the same as there."""

    method: Literal["lora", "qlora", "full"] = "lora"
    """`lora` trains one adapter, continued from iteration to iteration. `qlora` the same beside a base in 4 bits, a
    quarter of bfloat16's memory. `full` trains every weight."""

    data: Literal["current", "accumulated", "replay"] = "current"
    """Pairs to train on: this iteration's (the recipe), those of all iterations so far, or this iteration's with
    earlier ones among them."""

    replay_share: ProperShare = 0.5
    """With `replay`: share of the pairs that are earlier iterations', as far as there are enough. DICE (Chen et al.
    2024, arXiv 2406.09760) has half."""

    reference: Literal["previous", "base"] = "previous"
    """What the policy is held to: the model before this iteration (the recipe), or always iteration 0."""

    beta: Positive = 0.1
    """How strongly the policy is held to the reference. Zephyr's recipe has 0.01, for full training of 7B."""

    learning_rate: OneOrMany[Positive] = (2e-4,)
    """Peak learning rate. Of several the first is iteration 1's, and so on, and the last that of all that follow: what
    a later iteration starts from has learnt already, and at the first one's rate it can lose as much as it learns.
    Published recipes have one for all."""

    lr_scheduler_type: Literal["cosine", "linear", "constant", "constant_with_warmup"] = "cosine"
    """How the learning rate falls after its peak."""

    warmup_ratio: ShareFromZero = 0.1
    """Share of the steps in which the learning rate rises from zero."""

    average: ShareFromZero = 0.0
    """Share of the steps, the last ones, over whose weights the mean is taken and kept (stochastic weight averaging,
    Izmailov et al. 2018, arXiv 1803.05407): it is steadier than the last step's, most of all at a learning rate that
    does not fall. 0 keeps the last step's. Not with a launcher that spreads the weights."""

    num_train_epochs: Count = 1
    """Passes over the pairs."""

    batch_pairs: Count = 4
    """Pairs of one optimiser step, over all devices. What is learnt depends on it and on no other of the next four."""

    per_device_train_batch_size: Count = 4
    """Most pairs in one forward pass on a device. More is faster until memory is full."""

    devices: Count | None = None
    """How many devices share each step. null means all GPUs that are visible, or one process on a CPU; there a number
    above 1 means as many processes."""

    launcher: Text | None = None
    """An accelerate config that says how to share the work instead: conf/accelerate/fsdp.yaml spreads the weights over
    the GPUs, zero3.yaml likewise by DeepSpeed, multi-node.yaml uses several machines."""

    max_length: Annotated[int, Field(ge=8)] = 768
    """Prompt and response are cut to this many tokens; pairs whose prompt alone fills it are dropped and counted."""

    max_grad_norm: Positive = 1.0
    """Gradients longer than this are scaled down to it."""

    weight_decay: NotNegative = 0.0
    """AdamW's weight decay."""

    loss: Several[losses.Loss] = ("sigmoid",)
    """What is minimised: DPO's loss (sigmoid), another one, or the sum of several. docs/training.md tells what each is
    and reads."""

    loss_weights: Positives | None = None
    """What each loss counts in the sum. null means 1.0 each."""

    label_smoothing: Annotated[float, Field(ge=0, lt=0.5)] = 0.0
    """Assumed share of wrong labels. Only robust, exo_pair, aot and aot_unpaired read it, so it must be 0 without."""

    use_weighting: bool = False
    """Weigh each pair by how likely its responses are to the policy, per token (WPO, Zhou et al. 2024, arXiv
    2406.11827): pairs of another model's making count less."""

    f_divergence_type: Literal["reverse_kl", "forward_kl", "js_divergence", "alpha_divergence"] = "reverse_kl"
    """What measures the distance to the reference (f-DPO, Wang et al. 2023, arXiv 2309.16240). reverse_kl is DPO's."""

    f_alpha_divergence_coef: ProperShare = 0.5
    """The alpha of alpha_divergence: near 0 as forward_kl, near 1 as reverse_kl."""

    ld_alpha: ShareFromZero = 1.0
    """Weight of the tokens by which one response is longer than the other (LD-DPO, Liu et al. 2024, arXiv 2409.06411).
    1 is plain DPO; below it a response gains less by its length alone."""

    gradient_checkpointing: bool = False
    """Recompute activations in the backward pass: less memory, more time."""

    share_prompts: bool = True
    """Read what the sequences of a batch begin with, template and prompt, once instead of with every response. The
    losses are the same. A model for which they would not be is noticed, and read as TRL reads it."""

    reference_logps: Literal["computed", "sampled"] = "computed"
    """Where the reference's log-probabilities of the training pairs come from. `sampled` takes those that sampling has
    stored, which saves a pass over the data, where the reference is what sampled (`reference: previous`); where they
    are missing, or not near the trainer's own, they are computed."""

    lora_r: Count = 8
    """Rank of the adapter's matrices. The adapter's size is in proportion."""

    lora_alpha: Count = 16
    """Scale of the adapter: its output counts lora_alpha / lora_r times."""

    lora_target_modules: Several[Text] | None = None
    """Linear layers that get an adapter, by the last part of their name, such as q_proj. null means all of them but
    the one that gives the logits, whatever the base calls them."""

    save_dtype: NumberFormat = "float32"
    """Number format of the saved weights. The next iteration starts from what was saved."""

    save_steps: Count = 50
    """Optimiser steps between checkpoints in the scratch folder, from which a killed run goes on."""

    @model_validator(mode="after")
    def _every_device_has_a_pair(self) -> Self:
        if self.devices is not None and self.devices > self.batch_pairs:
            raise ParameterError(
                f"train.devices is {self.devices}, but train.batch_pairs is {self.batch_pairs}: a device would have no "
                f"pair to compute. Lower train.devices to {self.batch_pairs}, or raise train.batch_pairs"
            )
        return self

    @model_validator(mode="after")
    def _losses_fit(self) -> Self:
        losses.check(self)
        return self
