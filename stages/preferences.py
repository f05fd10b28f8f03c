"""preferences: one iteration's model on held-out preferences, and what a judge fitted to these says of its answers."""

from collections.abc import Sequence
from pathlib import Path

import click

from pairloop.errors import ParameterError
from pairloop.evaluation import preferred, stored
from pairloop.evaluation.preferred import Likelihoods
from pairloop.evaluation.settings import settings
from pairloop.files import records
from pairloop.files.records import Row
from pairloop.params import Params
from pairloop.prompts import slices
from pairloop.rankers.specialist import preferences
from pairloop.rankers.specialist.comparisons import Preference
from pairloop.rankers.specialist.hidden import Layers
from pairloop.samplers.answers import Policy
from stages import common


@click.command(cls=common.Verb)
@click.option("--iteration", type=click.IntRange(min=0), required=True)
@click.argument("base", type=Path)
@click.argument("policy", type=Path)
@click.argument("pool", type=Path)
@click.argument("answered", type=Path)
@click.argument("base_answered", type=Path)
@click.argument("results", type=Path)
def main(
    iteration: int, base: Path, policy: Path, pool: Path, answered: Path, base_answered: Path, results: Path
) -> None:
    """Measure POLICY on the preferences of `eval.preferences`, and write what was found into RESULTS.

    The judge that is fitted to them compares what POLICY ANSWERED with what iteration 0 did, BASE_ANSWERED. No prompt
    of the preferences may stand in POOL, or among those that a teacher learnt from.
    """
    params = common.load()
    if params.eval.preferences is None:
        raise ParameterError("eval.preferences is null: it must name held-out preferences, a .jsonl file or a folder")
    held_out = preferences.read(Path(params.eval.preferences)).pairs
    preferred.refuse_known(held_out, _known(pool, params), f"eval.preferences, {params.eval.preferences}")
    [setting, *_] = settings(params.eval, base=True)
    own, others = (
        slices.judged_rows(stored.read(path).given(setting), params.eval.judged) for path in (answered, base_answered)
    )
    with common.clock(results / "time" / "preferences.json"):
        found = _measured(held_out, Policy(base, base, params.base.dtype), policy, iteration, params)
        by = _judge(held_out, Policy(base, base, params.base.dtype), params)
        found["judge"] = preferred.judged(by, own, others if iteration else None, params.eval.bootstrap, params.seed)
    records.write_json(results / "preferences.json", _rounded(found))


def _known(pool: Path, params: Params) -> dict[str, str]:
    """Prompts that are trained on, or that a teacher learnt from, and where each stands."""
    found = {row["prompt"]: params.pool.source for row in records.read(pool, records.PROMPT)}
    taught = params.teach.preferences
    if taught is not None:
        found |= {prompt: taught for prompt, _, _ in preferences.read(Path(taught)).pairs}
    return found


def _measured(held_out: Sequence[Preference], base: Policy, policy: Path, iteration: int, params: Params) -> Row:
    """What the model finds likely; it is out of memory when this is known."""
    before = _likelihoods(held_out, base, params)
    own = _likelihoods(held_out, Policy(policy, base.folder, base.dtype), params) if iteration else before
    resampling = params.eval.bootstrap, params.seed
    return preferred.measured(held_out, own, before if iteration else None, *resampling)


def _likelihoods(held_out: Sequence[Preference], policy: Policy, params: Params) -> Likelihoods:
    return preferred.likelihoods(held_out, policy.model, policy.tokenizer, params.rank.batch_tokens)


def _judge(held_out: Sequence[Preference], base: Policy, params: Params) -> preferred.Judge:
    layers = Layers(base.model, base.tokenizer, params.teach.depth, params.rank.batch_tokens)
    return preferred.judge(held_out, layers, params.teach, params.seed)


def _rounded(found: Row) -> Row:
    """Rounded as all figures are; the penalty stays as small as it was asked for."""
    exact = {"regularisation": found["judge"]["regularisation"]}
    rounded: Row = records.rounded(found)
    return rounded | {"judge": rounded["judge"] | exact}


if __name__ == "__main__":
    main()
