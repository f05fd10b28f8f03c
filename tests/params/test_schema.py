"""What an editor knows of params.yaml."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from omegaconf import OmegaConf

from pairloop import params
from pairloop.errors import ParameterError
from pairloop.params import reading
from stages import docs
from stages.schedule import composed

ROOT = Path(__file__).parents[2]
SCHEMA = ROOT / "conf" / "params.schema.json"
RECIPES = sorted(path for group in ("recipe", "ranker") for path in (ROOT / "conf" / group).glob("*.yaml"))


@pytest.fixture(scope="module")
def editor() -> jsonschema.Draft202012Validator:
    schema = json.loads(SCHEMA.read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def test_the_schema_is_what_the_models_say() -> None:
    assert SCHEMA.read_text() == docs.schema(), "run `make docs`"


def test_an_editor_finds_the_schema_for_the_files_that_hold_parameters() -> None:
    found = json.loads((ROOT / ".vscode" / "settings.json").read_text())["yaml.schemas"]
    [(schema, patterns)] = found.items()
    assert (ROOT / schema).resolve() == SCHEMA
    assert {path for pattern in patterns for path in ROOT.glob(pattern)} == {ROOT / "params.yaml", *RECIPES}


def test_the_shipped_parameters_fit_the_schema(editor: jsonschema.Draft202012Validator) -> None:
    editor.validate(reading.mapping((ROOT / "params.yaml").read_text(), "params.yaml"))


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_every_recipe_fits_the_schema_alone_and_composed(
    recipe: Path, editor: jsonschema.Draft202012Validator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    editor.validate(reading.mapping(recipe.read_text(), str(recipe)))
    editor.validate(OmegaConf.to_container(composed((f"+{recipe.parent.name}={recipe.stem}",))))


@pytest.mark.parametrize(
    "values",
    [
        {"seed": 2},
        {"train": {"beta": 1, "label_smoothing": 0}},
        {"teach": {"depth": 0.5}},
        {"teach": {"depth": [0.5, 1]}},
        {"pair": {"length_penalty": "auto"}},
        {"pair": {"length_penalty": -1}},
        {"pair": {"length_penalty": 0.5, "tie_break": "length", "keep_share": 0.25}},
        {"eval": {"extrapolate": []}},
        {"eval": {"temperatures": [1, 0.7, 0], "samples": 2, "best_of": 16}},
        {"eval": {"extrapolate": [0.3, 1]}},
        {"eval": {"ifeval": "hf:google/IFEval@main"}},
        {"lm_eval": {"tasks": ["arc_easy"], "iterations": [0, 3], "few_shot": 0}},
        {"pair": {"max_length_ratio": 0}},
        {"pair": {"max_length_ratio": 1.5}},
        {"ray": {"address": "head:6379"}},
        {"rankers": {"ensemble": {"judge": 2}}},
        {"overrides": {"2": {"train": {"beta": 0.3}}}},
    ],
    ids=json.dumps,
)
def test_the_schema_and_the_loader_accept_the_same(
    values: dict[str, Any], editor: jsonschema.Draft202012Validator
) -> None:
    editor.validate(values)
    params.parse(values)


@pytest.mark.parametrize(
    "values",
    [
        {"seed": -1},
        {"seed": "0"},
        {"train": {"betta": 1}},
        {"trian": {}},
        {"train": []},
        {"train": {"beta": 0}},
        {"train": {"beta": "0.1"}},
        {"train": {"label_smoothing": 0.5}},
        {"train": {"method": "half"}},
        {"train": {"lora_target_modules": ["q_proj", "q_proj"]}},
        {"eval": {"judges": []}},
        {"teach": {"depth": [0.5, 0.5]}},
        {"teach": {"depth": 1.5}},
        {"pair": {"length_penalty": "automatic"}},
        {"pair": {"length_penalty": "0.5"}},
        {"pair": {"keep_share": 0}},
        {"eval": {"extrapolate": 0.3}},
        {"eval": {"temperatures": []}},
        {"eval": {"temperatures": [1, -0.1]}},
        {"eval": {"extrapolate": [0]}},
        {"eval": {"extrapolate": [0.3, 0.3]}},
        {"lm_eval": {"tasks": "arc_easy"}},
        {"lm_eval": {"iterations": [-1]}},
        {"pair": {"max_length_ratio": 0.5}},
        {"ray": {"address": "head"}},
        {"judge": {"endpoint": "localhost"}},
        {"base": {"model": " "}},
        {"rankers": {"ensemble": {}}},
        {"rankers": {"ensemble": {"ensemble": 1}}},
        {"overrides": {"two": {}}},
        {"overrides": {"2": {"eval": {}}}},
        {"overrides": {"2": {"train": {"beta": -1}}}},
    ],
    ids=json.dumps,
)
def test_the_schema_and_the_loader_refuse_the_same(
    values: dict[str, Any], editor: jsonschema.Draft202012Validator
) -> None:
    assert not editor.is_valid(values)
    with pytest.raises(ParameterError):
        params.parse(values)
