"""Stored work is found again if, and only if, nothing has changed that decides it."""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pairloop.models import references
from pairloop.params import VLLM, Judge, Rankers, Train
from pairloop.params.settings import Section
from pairloop.rankers.scoring import Places, Ranking
from pairloop.rankers.verifiable import First
from pairloop.samplers import Sampling
from pairloop.samplers.answers import Policy, Speaker
from pairloop.samplers.vllm import Engine
from pairloop.training import dpo
from pairloop.training.job import Job
from pairloop.work import ray, shards

Change = Callable[[Any], Any]


@pytest.fixture
def folders(tmp_path: Path) -> dict[str, Path]:
    """Folders with a file each, as models are to a fingerprint."""
    found = {name: tmp_path / "models" / name for name in ("base", "policy", "teacher", "other")}
    for name, folder in found.items():
        folder.mkdir(parents=True)
        (folder / "config.json").write_text(f'"{name}"')
    return found


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Makes another version of a package look installed."""

    def another(name: str, version: str = "99.9") -> None:
        folder = tmp_path / f"with {name} {version}" / f"{name}-{version}.dist-info"
        folder.mkdir(parents=True)
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        monkeypatch.syspath_prepend(str(folder.parent))

    return another


@pytest.fixture(autouse=True)
def vllm(install: Callable[..., None]) -> None:
    install("vllm", "1.0")


@pytest.fixture
def away(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Goes to a machine with the other kind of device."""
    other = "cpu" if references.device() == "cuda" else "cuda"
    return lambda: monkeypatch.setattr(references, "device", lambda: other)


def changed(value: Any) -> Any:
    """Another value of the same kind."""
    match value:
        case bool():
            return not value
        case int() | float():
            return value + 1
        case tuple():
            return value[:-1] or (changed(value[0]),)
        case None:
            return 1
    return f"{value}, another"


def altered(owner: Any, name: str) -> Any:
    """The same with another value in one field; no matter whether a run would accept that value."""
    if isinstance(owner, Section):
        return owner.model_copy(update={name: changed(getattr(owner, name))})
    found = replace(owner)
    object.__setattr__(found, name, changed(getattr(owner, name)))
    return found


def differing(one: dict[str, Any], other: dict[str, Any]) -> set[str]:
    assert set(one) == set(other)
    return {name for name in one if one[name] != other[name]}


def names(section: type) -> set[str]:
    if issubclass(section, Section):
        return set(section.model_fields)
    return {field.name for field in dataclasses.fields(section)}


# Models


def test_a_models_fingerprint_is_the_name_and_the_content_of_every_file(folders: dict[str, Path]) -> None:
    base = folders["base"]
    seen = [references.fingerprint(base)]
    (base / "weights").write_text("base")
    seen.append(references.fingerprint(base))
    (base / "weights").write_text("changed")
    seen.append(references.fingerprint(base))
    (base / "weights").rename(base / "another name")
    seen.append(references.fingerprint(base))
    assert all(one != other for i, one in enumerate(seen) for other in seen[:i])


def test_a_models_fingerprint_is_the_same_in_another_place(folders: dict[str, Path]) -> None:
    before = references.fingerprint(folders["base"])
    assert references.fingerprint(folders["base"].rename(folders["base"].parent / "moved")) == before


# Answers


@pytest.fixture
def speaker(folders: dict[str, Path], tmp_path: Path) -> Speaker:
    return Speaker(Policy(folders["policy"], folders["base"], "float32"), Sampling(0.9, 0.95, 512, 8), 4, tmp_path)


def test_every_field_of_a_policys_fingerprint_stands_for_something(
    folders: dict[str, Path], speaker: Speaker, away: Callable[[], None]
) -> None:
    policy = speaker.policy
    changes = {"policy": {"folder": folders["other"]}, "base": {"base": folders["other"]}, "dtype": {"dtype": "bf16"}}
    for name, change in changes.items():
        assert differing(policy.fingerprint, replace(policy, **change).fingerprint) == {name}
    before = policy.fingerprint
    away()
    assert differing(before, replace(policy).fingerprint) == {"device"}
    assert set(before) == {*changes, "device"}


def test_every_field_of_answers_fingerprint_stands_for_something(speaker: Speaker) -> None:
    before = speaker.fingerprint
    changes = {
        "policy": replace(speaker, policy=replace(speaker.policy, dtype="bfloat16")),
        "sampling": replace(speaker, sampling=replace(speaker.sampling, top_k=1)),
        "sampler": replace(speaker, engine="vllm"),
    }
    for name, change in changes.items():
        assert differing(before, change.fingerprint) == {name}
    assert set(before) == {*changes, "step"} and before["step"] == "answer, with its tokens"


