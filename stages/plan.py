"""plan: what a recipe or change would run and what it would take, without running or writing anything."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from pairloop import params as parameters
from pairloop.errors import ParameterError
from pairloop.files import records
from pairloop.files.records import Row
from pairloop.models import fetch, references
from pairloop.params import Params
from pairloop.planning import amounts, devices, estimate, figures, measured, preflight, size, table, work
from pairloop.planning.amounts import Counts, Work
from pairloop.planning.devices import Machine
from pairloop.planning.figures import Plan
from pairloop.planning.preflight import Finding
from pairloop.prompts import slices
from stages import common, due, pool
from stages.schedule import composed

RESULTS = Path("results")
"""Times and counts of the run that is here."""

POOL = RESULTS / "pool.json"
"""Counts of the pool that was made last: those of the pool to make, unless `pool` changes."""

BASE, PROMPTS, HELD_OUT = Path("models/iteration_0"), Path("data/pool.parquet"), Path("data/eval.parquet")
"""What the last run began with."""


@click.command(cls=common.Verb)
@click.argument("changes", nargs=-1)
@click.option("--device", metavar="TEXT", help='Where it would run, as in "8x H100 80GB", or cpu. Default: here.')
@click.option("--price", type=click.FloatRange(min=0), help="Of one GPU for an hour, in any currency.")
@click.option("--parameters", "held", type=click.FloatRange(min=1), help="Of the base, where nothing tells: 7.2e9.")
@click.pass_context
def main(
    context: click.Context,
    changes: tuple[str, ...],
    device: str | None,
    price: float | None,
    held: float | None,
) -> None:
    """Show what `dvc exp run -S CHANGE ...` would do, as in `python -m stages.plan +recipe=mistral-7b iterations=4`.

    A line for each stage: whether it would run and why, rows, tokens, time, GPU-hours, memory on a device, scratch and
    outputs on disk, money. Then what would stop or spoil the run. Exits with 1 where something would stop it.
    docs/performance.md says where the figures come from.
    """
    from omegaconf import OmegaConf

    values: Any = OmegaConf.to_container(composed(changes))
    iterations = _iterations(values)
    if POOL.is_file() and values["pool"] == common.raw().get("pool"):
        refuse_too_few(values, records.read_json(POOL))
        refuse_too_long(values)
    plan = _plan(iterations, device, held, values)
    findings = _findings(plan)
    if device and device != "cpu":
        findings = preflight.elsewhere(findings)
    rented = plan.machine.count if plan.machine.device.gpu else 0
    lines = [
        *figures.head(plan, RESULTS),
        "",
        *table.stages(plan.estimates, plan.states, rented, price),
        "",
        *table.checks(findings),
    ]
    click.echo("\n".join(lines))
    if not preflight.go(findings):
        context.exit(1)


def _plan(iterations: Sequence[Params], device: str | None, held: float | None, values: Mapping[str, Any]) -> Plan:
    """Everything that is shown, for a device by name or, without one, for this machine."""
    params, run = iterations[0], _run_before()
    folder = _at_hand(params)
    base = size.of(params.base.model, folder, held)
    machine = devices.parse(device) if device and device != "cpu" else devices.here(gpus=device is None)
    counts = _counts(params, run)
    factors = _factors(params, run, machine) if device is None else {}
    here = folder is not None and any(folder.glob("*.safetensors"))
    fetched = 0.0 if here else base.parameters * estimate.weight_bytes(params)
    works = _with_rankers(work.run(iterations, base, counts, fetched), params)
    estimates = [estimate.estimate(one, _of(iterations, one.stage), base, machine, factors) for one in works]
    found = due.states(values)
    states = {one.stage: found.get(one.stage, "runs") for one in works}
    return Plan(params, base, folder, machine, counts, factors, estimates, states)


def _iterations(values: Mapping[str, Any]) -> list[Params]:
    """The parameters of each iteration."""
    return [parameters.parse(values, n) for n in range(1, parameters.parse(values).iterations + 1)]


def _of(iterations: Sequence[Params], stage: str) -> Params:
    """The parameters that a stage reads."""
    verb, _, number = stage.partition("@")
    return iterations[int(number) - 1] if number and verb not in ("eval", "ifeval", "preferences") else iterations[0]


def refuse_too_few(values: Mapping[str, Any], counts: Mapping[str, Any]) -> None:
    """Refuse what a pool with these counts has too few prompts for.

    How many of those with constraints are the teacher's, the counts do not tell: none, in its favour.

    Raises:
        DataError: how many prompts are needed and how many there are.
    """
    params = parameters.parse(values)
    constrained = counts["with_constraints"]
    rows: list[Row] = [{"constraints": []}] * constrained + [{"constraints": None}] * (counts["rows_out"] - constrained)
    slices.held_out_rows([{}] * counts["eval_rows_out"], params.eval.prompts, params.pool.eval_source)
    for n in range(1, params.iterations + 1):
        slices.slice_for(rows, n, params.prompts, params.teach.prompts)


def refuse_too_long(values: Mapping[str, Any]) -> None:
    """Refuse prompts that the base has no room for, where base and pool are at hand and stay as they are."""
    pointer, unchanged = BASE / "model.json", all(values[name] == common.raw().get(name) for name in ("base", "seed"))
    if not (unchanged and all(path.is_file() for path in (pointer, PROMPTS, HELD_OUT))):
        return
    made, cache = records.read_json(pointer), references.cache_root()
    folder = fetch.at_hand(fetch.pinned(made["reference"], made["revision"]), made["sha256"], cache)
    if folder and (folder / "tokenizer.json").is_file():
        rows, held_out = (records.read(path, records.PROMPT) for path in (PROMPTS, HELD_OUT))
        pool.refuse_too_long(rows, held_out, parameters.parse(values), BASE)


def _at_hand(params: Params) -> Path | None:
    """The folder of the base's files, where this machine has them."""
    pointer = Path("models/iteration_0/model.json")
    reference = params.base.model
    if pointer.is_file() and (made := records.read_json(pointer))["reference"] == reference:
        reference = fetch.pinned(reference, made["revision"])
    return fetch.at_hand(reference, params.base.sha256, references.cache_root())


