"""How much memory generate, rank and pair take with many long responses: peak of each stage, in a process of its own.

    python benchmarks/memory.py --prompts 20000 --responses 5 --characters 8000

The sampler emits recorded text (the project's own prompts, one after the other) and the ranker gives each text a
number, so that nothing is measured but what the stages themselves hold. The tokenizer is real, the model is not loaded.
Beside each peak stands that of the same stage with 768 prompts: interpreter, libraries and two full row groups
of whatever is read and written, train splits too, which are without the held-out prompts.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

ROOT = Path(__file__).parents[1]
FEW = 768


class Recorded:
    """A sampler that answers with pieces of recorded text, chosen by each response's seed."""

    def __init__(self, characters: int) -> None:
        lines = (ROOT / "data/prompts/pool.jsonl").read_text(encoding="utf-8").splitlines()
        text = " ".join(json.loads(line)["prompt"] for line in lines)
        self.characters = characters
        self.text = text * (2 + characters // len(text))
        self.places = len(text)

    def sample(self, requests: Sequence[Any]) -> list[list[Any]]:
        """As `Sampler.sample`."""
        from pairloop.samplers import Response

        return [[Response(self._piece(seed), "stop", [2]) for seed in request.seeds] for request in requests]

    def _piece(self, seed: int) -> str:
        start = seed % self.places
        return self.text[start : start + self.characters]


class Numbers:
    """A ranker that gives each text a number."""

    def __init__(self, stated: object) -> None:
        pass

    def score(self, prompts: Sequence[str], candidates: Sequence[Sequence[str]]) -> list[list[float]]:
        """As `Ranker.score`."""
        return [[float(zlib.crc32(text.encode())) for text in texts] for texts in candidates]


STAGES = {
    "generate": "base base prompts.parquet responses.parquet generate.json generate.time.json",
    "rank": "base base teacher prompts.parquet responses.parquet rankings.parquet rank.json rank.time.json",
    "pair": "prompts.parquet rankings.parquet train.parquet test.parquet pair.json samples.json",
}


def prepare(folder: Path, prompts: int, responses: int) -> None:
    """A project with many prompts and the tiny random model's tokenizer."""
    import yaml

    from pairloop.files import records
    from pairloop.models import references

    params = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    params["generate"] |= {"n": responses}
    params["rank"] |= {"ranker": "verifiable"}
    params["pair"] |= {"strategy": "best_worst"}
    (folder / "params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")
    (folder / "base").mkdir()
    records.write_json(folder / "base" / "model.json", references.pin("random:0", None, references.cache_root()))
    rows = (
        {"prompt_id": f"{n:064d}", "prompt": f"Say {n}.", "source": "", "constraints": None} for n in range(prompts)
    )
    records.write(folder / "prompts.parquet", records.PROMPT, ([row] for row in rows))


def stage(name: str, characters: int) -> None:
    """Run a verb in this process, with the recorded text and the cheap ranker; its peak in MB goes to stdout."""
    import importlib
    from unittest.mock import patch

    from pairloop.rankers import scoring
    from pairloop.samplers.answers import Speaker

    sampler = Recorded(characters)
    verb = importlib.import_module(f"stages.{name}").main
    with patch.object(Speaker, "_sampler", lambda self: sampler), patch.object(scoring, "Verifiable", Numbers):
        verb.main(["--iteration", "1", *STAGES[name].split()], standalone_mode=False)
    click.echo(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def peaks(prompts: int, responses: int, characters: int) -> dict[str, tuple[float, float]]:
    """Peak in MB and seconds of each stage."""
    found = {}
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as place:
        prepare(Path(place), prompts, responses)
        for name in STAGES:
            start = time.monotonic()
            command = [sys.executable, __file__, "--stage", name, "--characters", str(characters)]
            env = os.environ | {"PYTHONPATH": str(ROOT), "DVC_ROOT": place}
            shown = subprocess.run(command, cwd=place, env=env, stdout=subprocess.PIPE, text=True, check=True).stdout
            found[name] = (float(shown.splitlines()[-1]), time.monotonic() - start)
    return found


@click.command()
@click.option("--prompts", default=20_000, show_default=True)
@click.option("--responses", default=5, show_default=True)
@click.option("--characters", default=8_000, show_default=True, help="In each response.")
@click.option("--stage", "name", type=click.Choice(list(STAGES)), hidden=True)
def main(prompts: int, responses: int, characters: int, name: str | None) -> None:
    """Print the peak memory of generate, rank and pair."""
    if name:
        stage(name, characters)
        return
    few, many = (peaks(count, responses, characters) for count in (FEW, prompts))
    click.echo(f"{prompts} prompts x {responses} responses x {characters} characters, in MB:\n")
    click.echo(f"| stage | peak | with {FEW} prompts | difference | seconds |\n|---|---|---|---|---|")
    for step, (peak, seconds) in many.items():
        click.echo(f"| {step} | {peak:.0f} | {few[step][0]:.0f} | {peak - few[step][0]:.0f} | {seconds:.0f} |")


if __name__ == "__main__":
    main()
