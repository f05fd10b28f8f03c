"""What params.yaml may say."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from pairloop import params
from pairloop.errors import DataError, ParameterError
from stages import docs, plan
from stages.schedule import composed

ROOT = Path(__file__).parents[2]


def test_the_shipped_parameters_are_valid_and_complete() -> None:
    values = yaml.safe_load((ROOT / "params.yaml").read_text())
    params.parse(values)
    for name, section in params.sections():
        assert set(values[name]) == set(section.model_fields), name


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"train": {"betta": 1}}, "train.betta is no parameter: did you mean beta?"),
        ({"trian": {}}, "trian is no parameter: did you mean train?"),
        ({"train": {"beta": 0}}, "train.beta is 0: it must be a number above 0"),
        ({"train": {"beta": "abc"}}, "train.beta is 'abc': it must be a number above 0"),
        ({"train": {"beta": True}}, "train.beta is True: it must be a number above 0"),
        ({"train": {"beta": float("nan")}}, "train.beta is nan: it must be a number above 0"),
        ({"generate": {"n": 1}}, "generate.n is 1: it must be a whole number, at least 2"),
        ({"generate": {"n": 5.0}}, "generate.n is 5.0: it must be a whole number, at least 2"),
        ({"pair": {"strategy": "best"}}, "pair.strategy is 'best': it must be one of best_worst, "),
        ({"eval": {"judges": []}}, "eval.judges is []: it must be a list of "),
        ({"eval": {"judges": ["likelihood", "likelihood"]}}, "each at most once"),
        ({"eval": {"judged": "some"}}, "eval.judged is 'some': it must be one of all, unconstrained"),
        ({"generate": {"engine": "vlm"}}, "generate.engine is 'vlm': it must be one of transformers, vllm"),
        ({"generate": {"batch_invariant": True}}, "but generate.engine is transformers, which has no such mode"),
        ({"vllm": {"kv_cache_gib": 0}}, "vllm.kv_cache_gib is 0: it must be null or a number above 0"),
        ({"vllm": {"max_model_len": 1}}, "vllm.max_model_len is 1: it must be null or a whole number, at least 2"),
        ({"vllm": {"gpu_memory_utilization": 1.1}}, "it must be a number above 0, at most 1"),
        ({"eval": {"judges": ["judge"]}}, "judge.model is self, but results of different iterations must be judged by"),
        (
            {"eval": {"judges": ["ensemble"]}, "rankers": {"ensemble": {"judge": 1.0}}},
            "name a model in judge.model, or leave judge out of eval.judges",
        ),
        (
            {"train": {"label_smoothing": 0.1}},
            "train.label_smoothing is 0.1, but the loss sigmoid does not read it: set",
        ),
        ({"pair": {"strategy": "best_k_worst_k", "k": 3}}, "pair.k is 3, but generate.n is 5: best and worst overlap."),
        (
            {"pair": {"strategy": "best_k_worst_k"}, "overrides": {"2": {"generate": {"n": 3}}}},
            "overrides.2: pair.k is 2, but generate.n is 3: best and worst overlap. Lower pair.k to 1",
        ),
        ({"pair": {"length_penalty": "a"}}, "pair.length_penalty is 'a': it must be auto or a number"),
        ({"pair": {"length_penalty": float("inf")}}, "pair.length_penalty is inf: it must be auto or a number, not"),
        ({"eval": {"ifeval": " "}}, "eval.ifeval is ' ': it must be"),
        ({"lm_eval": {"iterations": [3]}}, "lm_eval.iterations is set, but lm_eval.tasks is empty: name tasks, or"),
        (
            {"lm_eval": {"tasks": ["a"], "iterations": [4]}},
            "lm_eval.iterations has 4, but iterations is 3: there is no",
        ),
        (
            {"lm_eval": {"iterations": [1, 1]}},
            "it must be a list of whole numbers, at least 0, each at most once; it may",
        ),
        ({"eval": {"extrapolate": [0]}}, "eval.extrapolate is [0]: it must be a list of numbers above 0, each at most"),
        ({"generate": {"n": 2, "temperature": [1.0, 0.7, 0.5]}}, "3 temperatures for 2 responses to a prompt"),
        (
            {"generate": {"temperature": [1.0, -0.1]}},
            "generate.temperature is [1.0, -0.1]: it must be a number, at least",
        ),
        ({"generate": {"temperature": 0}}, "generate.temperature is 0, so that all 5 responses to a prompt would be"),
        (
            {"train": {"learning_rate": [1e-4, 0]}},
            "train.learning_rate is [0.0001, 0]: it must be a number above 0, or a list of such numbers",
        ),
        ({"rank": {"constraints_first": "first"}}, "rank.constraints_first is 'first': it must be true, false or only"),
        *(
            (
                {"prompts": {"constrained": value}},
                f"prompts.constrained is {value!r}: it must be any, only or a number between 0 and 1, without these",
            )
            for value in ("onyl", 1.0, 0.0, True)
        ),
        ({"eval": {"temperature": 0.5}}, "eval.temperature is no parameter: did you mean temperatures?"),
        ({"eval": {"temperatures": []}}, "eval.temperatures is []: it must be a number, at least 0, or a list of such"),
        ({"eval": {"temperatures": [0.7, 0.7]}}, "numbers, each at most once"),
        ({"eval": {"temperatures": [1.0, -0.1]}}, "eval.temperatures is [1.0, -0.1]: it must be a number, at least 0"),
        ({"eval": {"samples": 0}}, "eval.samples is 0: it must be a whole number, at least 1"),
        (
            {"eval": {"frequency_penalty": 2.5}},
            "eval.frequency_penalty is 2.5: it must be a number from 0 to 2",
        ),
        ({"eval": {"frequency_penalti": 1}}, "is no parameter: did you mean frequency_penalty?"),
        ({"eval": {"best_of_temperature": 0.0}}, "eval.best_of_temperature is 0.0: it must be a number above 0"),
        ({"judge": {"endpoint": "https://me:word@host/v1"}}, "https:// and has no name or password in it"),
        (
            {"judge": {"key_variable": "sk-0123"}},
            "judge.key_variable is 'sk-0123': it must be the name of an environment",
        ),
        ({"pair": None}, "pair is None: it must be a section with keys"),
        ({"iterations": 0}, "iterations is 0: it must be a whole number, at least 1"),
        ({"overrides": {2: {}}}, "overrides: 2 must be the number of an iteration, in quotes"),
        ({"overrides": {"2": {"eval": {}}}}, "overrides.2.eval: only generate, rank, pair, train can differ"),
        ({"overrides": {"2": {"train": {"beat": 1}}}}, "overrides.2.train.beat is no parameter: did you mean beta?"),
    ],
)
def test_a_wrong_value_is_refused_with_its_key_and_what_is_allowed(values: dict[str, object], message: str) -> None:
    with pytest.raises(ParameterError) as error:
        params.parse(values)
    assert message in error.value.message


@pytest.mark.parametrize("judge", [{"model": "hf:owner/name"}, {"endpoint": "http://localhost:8000/v1"}])
def test_a_judge_that_is_one_model_may_judge_the_results(judge: dict[str, str]) -> None:
    assert params.parse({"eval": {"judges": ["judge"]}, "judge": judge}).eval.judges == ("judge",)
    assert params.parse({"rank": {"ranker": "judge"}}).judge.model == "self"


def test_an_override_changes_its_iteration_only() -> None:
    values = {"train": {"beta": 0.1, "lora_r": 4}, "overrides": {"2": {"train": {"beta": 0.3}}}}
    assert [params.parse(values, n).train.beta for n in (1, 2, 3)] == [0.1, 0.3, 0.1]
    assert params.parse(values, 2).train.lora_r == 4


def test_an_override_is_judged_with_the_section_that_it_changes() -> None:
    values = {"train": {"loss": ["robust"]}, "overrides": {"2": {"train": {"label_smoothing": 0.1}}}}
    assert [params.parse(values, n).train.label_smoothing for n in (1, 2)] == [0.0, 0.1]


def test_the_defaults_are_values_that_would_be_accepted() -> None:
    assert params.parse(params.Params().model_dump()) == params.Params()


def test_parameters_cannot_be_changed_in_place() -> None:
    with pytest.raises(ValueError, match="frozen"):
        setattr(params.Params().train, "beta", 1.0)  # noqa: B010


def test_a_changed_section_is_checked_as_the_file_is() -> None:
    assert params.replaced(params.Train(), "train", beta=1).beta == 1.0
    with pytest.raises(ParameterError, match=r"train\.beta is -1: it must be a number above 0"):
        params.replaced(params.Train(), "train", beta=-1)


def test_the_reference_page_is_what_the_models_say() -> None:
    assert (ROOT / "docs" / "parameters.md").read_text() == docs.render(), "run `make docs`"


@pytest.mark.parametrize("recipe", [path.stem for path in sorted((ROOT / "conf" / "recipe").glob("*.yaml"))])
def test_every_shipped_recipe_is_valid_in_each_iteration(recipe: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from omegaconf import OmegaConf

    monkeypatch.chdir(ROOT)
    values: Any = OmegaConf.to_container(composed((f"+recipe={recipe}",)))
    count = 2 if recipe == "polite" else 3
    found = [params.parse(values, iteration) for iteration in range(1, count + 1)]
    assert [one.iterations for one in found] == [count] * count


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("base.model=pypi:a==1", """base.model=pypi:a==1: the value cannot be read.* 'base.model="pypi:a==1"'"""),
        ("base.model=hf:a/b,c", """base.model=hf:a/b,c: the value cannot be read.* 'base.model="hf:a/b,c"'"""),
        ("pool.source=a(b).jsonl", """the value cannot be read.* 'pool.source="a\\(b\\).jsonl"'"""),
        ("generate.n=[1", "A list is "),
        ("train.beta", "train.beta is no change. Write KEY=VALUE, as in train.beta=0.3"),
    ],
)
def test_a_change_that_cannot_be_read_says_what_to_quote_and_how(
    change: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    with pytest.raises(ParameterError, match=message):
        composed((change,))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("rank.fewest_word=3", "params.yaml has no rank.fewest_word: did you mean fewest_words?"),
        ("trian.beta=3", "params.yaml has no trian: did you mean train?"),
        ("+recipe=longr", "there is no recipe longr: did you mean longer?"),
        ("overrides.3.train.beta=1", "params.yaml has no overrides.3: to add it, .* write +overrides.3.train.beta=1"),
        ("recipe=longer", "Could not override 'recipe': to add it, .* write +recipe=longer"),
    ],
)
def test_a_change_of_what_is_not_there_is_answered_with_the_nearest_name_or_how_to_add_it(
    change: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    with pytest.raises(ParameterError, match=message.replace("+", "[+]")):
        composed((change,))


def test_a_text_quoted_as_the_message_says_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert composed(('base.model="pypi:a==1, (b)"',)).base.model == "pypi:a==1, (b)"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"eval": {"prompts": 127}}, "eval.prompts is 127, but data/prompts/eval.jsonl holds 126 different prompts"),
        ({"iterations": 14}, r"iteration 14 needs prompts 625 to 672, the pool has 628 \(of 684; 56 are reserved"),
        ({"teach": {"prompts": 541}}, "iteration 3 needs prompts 97 to 144, the pool has 143"),
        (
            {"prompts": {"per_iteration": 101, "constrained": "only"}},
            r"iteration 3 needs prompts 203 to 303 with constraints, the pool has 300 \(of 684",
        ),
        (
            {"prompts": {"per_iteration": 150, "constrained": 0.1}},
            r"iteration 3 needs prompts 271 to 405 without constraints, the pool has 328 \(of 684",
        ),
    ],
)
def test_a_plan_that_the_pool_has_too_few_prompts_for_is_refused(change: dict[str, object], message: str) -> None:
    counts = {"rows_out": 684, "with_constraints": 300, "eval_rows_out": 126}
    enough: dict[str, object] = {"prompts": {"per_iteration": 48}}
    plan.refuse_too_few(enough, counts)
    with pytest.raises(DataError, match=message):
        plan.refuse_too_few(enough | change, counts)
