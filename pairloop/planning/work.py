"""What each stage of a run does: rows and tokens, and the operations behind them.

Operations: 2 for each parameter and token of a forward pass, 4 more of a backward pass that gives every weight's
gradient, 2 more of one that passes through frozen weights (Kaplan et al. 2020, https://arxiv.org/abs/2001.08361,
section 2.1). Attention over the context is left out: at these lengths it is a few percent.
"""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import replace

from pairloop.evaluation.settings import settings
from pairloop.params import Params, Train
from pairloop.planning.amounts import (
    CHARACTERS,
    ENCODER,
    FRAME,
    IFEVAL,
    PAIRRM,
    PREFERENCES,
    VLLM_ROWS,
    Counts,
    Work,
    typical,
)
from pairloop.planning.size import Size
from pairloop.rankers import scoring


def run(iterations: Sequence[Params], size: Size, counts: Sequence[Counts], fetched: float = 0.0) -> list[Work]:
    """The work of all stages, in the order in which they run.

    Args:
        iterations: the parameters of iterations 1, 2, … N.
        size: the base's.
        counts: mean lengths in iterations 1, 2, …; the last are also those of all after it. What iteration n samples
            is what model n - 1 answers.
        fetched: bytes of the base that this machine does not have yet.
    """
    first, models = iterations[0], range(len(iterations) + 1)
    of = [counts[min(n, len(counts) - 1)] for n in models]  # of what each model answers
    found = [Work("base", 1, fetched=fetched, engine="none"), Work("pool", engine="none"), teach(first, size, of[0])]
    for n, params in enumerate(iterations, 1):
        own, prompts = of[n - 1], params.prompts.per_iteration
        if params.pair.published is None:
            found += [Work(f"prompts@{n}", prompts, engine="none"), generate(n, params, size, own)]
            found.append(rank(n, params, size, own))
        found += [Work(f"pair@{n}", prompts, engine="none"), train(n, params, size, own)]
    evaluated = [evaluate(n, first, size, of[n]) for n in models]
    if first.eval.ifeval is not None:
        evaluated += [instructed(n, first, size) for n in models]
    if first.eval.preferences is not None:
        evaluated += [preferred(n, first, size, of[n]) for n in models]
    return [*found, *evaluated, Work("report", engine="none")]


def teach(params: Params, size: Size, counts: Counts) -> Work:
    """Sample the base's answers at three temperatures, and read those and their spoiled versions."""
    own = params.teach
    if not params.kinds & {"specialist", "encoder"}:
        return Work("teach", engine="none")
    prompts = own.prompts if own.constructed else 0
    length = typical(own.max_new_tokens)
    sampled = 3 * prompts * length
    depth = max(own.depth) if isinstance(own.depth, tuple) else own.depth
    answers = prompts * (3 + own.spoilers + 1)  # those that only test it are about one to a prompt
    read = answers * length + prompts * counts.prompt
    flops = 2 * size.computed * 3 * prompts * counts.prompt + 2 * size.body * depth * read
    return Work("teach", answers, sampled + read, flops, sampled=sampled, together=own.shard_prompts)


def generate(n: int, params: Params, size: Size, counts: Counts) -> Work:
    """Read each prompt once, and sample its responses."""
    own, prompts = params.generate, params.prompts.per_iteration
    responses = prompts * own.n
    return Work(
        f"generate@{n}",
        responses,
        prompts * counts.prompt + responses * counts.response,
        2 * size.computed * prompts * counts.prompt,
        sampled=responses * counts.response,
        together=_together(params.sampler, responses, own.shard_prompts * own.n),
        engine=params.sampler,
        spread=own.engine == "ray",
        devices=params.vllm.tensor_parallel_size if params.sampler == "vllm" else 1,
    )


def _together(engine: str, responses: int, shard: int) -> int:
    return min(responses, VLLM_ROWS if engine == "vllm" else shard)


def rank(n: int, params: Params, size: Size, counts: Counts) -> Work:
    """Score every response, and by a second ranker where one is asked for."""
    prompts, samples = params.prompts.per_iteration, params.generate.n
    kinds = [params.rank.ranker, *([params.rank.second] if params.rank.second else [])]
    asked = [round(counts.ranked * prompts), prompts]  # a second ranker does not look at constraints
    scored = [score(kind, own, samples, params, size, counts) for kind, own in zip(kinds, asked, strict=False)]
    return replace(_sum(f"rank@{n}", prompts * samples, scored), spread=params.rank.engine == "ray")


