"""Which answers the stage `annotate` is scheduled for, and that dvc.yaml lets it follow them."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from omegaconf import OmegaConf

from pairloop import params
from pairloop.errors import ParameterError
from stages import schedule
from stages.schedule import composed

ROOT = Path(__file__).parents[2]
ASKED = "eval.judges=[likelihood,alpaca_eval]"
STAGE = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]["annotate"]["do"]


@pytest.fixture(autouse=True)
def root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


def scheduled(*changes: str) -> Any:
    return OmegaConf.to_container(composed(changes).schedule)


def test_nothing_is_annotated_unless_alpaca_eval_is_a_judge() -> None:
    assert scheduled()["annotated"] == {}
    assert params.parse({"eval": {"judges": ["alpaca_eval", "likelihood"]}}).kinds == {"specialist", "likelihood"}


def test_every_iteration_is_compared_with_iteration_0() -> None:
    found = scheduled(ASKED, "iterations=2")["annotated"]
    assert found == {
        f"iteration_{n}": {
            "outputs": f"results/iteration_{n}/model_outputs.json",
            "reference": "results/iteration_0/model_outputs.json",
        }
        for n in range(3)
    }


def test_the_best_of_several_answers_is_a_row_beside_the_plain_ones() -> None:
    found = scheduled(ASKED, "iterations=1", "eval.best_of=16")["annotated"]
    assert list(found) == ["iteration_0", "iteration_1", "iteration_0_best_of", "iteration_1_best_of"]
    assert found["iteration_1_best_of"]["outputs"] == "results/iteration_1/best_of_outputs.json"
    assert {item["reference"] for item in found.values()} == {"results/iteration_0/model_outputs.json"}


def test_answers_of_others_and_another_reference_are_followed_where_they_are_files() -> None:
    compared = "+eval.compare_with={near:answers/near.json,far:'https://example.org/far.json'}"
    found = scheduled(ASKED, compared, "eval.reference_outputs=answers/reference.json")["annotated"]
    assert {item["reference"] for item in found.values()} == {"answers/reference.json"}
    assert (found["near"]["outputs"], found["far"]["outputs"]) == ("answers/near.json", "conf/no_file")
    assert found["far"]["given"] == "https://example.org/far.json"
    assert "schedule.annotated.${key}" in STAGE["params"]
    hub = scheduled(ASKED, f"'eval.reference_outputs=hf:a/b@{'0' * 40}/c.json'".strip("'"))["annotated"]
    assert {item["reference"] for item in hub.values()} == {"conf/no_file"}
    assert {"${item.outputs}", "${item.reference}"} < set(STAGE["deps"])


def test_an_annotator_of_the_user_s_own_is_followed_and_one_of_the_package_s_is_not() -> None:
    assert scheduled(ASKED, "eval.annotator=judges/mine")["files"]["eval"]["annotator"] == "judges/mine"
    assert scheduled(ASKED, "eval.annotator=open_weights")["files"]["eval"]["annotator"] == "conf/no_file"
    assert {"${schedule.files.eval.annotator}", "conf/annotator"} < set(STAGE["deps"])


@pytest.mark.parametrize("name", ["iteration_1", "a.b", "a/b", ""])
def test_a_name_that_can_be_no_folder_beside_the_iterations_is_refused(name: str) -> None:
    with pytest.raises(
        ParameterError, match="it must be a mapping of names \\(letters, digits, _ and -; not iteration_"
    ):
        params.parse({"eval": {"compare_with": {name: "a.json"}}})


def test_a_missing_package_is_refused_before_anything_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schedule, "find_spec", lambda name: None)
    asked = params.parse({"eval": {"judges": ["likelihood", "alpaca_eval"]}})
    monkeypatch.setattr(schedule.common, "load", lambda: asked)
    with pytest.raises(ParameterError, match=r"that package is not installed: pip install '\.\[alpaca\]', or leave"):
        schedule.check()


def test_a_file_of_answers_that_is_not_there_is_named_by_its_parameter() -> None:
    with pytest.raises(ParameterError, match=r"^eval\.compare_with\.near is none\.json: there is no file or folder"):
        schedule._check_files({"eval.compare_with": {"near": "none.json"}})
