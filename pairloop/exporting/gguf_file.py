"""One GGUF file with weights, tokenizer and chat template, as llama.cpp and what is built on it load a model.

Names and layout are those of the package gguf and of llama.cpp's convert_hf_to_gguf.py,
https://github.com/ggml-org/llama.cpp.
"""

from pathlib import Path
from typing import Any

from pairloop.errors import ModelError
from pairloop.exporting import Exported, tensors, vocabulary
from pairloop.exporting.vocabulary import Vocabulary
from pairloop.models import chat, references

ARCHITECTURES = {"llama": "llama", "mistral": "llama", "qwen2": "qwen2", "qwen3": "qwen3"}
"""Model types of transformers, and what GGUF calls them."""

_FILE_TYPES = {"f16": "MOSTLY_F16", "q8_0": "MOSTLY_Q8_0", "q4_0": "MOSTLY_Q4_0"}


def write(model: Any, tokenizer: Any, exported: Exported, path: Path) -> None:
    """Write a model, a tensor at a time.

    Args:
        model: of transformers, in float32.
        tokenizer: its tokenizer, with a chat template.
        exported: what the file is; its dtype is f16, q8_0 or q4_0.
        path: of the file.

    Raises:
        ModelError: the model's type, its rotary positions or its tokenizer have no form in GGUF, or a tensor cannot be
            written in that number format.
    """
    import gguf
    import numpy as np

    config = model.config
    if config.model_type not in ARCHITECTURES:
        raise ModelError(
            f"{exported.base.name}: a GGUF file cannot be written for the model type {config.model_type}. "
            f"Known: {', '.join(ARCHITECTURES)}. Leave gguf out of export.forms"
        )
    architecture = ARCHITECTURES[config.model_type]
    words = vocabulary.of(tokenizer, model.get_input_embeddings().weight.shape[0])
    found = tensors.of(model, architecture, exported.dtype)
    writer = gguf.GGUFWriter(path, architecture)
    _say_what_it_is(writer, exported)
    _say_its_shape(writer, config)
    _say_its_words(writer, words)
    _say_its_ends(writer, model, tokenizer)
    for own in found:
        writer.add_tensor_info(own.name, tuple(own.weight.shape), np.dtype("float32"), own.bytes, own.format)
    try:
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        for own in found:
            writer.write_tensor_data(own.content())
    finally:
        writer.close()


def _say_what_it_is(writer: Any, exported: Exported) -> None:
    import gguf

    writer.add_type(gguf.GGUFType.MODEL)
    writer.add_name(exported.title)
    writer.add_license(exported.base.licence.lower())
    writer.add_file_type(gguf.LlamaFileType[_FILE_TYPES[exported.dtype]])
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)


def _say_its_shape(writer: Any, config: Any) -> None:
    import gguf

    size, rope = tensors.head_size(config), config.rope_parameters
    context, window = references.context(config), getattr(config, "sliding_window", None)
    # llama.cpp gives these types no sliding window: up to its length, there is none.
    writer.add_context_length(min(number for number in (context, window) if number))
    writer.add_vocab_size(config.vocab_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_key_length(size)
    writer.add_value_length(size)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_dimension_count(size)
    writer.add_rope_freq_base(float(rope["rope_theta"]))
    if rope.get("rope_type") == "linear":
        writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(float(rope["factor"]))


def _say_its_words(writer: Any, words: Vocabulary) -> None:
    writer.add_tokenizer_model(words.kind)
    writer.add_tokenizer_pre(words.cut)
    writer.add_token_list(words.tokens)
    writer.add_token_types(words.types)
    if words.scores:
        writer.add_token_scores(words.scores)
    if words.merges:
        writer.add_token_merges(words.merges)
    if words.kind == "llama":
        writer.add_add_space_prefix(words.space_first)


def _say_its_ends(writer: Any, model: Any, tokenizer: Any) -> None:
    """What begins a text, ends it and ends a turn, and the chat template."""
    ids = list(tokenizer("a")["input_ids"])
    writer.add_add_bos_token(ids[0] == tokenizer.bos_token_id)
    writer.add_add_eos_token(ids[-1] == tokenizer.eos_token_id)
    named = {name: getattr(tokenizer, f"{name}_token_id") for name in ("bos", "eos", "unk", "pad")}
    template = tokenizer.get_chat_template()
    # transformers 4 reads no tokenizer without one; where there is none, nothing writes or adds it.
    if named["bos"] is None and "bos_token" not in template:
        named["bos"] = named["eos"]
    turn = chat.end_of_turn(tokenizer)
    # The eos of the tokenizer stays what it is, since a template may write it; llama.cpp stops at each of these.
    others = [i for i in chat.end_ids(model, tokenizer) if i not in (turn, named["eos"])]
    named |= {"eot": turn, "eom": others[0] if others else None}
    for name, token in named.items():
        if token is not None:
            getattr(writer, f"add_{name}_token_id")(token)
    writer.add_chat_template(template)
