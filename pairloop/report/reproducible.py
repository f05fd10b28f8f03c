"""Where responses come from, and what sampling again would give, for the cards of models and data."""

from pathlib import Path


def promise(engine: str, batch_invariant: bool) -> str:
    """A sentence about the engine that sampled the responses."""
    match engine, batch_invariant:
        case "vllm", True:
            again = "in its batch-invariant mode: the same parameters give the same bytes again on GPUs of one kind"
        case "vllm", False:
            again = (
                "which promises no identical bytes: its float sums depend on what is answered together, so that "
                "sampling again may give some other responses, from the same distribution"
            )
        case _:
            again = "which gives the same bytes again for the same parameters on the same machine"
    return f"The responses were sampled with {'vLLM' if engine == 'vllm' else engine}, {again}."


def given(published: str) -> str:
    """A sentence about pairs that others made."""
    return f"The pairs are those that `{named(published)}` holds: no response was sampled here."


def named(reference: str) -> str:
    """A reference as it stands in the parameters; of a path that leads out of the project only the last part."""
    path = Path(reference)
    return path.name if path.is_absolute() or path.parts[0] in ("..", "~") else reference
