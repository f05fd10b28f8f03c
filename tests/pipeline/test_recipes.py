"""Every recipe of a full-size model runs from start to end, on a tiny model of Mistral's make and with local data.

DVC resolves the stages of the real dvc.yaml, with the recipe's parameters; the stages then run one after the other in
this process, each only if all that it depends on is there, and must leave all that it promises.
"""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from architectures import write_decoder
from click.testing import CliRunner
from conftest import ROOT, Project, new_project
from models.chat_templates import MISTRAL
from omegaconf import OmegaConf
from pairrm_data import write_checkpoints
from stage_runs import stages

from pairloop import params as parameters
from pairloop.errors import ParameterError
from pairloop.files import records
from pairloop.params.ranking import PINNED
from pairloop.prompts import sources
from stages import schedule
from stages.schedule import composed

SMALL = [
    *("iterations=2", "base.dtype=float32", "pool.source=data/prompts/pool.jsonl"),
    *("pool.eval_source=data/prompts/eval.jsonl", "prompts.per_iteration=8", "generate.engine=transformers"),
    *("generate.n=3", "generate.max_new_tokens=6", "generate.top_k=64", "generate.max_prompt_tokens=200"),
    *("rank.engine=local", "rank.batch_tokens=4096", "pair.test_fraction=0.3", "train.max_length=256"),
    *("train.per_device_train_batch_size=2", "train.batch_pairs=2", "train.launcher=null", "train.learning_rate=0.01"),
    *("eval.engine=transformers", "eval.prompts=4", "eval.max_new_tokens=6", "eval.top_k=64", "eval.bootstrap=100"),
]
"""What makes a recipe small enough for two cores; everything else is as the recipe says."""

MODELS = ["base.model=models/tiny", "rankers.pairrm=models/pairrm"]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Mistral with Mistral's chat template, and a tiny PairRM."""
    folder = tmp_path_factory.mktemp("made")
    tiny = write_decoder(folder / "tiny", "mistral", sliding_window=None, attention_dropout=0.0)
    settings = json.loads((tiny / "tokenizer_config.json").read_text())
    (tiny / "chat_template.jinja").unlink(missing_ok=True)
    (tiny / "tokenizer_config.json").write_text(json.dumps(settings | {"chat_template": MISTRAL}))
    write_checkpoints(folder)["hf"].rename(folder / "pairrm")
    return folder


