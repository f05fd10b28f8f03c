"""Parameters of AlpacaEval: who compares the answers with which others, and for how much money."""

import re
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from pairloop.params.settings import Positive, Section, Text, Url, Words

LengthControl = Literal["exact", "cross_validated"]


def _nameable(places: Mapping[str, str]) -> Mapping[str, str]:
    """Each name becomes a folder and a stage beside those of the iterations."""
    for name in places:
        if not re.fullmatch(r"[\w-]+", name) or name.startswith("iteration_"):
            raise ValueError(name)
    return places


class Annotating(Section):
    """How AlpacaEval's package judges answers, where `eval.judges` has alpaca_eval. docs/evaluation.md."""

    annotator: Text = "weighted_alpaca_eval_gpt4.1"
    """Who compares: a folder of conf/annotator/, a configuration of the package alpaca_eval by its name, or the path of
    a folder with a configs.yaml of your own (a name with a slash). `open_weights` is a model of your own behind any
    server with OpenAI's chat completions, which nobody can shut down."""

    annotator_model: Text | None = None
    """The model that is asked instead of the one that the configuration names. null: that one."""

    annotator_endpoint: Url | None = None
    """Base URL of the server that is asked, such as http://localhost:8000/v1. null: what OPENAI_BASE_URL says, else
    OpenAI's. The key comes from OPENAI_API_KEY, and is in no file."""

    annotator_price: Positive | None = None
    """Dollars for a million tokens of that model. null: what the configuration or the package says, if it does."""

    budget: Positive | None = 5.0
    """The most dollars that judging one file of answers may cost, earlier attempts included. A question that could cost
    more is not asked; verdicts that are paid for are kept. null: no limit."""

    reference_outputs: Text | None = None
    """The answers that all others are compared with, a model_outputs.json: a path, `hf:owner/name@commit/file` or
    https://… null: those of iteration 0. AlpacaEval's own are
    hf:tatsu-lab/alpaca_eval@2edc6fad8be6b14ea7230aabfd08188da6b8b814/alpaca_eval_gpt4_baseline.json."""

    compare_with: Annotated[
        Mapping[str, Text],
        AfterValidator(_nameable),
        Words("a mapping of names (letters, digits, _ and -; not iteration_…) to files of answers"),
    ] = Field(default_factory=dict)
    """Answers of others, judged by the same annotator against the same reference: a name for each, and its
    model_outputs.json as in `eval.reference_outputs`."""

    difficulties: Text | None = None
    """AlpacaEval's df_gamed.csv, with the difficulty of its 805 instructions: a path or a reference as in
    `eval.reference_outputs`. With it, and a reference that is not iteration 0, the length-controlled win rate has its
    full form on those 805; else the minimal one."""

    length_control: LengthControl = "exact"
    """How the full form is fitted. `exact`: to the likelihood alone. `cross_validated`: as the package does."""
