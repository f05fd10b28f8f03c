"""AlpacaEval's annotators: configurations of the package alpaca_eval, its own or ours, and its verdicts by them.

A configuration says which model is asked, with which prompt, and how its answer is read. The package runs it.
"""

import logging
import math
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import yaml

from pairloop.errors import DataError, EngineError, ParameterError, meant
from pairloop.evaluation.alpaca_answers import Pair
from pairloop.evaluation.alpaca_questions import Questions

INSTALL = "pip install '.[alpaca]'"


@dataclass(frozen=True)
class Annotator:
    """A configuration with its prompt."""

    name: str
    """As configs.yaml calls it."""

    settings: Mapping[str, Any]
    """What stands under that name, with the model that is asked; `prompt_template` is not read."""

    prompt: str
    """The text in which instruction and answers are put."""

    @property
    def model(self) -> str | None:
        """Who is asked."""
        return (self.settings.get("completions_kwargs") or {}).get("model_name")

    @property
    def resolved(self) -> dict[str, Any]:
        """All that decides a verdict, for whoever wants to repeat it."""
        from importlib.metadata import version

        package = f"alpaca_eval {version('alpaca_eval')}"
        return {"package": package, **self.settings, "prompt_template": self.prompt}


def find(name: str, own: Path, model: str | None) -> Annotator:
    """The annotator of a name.

    Args:
        name: a folder of `own`, a configuration of the package, or, with a slash, the path of a folder.
        own: folder of our own configurations.
        model: asked instead of the one that is configured; None: that one.

    Raises:
        EngineError: the package is not installed.
        ParameterError: there is no such configuration (the nearest name is given), or it is not whole.
    """
    package = _package() / "evaluators_configs"
    places = [Path(name)] if "/" in name else [own / name, package / name]
    folder = next((place for place in places if (place / "configs.yaml").is_file()), None)
    if folder is None:
        if "/" in name:
            raise ParameterError(f"eval.annotator is {name}: there is no folder of that name with a configs.yaml")
        known = sorted({path.parent.name for place in (own, package) for path in place.glob("*/configs.yaml")})
        raise ParameterError(f"eval.annotator is {name}: there is no such annotator{meant(name, known)}")
    title, settings = _settings(folder / "configs.yaml")
    if model:
        settings["completions_kwargs"] = {**(settings.get("completions_kwargs") or {}), "model_name": model}
    return Annotator(title, settings, _prompt(str(settings.get("prompt_template")), folder, package))


def _package() -> Path:
    found = find_spec("alpaca_eval")
    if found is None or not found.submodule_search_locations:
        raise EngineError(f"eval.judges has alpaca_eval, but that package is not installed: {INSTALL}")
    return Path(found.submodule_search_locations[0])


def _settings(path: Path) -> tuple[str, dict[str, Any]]:
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ParameterError(f"{path}: no valid YAML ({' '.join(str(error).split())})") from None
    if not isinstance(found, dict) or len(found) != 1 or not isinstance(next(iter(found.values())), dict):
        raise ParameterError(f"{path}: must hold one annotator: its name, and its settings under it")
    name, settings = next(iter(found.items()))
    for needed in ("prompt_template", "fn_completions"):
        if not isinstance(settings.get(needed), str):
            raise ParameterError(f"{path}: {name} has no {needed}")
    return str(name), dict(settings)


def _prompt(template: str, folder: Path, package: Path) -> str:
    """The text of a template, which is given as such or as a path from one of these folders.

    The package takes a path that leads nowhere for the prompt itself, and would ask every question with it.
    """
    if "{instruction}" in template:
        return template
    for place in (folder, folder.parent, package):
        if (place / template).is_file():
            return (place / template).read_text(encoding="utf-8")
    raise ParameterError(f"{folder / 'configs.yaml'}: prompt_template is {template}: there is no file of that name")


def verdicts(annotator: Annotator, pairs: Sequence[Pair], questions: Questions) -> list[float | None]:
    """How much better each answer is than the reference's, by the package.

    Args:
        annotator: who compares.
        pairs: what is compared.
        questions: puts the package's questions, and keeps what is answered.

    Returns:
        For each pair a preference from 1 (the reference is better) to 2, or None where the annotator's answer cannot
        be read. Equal answers are a draw, 1.5, and nobody is asked.

    Raises:
        RankingError: the annotator does not answer, or would cost more than it may.
        EngineError: the package does not load.
    """
    keys = [(_plain(one.instruction), _plain(one.reference), _plain(one.own)) for one in pairs]
    rows = [dict(zip(("instruction", "output_1", "output_2"), key, strict=True)) for key in keys]
    with tempfile.TemporaryDirectory() as folder, _quiet():
        one = _loaded(annotator, Path(folder))
        for single in one.annotators.values():
            single.fn_completions = questions.around(single.fn_completions)
        found = one.annotate_pairs(rows, chunksize=len(rows))
    given = {(row["instruction"], row["output_1"], row["output_2"]): row["preference"] for row in found}
    lost = [key for key in keys if key not in given]
    if lost:
        raise DataError(
            f"annotator {annotator.name}: gave no row back for {len(lost)} of {len(rows)} instructions, the first "
            f"{lost[0][0]!r:.60}: its annotations do not match the answers"
        )
    return [_preference(given[key]) for key in keys]


def _plain(text: str) -> str:
    """The text without the marks at which the package cuts a prompt into messages.

    As they are, an answer that holds them would end the question, and go on in the judge's own voice.
    """
    return text.replace("<|im_", "<| im_")


def _preference(value: Any) -> float | None:
    return None if value is None or math.isnan(value) else float(value)


def _loaded(annotator: Annotator, folder: Path) -> Any:
    """The package's annotator, made from files with nothing left to look up; it writes nothing."""
    place = folder / annotator.name
    place.mkdir()
    template = place / "prompt.txt"
    template.write_text(annotator.prompt, encoding="utf-8")
    settings = {annotator.name: {**annotator.settings, "prompt_template": str(template)}}
    (place / "configs.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    try:
        from alpaca_eval.annotators import PairwiseAnnotator

        return PairwiseAnnotator(annotators_config=place, caching_path=None)
    except ImportError as error:
        raise EngineError(f"annotator {annotator.name}: {error}. It may be mended by {INSTALL}") from error
    except (AttributeError, TypeError, ValueError) as error:
        raise ParameterError(f"annotator {annotator.name}: the package does not take its settings ({error})") from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the package's log, which shows each error with a traceback and stays turned on for all other code."""
    level, disabled = logging.getLogger().level, logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(disabled)
        logging.getLogger().setLevel(level)
