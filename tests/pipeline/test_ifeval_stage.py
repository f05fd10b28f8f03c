"""Models answer IFEval's prompts where eval.ifeval names them, and only there."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import Project, new_project
from warm import Warm

from pairloop.files import records

pytestmark = pytest.mark.slow

ASKED: list[tuple[str, list[tuple[str, dict[str, Any]]]]] = [
    ("Describe a river without commas.", [("punctuation:no_comma", {})]),
    ("Answer in JSON: three colours.", [("detectable_format:json_format", {})]),
    ("Write less than 400 words on snow.", [("length_constraints:number_words", {"relation": "less than"})]),
    ("Give a title in << >> and no comma.", [("detectable_format:title", {}), ("punctuation:no_comma", {})]),
    ("Put your answer in double quotes.", [("startend:quotation", {})]),
    ("Answer in French.", [("language:response_language", {"language": "fr"})]),
    ("Two sentences or more, please.", [("length_constraints:number_sentences", {"relation": "at least"})]),
    ("Use the word pine.", [("keywords:existence", {"keywords": ["pine"]})]),
    ("Do not say oak.", [("keywords:forbidden_words", {"forbidden_words": ["oak"]})]),
    ("Two answers, divided by ******.", [("combination:two_responses", {})]),
    ("End with: That is all.", [("startend:end_checker", {"end_phrase": "That is all."})]),
    ("Answer as nobody has asked before.", [("new:kind", {}), ("punctuation:no_comma", {})]),
]
"""Twelve prompts with their instructions."""

COUNTS = {"length_constraints:number_words": "num_words", "length_constraints:number_sentences": "num_sentences"}


def write(path: Path, asked: list[tuple[str, list[tuple[str, dict[str, Any]]]]]) -> None:
    rows = [
        {
            "key": key,
            "prompt": prompt,
            "instruction_id_list": [kind for kind, _ in own],
            "kwargs": [arguments | ({COUNTS[kind]: 400} if kind in COUNTS else {}) for kind, arguments in own],
        }
        for key, (prompt, own) in enumerate(asked, 1000)
    ]
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")


@pytest.fixture(scope="module")
def asked(warm: Warm, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project on the smoke recipe whose base model has answered twelve prompts."""
    project = new_project(tmp_path_factory.mktemp("ifeval") / "project", warm)
    write(project.folder / "mine.jsonl", ASKED)
    compose(project, "eval.ifeval=mine.jsonl", "eval.ifeval_max_new_tokens=8")
    project.run("dvc", "repro", "ifeval@0")
    return project


def compose(project: Project, *changes: str) -> None:
    project.run(sys.executable, "-m", "stages.schedule", "--write", *changes)


def stages(project: Project) -> set[str]:
    return set(project.run("dvc", "stage", "list", "--name-only").stdout.split())


def changed(project: Project, stage: str) -> bool:
    return bool(json.loads(project.run("dvc", "status", "--json", stage).stdout))


def test_each_model_has_a_stage_where_prompts_are_named_and_none_elsewhere(asked: Project, tmp_path: Path) -> None:
    every = {f"ifeval@{n}" for n in range(4)}
    assert every <= stages(asked)
    plain = new_project(tmp_path / "project")
    assert not any(name.startswith(("ifeval", "lm_eval")) for name in stages(plain))


def test_answers_and_accuracies_are_written_and_what_is_not_covered_is_counted(asked: Project) -> None:
    found = records.read_json(asked.folder / "results/iteration_0/ifeval.json")
    assert (found["prompts"], found["covered"], found["not_covered"]) == (12, 11, {"new:kind": 1})
    assert found["by_kind"]["punctuation:no_comma"]["instructions"] == 3
    assert 0 <= found["strict"]["prompt"] <= found["loose"]["prompt"] <= 1
    rows = records.read(asked.folder / "data/iteration_0/ifeval.parquet", records.INSTRUCTED)
    assert [row["prompt"] for row in rows] == [prompt for prompt, _ in ASKED] and rows[0]["key"] == "1000"
    assert all(row["token_counts"][0] <= 8 for row in rows)
    assert json.loads(rows[-1]["instructions"])[0] == {"kind": "new:kind", "arguments": {}}
    assert json.loads(rows[-1]["strict"])[0] is None
    assert (asked.folder / "results/iteration_0/time/ifeval.json").is_file()


def test_the_same_prompts_give_the_same_bytes_and_finished_answers_are_not_made_again(asked: Project) -> None:
    outs = [asked.folder / name for name in ("data/iteration_0/ifeval.parquet", "results/iteration_0/ifeval.json")]
    before = [path.read_bytes() for path in outs]
    shards = sorted((asked.folder / ".dvc/tmp/pairloop").rglob("*"))
    asked.run("dvc", "repro", "--force", "--single-item", "ifeval@0")
    assert [path.read_bytes() for path in outs] == before
    assert sorted((asked.folder / ".dvc/tmp/pairloop").rglob("*")) == shards


def test_another_prompt_asks_anew_and_other_parameters_of_eval_do_not(asked: Project, tmp_path: Path) -> None:
    project = asked.copy(tmp_path / "project")
    assert not changed(project, "ifeval@0")
    compose(project, "eval.judges=[likelihood]", "eval.max_new_tokens=13")
    assert not changed(project, "ifeval@0")
    write(project.folder / "mine.jsonl", ASKED[1:])
    assert changed(project, "ifeval@0")


def ask(project: Project, *changes: str) -> str:
    """What the verb says when it refuses."""
    compose(project, *changes)
    command = ["stages.ifeval", "--iteration", "0", "models/iteration_0", "models/iteration_0", "a.parquet", "results"]
    found = project.run(sys.executable, "-m", *command, check=False)
    assert found.returncode == 1 and "Traceback" not in found.stderr
    return found.stderr


def test_what_cannot_be_answered_is_refused_in_a_sentence(asked: Project, tmp_path: Path) -> None:
    project = asked.copy(tmp_path / "project")
    said = ask(project, "eval.ifeval_max_new_tokens=100000")
    assert "mine.jsonl: 12 of the 12 prompts leave no room for eval.ifeval_max_new_tokens (100000)" in said
    assert "shorten these prompts or delete them." in said
    write(project.folder / "mine.jsonl", [("Hi", [("keywords:existence", {})])])
    assert "mine.jsonl, line 1: keywords:existence has no keywords among its kwargs" in ask(project)
    assert "eval.ifeval is null: it must name IFEval's prompts" in ask(project, "eval.ifeval=null")