def run(folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Run every stage of the project in its order, and return their names."""
    monkeypatch.chdir(folder)
    monkeypatch.setenv("DVC_ROOT", str(folder))
    found = stages(folder)
    for stage in found.values():
        stage.run()
    return list(found)


@pytest.fixture
def start(models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Project]:
    """Makes a project with a recipe, made small."""

    def made(recipe: str, *changes: str) -> Project:
        project = new_project(tmp_path / recipe)
        (project.folder / "models").mkdir()
        for name in ("tiny", "pairrm"):
            (project.folder / "models" / name).symlink_to(models / name)
        (project.folder / "params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
        monkeypatch.chdir(project.folder)
        changed = CliRunner().invoke(schedule.main, ["--write", f"+recipe={recipe}", *SMALL, *changes])
        assert changed.exit_code == 0, changed.output
        return project

    return made


def lineage(project: Project, n: int) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((project.folder / f"models/iteration_{n}/lineage.json").read_text())
    return found


@pytest.mark.slow
@pytest.mark.parametrize(
    ("recipe", "method", "changes"),
    [
        ("mistral-7b", "full", MODELS),
        ("mistral-7b-lora", "lora", [*MODELS, "train.lora_r=4"]),
        ("mistral-7b-qlora", "qlora", [*MODELS, "train.lora_r=4"]),
        ("sppo", "full", MODELS),
        ("length-controlled", "lora", [MODELS[0], "base.sha256=null", "teach.prompts=8", "teach.max_new_tokens=8"]),
    ],
)
def test_a_recipe_runs_from_start_to_end(
    recipe: str, method: str, changes: list[str], start: Callable[..., Project], monkeypatch: pytest.MonkeyPatch
) -> None:
    project = start(recipe, *changes)
    ran = run(project.folder, monkeypatch)
    assert {"generate@1", "rank@2", "pair@2", "train@2", "eval@0", "eval@2", "report"} <= set(ran)
    for n in (1, 2):
        assert lineage(project, n)["parameters"]["method"] == method
        card = (project.folder / f"models/iteration_{n}/README.md").read_text()
        assert f"It continues iteration {n - 1}" in card
    assert (project.folder / "report/index.html").stat().st_size > 10_000


def publish(folder: Path, held_out: str) -> None:
    """Splits of two iterations under the names that the datasets library gives them."""
    for n in (1, 2):
        for split, count in (("train", 10), ("test", 4)):
            rows = [pair(f"{split} {n}, question {k}", "Yes, of course it is.", f"No {k}") for k in range(count)]
            rows += [pair(held_out, "Certainly.", "No"), pair(f"{split} {n}, the same", "Yes", "Yes")]
            records.write(folder / f"data/{split}_iteration_{n}-00000-of-00001.parquet", records.PAIR, [rows])


def pair(prompt: str, chosen: str, rejected: str) -> dict[str, Any]:
    asked = {"content": prompt, "role": "user"}
    return {
        **{"prompt_id": sources.prompt_id(prompt), "prompt": prompt},
        "chosen": [asked, {"content": chosen, "role": "assistant"}],
        "rejected": [asked, {"content": rejected, "role": "assistant"}],
        "all_generated_responses": [chosen, "Perhaps.", rejected],
        "all_rm_scores": [0.9, 0.5, -0.2],
    }


@pytest.mark.slow
def test_published_pairs_are_trained_on_without_sampling_and_ranking(
    start: Callable[..., Project], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompts = [json.loads(line)["prompt"] for line in (ROOT / "data/prompts/eval.jsonl").open(encoding="utf-8")]
    publish(tmp_path / "copy", held_out=prompts[0])
    project = start("published-data", *MODELS, f"pair.published={tmp_path / 'copy'}")
    # What a run that sampled has left behind must not be taken for this one's.
    records.write_json(project.folder / "results/iteration_1/time/generate.json", {"seconds": 777777.0})
    ran = run(project.folder, monkeypatch)
    assert not [name for name in ran if name.startswith(("prompts", "generate", "rank"))]
    for n in (1, 2):
        found = json.loads((project.folder / f"results/iteration_{n}/pair.json").read_text())
        assert (found["rows_in"], found["train_pairs"], found["test_pairs"]) == (18, 10, 4)
        assert found["dropped"] == {"identical": 2, "in_eval_set": 2} and found["rows_out"] == 14
        assert found["mean_margin"] == pytest.approx(1.1)
        assert "no response was sampled here" in (project.folder / f"models/iteration_{n}/README.md").read_text()
    assert lineage(project, 2)["parent"] != lineage(project, 1)["parent"]
    card, page = ((project.folder / name).read_text() for name in ("data/README.md", "report/index.html"))
    assert "The pairs are those that `copy` holds" in card and str(tmp_path) not in card
    assert "18\N{NO-BREAK SPACE}published pairs" in page and "✓ chosen" in page and ">generate<" not in page


@pytest.mark.parametrize(
    ("recipe", "start"),
    [
        ("mistral-7b-lora", "mistral-7b"),
        ("mistral-7b-qlora", "mistral-7b-lora"),
        ("sppo", "mistral-7b"),
        ("published-data", "mistral-7b"),
        ("alpaca-eval", "mistral-7b"),
    ],
)
def test_a_recipe_that_starts_from_another_says_only_what_differs(
    recipe: str, start: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    own = yaml.safe_load((ROOT / f"conf/recipe/{recipe}.yaml").read_text())
    values, before = (OmegaConf.to_container(composed((f"+recipe={name}",))) for name in (recipe, start))
    changed = {
        f"{section}.{name}"
        for section in (set(own) - {"defaults"})
        for name in own[section]
        if values[section][name] != before[section][name]
    }
    said = {f"{section}.{name}" for section in (set(own) - {"defaults"}) for name in own[section]}
    assert own["defaults"] == [start, "_self_"] and said - changed <= {"train.lora_target_modules"}


def test_the_published_splits_are_pinned_to_a_commit_of_the_recipe_s_data_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    values: Any = OmegaConf.to_container(composed(("+recipe=published-data",)))
    assert PINNED.fullmatch(values["pair"]["published"])[1] == "snorkelai/Snorkel-Mistral-PairRM-DPO-Dataset"
    assert values["schedule"]["sampled"] == {}
    assert composed(("+recipe=mistral-7b",)).schedule.sampled.keys() == {"1", "2", "3"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("pair.published=hf:a/b", "a data set on the hub is written hf:owner/name@commit"),
        ("pair.published=hf:a/b@main", "because a name or branch may be other data tomorrow"),
        ("++overrides.2.pair.published=copy", "overrides.2.pair.published: it decides which stages there are, for all"),
    ],
)
def test_published_pairs_without_a_commit_or_for_one_iteration_are_refused(
    change: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    with pytest.raises(ParameterError, match=re.escape(message)) as found:
        parameters.parse(OmegaConf.to_container(composed((change,))))
    assert "interpolation" not in found.value.message
