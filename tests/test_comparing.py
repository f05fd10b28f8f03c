"""The verb rank with a ranker that compares: what it keeps of the comparisons, and what it reports about them."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import ROOT
from pairrm_data import cases, write_checkpoints

from pairloop import records, scoring
from pairloop.rankers import quality
from pairloop.rankers.pairrm import PairRM
from pairloop.records import Row


def responses(prompts: list[str], candidates: list[list[str]]) -> list[Row]:
    return [
        {
            **{"prompt_id": str(i), "prompt": prompt, "responses": texts},
            **{"finish_reasons": ["stop"] * len(texts), "token_counts": [1] * len(texts)},
        }
        for i, (prompt, texts) in enumerate(zip(prompts, candidates, strict=True))
    ]


@pytest.fixture(scope="module")
def ranked(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Row], Path]:
    """A folder in which the verb has run, what it ranked, and PairRM's folder."""
    folder = tmp_path_factory.mktemp("ranked")
    weights = write_checkpoints(folder / "weights")["own"]
    values = yaml.safe_load((ROOT / "params.yaml").read_text())
    values["base"] |= {"model": "random:0", "sha256": None}
    values["rank"] |= {"ranker": "pairrm", "second": "likelihood", "shard_prompts": 2}
    values["rankers"] |= {"pairrm": str(weights)}
    (folder / "params.yaml").write_text(yaml.safe_dump(values))
    prompts, candidates = cases(12, 6, 4)
    rows = responses(prompts, candidates)
    stated = [
        {"prompt_id": row["prompt_id"], "prompt": row["prompt"], "source": "t", "constraints": None} for row in rows
    ]
    records.write(folder / "prompts.parquet", records.PROMPT, [stated])
    records.write(folder / "responses.parquet", records.RESPONSE, [rows])
    places = [str(tiny_base), str(tiny_base), "no-teacher"]
    files = ["prompts.parquet", "responses.parquet", "rankings.parquet", "rank.json", "time.json"]
    command = [sys.executable, "-m", "stages.rank", "--iteration", "1", *places, *files]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    ran = subprocess.run(command, cwd=folder, capture_output=True, text=True, env=environment)
    assert ran.returncode == 0, ran.stderr
    return folder, rows, weights


def metrics(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "rank.json").read_text()))


def test_every_comparison_is_kept_beside_the_scores(ranked: tuple[Path, list[Row], Path]) -> None:
    folder, rows, weights = ranked
    found = records.read(folder / "rankings.parquet", records.RANKING)
    asked = [row["prompt"] for row in rows], [row["responses"] for row in rows]
    expected = PairRM(weights, "float32", 4096).comparisons(*asked)
    assert len(found) == len(expected) == 6
    for row, matrix in zip(found, expected, strict=True):
        assert [list(own) for own in row["comparisons"]] == [pytest.approx(own, abs=1e-6) for own in matrix]
    assert metrics(folder)["position_bias"] == round(quality.position_bias(expected) or 0, 4) > 0


def test_ties_and_margins_are_of_the_scores_that_were_written(ranked: tuple[Path, list[Row], Path]) -> None:
    said, scores = metrics(ranked[0]), written_scores(ranked[0])
    assert said["ties"] == sum(len(own) - len(set(own)) for own in scores) > 0
    assert said["margins"] == records.rounded(quality.margins(scores)) and sum(said["margins"]["counts"]) == 6


def test_the_second_ranker_is_asked_about_the_same_responses(
    ranked: tuple[Path, list[Row], Path], tiny_base: Path
) -> None:
    folder, rows, _ = ranked
    likelihood = scoring.Ranking("likelihood", scoring.Places(tiny_base, Path("unused")), "float32", 4096).loaded
    theirs = likelihood.score([row["prompt"] for row in rows], [row["responses"] for row in rows])
    agreed = quality.agreement(written_scores(folder), theirs)
    assert metrics(folder)["second"] == {"ranker": "likelihood"} | {
        name: pytest.approx(value, abs=2e-4) for name, value in agreed.items()
    }


def written_scores(folder: Path) -> list[list[float]]:
    return [list(row["scores"]) for row in records.read(folder / "rankings.parquet", records.RANKING)]