def _sum(stage: str, rows: int, works: Sequence[Work]) -> Work:
    tokens, read, compared, sampled = (
        sum(getattr(one, name) for one in works) for name in ("tokens", "read", "compared", "sampled")
    )
    return Work(stage, rows, tokens, read, compared, sampled=sampled, together=max(one.together for one in works))


def score(kind: str, prompts: int, samples: int, params: Params, size: Size, counts: Counts) -> Work:
    """The work of one ranker on so many prompts with so many responses each."""
    # What all prompts begin with is read once for all of them.
    answers, before = prompts * samples * counts.response, prompts * max(1.0, counts.prompt - FRAME)
    if kind == "ensemble":
        members = [score(member, prompts, samples, params, size, counts) for member in params.rankers.ensemble]
        return _sum(kind, 0, members)
    if kind == "log_probability":
        return Work(kind, 0, before + answers, 2 * size.computed * (before + answers))
    if kind == "specialist":
        # Which layer is read, of those that it may be, `teach` finds out: the middle one stands for it.
        depth = params.teach.depth
        read = statistics.median(depth) if isinstance(depth, tuple) else depth
        return Work(kind, 0, before + answers, 2 * size.body * read * (before + answers))
    if kind == "likelihood":
        return Work(kind, 0, before + 2 * answers, 2 * size.computed * (before + 2 * answers))
    if kind in ("pairrm", "llm_blender"):
        one = min(counts.prompt, 1224) + 2 * min(counts.response, 412)  # PairRM's own limits
        tokens = prompts * samples * (samples - 1) * one
        return Work(kind, 0, tokens, compared=2 * PAIRRM * tokens)
    if kind == "judge" and not params.judge.endpoint:
        return _judged(prompts, samples, params, size, counts)
    tokens = prompts * samples * (counts.prompt + counts.response)
    if kind in ("reward", "encoder"):
        # What a reward model's size is, nobody knows before it is here: that of the base is taken.
        return Work(kind, 0, tokens, 2 * tokens * (ENCODER if kind == "encoder" else size.computed))
    return Work(kind, 0)  # a judge elsewhere computes nothing here, and constraints are no work


def _judged(prompts: int, samples: int, params: Params, size: Size, counts: Counts) -> Work:
    """A language model here that reads a rubric, prompt and responses and writes a verdict."""
    pairwise = params.judge.rubric == "pairwise"
    questions = prompts * samples * (samples - 1 if pairwise else 1)
    one = 200 + counts.prompt + counts.response * (2 if pairwise else 1)  # 200: the rubric
    sampled = questions * typical(params.judge.max_new_tokens)
    read = 2 * size.computed * questions * one
    together = _together(params.judge.engine, questions, params.judge.shard_questions)
    return Work("judge", 0, questions * one + sampled, read, sampled=sampled, together=together)


def pairs(params: Params, counts: Counts) -> tuple[int, int]:
    """Pairs to train on and held out."""
    own = params.pair
    each = own.k if own.strategy == "best_k_worst_k" else 1
    held = max(1, round(own.test_fraction * params.prompts.per_iteration))
    used = (params.prompts.per_iteration - held, held)
    return round(each * used[0] * counts.pairs), round(each * used[1] * counts.pairs)


def train(n: int, params: Params, size: Size, counts: Counts) -> Work:
    """Train on the pairs; the reference reads all of them once, unless that is known from sampling, and the policy the
    held-out ones twice."""
    own = params.train
    rows, held = pairs(params, counts)
    prompt, whole = min(counts.prompt, own.max_length), min(counts.prompt + counts.response, own.max_length)
    length = 2 * whole - (prompt if own.share_prompts else 0)
    tokens = rows * length * own.num_train_epochs
    once = 2 * size.computed
    referred = 0 if own.reference_logps == "sampled" and own.reference == "previous" else rows
    return Work(
        f"train@{n}",
        rows,
        tokens,
        once * (referred + 3 * held) * length,
        trained=once * training_passes(own) * tokens,
        spread=True,
    )


BACKWARD: Mapping[str, int] = {"full": 2, "lora": 1, "qlora": 1}
"""Operations of a backward pass, in forward passes."""


