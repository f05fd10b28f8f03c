"""The cards that are published: what a run wrote, with lineage, intervals, limits and the commit."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import yaml
from huggingface_hub import DatasetCard, ModelCard, metadata_load
from huggingface_hub.repocard import REGEX_YAML_BLOCK
from huggingface_hub.repocard_data import eval_results_to_model_index, model_index_to_eval_results

from pairloop.cards import Run, origin
from pairloop.cards.data import data_card
from pairloop.cards.model import model_card
from pairloop.files.contents import Content
from pairloop.report.card import dataset_card
from pairloop.training.card import write_card
from pairloop.training.output import BaseName

BASE = BaseName("owner/base", "b" * 40, "Apache-2.0", "hf")
PARAMETERS = {"seed": 0, "train": {"beta": 0.1}, "pool": {"source": "data/prompts/pool.jsonl"}}
ROWS = {1: {"prompts": 48, "responses": 240, "train_pairs": 43, "test_pairs": 5}}
ROWS |= {2: {"prompts": 48, "responses": 240, "train_pairs": 42, "test_pairs": 6}}
RUN = Run(2, BASE, "data/prompts/pool.jsonl", "cc0-1.0", "specialist", PARAMETERS, ROWS, "c" * 40)
TRAINED: dict[str, Any] = {
    **{"rows_out": 43, "steps": 4, "test_rows_out": 5},
    "before": {"accuracy": 0.0, "margin": 0.0, "logp_accuracy": 0.4},
    "after": {"accuracy": 0.8, "margin": 0.1234, "logp_accuracy": 0.6},
}
METRICS: dict[str, Any] = {
    **{
        "prompts": 120,
        "judged": 120,
        "few": False,
        "samples": 1,
        "temperature": 1.0,
        "mean_words": 33.3,
        "truncated_share": 0.367,
    },
    "win_rate": {
        "specialist": {"win_rate": 0.73, "low": 0.65, "high": 0.81, "length_controlled": 0.72, "teacher": True},
        "likelihood": {
            **{"win_rate": 0.71, "low": 0.62, "high": 0.79, "length_controlled": None, "teacher": False},
            "previous": {"win_rate": 0.63, "low": 0.55, "high": 0.72},
        },
    },
    "constraints": {"prompts": 43, "pass_rate": 0.44, "low": 0.3, "high": 0.6},
}
IFEVAL = {"covered": 541, "strict": {"prompt": 0.2, "low": 0.17, "high": 0.23}, "loose": None}
LM_EVAL = {"arc_easy": {"metrics": {"acc": 0.5, "acc_stderr": 0.01}, "samples": 100, "few_shot": 0, "version": 1}}
ANNOTATED = {"annotator": "gpt4", "win_rate": 14.7, "low": 13.5, "high": 16.0}
SPLITS = {"train_iteration_1": Content(3, 400, "a" * 64), "test_iteration_1": Content(1, 100, "b" * 64)}


@pytest.fixture
def made(tmp_path: Path) -> str:
    """The card that training writes."""
    write_card(tmp_path, BASE, 2, {"method": "lora", "reference": "previous"}, TRAINED)
    return (tmp_path / "README.md").read_text()


def card(made: str, run: Run = RUN, **found: Any) -> str:
    return model_card(made, run, {"metrics": METRICS} | found, {"mean_words": 27.0})


def results(text: str) -> dict[str, tuple[float, Any]]:
    found = {one.metric_name: (one.metric_value, one.metric_args) for one in ModelCard(text).data.eval_results}
    return found


def test_a_models_header_keeps_its_lineage_and_has_every_win_rate_with_its_interval(made: str) -> None:
    data = ModelCard(card(made)).data
    assert (data.base_model, data.base_model_relation, data.license) == ("owner/base", "adapter", "apache-2.0")
    assert (data.library_name, data.pipeline_tag, data.tags) == ("peft", "text-generation", ModelCard(made).data.tags)
    found = results(card(made))
    assert found["reward accuracy"][0] == 0.8
    value, more = found["win rate against the base model, by likelihood"]
    assert (value, more["low"], more["high"], more["confidence"]) == (0.71, 0.62, 0.79, 0.95)
    assert more["ranked_the_training_pairs"] is False
    assert found["win rate against the base model, by specialist"][1]["ranked_the_training_pairs"] is True
    assert found["win rate against the iteration before, by likelihood"][1]["high"] == 0.72
    assert found["length-controlled win rate, by specialist"][0] == 0.72
    assert "length-controlled win rate, by likelihood" not in found
    assert found["prompts whose constraints all hold"][1]["prompts"] == 43


def test_where_judges_compared_prompts_without_constraints_alone_the_card_says_so(made: str) -> None:
    words = "Judges compared the answers to 80 prompts without constraints: win rates are of those.\nIntervals are"
    assert results(card(made))["win rate against the base model, by likelihood"][1]["prompts"] == 120
    assert "without constraints" not in card(made)
    some = model_card(made, RUN, {"metrics": METRICS | {"judged": 80}})
    assert words in some and "are few" not in some
    assert results(some)["win rate against the base model, by likelihood"][1]["prompts"] == 80
    few = model_card(made, RUN, {"metrics": METRICS | {"judged": 29}})
    assert "- The prompts without constraints are few: no win rate is more than a hint.\n" in few


def test_how_answers_were_sampled_stands_above_the_numbers(made: str) -> None:
    assert "with 1 answer to each at temperature 1.\nIntervals are" in card(made)
    said = card(made, metrics=METRICS | {"frequency_penalty": 0.5})
    words = "temperature 1, with a frequency penalty of 0.5 (as vLLM and\nOpenAI's interface have it; the base model's"
    assert words in said and "answers likewise).\nIntervals are" in said


def test_what_else_was_measured_is_there_too(made: str) -> None:
    found = results(card(made, ifeval=IFEVAL, lm_eval=LM_EVAL, annotated=ANNOTATED))
    assert found["IFEval, strict, by prompt"][1]["low"] == 0.17 and "IFEval, loose, by prompt" not in found
    both = IFEVAL | {"loose": {"prompt": 0.3, "low": 0.26, "high": 0.34}}
    assert results(card(made, ifeval=both))["IFEval, loose, by prompt"][0] == 0.3
    value, more = found["lm-eval, arc_easy: acc"]
    assert (value, more["low"], more["high"], more["samples"]) == (0.5, 0.4804, 0.5196, 100)
    assert found["win rate in per cent on AlpacaEval's instructions, by gpt4"][0] == 14.7


def test_the_hubs_own_classes_read_the_header_and_write_it_as_it_was(made: str, tmp_path: Path) -> None:
    """Its own check asks the hub; these are the parts of it that need no network."""
    text = card(made, ifeval=IFEVAL, lm_eval=LM_EVAL)
    assert str(ModelCard(text)) == text and text.isprintable() is False and "\t" not in text
    (tmp_path / "card.md").write_text(text)
    header = metadata_load(tmp_path / "card.md")
    block = REGEX_YAML_BLOCK.search(text)
    assert block and header == yaml.safe_load(block.group(2))
    name, evaluated = model_index_to_eval_results(header["model-index"])
    assert eval_results_to_model_index(name, evaluated) == header["model-index"]
    assert {(one.dataset_split, one.dataset_name) for one in evaluated} == {
        ("test_iteration_2", "Preference pairs held out in iteration 2"),
        *{("eval", "Held-out prompts"), ("ifeval", "IFEval"), ("arc_easy", "lm-eval, arc_easy")},
    }
    assert all(isinstance(one.metric_value, float) for one in evaluated)


def test_the_text_shows_the_intervals_and_how_the_model_was_loaded_before_them(made: str) -> None:
    text = ModelCard(card(made)).text
    assert "| win rate against the base model, by likelihood | 0.7100 | 0.6200 to 0.7900 |\n" in text
    assert "33.3 words on average, the base model's 27.0;\n36.7 % of them were cut off" in text
    assert ModelCard(made).text.strip() in text
    for left in ("{{", "{%", "None"):
        assert left not in text


def test_the_limits_name_the_ranker_the_judge_that_ranked_and_every_alarm(made: str) -> None:
    text = card(made, watch={"alarms": ["Mean length rose from 20 to 60 words."]})
    limits = text.split("## Its limits")[1].split("##")[0]
    assert "- It was trained towards what `specialist` prefers." in limits
    assert "- `specialist` also ranked the pairs" in limits and "`likelihood` also" not in limits
    assert "- The watch on what gets worse found: Mean length rose from 20 to 60 words.\n" in limits
    assert "few" not in limits
    few = model_card(made, RUN, {"metrics": METRICS | {"few": True}})
    assert "- The prompts are few" in few and "base model's" not in few.split("## How good")[1].split("##")[0]


def test_numbers_of_the_model_that_an_export_was_made_from_are_not_the_exports_own(made: str) -> None:
    text = model_card(made, RUN, {"metrics": METRICS}, measured_of="the model of iteration 2 as it was trained")
    assert set(results(text)) == set(results(made))
    assert "These numbers are those of the model of iteration 2 as it was trained, from which this was made." in text
    bare = model_card("---\ntags: [dpo]\n---\n# Merged\n", RUN, {"metrics": METRICS}, measured_of="another")
    assert metadata_of(bare) == {"tags": ["dpo"]} and "| 0.7100 |" in bare


def metadata_of(text: str) -> Any:
    return ModelCard(text).data.to_dict()


def test_base_prompts_rows_and_commit_are_told(made: str) -> None:
    text = card(made, dataclasses.replace(RUN, repository="https://example.org/run.git"))
    assert f"| base model | `owner/base` at `{'b' * 40}` | Apache-2.0 |" in text
    assert "| prompts | `data/prompts/pool.jsonl` | cc0-1.0 |" in text
    assert "| 1 | 48 | 240 | 43 | 5 |\n| 2 | 48 | 240 | 42 | 6 |\n" in text
    assert f"$ git clone https://example.org/run.git run && cd run\n$ git checkout {'c' * 40}\n$ make repro\n" in text
    assert "git clone" not in card(made) and "in the repository that this was uploaded from" in card(made)
    shown = text.split("```yaml\n")[1].split("```")[0]
    assert yaml.safe_load(shown) == PARAMETERS


def test_prompts_of_the_hub_are_linked_and_their_licence_is_left_to_their_publisher(made: str) -> None:
    run = dataclasses.replace(RUN, prompts=f"hf:owner/prompts@{'d' * 40}", licence=None)
    assert ModelCard(card(made, run)).data.datasets == ["owner/prompts"]
    assert f"| prompts | `hf:owner/prompts@{'d' * 40}` | its publisher's |" in card(made, run)


def test_pairs_that_others_made_have_no_ranker_and_no_responses(made: str) -> None:
    rows = {2: {"prompts": None, "responses": None, "train_pairs": 90, "test_pairs": 10}}
    run = dataclasses.replace(RUN, ranker=None, rows=rows)
    text = card(made, run)
    assert "what those prefer who made the pairs" in text and "| 2 |  |  | 90 | 10 |" in text
    assert "ranked the responses" not in text and "| pairs | `data/" in text
    assert "the limits of the pairs that they were taken from" in data_card(data(), run)


def data() -> str:
    return dataset_card(SPLITS, "random:0", "specialist", "data/prompts/pool.jsonl", "Sampled with transformers.")


def test_a_data_card_keeps_its_splits_and_tells_where_the_rows_are_from(tmp_path: Path) -> None:
    text = data_card(data(), RUN)
    assert str(DatasetCard(text)) == text
    (tmp_path / "made.md").write_text(data())
    (tmp_path / "card.md").write_text(text)
    assert metadata_load(tmp_path / "card.md") == metadata_load(tmp_path / "made.md")
    assert DatasetCard(data()).text.strip() in text
    assert "`specialist` alone decided which response is chosen." in text and "| prompts | `data/prompts" in text
    assert f"git checkout {'c' * 40}" in text and "{{" not in text and "None" not in DatasetCard(text).text


def test_a_path_that_leads_out_of_the_project_is_shown_by_its_last_part() -> None:
    given = {"pool": {"source": "/home/somebody/mine.jsonl"}, "base": {"model": "../weights"}, "judges": ["~/a", "b/c"]}
    assert origin.shown(given) == {
        "pool": {"source": "mine.jsonl"},
        "base": {"model": "weights"},
        "judges": ["a", "b/c"],
    }


def test_the_licence_of_prompts_is_what_the_page_beside_them_states(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    assert origin.licence(root / "data" / "prompts" / "pool.jsonl") == "cc0-1.0"
    assert origin.licence(root / "data" / "prompts") == "cc0-1.0"
    (tmp_path / "mine.jsonl").write_text("")
    assert origin.licence(tmp_path / "mine.jsonl") is None
    (tmp_path / "README.md").write_text("# Without a header\n")
    assert origin.licence(tmp_path / "mine.jsonl") is None
