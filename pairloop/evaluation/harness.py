"""A model on the tasks of EleutherAI's lm-eval, https://github.com/EleutherAI/lm-evaluation-harness."""

import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pairloop.errors import DataError, EngineError, first_line, nearest
from pairloop.models import fetch
from pairloop.params import LmEval


def load(names: Sequence[str], include_path: str | None) -> list[Any]:
    """lm-eval's groups and tasks of these names, with their data sets.

    Args:
        names: of tasks, groups or tags.
        include_path: folder with task files of the user's own.

    Raises:
        EngineError: lm-eval is not installed.
        DataError: there is no task of a name (the nearest one is given), a task or its data cannot be had, or it would
            run what the model writes.
    """
    try:
        from lm_eval.tasks import TaskManager
    except ImportError as error:
        raise EngineError(
            f"lm-eval is not installed ({first_line(error)}): `make lm-eval` makes an environment that has it, or, in "
            "the project's folder, pip install '.[lm-eval]'"
        ) from None
    if include_path and not Path(include_path).is_dir():
        raise DataError(f"lm_eval.include_path is {include_path}: there is no such folder. It must hold task files")
    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    manager = TaskManager(include_path=include_path)
    for name in names:
        if name not in manager.all_tasks:
            near = nearest(name, manager.all_tasks)
            hint = f"did you mean {near}?" if near else "`lm_eval ls tasks` lists them."
            raise DataError(f"lm_eval.tasks: lm-eval has no task {name}: {hint}")
    try:
        found = manager.load(list(names))
    except fetch.UNLOADABLE as error:
        raise DataError(
            f"lm_eval.tasks: {', '.join(names)} cannot be loaded ({first_line(error)}). Check the network, or the "
            "data set that a task file of your own names"
        ) from error
    return _topmost(names, found)


def _topmost(names: Sequence[str], found: Mapping[str, Any]) -> list[Any]:
    """Groups that were asked for, and the tasks outside them."""
    for name, task in found["tasks"].items():
        if getattr(task, "UNSAFE_CODE", False):
            raise DataError(f"lm_eval.tasks: {name} would run code that the model writes, which is not done here")
    groups = [found["groups"][name] for name in names if name in found["groups"]]
    inside = {task.task_name for group in groups for task in group.get_all_tasks()}
    return [*groups, *(task for name, task in found["tasks"].items() if name not in inside)]


def measure(tasks: Sequence[Any], model: Any, tokenizer: Any, own: LmEval, seed: int) -> dict[str, Any]:
    """What lm-eval finds, without its times, paths and versions of packages.

    Args:
        tasks: as `load` gives them.
        model: a causal language model of transformers, where it computes.
        tokenizer: its tokenizer.
        own: limit, few_shot, chat and batch_size are read.
        seed: decides which examples stand before a question, and what is drawn.

    Returns:
        A mapping of each task and group to metrics (lm-eval's, with `_stderr` for their standard errors; null where
        undefined), samples, few_shot and version.
    """
    from lm_eval import simple_evaluate
    from lm_eval.models.huggingface import HFLM

    found = simple_evaluate(
        HFLM(pretrained=model, tokenizer=tokenizer, batch_size=own.batch_size),
        tasks=list(tasks),
        num_fewshot=own.few_shot,
        limit=own.limit,
        apply_chat_template=own.chat,
        log_samples=False,
        random_seed=seed,
        numpy_random_seed=seed,
        torch_random_seed=seed,
        fewshot_random_seed=seed,
    )
    return {name: _numbers(name, values, found) for name, values in sorted(found["results"].items())}


def _numbers(name: str, values: Mapping[str, Any], found: Mapping[str, Any]) -> dict[str, Any]:
    numbers = {key: value for key, value in values.items() if "," in key and isinstance(value, (int, float))}
    return {
        "metrics": {
            key.removesuffix(",none"): float(value) if math.isfinite(value) else None
            for key, value in sorted(numbers.items())
        },
        "samples": found["n-samples"].get(name, {}).get("effective"),
        "few_shot": found["n-shot"].get(name),
        "version": found["versions"].get(name),
    }
