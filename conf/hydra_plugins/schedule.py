"""Work out `schedule` in params.yaml from `iterations`, `overrides` and the parameters that name files.

DVC can only loop over a mapping or list that is written out in params.yaml, and depend only on paths. Hydra imports
this file before DVC composes params.yaml (`plugins_path = conf` in .dvc/config), so `${schedule:...}` in
conf/schedule.yaml calls `schedule`. It may import nothing of the project: `dvc` may run in another environment.
"""

import re
from typing import Any

from omegaconf import DictConfig, OmegaConf

STEPS = ("generate", "rank", "pair", "train")
"""The steps whose parameters may differ from one iteration to another."""

FILES = {
    "base": ("model",),
    "pool": ("source", "eval_source"),
    "teach": ("preferences",),
    "encoder": ("model",),
    "rankers": ("pairrm", "llm_blender", "reward"),
    "judge": ("model",),
    "train": ("launcher",),
    "pair": ("published",),
    "watch": ("benign",),
    "eval": ("annotator", "reference_outputs", "difficulties", "ifeval", "preferences"),
    "lm_eval": ("include_path",),
}
"""Parameters that may name a file or folder of the user's own, on which dvc.yaml lets stages depend."""

FOR_ALL = {"pair.published": "decides which stages there are", "train.launcher": "names a file that stages watch"}
"""What no iteration has of its own, and why."""

NO_FILE = "conf/no_file"
"""Stands for a parameter that names none: something that is there and never changes."""

EARLIER = "data/iteration_{}/earlier.parquet"
"""The pairs of the iterations before one, with their tokens."""

ANSWERS = "data/iteration_{}/answers.parquet"
"""A model's answers to the held-out prompts, which later ones are compared with."""

ALARMS = "results/iteration_{}/watch.json"
"""What the watch found of an iteration's model."""

GATE = "results/iteration_{}/gate.json"
"""That an iteration raised no alarm, where one would stop the run."""


def schedule(iterations: int, overrides: DictConfig, *, _root_: DictConfig) -> DictConfig:
    """The iterations to loop over, those that hand on their pairs, the models to evaluate, and the files to watch.

    Iterations name the files that they read, and models the prompts; those after the base read its answers too, and
    those of the iteration before them.
    """
    if type(iterations) is not int or iterations < 1:
        raise ValueError(f"iterations must be a whole number above 0, not {iterations!r}")
    _check(overrides, _root_)
    published = OmegaConf.select(_root_, "pair.published") is not None
    # String keys: DVC drops foreach stages whose keys are numbers.
    numbers = {str(n): n for n in range(1, iterations + 1)}
    stopping = OmegaConf.select(_root_, "watch.stop") is True
    replaying = [n for n in numbers.values() if n > 1 and _train(_root_, overrides, n, "data") != "current"]
    return OmegaConf.create(
        {
            "iterations": {
                key: {"previous": n - 1}
                | _read(n, published)
                | {"gate": _gate(n, stopping)}
                | {"earlier": EARLIER.format(n) if n in replaying else NO_FILE}
                | {"wins": _wins(n, published, _train(_root_, overrides, n, "loss"))}
                | {step: overrides.get(key, {}).get(step, {}) for step in STEPS}
                for key, n in numbers.items()
            },
            "sampled": {
                key: {"previous": n - 1, "gate": _gate(n, stopping)} for key, n in numbers.items() if not published
            },
            # Every iteration that another follows, where an alarm keeps that one from beginning.
            "gated": {str(n): {"alarms": ALARMS.format(n)} for n in range(1, iterations) if stopping},
            # One hands on to the next, up to the last iteration that trains on them.
            "earlier": {str(n): _earlier(n, published) for n in range(2, max(replaying, default=1) + 1)},
            "models": {"0": _base(), **{key: _model(n) for key, n in numbers.items()}},
            **_asked_for(_root_, iterations),
            "files": {
                section: {name: _file(_root_, section, name) for name in names} for section, names in FILES.items()
            },
        }
    )


def _earlier(number: int, published: bool) -> dict[str, Any]:
    """What an iteration hands on beside its own pairs, and where the responses before it lie."""
    handed_on = {"previous": number - 1, "before": EARLIER.format(number - 1) if number > 2 else NO_FILE}
    return handed_on | {"responses": _read(number - 1, published)["responses"]}


def _asked_for(root: DictConfig, iterations: int) -> dict[str, Any]:
    """The evaluations and exports that are made only where a parameter asks for them."""
    return {
        "annotated": _annotated(root, iterations),
        # A model is in the mapping, since DVC would drop an empty one.
        "ifeval": _models(range(iterations + 1) if root.eval.get("ifeval") is not None else ()),
        "preferences": _models(range(iterations + 1) if root.eval.get("preferences") is not None else ()),
        "lm_eval": _models(root.get("lm_eval", {}).get("iterations") or ()),
        "export": _exports(root),
    }


