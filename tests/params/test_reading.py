"""What a params.yaml that is written wrongly is answered with."""

import io
import math
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import new_project
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from ruamel.yaml import YAML
from yaml import YAMLError

from pairloop.errors import PairloopError
from pairloop.params import reading
from stages import common

BACK = "`git diff params.yaml` shows what changed, `git checkout params.yaml` brings the committed one back."
QUOTES = "Write the number without quotes, in digits, as 0.1 or 5e-7"
BETA = "it must be a number above 0"


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def loaded(text: str) -> Any:
    Path("params.yaml").write_text(text)
    return common.load()


def test_a_number_may_be_written_in_every_usual_way() -> None:
    rates = ("5e-7", "5.0e-07", "0.0000005", "+5E-7", "50e-8", ".5e-6")
    assert {loaded(f"train: {{beta: {rate}}}").train.beta for rate in rates} == {5e-7}
    assert loaded("train: {beta: 1}").train.beta == 1.0
    assert loaded("train: {learning_rate: [5e-7, 1, 5e-7]}").train.learning_rate == (5e-7, 1.0, 5e-7)


@pytest.mark.parametrize(
    "text", ["5e-7", "5.0e-07", "12", "-3", "0", "0.5", "1.", "1e3", "true", "False", "null", "~", "''"]
)
def test_dvc_and_hydra_read_a_value_alike(text: str) -> None:
    ours = reading.mapping(f"a: {text}", "params.yaml")["a"]
    assert ours == YAML(typ="safe").load(f"a: {text}")["a"] == OmegaConf.create(f"a: {text}").a
    assert not isinstance(ours, str) or text == "''"


@pytest.mark.parametrize("text", ["010", "on", "1:30", "0x1F", "1_000", "2025-01-01"])
def test_what_dvc_or_hydra_may_read_otherwise_is_no_number_and_no_truth_value(text: str) -> None:
    assert reading.mapping(f"a: {text}", "params.yaml") == {"a": text}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("train: {beta: abc}", f"train.beta is 'abc': {BETA}"),
        ("train: {beta: [0.1]}", f"train.beta is [0.1]: {BETA}"),
        ("train: {beta: null}", f"train.beta is None: {BETA}"),
        ("train: {lora_r: 8.0}", "train.lora_r is 8.0: it must be a whole number, at least 1"),
        ("pair: {drop_truncated: on}", "pair.drop_truncated is 'on': it must be true, false or chosen"),
        ("base: {model: 3}", "base.model is 3: it must be a text"),
        ("train: {betta: 1}", "train.betta is no parameter: did you mean beta?"),
        ("trian: {beta: 1}", "trian is no parameter: did you mean train?"),
        ("pair: {1: 2}", "pair.1 is no parameter. Known: strategy, k, test_fraction, min_margin, drop_truncated, "),
        ("train: {beta: '0.1'}", f"train.beta is '0.1': {BETA}. {QUOTES}"),
        ("generate: {n: 010}", f"generate.n is '010': it must be a whole number, at least 2. {QUOTES}"),
        (
            "teach: {depth: ['0.5']}",
            "teach.depth is ['0.5']: it must be a number above 0, at most 1, or a list of such ",
        ),
        ("train: {beta: .inf}", f"train.beta is inf: {BETA}, not infinite or undefined"),
        ("train: {beta: .nan}", f"train.beta is nan: {BETA}, not infinite or undefined"),
        ("train: {beta: 1e999}", f"train.beta is inf: {BETA}, not infinite or undefined"),
        ("vllm: {kv_cache_gib: .inf}", "vllm.kv_cache_gib is inf: it must be null or a number above 0, not infinite"),
        (
            "rankers: {ensemble: {judge: .inf}}",
            "rankers.ensemble is {'judge': inf}: it must be a mapping with a number",
        ),
        (
            "train:\n  beta: 1\n  beta: 2",
            "params.yaml, line 3: beta stands here again, after line 2. Keep one",
        ),
        ("seed: 1\ntrain: {}\nseed: 1", "params.yaml, line 3: seed stands here again, after line 1. Keep one"),
        ("- seed", f"params.yaml holds a list: it must hold a mapping of sections, such as `train:`. {BACK}"),
        ("train:\n- beta", "train is ['beta']: it must be a section with keys, such as method"),
        ("overrides: [1]", "overrides is [1]: it must map iteration numbers to sections"),
        ("overrides: {'2': [1]}", "overrides.2 is [1]: it must map sections to changes, such as {train: {beta: 0.2}}"),
        ("overrides: {'2': {train: []}}", "overrides.2.train is []: it must be a section with keys, such as method"),
        ("", f"params.yaml is empty: it must hold sections such as `train:`. {BACK}"),
        ("# nothing\n", f"params.yaml is empty: it must hold sections such as `train:`. {BACK}"),
        ("train:\n\tbeta: 1", f"params.yaml, line 2: there is a tab, but YAML is indented with spaces. {BACK}"),
        (
            "train:\n  beta: 1\n\tlora_r: 2",
            "params.yaml, line 3: there is a tab, but YAML is indented with spaces. ",
        ),
        ("train: {beta: 1", "params.yaml, line 1: this is no valid YAML (expected ',' or '}'"),
        (
            "a: !!python/name:os.system x",
            "params.yaml, line 1: this is no valid YAML (could not determine",
        ),
    ],
)
def test_bad_input_is_answered_with_its_key_and_a_remedy_in_one_line(text: str, message: str) -> None:
    with pytest.raises(PairloopError) as error:
        loaded(text)
    assert error.value.message.startswith(message)
    assert "\n" not in error.value.message
    assert not [word for word in ("Input should", "validation error", "pydantic") if word in error.value.message]


