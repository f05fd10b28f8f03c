"""The verbs rank and eval with rankers that compare: what they keep of the comparisons, and what they report."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import ROOT, Project
from pairrm_data import cases, write_checkpoints
from warm import Warm

from pairloop.files import records
from pairloop.files.records import Row
from pairloop.models import references
from pairloop.rankers import quality, scoring
from pairloop.rankers.pairrm.ranker import PairRM


def responses(prompts: list[str], candidates: list[list[str]]) -> list[Row]:
    return [
        {
            **{"prompt_id": str(i), "prompt": prompt, "responses": texts},
            **{"finish_reasons": ["stop"] * len(texts), "token_counts": [1] * len(texts)},
            **{"token_ids": [[0]] * len(texts), "logps": None},
        }
        for i, (prompt, texts) in enumerate(zip(prompts, candidates, strict=True))
    ]


WATCHED = ("pairs.parquet", "pairs.parquet", "eval0/watch.json")
"""What the watch reads: pairs that training holds out, here none, and what it found of iteration 0."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where verbs run: params.yaml with a tiny PairRM, which lies in weights/own."""
    found = tmp_path_factory.mktemp("comparing")
    values = yaml.safe_load((ROOT / "params.yaml").read_text())
    values["base"] |= {"model": "random:0", "sha256": None}
    values["rank"] |= {"ranker": "pairrm", "second": "likelihood", "shard_prompts": 2}
    values["rankers"] |= {"pairrm": str(write_checkpoints(found / "weights")["own"]), "ensemble": {"pairrm": 1.0}}
    values["eval"] |= {"judges": ["pairrm", "ensemble"], "prompts": 6, "max_new_tokens": 12, "bootstrap": 100}
    values["watch"]["benign"] = None
    (found / "params.yaml").write_text(yaml.safe_dump(values))
    records.write(found / "pairs.parquet", records.PAIR, [])
    return found


Run = Callable[..., None]


@pytest.fixture(scope="module")
def run(warm: Warm) -> Run:
    """Runs a verb for an iteration in a folder."""

    def ran(folder: Path, verb: str, iteration: int, *arguments: str) -> None:
        command = ["python", "-m", f"stages.{verb}", "--iteration", str(iteration), *arguments]
        Project(folder, warm=warm).run(*command, env={"PYTHONPATH": str(ROOT)})

    return ran


def stated(prompts: list[str]) -> list[Row]:
    rows = [{"prompt_id": str(i), "prompt": prompt} for i, prompt in enumerate(prompts)]
    return [row | {"source": "t", "constraints": None} for row in rows]


@pytest.fixture(scope="module")
def ranked(folder: Path, run: Run, tiny_base: Path) -> tuple[Path, list[Row], Path]:
    """A folder in which the verb rank has run, what it ranked, and PairRM's folder."""
    prompts, candidates = cases(12, 6, 4)
    rows = responses(prompts, candidates)
    records.write(folder / "prompts.parquet", records.PROMPT, [stated(prompts)])
    records.write(folder / "responses.parquet", records.RESPONSE, [rows])
    files = ["prompts.parquet", "responses.parquet", "rankings.parquet", "rank.json", "time.json"]
    run(folder, "rank", 1, str(tiny_base), str(tiny_base), "no-teacher", *files)
    return folder, rows, folder / "weights/own"


def metrics(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "rank.json").read_text()))


@pytest.mark.slow
def test_every_comparison_is_kept_beside_the_scores(ranked: tuple[Path, list[Row], Path]) -> None:
    folder, rows, weights = ranked
    found = records.read(folder / "rankings.parquet", records.RANKING)
    asked = [row["prompt"] for row in rows], [row["responses"] for row in rows]
    expected = PairRM(weights, "float32", 4096).comparisons(*asked)
    assert len(found) == len(expected) == 6
    for row, matrix in zip(found, expected, strict=True):
        assert [list(own) for own in row["comparisons"]] == [pytest.approx(own, abs=1e-6) for own in matrix]
    assert metrics(folder)["position_bias"] == round(quality.position_bias(expected) or 0, 4) > 0


