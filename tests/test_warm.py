"""A stage that is forked is the stage: what it says, how it ends, and where it runs."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import ROOT, Project
from warm import Warm

ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT)}


@pytest.mark.parametrize("words", [["stages.schedule"], ["stages.train", "--help"], ["stages.train"]])
def test_it_says_and_returns_what_a_python_of_its_own_does(warm: Warm, words: list[str], tmp_path: Path) -> None:
    own, forked = (
        subprocess.run([python, "-m", *words], cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True)
        for python in (sys.executable, warm.programs / "python")
    )
    assert (forked.returncode, forked.stdout, forked.stderr) == (own.returncode, own.stdout, own.stderr)


def verb(folder: Path, name: str, text: str) -> None:
    """A stage of another project."""
    (folder / "stages").mkdir()
    (folder / "stages" / "__init__.py").touch()
    (folder / "stages" / f"{name}.py").write_text(text)


def test_it_runs_the_code_of_its_folder_in_a_process_of_its_own(warm: Warm, tmp_path: Path) -> None:
    verb(tmp_path, "where", "import os, sys\nprint(os.getcwd(), os.getpid(), sys.argv[1])\n")
    said = [Project(tmp_path, warm=warm).run("python", "-m", "stages.where", "it").stdout.split() for _ in range(2)]
    assert [(where, word) for where, _, word in said] == [(str(tmp_path), "it")] * 2
    assert len({process for _, process, _ in said} | {str(os.getpid())}) == 3


def test_it_can_be_killed(warm: Warm, tmp_path: Path) -> None:
    verb(tmp_path, "waits", "import pathlib, time\npathlib.Path('begun').touch()\ntime.sleep(600)\n")
    started = warm.start("stages.waits", [], tmp_path, ENVIRONMENT)
    while not (tmp_path / "begun").exists():
        assert started.poll() is None
        time.sleep(0.01)
    started.kill()
    assert started.wait() == -signal.SIGKILL == started.poll()


def test_what_is_no_stage_has_a_python_of_its_own(warm: Warm, tmp_path: Path) -> None:
    said = Project(tmp_path, warm=warm).run("python", "-c", "import sys; print('torch' in sys.modules)").stdout
    assert said == "False\n"