@pytest.mark.parametrize("name", sorted(names(Sampling)))
def test_every_setting_of_sampling_matters_to_answers(speaker: Speaker, name: str) -> None:
    other = replace(speaker, sampling=altered(speaker.sampling, name))
    assert differing(speaker.fingerprint, other.fingerprint) == {"sampling"}


@pytest.mark.parametrize(
    ("engine", "package"), [("transformers", "torch"), ("transformers", "transformers"), ("vllm", "torch")]
)
def test_the_engines_packages_matter_to_answers(
    speaker: Speaker, install: Callable[..., None], engine: str, package: str
) -> None:
    speaker = replace(speaker, engine=engine)
    before = speaker.fingerprint
    install(package)
    assert differing(before["sampler"], speaker.fingerprint["sampler"]) == {package}


def test_the_settings_of_vllm_matter_to_answers_by_vllm_only(speaker: Speaker) -> None:
    change = {"vllm": VLLM(enforce_eager=True), "batch_invariant": True}
    assert replace(speaker, **change).fingerprint == speaker.fingerprint
    asked = replace(speaker, engine="vllm")
    found = differing(asked.fingerprint["sampler"], replace(asked, **change).fingerprint["sampler"])
    assert found == {"enforce_eager", "batch_invariant"}


def test_where_and_in_which_shards_answers_are_made_does_not_matter(speaker: Speaker, tmp_path: Path) -> None:
    assert replace(speaker, scratch=tmp_path / "other", shard_prompts=1).fingerprint == speaker.fingerprint


class Stranger:
    """Answers shards in place of a model, and counts them."""

    def __init__(self) -> None:
        self.asked = 0
        self.fingerprint: dict[str, Any] = {}

    def map(self, function: Any, coming: Iterator[shards.Keyed]) -> Iterator[shards.Keyed]:
        taken = list(coming)
        self.asked += len(taken)
        return ((key, [{"responses": []} for _ in shard]) for key, shard in taken)


def test_answers_are_stored_under_their_fingerprint(speaker: Speaker) -> None:
    from pairloop.samplers import Request

    stranger = Stranger()
    counts = []
    for own in (speaker, speaker, replace(speaker, sampling=replace(speaker.sampling, temperature=0.5))):
        replace(own, elsewhere=stranger).sample([Request("Hi", (1,))])
        counts.append(stranger.asked)
    assert counts == [1, 1, 2]


# vLLM

MEMORY = {"max_model_len", "gpu_memory_utilization", "kv_cache_gib"}


@pytest.mark.parametrize("name", sorted(names(VLLM)))
def test_every_setting_of_vllm_matters_but_its_limits_of_memory(name: str) -> None:
    before = Engine(VLLM(), "float32").fingerprint
    found = differing(before, Engine(altered(VLLM(), name), "float32").fingerprint)
    assert found == (set() if name in MEMORY else {name})


def test_every_field_of_vllms_fingerprint_stands_for_something(install: Callable[..., None]) -> None:
    before = Engine(VLLM(), "float32").fingerprint
    assert differing(before, Engine(VLLM(), "bfloat16").fingerprint) == {"dtype"}
    assert Engine(VLLM(dtype="bfloat16"), "float32").fingerprint == Engine(VLLM(), "bfloat16").fingerprint
    assert differing(before, Engine(VLLM(), "float32", batch_invariant=True).fingerprint) == {"batch_invariant"}
    install("vllm")
    assert differing(before, Engine(VLLM(), "float32").fingerprint) == {"vllm"}
    assert set(before) == {"engine", "batch_invariant", "vllm", *(names(VLLM) - MEMORY)}


# Scores


@pytest.fixture
def ranking(folders: dict[str, Path]) -> Ranking:
    places = Places(folders["base"], folders["teacher"], folders["policy"])
    return Ranking("specialist", places, "float32", 512)


def kind(ranking: Ranking, name: str, **changes: Any) -> Ranking:
    return replace(ranking, kind=name, **changes)


