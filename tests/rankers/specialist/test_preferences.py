"""The user's own preferences: what a file may hold, and that a ranker learns from them at the command line."""

import json
import os
import random
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from pairloop import params
from pairloop.errors import DataError, ParameterError
from pairloop.rankers.specialist import preferences
from pairloop.report import sentences

ROOT = Path(__file__).parents[3]
GOOD = {"prompt": "Hi", "chosen": "Hello!", "rejected": "No."}


def written(path: Path, *lines: object) -> Path:
    """A file with a JSON object a line; a text is a line as it is."""
    path.write_text("".join(f"{line if isinstance(line, str) else json.dumps(line)}\n" for line in lines))
    return path


def turns(prompt: str, answer: object) -> list[dict[str, object]]:
    return [{"role": "user", "content": prompt}, {"role": "assistant", "content": answer}]


def test_a_file_of_preferences_is_read_in_its_order_and_other_fields_are_passed_over(tmp_path: Path) -> None:
    other = {"prompt": "Ünï", "chosen": "two\nlines", "rejected": "x", "annotator": 3}
    found = preferences.read(written(tmp_path / "mine.jsonl", GOOD, "", other))
    assert found.pairs == (("Hi", "Hello!", "No."), ("Ünï", "two\nlines", "x"))
    assert found.counts == {"rows": 2, "duplicates": 0, "contradictions": 0}


def test_a_response_may_be_a_conversation_as_in_the_splits(tmp_path: Path) -> None:
    row = {"prompt": "Hi", "chosen": turns("Hi", "Hello!"), "rejected": [{"role": "assistant", "content": "No."}]}
    assert preferences.read(written(tmp_path / "mine.jsonl", row)).pairs == (("Hi", "Hello!", "No."),)


def test_a_folder_is_read_in_the_order_of_its_names(tmp_path: Path) -> None:
    written(tmp_path / "b.jsonl", GOOD)
    written(tmp_path / "a.jsonl", GOOD | {"prompt": "first"})
    (tmp_path / "README.md").write_text("no preferences")
    assert [prompt for prompt, _, _ in preferences.read(tmp_path).pairs] == ["first", "Hi"]


def test_duplicates_are_left_out_and_contradictions_kept_and_both_are_counted(tmp_path: Path) -> None:
    opposite = GOOD | {"chosen": "No.", "rejected": "Hello!"}
    found = preferences.read(written(tmp_path / "mine.jsonl", GOOD, opposite, GOOD, GOOD))
    assert found.pairs == (("Hi", "Hello!", "No."), ("Hi", "No.", "Hello!"))
    assert found.counts == {"rows": 4, "duplicates": 2, "contradictions": 1}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{prompt: 1}", "no JSON (Expecting property name"),
        (["Hi", "Hello!", "No."], "is no JSON object"),
        ({"prompt": "Hi", "chosen": "Hello!"}, "has no rejected. Needed: {"),
        (GOOD | {"chosen": None}, "has no chosen"),
        (GOOD | {"prompt": 3}, "prompt is 3: it must be a text"),
        (GOOD | {"rejected": {"role": "assistant"}}, "rejected is {'role': 'assistant'}: it must be a text"),
        (GOOD | {"prompt": " "}, "prompt is empty"),
        (GOOD | {"rejected": "\n"}, "rejected is empty"),
        (GOOD | {"rejected": " Hello!\n"}, "chosen and rejected are the same text"),
        (GOOD | {"chosen": "bell \x07"}, "chosen has the control character U+0007 at 5"),
        (GOOD | {"chosen": "\ud800"}, r"chosen has half a surrogate pair (\ud800)"),
        (GOOD | {"chosen": turns("Hi", "One") + turns("And?", "Two")}, "chosen is a conversation of 4 turns"),
        (GOOD | {"chosen": ["Hello!"]}, "chosen is a conversation of 1 turns"),
        (GOOD | {"chosen": []}, "chosen is a conversation of 0 turns"),
        (GOOD | {"chosen": turns("Ho", "Hello!")}, "chosen begins with another prompt than the line's own"),
        (GOOD | {"chosen": turns("Hi", None)}, "chosen is None: it must be a text"),
    ],
)
def test_a_malformed_line_is_refused_with_its_file_and_number(tmp_path: Path, line: object, message: str) -> None:
    path = written(tmp_path / "mine.jsonl", GOOD, line)
    with pytest.raises(DataError, match=re.escape(f"{path}, line 2: {message}" if message[0] != "i" else message)):
        preferences.read(path)


def test_what_is_not_there_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.jsonl").touch()
    for name, message in [
        ("no.jsonl", "no such file"),
        ("no.csv", r"no \.jsonl file and no folder"),
        ("empty.jsonl", "has no preferences"),
    ]:
        with pytest.raises(DataError, match=message):
            preferences.read(tmp_path / name)
    (tmp_path / "folder").mkdir()
    with pytest.raises(DataError, match=r"the folder has no \.jsonl file"):
        preferences.read(tmp_path / "folder")


def test_the_example_in_the_readme_is_valid(tmp_path: Path) -> None:
    page = (ROOT / "data/preferences/README.md").read_text()
    (example,) = re.findall(r"```jsonl\n(.*?)```", page, re.DOTALL)
    (tmp_path / "mine.jsonl").write_text(example)
    assert len(preferences.read(tmp_path / "mine.jsonl").pairs) == 3


def test_a_teacher_that_would_learn_from_nothing_is_refused() -> None:
    with pytest.raises(ParameterError, match="there is nothing to learn from"):
        params.parse({"teach": {"constructed": False}})
    assert not params.parse({"teach": {"constructed": False, "preferences": "mine.jsonl"}}).teach.constructed


