"""How threads wait: as measured best, or as the user has set it; and OpenMP reads it before it starts."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pairloop.work import threads

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
UNSET = {name: value for name, value in os.environ.items() if name not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")}


def as_openmp_read_it(first: str, **settings: str) -> dict[str, str]:
    """What GNU OpenMP shows of itself when torch loads it, in a process that begins with `first`."""
    command = [sys.executable, "-c", f"{first}; import torch"]
    settings = UNSET | {"OMP_DISPLAY_ENV": "VERBOSE"} | settings
    shown = subprocess.run(command, cwd=ROOT, env=settings, capture_output=True, text=True, check=True).stderr
    lines = (line.split("]")[-1].split("=") for line in shown.splitlines() if "=" in line)
    return {name.strip(): value.strip().strip("'") for name, value in lines}


@pytest.mark.parametrize(
    ("set_by_the_user", "spins"),
    [({}, threads.SPINS), ({"GOMP_SPINCOUNT": "77"}, "77"), ({"OMP_WAIT_POLICY": "PASSIVE"}, "0")],
)
def test_a_stage_waits_as_measured_best_or_as_the_user_has_set_it(set_by_the_user: dict[str, str], spins: str) -> None:
    assert as_openmp_read_it("import stages.train", **set_by_the_user)["GOMP_SPINCOUNT"] == spins


def test_the_tests_wait_so_too() -> None:
    assert threads.environment().items() <= os.environ.items()
