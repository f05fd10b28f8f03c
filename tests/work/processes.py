"""The verb generate in a process of its own, and what it starts: what is left of it in the process table."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import yaml

from pairloop.files import records

ROOT = Path(__file__).parents[2]
AGENTS = ("ray::DashboardAgent", "ray::RuntimeEnvAgent")
"""Ray's own helpers, which hold no device. After kill -9 they take a minute to notice."""


class Generation:
    """generate on Ray for many prompts, one a shard, so that there is time to stop it."""

    def __init__(self, folder: Path, base: Path, params: dict[str, Any]) -> None:
        rows = [{"prompt_id": str(n), "prompt": f"Say {n}.", "source": "", "constraints": None} for n in range(200)]
        records.write(folder / "prompts", records.PROMPT, [rows])
        asked = {"engine": "ray", "shard_prompts": 1, "max_new_tokens": 200}
        (folder / "params.yaml").write_text(yaml.safe_dump({"generate": asked} | params))
        self.folder = folder
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-m", "stages.generate", "--iteration", "1", str(base), str(base)),
                *("prompts", "responses", "metrics.json", "time.json"),
            ],
            cwd=folder,
            env=os.environ | {"PYTHONPATH": str(ROOT), "DVC_ROOT": ""},
            stderr=subprocess.PIPE,
            text=True,
        )

    def shards(self) -> int:
        """How many are stored."""
        stored = (self.folder / ".dvc").rglob("*")
        return sum(path.is_file() and path.suffix not in (".partial", ".lock") for path in stored)

    def begun(self) -> dict[psutil.Process, str]:
        """Every process under the verb's, with its name, once a shard is stored."""
        while not self.shards():
            assert self.process.poll() is None, self.process.stderr and self.process.stderr.read()
            time.sleep(0.05)
        return {child: " ".join(child.cmdline()) for child in psutil.Process(self.process.pid).children(recursive=True)}

    def left(self, begun: dict[psutil.Process, str], within: float) -> list[str]:
        """The names of those that are still there after so many seconds; they are ended."""
        waited = [child for child, name in begun.items() if not name.startswith(AGENTS)]
        _, alive = psutil.wait_procs(waited, within)
        for child in alive:
            child.send_signal(signal.SIGKILL)
        return [begun[child] for child in alive]
