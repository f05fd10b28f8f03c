"""The tiny random model with 8-bit weights, as llm-compressor would write it."""

import json
import shutil
from pathlib import Path

from safetensors.torch import load_file, save_file

CONFIG = {
    "quant_method": "compressed-tensors",
    "format": "int-quantized",
    "quantization_status": "compressed",
    "ignore": ["lm_head"],
    "config_groups": {
        "group_0": {
            "targets": ["Linear"],
            "weights": {"num_bits": 8, "type": "int", "symmetric": True, "strategy": "channel", "dynamic": False},
            "input_activations": {
                "num_bits": 8,
                "type": "int",
                "symmetric": True,
                "strategy": "token",
                "dynamic": True,
            },
        }
    },
}


def write_quantised(source: Path, into: Path) -> Path:
    """`source` with every layer's linear weights as int8 and one scale for each row."""
    import torch

    shutil.copytree(source, into)
    tensors = {}
    for name, weight in load_file(source / "model.safetensors").items():
        tensors[name] = weight
        if name.endswith("proj.weight"):
            scale = weight.abs().amax(1, keepdim=True) / 127
            tensors[name] = (weight / scale).round().to(torch.int8)
            tensors[f"{name}_scale"] = scale
    save_file(tensors, into / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((into / "config.json").read_text()) | {"quantization_config": CONFIG}
    (into / "config.json").write_text(json.dumps(config))
    return into