def _annotated(root: DictConfig, iterations: int) -> dict[str, dict[str, str]]:
    """The answers that AlpacaEval's package judges, by name, and those with which it compares them."""
    if "alpaca_eval" not in root.eval.judges:
        return {}
    folders = {n: f"results/iteration_{n}" for n in range(iterations + 1)}
    outputs = {f"iteration_{n}": f"{folder}/model_outputs.json" for n, folder in folders.items()}
    given = root.eval.reference_outputs
    reference = outputs["iteration_0"] if given is None else _path(given)
    if root.eval.best_of > 1:
        outputs |= {f"iteration_{n}_best_of": f"{folder}/best_of_outputs.json" for n, folder in folders.items()}
    others = {name: {"given": place, "outputs": _path(place)} for name, place in root.eval.compare_with.items()}
    own = {name: {"outputs": place} for name, place in outputs.items()}
    return {name: {**places, "reference": reference} for name, places in (own | others).items()}


def _models(numbers: Any) -> dict[str, dict[str, str]]:
    """Where the models of some iterations lie, to loop over."""
    return {str(number): {"model": f"models/iteration_{number}"} for number in numbers}


def _exports(root: DictConfig) -> dict[str, dict[str, Any]]:
    """Each model and the form in which it is exported, by number and form."""
    own = root.get("export", {})
    numbers = own.get("iterations") or ()
    forms = [name for form in own.get("forms", ()) for name in (_ggufs(own) if form == "gguf" else (form,))]
    found = [(number, form) for number in numbers for form in forms if number or form != "adapter"]
    # An adapter must name its base by a path, unless the hub has it.
    needed = "adapter" in forms and any(numbers) and not str(root.base.model).startswith("hf:")
    return {
        f"{number}-{form}": {"iteration": number, "form": form, "model": f"models/iteration_{number}"}
        for number, form in dict.fromkeys([*([(0, "merged")] if needed else []), *found])
    }


def _ggufs(own: DictConfig) -> list[str]:
    return [f"gguf-{dtype}" for dtype in own.gguf]


def _check(overrides: DictConfig, root: DictConfig) -> None:
    """Refuse changes of an iteration that nothing would heed."""
    for key, steps in overrides.items():
        if not (isinstance(key, str) and re.fullmatch("[1-9][0-9]*", key)):
            raise ValueError(f"overrides: {key!r} must be the number of an iteration, in quotes")
        for step, values in steps.items():
            if step not in STEPS:
                raise ValueError(f"overrides.{key}.{step}: only {', '.join(STEPS)} can be overridden")
            for name in values:
                if f"{step}.{name}" in FOR_ALL:
                    raise ValueError(f"overrides.{key}.{step}.{name}: it {FOR_ALL[f'{step}.{name}']}, for all")
                if name not in root[step]:
                    raise ValueError(f"overrides.{key}.{step}.{name}: there is no parameter {step}.{name}")


def _read(number: int, published: bool) -> dict[str, str]:
    """What an iteration's `pair` and `train` read; published pairs were neither sampled nor ranked here."""
    if published:
        return {"slice": "data/eval.parquet", "rankings": NO_FILE, "responses": NO_FILE}
    folder = f"data/iteration_{number}"
    return {"slice": f"{folder}/prompts.parquet"} | {
        name: f"{folder}/{name}.parquet" for name in ("rankings", "responses")
    }


def _base() -> dict[str, str]:
    """What the evaluation of iteration 0 reads: nothing of training, and nobody's answers."""
    return {"prompts": "data/eval.parquet", **dict.fromkeys(("previous", "chosen", "first_chosen", "watch"), NO_FILE)}


def _model(number: int) -> dict[str, str]:
    """What that of another reads: answers of iteration 0 and of the one before, and for the watch held-out pairs."""
    return {
        "prompts": ANSWERS.format(0),
        "previous": ANSWERS.format(number - 1) if number > 1 else NO_FILE,
        "chosen": f"data/test_iteration_{number}.parquet",
        "first_chosen": "data/test_iteration_1.parquet",
        "watch": ALARMS.format(0),
    }


def _gate(number: int, stopping: bool) -> str:
    """What lets an iteration begin: that the one before it raised no alarm."""
    return GATE.format(number - 1) if stopping and number > 1 else NO_FILE


def _wins(number: int, published: bool, losses: Any) -> str:
    """What `train` reads how likely a response is to win from, where a loss asks for it."""
    return _read(number, published)["rankings"] if "sppo_soft" in losses else NO_FILE


def _train(root: DictConfig, overrides: DictConfig, iteration: int, name: str) -> Any:
    """The value of a parameter of training in an iteration."""
    own = overrides.get(str(iteration), {}).get("train", {})
    return own[name] if name in own else root.train[name]


def _file(root: DictConfig, section: str, name: str) -> str:
    """The path that a parameter is, or NO_FILE if it is none."""
    value = OmegaConf.select(root, f"{section}.{name}")
    served = section == "judge" and OmegaConf.select(root, "judge.endpoint") is not None
    named = (section, name) == ("eval", "annotator") and "/" not in str(value)
    return NO_FILE if served or named else _path(value)


def _path(value: Any) -> str:
    """The same of its value: a hub's, a wheel's or the web's reference is fixed by itself."""
    is_path = isinstance(value, str) and value != "self" and not re.match("(hf|pypi|random|https):", value)
    return value if is_path else NO_FILE


OmegaConf.register_new_resolver("schedule", schedule, replace=True)