def training_passes(train: Train) -> int:
    """Forward passes that one reading in training costs as much as."""
    return 1 + BACKWARD[train.method] + (1 if train.gradient_checkpointing else 0)


def evaluate(n: int, params: Params, size: Size, counts: Counts) -> Work:
    """Answer the held-out prompts in every setting, and judge the answers beside iteration 0's and the previous ones.

    A judge that scores an answer by itself reads only this model's."""
    own, asked = params.eval, settings(params.eval, base=n == 0)
    length = counts.response if own.max_new_tokens == params.generate.max_new_tokens else typical(own.max_new_tokens)
    here = replace(counts, response=length)
    given = [max(setting.samples, setting.best_of) for setting in asked]
    scored = _evaluated(n, sum(setting.samples for setting in asked), params, size, here)
    times = 1 + sum(bool(setting.moved_on) for setting in asked)  # a prompt is read once for all settings of a model
    prompts, sampled = times * own.prompts * here.prompt, sum(given) * own.prompts * length
    return Work(
        f"eval@{n}",
        sum(given) * own.prompts,
        prompts + sampled + sum(one.tokens for one in scored),
        2 * size.computed * prompts + sum(one.read for one in scored),
        sum(one.compared for one in scored),
        sampled=sampled + sum(one.sampled for one in scored),
        together=_together(params.eval_sampler, own.prompts * sum(given), own.shard_prompts * sum(given)),
        engine=params.eval_sampler,
        spread=own.engine == "ray",
        devices=params.vllm.tensor_parallel_size if params.eval_sampler == "vllm" else 1,
    )


def _evaluated(n: int, judged: int, params: Params, size: Size, counts: Counts) -> list[Work]:
    """What each judge has to read of so many answers to each prompt, and what picks the best of several."""
    own = params.eval
    prompts = compared_prompts(params, counts)
    compared = prompts * judged * (2 if n > 1 else 1)  # with iteration 0, and with the iteration before
    found = [
        score(kind, *((prompts, judged) if kind in scoring.ALONE else (compared, 2)), params, size, counts)
        for kind in read_together(params.eval_rankers)
    ]
    picking = score(params.rank.ranker, own.prompts, own.best_of, params, size, counts)
    return [*found, *([picking] if own.best_of > 1 else [])]


def compared_prompts(params: Params, counts: Counts) -> int:
    """Held-out prompts whose answers judges compare."""
    share = counts.unconstrained if params.eval.judged == "unconstrained" else 1.0
    return round(share * params.eval.prompts)


def read_together(kinds: Sequence[str]) -> list[str]:
    """The judges that have something to read of their own: those that read with the base share one pass over each
    answer, as far as the deepest of them needs it, and the watch reads all of it at least."""
    alone = [kind for kind in kinds if kind not in scoring.READERS]
    return ["likelihood" if "likelihood" in kinds else "log_probability", *alone]


def preferred(n: int, params: Params, size: Size, counts: Counts) -> Work:
    """Read held-out preferences with the base and with the model, and both models' answers with the base."""
    own, models = params.eval, 2 if n else 1
    pairs = PREFERENCES * (models + 1) * 2 * typical(own.max_new_tokens)  # the judge is fitted to what the base reads
    answers = compared_prompts(params, counts) * own.samples * 2 * typical(own.max_new_tokens) if n else 0
    tokens = pairs + answers
    return Work(f"preferences@{n}", PREFERENCES, tokens, 2 * size.computed * tokens)


def instructed(n: int, params: Params, size: Size) -> Work:
    """Answer IFEval's prompts, as many and as long as Google's are."""
    prompts, characters = IFEVAL
    read, sampled = prompts * (characters / CHARACTERS + FRAME), prompts * typical(params.eval.ifeval_max_new_tokens)
    together = _together(params.eval_sampler, prompts, params.eval.shard_prompts)
    own = Work(f"ifeval@{n}", prompts, read + sampled, 2 * size.computed * read, sampled=sampled, together=together)
    spread, by_vllm = params.eval.engine == "ray", params.eval_sampler == "vllm"
    devices = params.vllm.tensor_parallel_size if by_vllm else 1
    return replace(own, engine=params.eval_sampler, spread=spread, devices=devices)
