"""What held-out preferences say of a model: what it finds likely, and how a judge of them finds its answers."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT, Project

from pairloop.errors import DataError
from pairloop.evaluation import preferred
from pairloop.models import references
from pairloop.params import Teach
from pairloop.rankers.likelihood import LogProbability
from pairloop.rankers.reading import Reader
from pairloop.rankers.specialist.hidden import Layers

PAIRS = [(f"prompt {i}", "please and thank you", "no") for i in range(4)]
BASE = [(-2.0, -1.0), (-1.0, -2.0), (-3.0, -3.0), (-2.0, -1.5)]
OWN = [(-1.5, -1.0), (-1.0, -2.5), (-3.0, -3.5), (-2.0, -1.0)]
EXAMPLES = "data/preferences/examples/polite-held-out.jsonl"


def test_the_share_of_pairs_whose_chosen_response_is_likelier_counts_a_tie_half() -> None:
    found = preferred.measured(PAIRS, BASE, None, 200, 0)
    assert (found["pairs"], found["preferred"]["share"], found["margin"]["nats"]) == (4, 0.375, -0.125)
    assert found["preferred"]["low"] < 0.375 < found["preferred"]["high"]
    assert found["moved"] is None and found["gain"] is None


def test_a_model_has_moved_to_the_chosen_response_where_its_margin_is_above_the_bases() -> None:
    found = preferred.measured(PAIRS, OWN, BASE, 200, 0)
    assert (found["preferred"]["share"], found["moved"]["share"]) == (0.5, 0.75)
    assert found["gain"]["nats"] == pytest.approx((0.5 + 0.5 + 0.5 - 0.5) / 4)


def test_pairs_of_one_prompt_are_drawn_together() -> None:
    together = [("one prompt", *both) for _, *both in PAIRS]
    found = preferred.measured(together, OWN, BASE, 200, 0)["preferred"]
    assert found["low"] == found["share"] == found["high"]


@pytest.fixture(scope="module")
def read(tiny_base: Path) -> tuple[Any, Any]:
    """The tiny model and its tokenizer."""
    return references.load_policy(tiny_base, tiny_base, "float32"), references.load_tokenizer(tiny_base)


def test_a_response_is_as_likely_as_its_tokens_are_on_average(read: tuple[Any, Any]) -> None:
    [[chosen, rejected]] = preferred.likelihoods(PAIRS[:1], *read, 512)
    whole = LogProbability(Reader(*read, 512)).score([PAIRS[0][0]], [list(PAIRS[0][1:])])[0]
    lengths = [len(read[1](text, add_special_tokens=False)["input_ids"]) for text in PAIRS[0][1:]]
    assert [chosen, rejected] == pytest.approx([total / length for total, length in zip(whole, lengths, strict=True)])


def test_a_judge_of_the_preferences_prefers_answers_like_the_chosen_ones(read: tuple[Any, Any]) -> None:
    pairs = [(f"Say {word}.", f"Thank you, {word}, please!", f"{word} it is.") for word in "abcdefghijkl"]
    by = preferred.judge(pairs, Layers(*read, (0.5,), 512), Teach(), 0)
    assert by.accuracy is not None and by.accuracy > 0.9
    kind, curt = ([{"prompt": p, "responses": [pair[side]]} for p, *pair in pairs] for side in (0, 1))
    found = preferred.judged(by, kind, curt, 200, 0)
    other_way = preferred.judged(by, curt, kind, 200, 0)
    assert found["win_rate"] > 0.9 and other_way["win_rate"] == pytest.approx(1 - found["win_rate"])
    assert found["prompts"] == len(kind)
    assert preferred.judged(by, kind, kind, 200, 0)["win_rate"] == 0.5
    assert preferred.judged(by, kind, None, 200, 0)["win_rate"] is None


def test_preferences_of_a_prompt_that_is_trained_on_are_refused() -> None:
    preferred.refuse_known(PAIRS, {"another prompt": "pool.jsonl"}, "mine.jsonl")
    with pytest.raises(DataError) as refused:
        preferred.refuse_known(PAIRS, {"prompt 1": "pool.jsonl", "prompt 2": "likes.jsonl"}, "mine.jsonl")
    assert refused.value.message.startswith(
        "mine.jsonl: 2 of its prompts stand in what is trained on, such as 'prompt 1' in pool.jsonl."
    )


def command(n: int) -> list[str]:
    answers = [f"data/iteration_{i}/answers.parquet" for i in (n, 0)]
    places = [*("models/iteration_0", f"models/iteration_{n}", "data/pool.parquet"), *answers, f"results/iteration_{n}"]
    return [sys.executable, "-m", "stages.preferences", "--iteration", str(n), *places]


def test_each_model_has_a_stage_where_preferences_are_named_and_the_report_shows_them(project: Project) -> None:
    stages = [f"preferences@{n}" for n in range(4)]
    assert not {*stages} & {*project.run("dvc", "stage", "list", "--name-only").stdout.split()}
    project.run(sys.executable, "-m", "stages.schedule", "--write", f"eval.preferences={EXAMPLES}")
    project.run("dvc", "repro", "--single-item", *stages[:2])
    found = [json.loads((project.folder / f"results/iteration_{n}/preferences.json").read_text()) for n in (0, 1)]
    assert found[0]["pairs"] == found[1]["pairs"] == 64 and found[0]["moved"] is None
    assert 0 <= found[1]["moved"]["share"] <= 1 and 0 <= found[1]["judge"]["win_rate"] <= 1
    assert found[0]["judge"]["accuracy"] == found[1]["judge"]["accuracy"]
    project.run("dvc", "repro", "--single-item", "report")
    assert "64 held-out preferences" in (project.folder / "report/index.html").read_text(encoding="utf-8")
    (project.folder / EXAMPLES).write_text((ROOT / EXAMPLES).read_text().replace("poach a pear", "poach two pears"))
    changed = project.run("dvc", "status", "--json", "preferences@0", "eval@0").stdout
    assert json.loads(changed).keys() == {"preferences@0"}


def test_what_was_learnt_from_is_no_test(project: Project) -> None:
    taught = [f"eval.preferences={EXAMPLES}", f"teach.preferences={EXAMPLES}"]
    project.run(sys.executable, "-m", "stages.schedule", "--write", *taught)
    ran = project.run(*command(0), check=False)
    assert ran.returncode == 1 and "Traceback" not in ran.stderr
    assert ran.stderr.startswith(f"Error: eval.preferences, {EXAMPLES}: 64 of its prompts stand in what is trained on")
    project.run(sys.executable, "-m", "stages.schedule", "--write", "eval.preferences=null", "teach.preferences=null")
    assert project.run(*command(0), check=False).stderr.startswith("Error: eval.preferences is null: it must name")
