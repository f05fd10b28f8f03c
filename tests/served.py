"""Servers that stand in for others', each a script in a process of its own that logs what it is asked."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any


class Server:
    """A running server."""

    def __init__(self, script: Path, log: Path, *options: str) -> None:
        self.log = log
        self.process = subprocess.Popen([sys.executable, script, log, *options], stdout=subprocess.PIPE, text=True)
        assert self.process.stdout
        self.url = f"http://127.0.0.1:{int(self.process.stdout.readline())}/v1"

    @property
    def requests(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.read_text().splitlines()] if self.log.exists() else []


def serving(script: Path, folder: Path) -> Iterator[Callable[..., Server]]:
    """What a fixture `serve` yields: a function that starts the script with options; all are ended afterwards."""
    running: list[Server] = []

    def start(*options: str) -> Server:
        running.append(Server(script, folder / f"log{len(running)}", *options))
        return running[-1]

    yield start
    for server in running:
        server.process.kill()
        server.process.wait()
