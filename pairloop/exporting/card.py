"""The card of an export: what it is, and the lines that load it."""

from pathlib import Path
from typing import Any

from pairloop.exporting import Exported
from pairloop.files import records

QUESTION = '[{"role": "user", "content": "Name a fruit."}]'


def lines(form: str, place: str, file: str = "") -> list[str]:
    """Three lines of Python, or one command, that load an export and ask it something.

    Args:
        form: merged, adapter, or gguf with its number format.
        place: its folder, from where they are run.
        file: of a GGUF folder.
    """
    if form.startswith("gguf"):
        return [f"llama-server --model {place}/{file}"]
    if form == "adapter":
        return [
            "from peft import AutoPeftModelForCausalLM; from transformers import AutoTokenizer",
            f'model = AutoPeftModelForCausalLM.from_pretrained("{place}")',
            f'tokenizer = AutoTokenizer.from_pretrained("{place}")',
        ]
    return [
        "from transformers import pipeline",
        f'answer = pipeline("text-generation", "{place}")({QUESTION}, max_new_tokens=64)',
        'print(answer[0]["generated_text"][-1]["content"])',
    ]


def write(exported: Exported, folder: Path, file: str = "") -> None:
    """Write README.md: a function of its arguments alone.

    Args:
        exported: what it is of.
        folder: what is filled.
        file: the GGUF file's name.
    """
    from huggingface_hub import ModelCard, ModelCardData

    base, hub = exported.base, exported.base.kind == "hf"
    adapter = exported.form == "adapter"
    related: dict[str, Any] = {"base_model_relation": "adapter" if adapter else "finetune"} if hub else {}
    data = ModelCardData(
        base_model=base.name if hub else None,
        library_name={"merged": "transformers", "adapter": "peft"}.get(exported.form, "gguf"),
        license=base.licence.lower(),
        pipeline_tag="text-generation",
        tags=["dpo", "iterative-dpo", "pairloop"],
        **related,
    )
    inside = not adapter or hub
    place = "." if inside else f"exports/iteration_{exported.iteration}/{exported.form}"
    loading = "\n".join(lines(exported.form, place, file))
    language = "console\n$ " if exported.form.startswith("gguf") else "python\n"
    where = "In this folder" if inside else "In the project's folder"
    text = f"# {exported.title}\n\n{_sentence(exported)}\n\n{where}:\n\n```{language}{loading}\n```\n"
    records.write_text(folder / "README.md", str(ModelCard(f"---\n{data}\n---\n\n{text}")))


def _sentence(exported: Exported) -> str:
    match exported.form:
        case "adapter" if exported.base.kind == "hf":
            return "A LoRA adapter; PEFT fetches its base from the hub."
        case "adapter":
            return (
                "A LoRA adapter whose base is no model of the hub: `adapter_config.json` names it by its path in the "
                "project. Elsewhere, load the base and give it to `PeftModel.from_pretrained(base, folder)`."
            )
        case "merged":
            return f"All weights in {exported.dtype}, with what training added: no base is needed."
        case _:
            return f"All weights in {exported.dtype} with tokenizer and chat template in one file, for llama.cpp."
