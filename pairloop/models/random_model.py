"""A tiny model with random weights, for trying the pipeline out where there is no other."""

from pathlib import Path

from pairloop.models import portable

VERSION = 3
"""Counts the changes to what is written below: a cache may still hold a model of before."""

_CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def write_random_model(seed: int, into: Path) -> None:
    """A Llama of two layers with random weights that reads and writes bytes: nothing but the pipeline can be tried."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    backend = Tokenizer(models.BPE({token: i for i, token in enumerate(special + alphabet)}, []))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, bos_token=special[1], eos_token=special[2], pad_token=special[0]
    )
    tokenizer.chat_template = _CHATML
    tokenizer.save_pretrained(into)
    shape = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = LlamaConfig(
        vocab_size=len(special) + len(alphabet),
        num_key_value_heads=1,
        head_dim=32,  # the smallest that vLLM has an attention kernel for on a CPU
        max_position_embeddings=2048,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
        tie_word_embeddings=False,
        **shape,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = LlamaForCausalLM(config)
    # At the usual size of random weights every token is nearly equally likely: these have preferences.
    with torch.no_grad():
        model.lm_head.weight.mul_(20)
    model.save_pretrained(into)
    portable.make(into)
