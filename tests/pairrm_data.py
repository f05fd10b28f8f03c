"""PairRM at hand size: checkpoints with random weights in both published layouts, and texts to rank."""

import importlib
import json
import random
from pathlib import Path
from types import ModuleType

import pytest

PREFIXES = ["<|source|>", "<|candidate1|>", "<|candidate2|>", "<|candidate|>"]
WORDS = [a + b for a in ("mo", "ka", "ti", "re", "su", "lo", "pa", "ni") for b in ("la", "no", "ri", "ke", "du", "si")]
LIMITS = 40, 14
"""Source and candidate limits of the small checkpoint, so that short texts are cut too."""


def write_tokenizer(folder: Path) -> int:
    """A unigram tokenizer of DeBERTa-v3's make, at its size: whole words, single letters and the control tokens."""
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, normalizers, pre_tokenizers, processors
    from tokenizers.models import Unigram
    from transformers import PreTrainedTokenizerFast

    letters = "abcdefghijklmnopqrstuvwxyzACELMPSUK<>|[]12."
    pieces = [("[PAD]", 0.0), ("[CLS]", 0.0), ("[SEP]", 0.0), ("[UNK]", -20.0), ("▁", -6.0)]
    pieces += [(f"▁{word}", -4.0) for word in WORDS] + [(letter, -9.0) for letter in letters]
    tokenizer = Tokenizer(Unigram(pieces, unk_id=3))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Strip(), normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")
    tokenizer.decoder = decoders.Metaspace(replacement="▁", prepend_scheme="always")
    tokenizer.add_special_tokens(["[PAD]", "[CLS]", "[SEP]", "[UNK]", "[MASK]"])
    tokenizer.add_tokens([AddedToken(prefix, normalized=True, special=False) for prefix in PREFIXES])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    tokenizer.enable_truncation(7)  # as a published tokenizer.json may ask for, and a loader must not heed
    names = {f"{name}_token": f"[{name.upper()}]" for name in ("pad", "cls", "sep", "unk", "mask")}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=10**9, **names).save_pretrained(folder)
    return int(tokenizer.get_vocab_size())


def write_checkpoints(root: Path) -> dict[str, Path]:
    """The same random weights as `hf` (PairRM-hf's layout), `own` (llm-blender/PairRM's, with small limits) and the
    `body` that llm_blender starts from, whose vocabulary is larger, as deberta-v3-large's is."""
    import torch
    from safetensors.torch import save_file
    from transformers import DebertaV2Config, DebertaV2Model

    found = {name: root / name for name in ("hf", "own", "body")}
    sizes = [write_tokenizer(folder) for folder in found.values()]
    shape = {
        "hidden_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 96,
        "position_buckets": 16,
        "relative_attention": True,
        "share_att_key": True,
        "pos_att_type": ["p2c", "c2p"],
        "norm_rel_ebd": "layer_norm",
        "position_biased_input": False,
        "type_vocab_size": 0,
        "layer_norm_eps": 1e-7,
        "initializer_range": 0.15,
    }
    torch.manual_seed(0)
    DebertaV2Model(DebertaV2Config(vocab_size=sizes[0] + 95, **shape)).save_pretrained(found["body"])
    weights = torch_weights(DebertaV2Model(DebertaV2Config(vocab_size=sizes[0], **shape)))
    for name in ("hf", "own"):
        save_file(weights, found[name] / "model.safetensors")
    ids = {"source_prefix_id": sizes[0] - 4, "cand1_prefix_id": sizes[0] - 3, "cand2_prefix_id": sizes[0] - 2}
    stated = {"model_type": "deberta-v2", "vocab_size": sizes[0], **shape, "n_tasks": 1, "drop_out": 0.05, **ids}
    (found["hf"] / "config.json").write_text(json.dumps(stated | {"architectures": ["DebertaV2PairRM"]}))
    (found["own"] / "config.json").write_text(json.dumps(ranker_config(found["body"])))
    return found


