"""What training starts from and is held to: adapters and full models, and the refusal of what does not fit."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pairloop.errors import TrainingError
from pairloop.models import four_bit, references
from pairloop.params import Train


@dataclass(frozen=True)
class Start:
    """What decides the model before the first step."""

    parent: Path
    """The policy that made the responses."""

    base: Path
    """models/iteration_0, which adapters are relative to."""

    params: Train
    """The section `train` of the parameters."""

    dtype: str
    """`base.dtype`: float32, bfloat16 or float16."""

    iteration: int
    """Number of the model to make, from 1."""

    @property
    def is_first(self) -> bool:
        """Whether training starts from the base itself."""
        return references.fingerprint(self.parent) == references.fingerprint(self.base)

    @property
    def begins_at_reference(self) -> bool:
        """Whether the reference is the policy before its first step."""
        return self.params.reference == "previous" or self.is_first

    @property
    def held_to_sampler(self) -> bool:
        """Whether the reference computes as the model that sampled the responses, which has no weights in 4 bits."""
        return self.begins_at_reference and self.params.method != "qlora"


def load(start: Start) -> Any:
    """The model to train: the base (which gets a fresh adapter), the parent's adapter on the base, or all weights.

    Raises:
        TrainingError: the parent has another form than the parameters say.
        ModelError: the base cannot be loaded in that way, or the adapter is not for it.
    """
    if start.params.method == "full":
        return references.load_policy(start.parent, start.base, "float32")
    if not references.is_adapter(start.parent):
        if not start.is_first:
            raise TrainingError(
                f"train.method is {start.params.method}, but {start.parent} holds all weights. An adapter is relative "
                "to the base: train every iteration with the same method."
            )
        return _base(start).requires_grad_(False)
    base = _base(start)
    wanted = targets(base, start.params)
    policy = references.with_adapter(base, start.parent, trainable=True)
    config = policy.peft_config["default"]
    _check_same_adapter(config, start, wanted)
    # The name that the adapter's file gives the base is no place: PEFT would ask the hub for it at every checkpoint.
    config.base_model_name_or_path = None
    return policy


def reference(start: Start) -> Any:
    """The base, if training is held to it and does not start from it; else None: TRL takes the policy as it starts."""
    return None if start.begins_at_reference else _base(start)


def fresh_adapter(start: Start, policy: Any) -> Any:
    """What the first iteration's adapter looks like; its B is zero, so that it starts as the base exactly."""
    if start.params.method == "full" or references.is_adapter(start.parent):
        return None
    from peft import LoraConfig

    return LoraConfig(
        task_type="CAUSAL_LM",
        r=start.params.lora_r,
        lora_alpha=start.params.lora_alpha,
        target_modules=targets(policy, start.params),
        lora_dropout=0.0,
        bias="none",
    )


def targets(model: Any, params: Train) -> list[str]:
    """The names of the layers that get an adapter. PEFT is content if one exists; a misspelt one would go unnoticed.

    Raises:
        TrainingError: the model has no such layer.
    """
    linear = references.linear_names(model)
    found = sorted(params.lora_target_modules or linear)
    for name in found:
        if name not in linear:
            known = ", ".join(linear)
            raise TrainingError(f"train.lora_target_modules: the base has no linear layer {name}. It has {known}")
    return found


def _base(start: Start) -> Any:
    """The base as it is trained on.

    Full training keeps float32 weights and computes in `base.dtype`: bfloat16 has eight bits of precision, and rounds
    the steps of a learning rate like 5e-7 away entirely.
    """
    if start.params.method == "qlora":
        return four_bit.load(start.base, start.dtype)
    return references.load_model(start.base, "float32" if start.params.method == "full" else start.dtype)


def _check_same_adapter(config: Any, start: Start, wanted_targets: list[str]) -> None:
    for name, found, wanted in (
        ("lora_r", config.r, start.params.lora_r),
        ("lora_alpha", config.lora_alpha, start.params.lora_alpha),
        ("lora_target_modules", sorted(config.target_modules), wanted_targets),
    ):
        if found != wanted:
            raise TrainingError(
                f"train.{name} is {wanted}, but the adapter of iteration {start.iteration - 1}, which training goes on "
                f"from, has {found}. It must be the same in all iterations."
            )
