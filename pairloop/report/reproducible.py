"""What sampling again would give, for the cards of models and data."""


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