def _with_rankers(works: Sequence[Work], params: Params) -> list[Work]:
    """The same, with what the first ranking has to fetch."""
    needed = {"pairrm": params.rankers.pairrm, "llm_blender": params.rankers.llm_blender}
    cache = references.cache_root()
    missing = [name for name in needed if name in params.kinds and fetch.at_hand(needed[name], None, cache) is None]
    size_of_all = 4 * amounts.PAIRRM * len(missing)  # they are stored in float32
    return [replace(one, fetched=size_of_all) if one.stage == "rank@1" else one for one in works]


def _run_before() -> tuple[list[Params], dict[str, float]] | None:
    """The parameters, by iteration, with which the run that is here was made, and seconds by stage."""
    import yaml

    lock = Path("dvc.lock")
    if not lock.is_file():
        return None
    try:
        stages = yaml.safe_load(lock.read_text(encoding="utf-8")).get("stages", {})
        values = stages.get("schedule", {}).get("params", {}).get(str(common.PARAMS))
        return (_iterations(values), measured.seconds(RESULTS)) if values else None
    except (ParameterError, AttributeError, yaml.YAMLError):
        return None  # it was made with parameters of before, or DVC will say what is wrong with the file


def _counts(params: Params, run: Any) -> list[Counts]:
    """Lengths as the run that is here had them, if it read and sampled in the same way; else as assumed."""
    had = measured.lengths(RESULTS) if run and measured.same_lengths(params, run[0][0]) else []
    found = had or [measured.assumed(params, measured.characters(Path(params.pool.source)))]
    return [measured.shared(counts, params) for counts in found]


def _factors(params: Params, run: Any, machine: Machine) -> dict[str, float]:
    """What the run that is here says of this machine's speed, for each verb that computes in the same way."""
    had = measured.lengths(RESULTS) if run else []
    if not had or not measured.alike(RESULTS, machine.device):
        return {}
    iterations, seconds = run
    had = [measured.shared(counts, iterations[0]) for counts in had]
    own = size.of(iterations[0].base.model, _at_hand(iterations[0]))
    found = estimate.factors(seconds, work.run(iterations, own, had), iterations[0], own, machine)
    return {verb: factor for verb, factor in found.items() if measured.same_speed(verb, params, iterations[0])}


def _findings(plan: Plan) -> list[Finding]:
    params, runs = plan.params, table.to_run(plan.estimates, plan.states)
    fetched = sum(one.work.fetched for one in runs)
    needs = {
        Path(): sum(one.artifacts for one in runs),
        common.scratch(): table.scratch(runs) - fetched,
        _weights_cache(params): fetched,
    }
    found = preflight.memory(runs or plan.estimates, plan.machine)
    found += preflight.disk(needs, "free some, or lower prompts.per_iteration or iterations")
    found += _template(plan.folder)
    for check in (preflight.revisions, preflight.keys, preflight.engines, preflight.adapters):
        found += check(params)
    return [*found, *preflight.context(params, plan.base), *preflight.devices(params, plan.machine)]


def _weights_cache(params: Params) -> Path:
    if not params.base.model.startswith("hf:"):
        return references.cache_root()
    from huggingface_hub.constants import HF_HUB_CACHE

    return Path(HF_HUB_CACHE)


def _template(folder: Path | None) -> list[Finding]:
    if folder is None or not (folder / "tokenizer.json").is_file():
        return [Finding("warning", "chat template: not on this machine: `dvc repro base` fetches and checks it")]
    return preflight.template(references.load_tokenizer(folder))


if __name__ == "__main__":
    main()
