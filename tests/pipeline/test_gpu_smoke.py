"""`make gpu-smoke` where there is no GPU. Its steps take a minute on a CPU: `python -m benchmarks.gpu_smoke`."""

import os
import subprocess
import sys

import pytest
from conftest import ROOT


@pytest.mark.slow
def test_without_a_cuda_device_it_says_so_in_one_sentence() -> None:
    command = [sys.executable, "-m", "benchmarks.gpu_smoke"]
    settings = os.environ | {"CUDA_VISIBLE_DEVICES": ""}
    found = subprocess.run(command, cwd=ROOT, env=settings, capture_output=True, text=True)
    assert found.returncode == 1 and found.stdout == ""
    assert found.stderr.startswith("Error: gpu-smoke needs a CUDA device, and torch finds none here: ")
    assert found.stderr.count("\n") == 1