@pytest.mark.slow
def test_ties_and_margins_are_of_the_scores_that_were_written(ranked: tuple[Path, list[Row], Path]) -> None:
    said, scores = metrics(ranked[0]), written_scores(ranked[0])
    assert said["ties"] == sum(len(own) - len(set(own)) for own in scores) > 0
    assert said["margins"] == records.rounded(quality.margins(scores)) and sum(said["margins"]["counts"]) == 6


@pytest.mark.slow
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


@pytest.mark.slow
def test_judges_that_compare_see_this_model_s_answer_beside_iteration_0_s(
    folder: Path, run: Run, tiny_base: Path
) -> None:
    policy = folder / "policy"
    policy.mkdir()
    (policy / "model.json").write_text(json.dumps(references.pin("random:1", None, references.cache_root())))
    prompts = [f"Say {word}." for word in ("one", "two", "three", "four", "five", "six")]
    records.write(folder / "held_out.parquet", records.PROMPT, [stated(prompts)])
    answered = {}
    for iteration, model, held_out in ((0, tiny_base, "held_out.parquet"), (1, policy, "answers0.parquet")):
        models, files = [str(tiny_base), "no-teacher", str(model)], [held_out, "none", f"answers{iteration}.parquet"]
        run(folder, "eval", iteration, *models, *files, f"eval{iteration}", *WATCHED)
        rows = json.loads((folder / f"eval{iteration}/model_outputs.json").read_text())
        answered[iteration] = [row["output"] for row in rows]
    both = [list(pair) for pair in zip(answered[1], answered[0], strict=True)]
    expected = PairRM(folder / "weights/own", "float32", 4096).score(prompts, both)
    judged = json.loads((folder / "eval1/judgements.json").read_text())
    assert max(abs(score) for own in expected for score in own) > 0.01
    for row, own in zip(judged, expected, strict=True):
        assert row["scores"]["pairrm"] == pytest.approx(own, abs=2e-6)
        assert row["scores"]["ensemble"] == pytest.approx([1, -1] if own[0] > own[1] else [-1, 1])


@pytest.mark.slow
def test_what_was_answered_and_scored_once_is_read_and_another_judge_answers_nothing(
    folder: Path, run: Run, tiny_base: Path, tmp_path: Path
) -> None:
    values = yaml.safe_load((folder / "params.yaml").read_text())
    prompts = [f"Count to {word}." for word in ("one", "two", "three", "four", "five", "six")]
    records.write(tmp_path / "held_out.parquet", records.PROMPT, [stated(prompts)])
    records.write(tmp_path / "pairs.parquet", records.PAIR, [])
    policy = tmp_path / "policy"
    policy.mkdir()
    (policy / "model.json").write_text(json.dumps(references.pin("random:1", None, references.cache_root())))

    def stored_by(iteration: int, model: Path, held_out: str, *judges: str) -> int:
        """How many shards evaluating an iteration stores: three of six prompts for each thing that it computes."""
        values["eval"] |= {"judges": list(judges), "shard_prompts": 2, "temperatures": [1.0]}
        (tmp_path / "params.yaml").write_text(yaml.safe_dump(values))
        before = shards_in(tmp_path)
        files = [held_out, "none", f"answers{iteration}.parquet", f"eval{iteration}"]
        run(tmp_path, "eval", iteration, str(tiny_base), "no-teacher", str(model), *files, *WATCHED)
        return len(shards_in(tmp_path) - before)

    assert stored_by(0, tiny_base, "held_out.parquet", "likelihood") == 6
    shutil.rmtree(tmp_path / ".dvc")
    # For the watch, the base reads the answers, and those again whose text has other tokens than were sampled.
    assert stored_by(1, policy, "answers0.parquet", "likelihood") == 12
    assert stored_by(1, policy, "answers0.parquet", "likelihood") == 0
    assert stored_by(0, tiny_base, "held_out.parquet", "likelihood", "verifiable") == 9
    assert stored_by(1, policy, "answers0.parquet", "likelihood", "verifiable") == 3


def shards_in(folder: Path) -> set[Path]:
    stored = (folder / ".dvc/tmp/pairloop").rglob("*")
    return {path for path in stored if path.is_file() and path.suffix not in (".partial", ".lock")}
