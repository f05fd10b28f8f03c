"""The stages stream: many long responses need no more memory than few."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import memory


@pytest.mark.slow
def test_four_times_the_responses_need_no_more_memory_in_generate_rank_and_pair() -> None:
    few, many = (memory.peaks(prompts, 5, 8_000) for prompts in (memory.FEW, 4 * memory.FEW))
    for stage, (peak, _) in many.items():
        assert peak - few[stage][0] < 30, stage  # MB; the additional texts are 92 MB
