"""teach: train the default ranker from the frozen base model, where anything in params.yaml asks for it."""

from pathlib import Path

import click

from pairloop import models, records, slices
from pairloop.answers import Policy, Speaker
from pairloop.params import Params
from pairloop.records import Row
from pairloop.samplers import Sampling
from stages import common


@click.command(cls=common.Verb)
@click.argument("base", type=Path)
@click.argument("pool_file", metavar="POOL", type=Path)
@click.argument("teacher", type=Path)
@click.argument("metrics", type=Path)
@click.argument("times", type=Path)
def main(base: Path, pool_file: Path, teacher: Path, metrics: Path, times: Path) -> None:
    """Train the specialist on BASE's answers to the prompts at the end of POOL, and write it to TEACHER."""
    params = common.load()
    with common.clock(times):
        if "specialist" in params.kinds:
            found = _teach(base, pool_file, teacher, params)
        else:
            # The stages that could read it depend on it, so there is a folder that says why it is empty.
            records.write_json(teacher / "unused.json", {"ranker": params.rank.ranker})
            found = {}
    records.write_json(metrics, found)


def _teach(base: Path, pool_file: Path, teacher: Path, params: Params) -> Row:
    from pairloop.rankers import teach
    from pairloop.rankers.hidden import HiddenStates
    from pairloop.rankers.specialist import save

    policy = Policy(base, base, params.base.dtype)

    def speaker(temperature: float) -> Speaker:
        sampling = Sampling(temperature, params.teach.top_p, params.teach.top_k, params.teach.max_new_tokens)
        return Speaker(policy, sampling, params.teach.shard_prompts, common.scratch())

    prompts = slices.teacher_rows(records.read(pool_file, records.PROMPT), params.teach.prompts)
    hidden = HiddenStates(policy.model, policy.tokenizer, params.teach.depth, params.rank.batch_tokens)
    head, found = teach.teach(prompts, speaker, hidden, models.fingerprint(base), params.teach, params.seed)
    save(head, teacher)
    accuracy = found.pop("held_out_accuracy")
    kinds = {kind: value for kind, value in accuracy.items() if kind != "total" and value is not None}
    hacks = {name: value for name, value in found.pop("hacks").items() if value is not None}
    return dict(records.rounded(found | {"held_out_accuracy": accuracy["total"], "by_kind": kinds, "hacks": hacks}))


if __name__ == "__main__":
    main()