def test_every_field_of_scores_fingerprint_stands_for_something(
    ranking: Ranking, folders: dict[str, Path], away: Callable[[], None], install: Callable[..., None]
) -> None:
    judge, mixed = kind(ranking, "judge"), kind(ranking, "ensemble")
    changes = {
        "ranker": (ranking, replace(ranking, first=First(constraints=True))),
        "files": (ranking, replace(ranking, places=replace(ranking.places, teacher=folders["other"]))),
        "judge": (judge, replace(judge, judge=Judge(rubric="pairwise"))),
        "form": tuple(
            kind(ranking, "pairrm", rankers=Rankers(pairrm=str(folders["other"]), pairrm_form=form))
            for form in ("pairrm", "better_pairrm")
        ),
        "members": (mixed, replace(mixed, rankers=Rankers(ensemble={"likelihood": 1.0}))),
        "dtype": (ranking, replace(ranking, dtype="bfloat16")),
        "batch_tokens": (ranking, replace(ranking, batch_tokens=1)),
    }
    for name, (before, after) in changes.items():
        assert differing(before.fingerprint, after.fingerprint) == {name}
    for first in (First(loops_last=True), First(echoes_last=True), First(fewest_words=1), First(constraints="only")):
        assert differing(ranking.fingerprint, replace(ranking, first=first).fingerprint) == {"ranker"}
    asked = kind(ranking, "judge", judge=Judge(engine="vllm"))
    eager = replace(asked, vllm=VLLM(enforce_eager=True))
    assert differing(asked.fingerprint, eager.fingerprint) == {"engine"}
    before = ranking.fingerprint
    assert set(before) == {*changes, "step", "engine", "device", "torch", "transformers"} and before["step"] == "score"
    away()
    assert differing(before, replace(ranking).fingerprint) == {"device"}
    for package in ("torch", "transformers"):
        install(package)
        assert package in differing(before, replace(ranking).fingerprint)


@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("specialist", {"base", "teacher"}),
        ("likelihood", {"base"}),
        ("encoder", {"teacher"}),
        ("judge", {"base", "policy"}),
        ("verifiable", set()),
    ],
)
def test_the_models_that_a_ranker_reads_with_matter_and_no_others(
    ranking: Ranking, folders: dict[str, Path], name: str, read: set[str]
) -> None:
    before = kind(ranking, name).fingerprint
    for place in ("base", "teacher", "policy"):
        after = kind(ranking, name, places=replace(ranking.places, **{place: folders["other"]})).fingerprint
        assert differing(before, after) == ({"files"} if place in read else set()), place


@pytest.mark.parametrize("name", ["pairrm", "llm_blender", "reward"])
def test_a_rankers_own_weights_matter(ranking: Ranking, folders: dict[str, Path], name: str) -> None:
    one, other = (kind(ranking, name, rankers=Rankers(**{name: str(folders[own])})) for own in ("base", "other"))
    assert differing(one.fingerprint, other.fingerprint) == {"files"}


def test_each_members_weight_and_fingerprint_matter_to_a_mixture(ranking: Ranking, folders: dict[str, Path]) -> None:
    mixed = kind(ranking, "ensemble", rankers=Rankers(ensemble={"likelihood": 1.0, "verifiable": 1.0}))
    heavier = replace(mixed, rankers=Rankers(ensemble={"likelihood": 2.0, "verifiable": 1.0}))
    other = replace(mixed, places=replace(mixed.places, base=folders["other"]))
    for after in (heavier, other):
        assert differing(mixed.fingerprint, after.fingerprint) == {"members"}


@pytest.mark.parametrize("name", sorted(names(Judge) - {"model", "engine", "endpoint"}))
def test_how_a_judge_is_asked_matters_and_how_patiently_does_not(ranking: Ranking, name: str) -> None:
    before = kind(ranking, "judge")
    found = differing(before.fingerprint, replace(before, judge=altered(Judge(), name)).fingerprint)
    assert found == (set() if name in {"key_variable", "concurrency", "timeout", "retries"} else {"judge"})


def test_who_judges_matters(ranking: Ranking, folders: dict[str, Path]) -> None:
    before = kind(ranking, "judge").fingerprint
    for change in ({"model": str(folders["other"])}, {"engine": "vllm"}, {"endpoint": "http://localhost:1/v1"}):
        assert "judge" in differing(before, kind(ranking, "judge", judge=Judge(**change)).fingerprint)


def test_what_other_rankers_need_does_not_matter(ranking: Ranking, folders: dict[str, Path]) -> None:
    others = {"judge": Judge(rubric="pairwise"), "vllm": VLLM(dtype="bfloat16")}
    others["rankers"] = Rankers(reward="a", pairrm_form="better_pairrm")
    assert replace(ranking, **others).fingerprint == ranking.fingerprint