def test_two_mistakes_are_two_lines() -> None:
    with pytest.raises(PairloopError) as error:
        loaded("train: {beta: -1, lora_r: 0}\nseeds: 3")
    assert error.value.message.splitlines() == [
        f"train.beta is -1: {BETA}",
        "train.lora_r is 0: it must be a whole number, at least 1",
        "seeds is no parameter: did you mean seed?",
    ]


def test_a_file_that_is_no_text_is_refused() -> None:
    Path("params.yaml").write_bytes(b"seed: 1 # \xe4")
    with pytest.raises(PairloopError, match=r"params\.yaml: byte 10 is no UTF-8"):
        common.raw()


def test_dvc_and_hydra_refuse_a_key_that_stands_twice_too() -> None:
    with pytest.raises(Exception, match="duplicate key"):
        YAML(typ="safe").load(io.StringIO("a: 1\na: 2"))
    with pytest.raises((YAMLError, OmegaConfBaseException), match="duplicate key"):
        OmegaConf.create("a: 1\na: 2")


def test_no_number_is_infinite_by_way_of_a_whole_number() -> None:
    with pytest.raises(PairloopError, match=r"train\.beta is 1000"):
        loaded(f"train: {{beta: 1{'0' * 400}}}")
    assert math.isfinite(loaded(f"train: {{beta: 1{'0' * 300}}}").train.beta)


@pytest.mark.slow
def test_a_rate_written_by_hand_is_no_stale_schedule_and_a_repeated_key_no_traceback(tmp_path: Path) -> None:
    project = new_project(tmp_path / "project")
    params = project.folder / "params.yaml"
    params.write_text(params.read_text().replace("learning_rate: 0.01", "learning_rate: 5e-7"))
    assert "5e-7" in params.read_text()
    project.run(sys.executable, "-m", "stages.schedule")
    params.write_text(params.read_text() + "seed: 1\n")
    for command in ("stages.schedule", "stages.plan"):
        found = project.run(sys.executable, "-m", command, check=False)
        assert found.returncode == 1 and "seed stands here again, after line 2" in found.stderr
        assert "Traceback" not in found.stderr


def test_a_recipe_that_is_no_yaml_is_named(tmp_path: Path) -> None:
    project = new_project(tmp_path / "project")
    (project.folder / "conf/recipe/mine.yaml").write_text("# @package _global_\ntrain:\n\tbeta: 1\n")
    found = project.run(sys.executable, "-m", "stages.plan", "+recipe=mine", check=False)
    assert found.returncode == 1 and "Traceback" not in found.stderr
    assert "a recipe is no valid YAML" in found.stderr and 'recipe/mine.yaml", line 3' in found.stderr


def test_a_recipe_in_another_encoding_is_a_sentence(tmp_path: Path) -> None:
    project = new_project(tmp_path / "project")
    recipe = "# @package _global_\ntrain: {beta: 0.2}  # fünf\n"
    (project.folder / "conf/recipe/mine.yaml").write_text(recipe, encoding="latin-1")
    found = project.run(sys.executable, "-m", "stages.plan", "+recipe=mine", check=False)
    assert found.returncode == 1 and "Traceback" not in found.stderr
    assert found.stderr.startswith("Error: conf: a recipe is no UTF-8 (")
