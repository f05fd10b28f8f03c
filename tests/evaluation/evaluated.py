"""The verb eval on a tiny model: prompts, adapters, and a run of it."""

import hashlib
import json
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from pairloop.files import records
from pairloop.models import references
from stages import eval as verb

PROMPTS = ["Say hello.", "Name three colours.", "Why is the sky blue?", "Write one line."]
SHORT = json.dumps([{"kind": "words", "max": 1}])


def write_prompts(path: Path, prompts: list[str] = PROMPTS) -> None:
    """Held-out prompts, the first of which is constrained."""
    rows = [
        {
            "prompt_id": hashlib.sha256(prompt.encode()).hexdigest(),
            "prompt": prompt,
            "source": "test",
            "constraints": SHORT if prompt == PROMPTS[0] else None,
        }
        for prompt in prompts
    ]
    records.write(path, records.PROMPT, [rows])
    records.write(path.with_name("pairs.parquet"), records.PAIR, [])


def write_adapter(base: Path, folder: Path, seed: int) -> Path:
    """An adapter with random weights, which says something else than the base."""
    import torch
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(seed)
    config = LoraConfig(r=2, lora_alpha=16, target_modules=["q_proj", "v_proj", "down_proj"], init_lora_weights=False)
    get_peft_model(references.load_model(base, "float32"), config).save_pretrained(folder)
    return folder


def invoke(iteration: int, base: Path, policy: Path, params: dict[str, Any]) -> Result:
    """Run the verb in the current folder; iteration n reads answers_0.parquet and answers_{n-1}.parquet."""
    own = {"prompts": len(PROMPTS), "judges": ["likelihood"], "max_new_tokens": 12, "bootstrap": 100}
    Path("params.yaml").write_text(
        json.dumps(
            {"rank": {"ranker": "likelihood"}, "watch": {"benign": None}} | params | {"eval": own | params["eval"]}
        )
    )
    held_out = "answers_0.parquet" if iteration else "eval.parquet"
    places = [str(base), "teacher", str(policy), held_out, f"answers_{iteration - 1}.parquet"]
    places += [f"answers_{iteration}.parquet", f"results_{iteration}"]
    places += ["pairs.parquet", "pairs.parquet", "results_0/watch.json"]
    return CliRunner().invoke(verb.main, ["--iteration", str(iteration), *places])


def run(iteration: int, base: Path, policy: Path, params: dict[str, Any]) -> dict[str, Any]:
    """The metrics that the verb writes."""
    found = invoke(iteration, base, policy, params)
    assert found.exit_code == 0, (found.output, found.exception)
    metrics: dict[str, Any] = records.read_json(Path(f"results_{iteration}/metrics.json"))
    return metrics