@pytest.mark.parametrize(
    ("given", "read"), [(0.5, (0.5,)), ([0.25, 1], (0.25, 1.0)), (1, (1.0,))], ids=["number", "list", "whole"]
)
def test_one_depth_or_several_can_be_given(given: object, read: tuple[float, ...]) -> None:
    found = params.parse({"teach": {"depth": given}}).teach.depth
    assert found == read and all(type(depth) is float for depth in found)


@pytest.mark.parametrize("given", [[], [0.5, 0.5], [0.5, 2], "0.5", [True], [[0.5]], 0])
def test_depths_that_name_no_layers_are_refused(given: object) -> None:
    with pytest.raises(ParameterError, match=r"teach\.depth is .*or a list of such numbers, each at most once"):
        params.parse({"teach": {"depth": given}})


KIND = ["warm", "stone", "river", "cloud", "meadow", "lamp", "garden", "bread"]
OTHER = ["zx9", "qq7", "vv3", "kk1", "ww8", "jj5", "xx2", "pp6"]


def labelled(path: Path, learnable: bool) -> Path:
    """200 preferences for one kind of words over another, or for either at random."""
    draw = random.Random(1)
    rows = []
    for i in range(200):
        pair = [" ".join(draw.choices(words, k=draw.randint(3, 9))) for words in (KIND, OTHER)]
        if not learnable and draw.random() < 0.5:
            pair.reverse()
        rows.append({"prompt": f"Say something, number {i}.", "chosen": pair[0], "rejected": pair[1]})
    return written(path, *rows)


def made(
    base: Path, folder: Path, *options: str, penalties: Sequence[float] = (2e-5, 1e-3, 1e-2)
) -> tuple[dict[str, Any], "subprocess.CompletedProcess[str]"]:
    """Run the verb as a user would, in a folder with params.yaml, and read its metrics."""
    values = yaml.safe_load((ROOT / "params.yaml").read_text())
    values["rank"]["ranker"], values["eval"]["judges"] = "likelihood", ["likelihood"]
    values["teach"]["regularisation"] = list(penalties)
    (folder / "params.yaml").write_text(yaml.safe_dump(values))
    outs = ("teacher", "out/teacher.json", "out/time.json")
    command = [sys.executable, "-m", "stages.teach", str(base), "no-pool.parquet", *outs, *options]
    ran = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": str(ROOT)}
    )
    metrics = json.loads((folder / outs[1]).read_text()) if ran.returncode == 0 else {}
    return metrics, ran


@pytest.mark.slow
def test_one_command_makes_a_teacher_of_200_preferences(tiny_base: Path, tmp_path: Path) -> None:
    mine = labelled(tmp_path / "mine.jsonl", learnable=True)
    found, ran = made(tiny_base, tmp_path, "--preferences", str(mine), "--no-constructed")
    assert ran.returncode == 0, ran.stderr
    assert (found["prompts"], found["pairs"], found["held_out_pairs"]) == (0, 160, 40)
    assert found["preferences"] == {"rows": 200, "duplicates": 0, "contradictions": 0}
    assert found["held_out_accuracy"] > 0.9 and found["by_kind"] == {"preference": found["held_out_accuracy"]}
    assert [row["pairs"] for row in found["learning_curve"]] == [50, 100, 160]
    assert found["learning_curve"][-1]["accuracy"] == found["held_out_accuracy"]
    assert found["learning_curve"][-1]["low"] > 0.8 and found["last_doubling"]["pairs_before"] == 50
    assert [row["regularisation"] for row in found["candidates"]] == [2e-5, 1e-3, 1e-2]
    assert "doubled" in found["hacks"] and (tmp_path / "teacher/head.safetensors").is_file()
    lines = ran.stdout.splitlines()
    assert len(lines) == 5 and lines[0].startswith("Fitted to 160 pairs: layer 1 (depth 0.5), regularisation ")
    assert lines[1].startswith(f"Held-out accuracy: {found['held_out_accuracy']:.0%} of 40 pairs (95 % interval ")
    assert lines[4].startswith("Accuracy by pairs: 50: ") and ", 160: " in lines[4]


@pytest.mark.slow
def test_labels_that_nobody_can_learn_give_half_and_no_claim(tiny_base: Path, tmp_path: Path) -> None:
    mine = labelled(tmp_path / "mine.jsonl", learnable=False)
    found, ran = made(tiny_base, tmp_path, "--preferences", str(mine), "--no-constructed", penalties=[2e-5])
    assert ran.returncode == 0, ran.stderr
    assert found["regularisation"] == 2e-5
    assert 0.3 < found["held_out_accuracy"] < 0.7
    assert "it was not shown to have learnt anything" in (sentences.learning(found) or "")


@pytest.mark.slow
def test_too_few_or_malformed_preferences_end_the_command_with_one_line(tiny_base: Path, tmp_path: Path) -> None:
    mine = written(tmp_path / "mine.jsonl", GOOD, GOOD | {"rejected": "Never."})
    found, ran = made(tiny_base, tmp_path, "--preferences", str(mine), "--no-constructed")
    assert ran.returncode == 1 and not found
    assert ran.stderr.startswith("Error: the preferences have 1 different prompts") and "Traceback" not in ran.stderr
    _, ran = made(tiny_base, tmp_path, "--no-constructed")
    assert ran.stderr.startswith("Error: teach.constructed is false and teach.preferences is null")


def test_help_shows_a_command_and_a_line_of_the_file() -> None:
    command = [sys.executable, "-m", "stages.teach", "--help"]
    shown = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    (example,) = re.findall(r'^ +(\{"prompt".*\})$', shown, re.MULTILINE)
    assert set(json.loads(example)) == {"prompt", "chosen", "rejected"}
    assert "--preferences mine.jsonl --no-constructed" in shown
