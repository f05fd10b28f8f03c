"""A folder of iterations with weights that differ: the tiny random model, and adapters of it."""

import shutil
from pathlib import Path

from pairloop.models import references


def iterations(base: Path, into: Path, seeds: tuple[int, ...] = (1, 6)) -> Path:
    """A folder `models` with iteration_0 like `base`, and random adapters as iteration_1 and so on."""
    import torch
    from peft import LoraConfig, get_peft_model

    models = into / "models"
    shutil.copytree(base, models / "iteration_0")
    targets = ["q_proj", "v_proj", "down_proj"]
    config = LoraConfig(r=2, lora_alpha=32, target_modules=targets, init_lora_weights=False, task_type="CAUSAL_LM")
    for n, seed in enumerate(seeds, 1):
        torch.manual_seed(seed)
        get_peft_model(references.load_model(base, "float32"), config).save_pretrained(models / f"iteration_{n}")
    return models
