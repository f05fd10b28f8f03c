"""Stages that start in milliseconds: each is a process of its own, forked from one that has imported the libraries.

A stage of the smoke recipe takes seconds, nearly all of them for torch, transformers and TRL. Whoever starts many takes
`Warm`; what shows that a stage starts by itself, or that two processes agree whatever their hash seeds are, does not.
Forked are processes of this project's own verbs, in the folder and with the environment that they are given.
"""

import gc
import json
import logging
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import time
import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

import psutil

LIBRARIES = (
    *("pyarrow.parquet", "pydantic", "hydra", "omegaconf", "jinja2", "datasets", "peft", "altair", "langdetect"),
    *("sklearn.linear_model", "sklearn.model_selection", "sklearn.preprocessing", "scipy.stats", "safetensors.torch"),
    *("transformers.models.llama.modeling_llama", "transformers.models.auto.modeling_auto"),
    *("transformers.models.auto.tokenization_auto", "transformers.generation", "trl.trainer.dpo_trainer"),
)
"""Not the project's own code: each folder has its own."""

PYTHON = """#!{python} -IS
import json, os, socket, sys
if sys.argv[1:2] != ["-m"] or not sys.argv[2].startswith("stages."):
    os.execv({python!r}, [{python!r}, *sys.argv[1:]])
with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as server:
    server.connect({address!r})
    asked = {{"module": sys.argv[2], "words": sys.argv[3:], "folder": os.getcwd(), "environment": dict(os.environ)}}
    socket.send_fds(server, [json.dumps(asked).encode()], [0, 1, 2])
    server.recv(99)
    code = int(server.recv(99) or 1)
if code < 0:
    os.kill(os.getpid(), -code)
sys.exit(code)
"""
"""A `python` that has a stage forked, and ends as it ends. It is itself for everything else."""


class Started:
    """A stage that was started: what subprocess.Popen has of it."""

    def __init__(self, server: socket.socket) -> None:
        self._server = server
        self.pid = int(server.recv(99))
        self.returncode: int | None = None

    def kill(self) -> None:
        if self.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)

    def wait(self) -> int:
        if self.returncode is None:
            self.returncode = int(self._server.recv(99))
            self._server.close()
        return self.returncode

    def poll(self) -> int | None:
        if self.returncode is None and select.select([self._server], [], [], 0)[0]:
            self.wait()
        return self.returncode


class Warm:
    """The process that has imported the libraries, and a folder with a `python` in it that uses it."""

    def __init__(self, folder: Path) -> None:
        self.programs = folder
        self._address = str(folder / "socket")
        script = folder / "python"
        script.write_text(PYTHON.format(python=sys.executable, address=self._address))
        script.chmod(0o755)
        # Nobody's child, since tests look for processes that training has left behind among their own children.
        started = subprocess.run([sys.executable, __file__, self._address], stdout=subprocess.PIPE, check=True)
        self._running = psutil.Process(int(started.stdout))
        while not Path(self._address).exists():
            assert self._running.is_running()
            time.sleep(0.05)

    def start(self, module: str, words: Sequence[str], folder: Path, environment: Mapping[str, str]) -> Started:
        """Start a stage, which says what it says on stderr to nobody."""
        server = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        server.connect(self._address)
        asked = {"module": module, "words": [*words], "folder": str(folder), "environment": {**environment}}
        with Path(os.devnull).open("r+b") as nothing:
            socket.send_fds(server, [json.dumps(asked).encode()], [nothing.fileno()] * 3)
        return Started(server)

    def end(self) -> None:
        self._running.kill()


def serve(address: str) -> dict[str, Any]:
    """Fork for each stage that is asked for. Returns in what was forked, with what was asked."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those that report how a stage ended
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listening:
        listening.bind(f"{address}.new")
        listening.listen(16)
        Path(f"{address}.new").rename(address)
        while True:
            client, _ = listening.accept()
            with client:
                content, files, *_ = socket.recv_fds(client, 1 << 20, 3)
                if content and not fork():
                    listening.close()
                    report(client)
                    return taken(json.loads(content), files)
                for file in files:
                    os.close(file)


def fork() -> int:
    """As os.fork, without its warning of the thread that Arrow's jemalloc has, and starts anew in what is forked."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return os.fork()


def report(client: socket.socket) -> None:
    """Fork again, and say to who asked which process that is and how it ends. Returns in what was forked."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    if pid := fork():
        client.send(str(pid).encode())
        _, status = os.waitpid(pid, 0)
        client.send(str(os.waitstatus_to_exitcode(status)).encode())
        os._exit(0)


def taken(asked: dict[str, Any], files: Sequence[int]) -> dict[str, Any]:
    """Become the process that was asked for, short of running its module."""
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    os.chdir(asked["folder"])
    os.environ.clear()
    os.environ.update(asked["environment"])
    elsewhere = filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))
    sys.path[:1] = [asked["folder"], *elsewhere]  # as `python -m` does
    sys.argv = [asked["module"], *asked["words"]]
    return asked


if __name__ == "__main__":
    if running := fork():
        print(running, flush=True)
        os._exit(0)
    with Path(os.devnull).open("r+b") as nothing:
        os.dup2(nothing.fileno(), 1)
    # As pairloop.models.references does before PEFT imports it.
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    for library in LIBRARIES:
        import_module(library)
    gc.freeze()  # what is shared stays shared: no process looks for garbage among it
    runpy.run_module(serve(sys.argv[1])["module"], run_name="__main__", alter_sys=True)
