"""chat: the base's answer and an iteration's side by side in the terminal, or the best of several by the ranker."""

import io
import shutil
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from statistics import fmean

import click

from pairloop.errors import DataError, PairloopError, ParameterError
from pairloop.params import KINDS, Params
from pairloop.params.rankers import Kind
from pairloop.rankers import scoring
from pairloop.samplers import Sampler, Sampling
from pairloop.serving import BASE, picking, side_by_side
from pairloop.serving.picking import Picked
from stages import common, serve


@click.command(cls=common.Verb)
@click.argument("iteration", type=click.IntRange(min=1))
@click.option("--models", type=Path, default=Path("models"), show_default=True, help="Folder of the iterations.")
@click.option("--best-of", "count", type=click.IntRange(min=2), help="Answers of each model to pick one from.")
@click.option("--ranker", type=click.Choice(KINDS), help="Who picks. Without it: see below.")
@click.option("--temperature", type=click.FloatRange(min=0), help="0: the likeliest token. Without it: as in eval.")
@click.option("--max-new-tokens", "most", type=click.IntRange(min=1), help="Of an answer. Without it: as in eval.")
def main(
    iteration: int,
    models: Path,
    count: int | None,
    ranker: str | None,
    temperature: float | None,
    most: int | None,
) -> None:
    """Answer each line of the standard input by the base and by ITERATION, side by side.

    A line is a prompt by itself: the models do not hear what was said before. Ctrl-D or Ctrl-C ends it. Without
    --ranker rank.ranker picks, or likelihood where that is verifiable: what is typed has no constraints to verify.
    """
    params = common.load()
    if ranker and not count:
        raise ParameterError("--ranker says who picks, and nobody does without --best-of: add --best-of 16")
    policy, base = (serve.folder(models, n, params) for n in (iteration, 0))
    usual: Kind = "likelihood" if params.rank.ranker == "verifiable" else params.rank.ranker
    ranking = scoring.configured(ranker or usual, scoring.Places(base, models / "teacher", policy), params)
    if count:
        _refuse_without_teacher(ranking)
    sampling = _sampling(params, count, temperature, most)
    with suppress(KeyboardInterrupt):
        samplers = _samplers(base, policy, params.base.dtype, sampling)
        for prompt in _prompts():
            try:
                _show(_answers(prompt, samplers, params.seed, count, ranking), ranking.kind)
            except PairloopError as error:
                error.show()  # the next prompt may be another matter


def _refuse_without_teacher(ranking: scoring.Ranking) -> None:
    teacher, taught = ranking.places.teacher, {"specialist", "encoder"}
    if not taught & {ranking.kind, *(member.kind for _, member in ranking.members)}:
        return
    if (teacher / common.UNUSED).exists():
        raise DataError(
            f"{teacher}: this run trained no ranker, since another one ranks. --ranker likelihood needs none; "
            "`dvc exp run -S +recipe=specialist` trains one"
        )
    if not teacher.is_dir():
        raise DataError(
            f"{teacher}: there is no ranker yet. `dvc pull teach` brings it, or `dvc repro teach` makes it; "
            "--ranker likelihood needs none"
        )


def _sampling(params: Params, count: int | None, temperature: float | None, most: int | None) -> Sampling:
    own = params.eval
    usual = own.best_of_temperature if count else own.temperatures[0]
    chosen = usual if temperature is None else temperature
    return Sampling(chosen, own.top_p, own.top_k, most or own.max_new_tokens, own.frequency_penalty)


def _samplers(base: Path, policy: Path, dtype: str, sampling: Sampling) -> dict[str, Sampler]:
    """Both models, by name. A ranker that reads with the base reads with the same one."""
    from pairloop.models import references
    from pairloop.samplers.transformers import TransformersSampler

    model, tokenizer = scoring.frozen(base, dtype)
    trained = references.load_policy(policy, base, dtype)
    both = {BASE: model, policy.name: trained}
    return {name: TransformersSampler(own, tokenizer, sampling) for name, own in both.items()}


def _answers(
    prompt: str, samplers: dict[str, Sampler], seed: int, count: int | None, ranking: scoring.Ranking
) -> dict[str, Picked]:
    if count:
        return picking.best(prompt, samplers, seed, count, ranking)
    return picking.answer(prompt, samplers, seed)


def _prompts() -> Iterator[str]:
    """Lines that say something; those from a pipe are shown, as a terminal shows what is typed."""
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(errors="replace")
    asked = sys.stdin.isatty()
    with suppress(EOFError):
        while True:
            line = input("> " if asked else "").strip()
            if line and not asked:
                click.echo(f"> {side_by_side.harmless(line)}")
            if line:
                yield line


def _show(answers: dict[str, Picked], ranker: str) -> None:
    columns = [(name, _text(picked, ranker)) for name, picked in answers.items()]
    click.echo(side_by_side.render(columns, shutil.get_terminal_size().columns) + "\n")


def _text(picked: Picked, ranker: str) -> str:
    cut = picked.response.finish_reason == "length"
    text = picked.response.text + (f" […, cut off at {len(picked.response.token_ids)} tokens]" if cut else "")
    if picked.score is None:
        return text
    among = f"the best of {len(picked.others)}, mean {fmean(picked.others):.3g}"
    return f"{text}\n\n{picked.score:.3g} by {ranker}: {among}"


if __name__ == "__main__":
    main()