# Training


@pytest.fixture
def job(folders: dict[str, Path]) -> Job:
    row = {"prompt": "Hi"}
    return Job([row], [row], folders["policy"], folders["base"], Train(), "float32", 0, 1)


def test_all_of_a_job_matters_but_what_only_its_card_and_lineage_say(job: Job, folders: dict[str, Path]) -> None:
    matters: dict[str, Any] = {
        "pairs": [{"prompt": "Ho"}],
        "test_pairs": [],
        "parent": folders["other"],
        "base": folders["other"],
        "params": Train(beta=0.5),
        "dtype": "bfloat16",
        "seed": 1,
        "iteration": 2,
        "sampled": {("0", "text"): [5]},
        "logps": {("0", "text"): [-0.5]},
        "win_probabilities": {("0", "text"): 0.5},
    }
    said = {"splits": {"train": "0" * 64}, "engine": "By somebody."}
    assert names(Job) == {*matters, *said}
    before = dpo.fingerprint(job)
    for name, value in matters.items():
        assert dpo.fingerprint(replace(job, **{name: value})) != before, name
    assert dpo.fingerprint(replace(job, **said)) == before


WHERE = {"devices", "launcher"}
"""Parameters of training that say where it runs: the number of processes is in the name of its checkpoints."""


@pytest.mark.parametrize("name", sorted(names(Train) - WHERE))
def test_every_parameter_of_training_matters(job: Job, name: str) -> None:
    assert dpo.fingerprint(replace(job, params=altered(Train(), name))) != dpo.fingerprint(job)


def test_of_several_learning_rates_the_iterations_own_matters(job: Job) -> None:
    def name(iteration: int, *rates: float) -> str:
        return dpo.fingerprint(replace(job, iteration=iteration, params=Train(learning_rate=rates)))

    assert name(1, 0.5, 0.1) == name(1, 0.5) != name(1, 0.1)
    assert name(2, 0.5, 0.1) == name(2, 0.1) == name(2, 0.5, 0.1, 0.2) != name(2, 0.5)
    assert name(4, 0.5, 0.1) == name(4, 0.1)


@pytest.mark.parametrize("package", ["torch", "transformers", "trl", "peft"])
def test_every_package_of_training_matters(job: Job, install: Callable[..., None], package: str) -> None:
    before = dpo.fingerprint(job)
    install(package)
    assert dpo.fingerprint(job) != before


# Shards


def places(scratch: Path, *, size: int = 2, other: Stranger | None = None, **fingerprint: Any) -> set[str]:
    """The folders that work with this fingerprint leaves in the scratch."""

    def kept(shard: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        return list(shard)

    list(shards.shards([{"n": 1}, {"n": 2}], size, fingerprint, kept, scratch, other))
    return {path.name for path in scratch.iterdir() if path.is_dir()}


def test_work_lies_where_its_fingerprint_says_and_nothing_else_decides(tmp_path: Path) -> None:
    before = places(tmp_path / "a", step="answer", top_k=1)
    stranger = Stranger()
    assert len(before) == 1
    assert places(tmp_path / "b", top_k=1, step="answer", size=1, other=stranger) == before
    assert places(tmp_path / "c", step="answer", top_k=2) != before
    assert places(tmp_path / "d", step="score", top_k=1) != before
    stranger.fingerprint = {"device": "cuda"}
    assert places(tmp_path / "e", step="answer", top_k=1, other=stranger) != before


def test_rays_fingerprint_is_the_device_where_it_is_another(away: Callable[[], None]) -> None:
    from pairloop.params import Ray

    here = 1.0 if references.device() == "cuda" else 0.0
    same, other = ray.Actors(Ray(gpus=here)), ray.Actors(Ray(gpus=1.0 - here))
    assert same.fingerprint == {} and set(other.fingerprint) == {"device"}
    assert replace(same, params=Ray(gpus=here, actors=7, cpus=2.0, attempts=9), needs=(Path("a"),)).fingerprint == {}
    found = other.fingerprint
    away()
    assert other.fingerprint == {} and same.fingerprint not in ({}, found)


def test_the_packages_that_are_asked_for_are_all_there(install: Callable[..., None]) -> None:
    before = shards.versions("torch", "click")
    install("click")
    assert differing(before, shards.versions("torch", "click")) == {"click"}
