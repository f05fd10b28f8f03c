"""llama.cpp answers with what a GGUF file holds as transformers does with the model."""

from pathlib import Path
from typing import Any

import pytest
from test_exports import SHAPES, gguf, speaking

from pairloop.exporting import merged
from pairloop.models import references

pytestmark = pytest.mark.clients

TURN = [{"role": "user", "content": "Hello there, 12 or so?"}]
LLAMA_3 = {"rope_type": "llama3", "rope_theta": 1e4, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}


def by_transformers(model: Any, tokenizer: Any) -> str:
    ids = tokenizer.apply_chat_template(TURN, add_generation_prompt=True, return_tensors="pt")
    answer = model.generate(**ids, max_new_tokens=12, do_sample=False)
    return str(tokenizer.decode(answer[0, ids["input_ids"].shape[1] :], skip_special_tokens=True))


def by_llama_cpp(file: Path) -> str:
    import xllamacpp

    settings = xllamacpp.CommonParams()
    settings.model.path = str(file)
    settings.n_ctx, settings.n_gpu_layers, settings.warmup = 256, 0, False
    settings.cpuparams.n_threads = 1
    server = xllamacpp.Server(settings)
    asked = {"messages": TURN, "max_tokens": 12, "temperature": 0}
    return str(server.handle_chat_completions(asked)["choices"][0]["message"]["content"])


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        *SHAPES.items(),
        ("llama", {"rope_parameters": LLAMA_3 | {"original_max_position_embeddings": 16}}),
        ("llama", {"rope_parameters": {"rope_type": "linear", "rope_theta": 1e4, "factor": 4.0}}),
    ],
)
def test_llama_cpp_answers_as_transformers_does(kind: str, changes: dict[str, Any], tmp_path: Path) -> None:
    base = speaking(tmp_path / "base", kind, **changes)
    model = merged.load(base, base)
    gguf(base, tmp_path / "gguf", model=model)
    ours = by_transformers(model, references.load_tokenizer(base))
    # Bytes of a letter that is not whole at the end are kept back by one, and marked by the other.
    assert by_llama_cpp(tmp_path / "gguf" / "a.gguf").strip(" \n\ufffd") == ours.strip(" \n\ufffd") != ""
