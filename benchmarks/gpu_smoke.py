"""The whole loop on a GPU, twice round: a model of Mistral's architecture, vLLM, bfloat16, and what each stage made.

    make gpu-smoke
    python -m benchmarks.gpu_smoke --without-gpu    # the same steps with transformers, in float32 and tiny

The weights are random, since nothing but the machine is measured; the shape is Mistral-7B's, with fewer layers. It
runs in a copy of the project that is deleted afterwards. The figures contain each stage's start.
"""

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import click

from pairloop.errors import EngineError, PairloopError

ROOT = Path(__file__).parents[1]
PARTS = (".dvc/config", ".dvcignore", ".gitignore", "conf", "data/preferences", "data/prompts", "dvc.yaml", "pairloop")
COPIED = (*PARTS, "params.yaml", "pyproject.toml", "stages")
SHAPE = {
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "sliding_window": None,
}
TINY = {**SHAPE, "hidden_size": 64, "intermediate_size": 128, "num_attention_heads": 2, "num_key_value_heads": 1}
ON_GPU = (
    *("base.dtype=bfloat16", "train.save_dtype=bfloat16", "generate.engine=vllm", "eval.engine=vllm"),
    *("prompts.per_iteration=64", "generate.n=5", "generate.max_new_tokens=256", "generate.shard_prompts=64"),
    *("train.learning_rate=1e-6", "train.per_device_train_batch_size=4", "eval.max_new_tokens=256"),
)


@click.command()
@click.option("--layers", default=8, show_default=True, help="Layers; Mistral-7B has 32.")
@click.option("--without-gpu", is_flag=True, help="Try the steps on a CPU: transformers, float32, a tiny model.")
def main(layers: int, without_gpu: bool) -> None:
    """Print tokens and pairs per second of every stage of two iterations, with the device's name."""
    name = "a CPU" if without_gpu else _gpu()
    with tempfile.TemporaryDirectory(prefix="pairloop-smoke-") as folder:
        project = Path(folder) / "project"
        _copy(project)
        shape = {**TINY, "num_hidden_layers": 2} if without_gpu else {**SHAPE, "num_hidden_layers": layers}
        _write_mistral(Path(folder) / "mistral", shape, "float32" if without_gpu else "bfloat16")
        changes = ["+recipe=smoke", "iterations=2", f"base.model={folder}/mistral", *(() if without_gpu else ON_GPU)]
        _run(project, sys.executable, "-m", "stages.schedule", "--write", *changes)
        _commit(project)
        _run(project, sys.executable, "-m", "dvc", "repro")
        click.echo("\n".join([f"On {name}, Mistral's architecture with random weights:", *_lines(project)]))


def _gpu() -> str:
    """The name of the device.

    Raises:
        EngineError: there is none.
    """
    import torch

    if not torch.cuda.is_available():
        raise EngineError(
            "gpu-smoke needs a CUDA device, and torch finds none here: see what nvidia-smi says, or try its steps on "
            "a CPU with `python -m benchmarks.gpu_smoke --without-gpu`"
        )
    count = torch.cuda.device_count()
    return f"{count} x {torch.cuda.get_device_name(0)}"


def _copy(project: Path) -> None:
    """This project's files in a repository of their own."""
    for name in COPIED:
        target = project / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, target, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(ROOT / name, target)
    _run(project, "git", "init", "-q")


def _commit(project: Path) -> None:
    """One commit, which training's curves name."""
    author = ("-c", "user.name=smoke", "-c", "user.email=smoke@example.org")
    _run(project, "git", "add", "-A")
    _run(project, "git", *author, "commit", "-q", "-m", "Start")


def _write_mistral(folder: Path, shape: dict[str, Any], dtype: str) -> None:
    """Random weights beside the tokenizer of `random:0`, which reads and writes bytes."""
    import torch
    from transformers import AutoTokenizer, MistralConfig, MistralForCausalLM
    from transformers.utils import logging

    from pairloop.models.random_model import write_random_model

    logging.disable_progress_bar()
    write_random_model(0, folder)
    words = len(AutoTokenizer.from_pretrained(folder))
    special = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
    torch.manual_seed(0)
    config = MistralConfig(vocab_size=words, max_position_embeddings=4096, **special, **shape)
    MistralForCausalLM(config).to(getattr(torch, dtype)).save_pretrained(folder)


def _run(project: Path, *command: str) -> None:
    done = subprocess.run(command, cwd=project, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        raise PairloopError(f"{' '.join(command[:4])} failed and said:\n{done.stdout[-2000:]}")


def _lines(project: Path) -> list[str]:
    """A line for each iteration's longer stages."""
    found = []
    for n in (1, 2):
        results = project / f"results/iteration_{n}"
        times = {path.stem: json.loads(path.read_text()) for path in (results / "time").iterdir()}
        pairs = json.loads((results / "train.json").read_text())["rows_out"]
        ranked = json.loads((results / "rank.json").read_text())["responses"]
        tokens = {stage: own.get("tokens_per_second") for stage, own in times.items()}
        found += [
            f"iteration {n}: generate {tokens['generate']} tokens/s, "
            f"rank {ranked / times['rank']['seconds']:.1f} responses/s, "
            f"train {pairs / times['train']['seconds']:.2f} pairs/s and {tokens['train']} tokens/s, "
            f"eval {tokens['eval']} tokens/s"
        ]
    return found


if __name__ == "__main__":
    main()
