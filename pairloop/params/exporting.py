"""Parameters of the exports: models in the forms that other tools load."""

from typing import Literal

from pairloop.params.settings import Iterations, NumberFormat, Positive, Section, Several


class Export(Section):
    """Which models are exported, and how. `make use ITERATION=3` sets the first. docs/export.md."""

    iterations: Iterations = ()
    """The iterations whose models are exported; 0 is the base. Empty: none."""

    forms: Several[Literal["merged", "adapter", "gguf"]] = ("merged",)
    """`merged`: all weights, as `transformers` and vLLM load them. `adapter`: what was trained alone, with the name of
    a base that PEFT finds. `gguf`: a file for llama.cpp, for each of `export.gguf`."""

    dtype: NumberFormat | None = None
    """Number format of merged weights. null: `base.dtype`."""

    gguf: Several[Literal["f16", "q8_0", "q4_0"]] = ("f16", "q8_0", "q4_0")
    """Number formats of GGUF files: 16, 8.5 and 4.5 bits for each weight."""

    extrapolate: Positive | None = None
    """Move the exported models on by so many times what training has changed, as in `eval.extrapolate`. null: as
    trained."""
