"""Stages that learn from a program's verdicts alone: constrained prompts, and chosen responses that ended."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from conftest import new_project
from stage_runs import stages

from pairloop.files import records
from pairloop.prompts import sources
from stages import schedule

CHANGES = (
    *("prompts.constrained=only", "prompts.per_iteration=2", "teach.prompts=4", "rank.ranker=verifiable"),
    *("generate.n=6", "pair.strategy=best_k_worst_k", "pair.k=3", "pair.drop_truncated=chosen"),
)


def test_iterations_take_constrained_prompts_alone_and_choose_what_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = new_project(tmp_path / "project").folder
    monkeypatch.chdir(folder)
    monkeypatch.setenv("DVC_ROOT", str(folder))
    changed = CliRunner().invoke(schedule.main, ["--write", *CHANGES])
    assert changed.exit_code == 0, changed.output
    found = stages(folder)

    limits = [None, [{"kind": "words", "max": 5}]]
    pool = [
        sources.normalise({"prompt": f"Question {n}?", "constraints": limits[n % 2]}, "here", "s") for n in range(14)
    ]
    records.write(Path("data/pool.parquet"), records.PROMPT, [pool])
    found["prompts@1"].run()
    found["prompts@2"].run()
    first, second = (records.read(Path(f"data/iteration_{n}/prompts.parquet"), records.PROMPT) for n in (1, 2))
    assert (first, second) == ([pool[1], pool[3]], [pool[5], pool[7]])
    counts = json.loads(Path("results/iteration_1/prompts.json").read_text())
    assert counts == {"rows_in": 14, "rows_out": 2, "with_constraints": 2, "dropped": {"without_constraints": 5}}

    # Of the first prompt two finished responses pass and one that was cut off; of the second only one that was.
    ends = {0: ["stop", "length", "stop", "length", "stop", "stop"], 1: ["length"] + ["stop"] * 5}
    scores = {0: [1.0, 1.0, 1.0, 0.0, 0.0, 0.0], 1: [1.0] + [0.0] * 5}
    rows = [
        {name: asked[name] for name in ("prompt_id", "prompt")}
        | {"responses": [f"answer {i}" for i in range(6)], "finish_reasons": ends[n], "scores": scores[n]}
        | {"token_counts": [2] * 6, "ranker": "verifiable", "comparisons": None}
        for n, asked in enumerate(first)
    ]
    records.write(Path("data/iteration_1/rankings.parquet"), records.RANKING, [rows])
    found["pair@1"].run()
    splits = [Path(f"data/{split}_iteration_1.parquet") for split in ("train", "test")]
    pairs = [pair for split in splits for pair in records.read(split, records.PAIR)]
    texts = [tuple(pair[side][1]["content"] for side in records.SIDES) for pair in pairs]
    assert texts == [("answer 0", "answer 5"), ("answer 2", "answer 4")]
    counts = json.loads(Path("results/iteration_1/pair.json").read_text())
    assert (counts["rows_in"], counts["rows_out"], counts["dropped"]) == (2, 1, {"truncated": 1})