def torch_weights(body):
    import torch
    from torch import nn

    hidden = body.config.hidden_size
    head = nn.Sequential(nn.Dropout(), nn.Linear(2 * hidden, hidden), nn.Tanh(), nn.Dropout(), nn.Linear(hidden, 1))
    nn.init.normal_(head[4].weight, std=0.08)
    parts = {f"pretrained_model.{name}": value for name, value in body.state_dict().items()}
    parts |= {f"head_layer.{name}": value for name, value in head.state_dict().items()}
    return {name: value.detach().to(torch.float32).contiguous().clone() for name, value in parts.items()}


def ranker_config(body: Path):
    """llm-blender/PairRM's config.json, with the small limits."""
    return {
        "ranker_type": "pairranker",
        "model_type": "deberta",
        "model_name": str(body),
        "cache_dir": None,
        "load_checkpoint": None,
        "source_maxlength": LIMITS[0],
        "candidate_maxlength": LIMITS[1],
        "n_tasks": 1,
        "num_pos": 5,
        "num_neg": 5,
        "sub_sampling_mode": "all_pair",
        "sub_sampling_ratio": 0.4,
        "loss_type": "instructgpt",
        "reduce_type": "linear",
        "inference_mode": "bubble",
        "drop_out": 0.05,
        "fp16": True,
    }


def texts_of(draw: random.Random, longest: int) -> str:
    """A text with what a tokenizer may stumble over."""
    words = [draw.choice(WORDS) for _ in range(draw.randint(0, longest))]
    odd = ["[SEP]", "x[SEP]y", "\n", "  ", " \t", "ﬁ", "ＭＯＬＡ", "日本", "naïve", "<|", "CLS", "[UNK]"]
    for _ in range(draw.randint(0, 3)):
        words.insert(draw.randint(0, len(words)), draw.choice(odd))
    return draw.choice(["", "", "", " ", "\n"]) + " ".join(words)


def cases(seed: int, prompts: int, count: int):
    """Prompts and `count` candidates each, with empty, repeated and over-long ones."""
    draw = random.Random(seed)
    found = []
    for _ in range(prompts):
        own = [texts_of(draw, 40) for _ in range(count)]
        if draw.random() < 0.3:
            own[0] = own[-1]
        if draw.random() < 0.3:
            own[1] = ""
        found.append(own)
    return [texts_of(draw, draw.choice([4, 30, 60])) for _ in range(prompts)], found


def largest_difference(found, expected):
    pairs = zip(found, expected, strict=True)
    return max(abs(a - b) for own, other in pairs for a, b in zip(own, other, strict=True))


def ranks(scores):
    return [[sorted(own, reverse=True).index(score) for score in own] for own in scores]


def shimmed_package(cache: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """llm_blender, made to run beside transformers 5, where two names that it uses are gone."""
    from transformers import PreTrainedTokenizerBase
    from transformers.utils import hub

    monkeypatch.setattr(hub, "TRANSFORMERS_CACHE", str(cache), raising=False)
    monkeypatch.setattr(PreTrainedTokenizerBase, "batch_encode_plus", PreTrainedTokenizerBase.__call__, raising=False)
    return importlib.import_module("llm_blender")


def asked_of_the_package(package, folder: Path, prompts, candidates):
    ranker = package.Blender()
    ranker.loadranker(str(folder), device="cpu")
    return ranker.rank(prompts, candidates, return_scores=True, batch_size=1, disable_tqdm=True).tolist()


HOSTILE = [
    "[CLS]", "[PAD]", "[MASK]", "[SEP]", *PREFIXES, "[CLS][CLS]", "[[MASK]MASK]", "<|candidate<|candidate1|>|>",
    "＜|source|＞", "［ＣＬＳ］", "＜|candidate2|＞", "mola[PAD]",
]  # fmt: skip


def copy_of(folder: Path, target: Path) -> Path:
    for path in folder.iterdir():
        (target / path.name).write_bytes(path.read_bytes())
    return target
