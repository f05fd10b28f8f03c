"""PairRM against llm_blender itself, and against a plain restatement of what it computes, on tiny random weights."""

import json
import os
import random
from pathlib import Path

import pytest

from pairloop import fetch, models, scoring
from pairloop.errors import ModelError, RankingError
from pairloop.params import Rankers
from pairloop.rankers.pairrm import PairRM

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


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """The same random weights as `hf` (PairRM-hf's layout), `own` (llm-blender/PairRM's, with small limits) and the
    `body` that llm_blender starts from, whose vocabulary is larger, as deberta-v3-large's is."""
    import torch
    from safetensors.torch import save_file
    from transformers import DebertaV2Config, DebertaV2Model

    root = tmp_path_factory.mktemp("pairrm")
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


@pytest.fixture(scope="module")
def small(folders):
    return PairRM(folders["own"], "float32", 2048)


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


@pytest.fixture
def blender(folders, tmp_path, monkeypatch):
    """llm_blender's own ranker, made to run beside transformers 5, where two names that it uses are gone."""
    from transformers import PreTrainedTokenizerBase
    from transformers.utils import hub

    monkeypatch.setattr(hub, "TRANSFORMERS_CACHE", str(tmp_path), raising=False)
    monkeypatch.setattr(PreTrainedTokenizerBase, "batch_encode_plus", PreTrainedTokenizerBase.__call__, raising=False)
    package = pytest.importorskip("llm_blender", reason="the optional extra llm-blender is not installed")
    ranker = package.Blender()
    ranker.loadranker(str(folders["own"]), device="cpu")
    return ranker


@pytest.mark.filterwarnings("ignore::RuntimeWarning:dataclasses_json")
def test_scores_are_those_of_llm_blender_with_batch_size_1(blender, small):
    for seed, prompts, count in ((1, 70, 3), (2, 30, 4), (3, 8, 5)):
        asked = cases(seed, prompts, count)
        expected = blender.rank(*asked, return_scores=True, batch_size=1, disable_tqdm=True).tolist()
        found = small.score(*asked)
        assert largest_difference(found, expected) <= 1e-6
        assert ranks(found) == ranks(expected)
        assert max(abs(score) for own in expected for score in own) > 0.1  # else 1e-6 would say little


def plain_scores(folder: Path, prompts, candidates, limits):
    """The definition, one comparison at a time: tokenizer's own cutting, positions by search, no padding."""
    import numpy as np
    import torch
    from safetensors.torch import load_file
    from torch import nn
    from transformers import DebertaV2Config, DebertaV2Model, PreTrainedTokenizerFast

    config = DebertaV2Config(**json.loads((folder / "config.json").read_text()))
    body, hidden = DebertaV2Model(config), config.hidden_size
    head = nn.Sequential(nn.Dropout(), nn.Linear(2 * hidden, hidden), nn.Tanh(), nn.Dropout(), nn.Linear(hidden, 1))
    network = nn.ModuleDict({"pretrained_model": body, "head_layer": head}).eval()
    network.load_state_dict(load_file(folder / "model.safetensors"))
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)

    def encode(text, longest):
        return tokenizer.encode(text.replace("[SEP]", " "), truncation=True, max_length=longest)

    def logit(prompt, left, right):
        source = encode("<|source|>" + prompt, limits[0])
        room = (limits[0] + 2 * limits[1] - len(source)) // 2
        ids = source + encode("<|candidate1|>" + left, room) + encode("<|candidate2|>" + right, room)
        states = body(torch.tensor([ids])).last_hidden_state[0]
        at = [ids.index(tokenizer.convert_tokens_to_ids(token)) for token in PREFIXES[:3]]
        sides = [head(torch.cat([states[at[0]], states[place]])) for place in at[1:]]
        return float(sides[0] - sides[1])

    found = []
    with torch.inference_mode():
        for prompt, own in zip(prompts, candidates, strict=True):
            rows = [[logit(prompt, a, b) if i != j else 0 for j, b in enumerate(own)] for i, a in enumerate(own)]
            matrix = np.array(rows)
            found.append((matrix - matrix.T).mean(axis=1).tolist())
    return found


def test_scores_of_the_other_layout_follow_the_definition(folders):
    asked = cases(4, 6, 3)
    found = PairRM(folders["hf"], "float32", 4096).score(*asked)
    expected = plain_scores(folders["hf"], *asked, (1224, 412))
    assert largest_difference(found, expected) <= 1e-6


def test_both_layouts_are_the_same_ranker(folders, tmp_path):
    stated = json.loads((folders["own"] / "config.json").read_text())
    for name in ("model.safetensors", "tokenizer.json"):
        (tmp_path / name).symlink_to(folders["own"] / name)
    (tmp_path / "config.json").write_text(json.dumps(stated | {"source_maxlength": 1224, "candidate_maxlength": 412}))
    asked = cases(5, 4, 3)
    assert PairRM(tmp_path, "float32", 4096).score(*asked) == PairRM(folders["hf"], "float32", 4096).score(*asked)


@pytest.mark.parametrize(("prompt_words", "kept"), [(5, 1017), (1300, 409)])
def test_a_short_prompt_leaves_its_room_to_the_responses(folders, prompt_words, kept):
    ranker = PairRM(folders["hf"], "float32", 2048)
    prompt, text, other = " ".join(["mola"] * prompt_words), ["kano"] * (kept + 1), "tiri"

    def logits(words):
        return ranker.comparisons([prompt], [[" ".join(words), other]])[0]

    known = logits(text)
    assert known == logits([*text[:-1], "sudu"])
    assert known != logits([*text[:-2], "sudu", "kano"])


@pytest.mark.parametrize("batch_tokens", [1, 300, 100_000])
def test_the_size_of_a_batch_does_not_change_the_scores(folders, small, batch_tokens):
    asked = cases(6, 8, 4)
    found = PairRM(folders["own"], "float32", batch_tokens).score(*asked)
    assert largest_difference(found, small.score(*asked)) <= 1e-6


def test_scores_of_a_prompt_sum_to_0_and_equal_texts_score_equally(small):
    prompts, candidates = cases(7, 10, 4)
    candidates[0] = ["same", "same", "same", "same"]
    candidates[1] = ["mola", "kano", "mola", "mola"]
    found = small.score(prompts, candidates)
    assert all(sum(own) == pytest.approx(0, abs=1e-6) for own in found)
    assert found[0] == [0.0] * 4
    assert len({found[1][i] for i in (0, 2, 3)}) == 1 and found[1][0] == pytest.approx(-found[1][1] / 3, abs=1e-6)


def test_a_comparison_asks_both_orders_which_do_not_agree(small):
    (matrix,) = small.comparisons(["mola kano"], [["tiri", "sudu sudu", "tiri"]])
    assert [matrix[i][i] for i in range(3)] == [0.0] * 3 and matrix[0][2] == 0.0
    assert abs(matrix[0][1] + matrix[1][0]) > 1e-3
    assert small.score(["mola kano"], [["tiri", "sudu sudu"]])[0][0] == pytest.approx((matrix[0][1] - matrix[1][0]) / 2)


HOSTILE = [
    "[CLS]", "[PAD]", "[MASK]", "[SEP]", *PREFIXES, "[CLS][CLS]", "[[MASK]MASK]", "<|candidate<|candidate1|>|>",
    "＜|source|＞", "［ＣＬＳ］", "＜|candidate2|＞", "mola[PAD]",
]  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE)
def test_control_tokens_spelled_out_in_a_text_stay_text(small, text):
    seen = []
    hook = small._checkpoint.body.register_forward_pre_hook(
        lambda _module, _inputs, named: seen.extend(named["input_ids"][named["attention_mask"].bool()].tolist()),
        with_kwargs=True,
    )
    try:
        small.score([f"mola {text} kano"], [[f"{text}tiri", f"sudu {text}"]])
    finally:
        hook.remove()
    counts = {token: seen.count(small._tokenizer.token_to_id(token)) for token in ["[PAD]", "[MASK]", "[CLS]", "[SEP]"]}
    assert counts == {"[PAD]": 0, "[MASK]": 0, "[CLS]": 6, "[SEP]": 6}  # three parts in each of two comparisons
    assert [seen.count(small._tokenizer.token_to_id(prefix)) for prefix in PREFIXES] == [2, 2, 2, 0]


def test_a_separator_in_a_text_is_a_space(small):
    assert small.comparisons(["mola[SEP]kano"], [["a[SEP]", "b"]]) == small.comparisons(["mola kano"], [["a ", "b"]])


@pytest.mark.parametrize("candidates", [[], ["mola"]])
def test_fewer_than_two_responses_are_refused(small, candidates):
    with pytest.raises(RankingError, match=f"'why' has {len(candidates)} responses: pairrm .* at least two"):
        small.score(["how", "why"], [["a", "b"], candidates])


def test_lower_precision_stays_close_and_does_not_tie(folders, small):
    asked = cases(8, 6, 4)
    rough, exact = PairRM(folders["own"], "bfloat16", 2048).score(*asked), small.score(*asked)
    assert largest_difference(rough, exact) < 0.3 * max(max(own) for own in exact)
    assert [len(set(own)) for own in rough] == [len(set(own)) for own in exact]


def copy_of(folder: Path, target: Path) -> Path:
    for path in folder.iterdir():
        (target / path.name).write_bytes(path.read_bytes())
    return target


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json"])
def test_a_missing_file_is_named(folders, tmp_path, name):
    (copy_of(folders["hf"], tmp_path) / name).unlink()
    with pytest.raises(ModelError, match=f"has no {name}"):
        PairRM(tmp_path, "float32", 2048)


def test_another_architecture_is_refused():
    folder = fetch.fetch("random:0", None, models.cache_root()).folder
    with pytest.raises(ModelError, match="model_type llama, but only PairRM"):
        PairRM(folder, "float32", 2048)


def test_files_that_do_not_belong_together_are_refused(folders, tmp_path):
    from safetensors.torch import load_file, save_file

    weights, target = load_file(folders["hf"] / "model.safetensors"), copy_of(folders["hf"], tmp_path)
    embeddings = "pretrained_model.embeddings.word_embeddings.weight"
    save_file(weights | {embeddings: weights[embeddings][:-4].clone()}, target / "model.safetensors")
    with pytest.raises(ModelError, match="they must be equal"):
        PairRM(target, "float32", 2048)
    for damaged in (
        {name: value for name, value in weights.items() if "layer.1.output.dense.weight" not in name},
        weights | {"pretrained_model.encoder.conv.weight": weights["head_layer.4.bias"].clone()},
        {name: value for name, value in weights.items() if not name.startswith("head_layer")},
        weights | {"head_layer.4.weight": weights["head_layer.4.weight"][:, :-1].clone()},
        weights | {"pretrained_model.encoder.LayerNorm.weight": weights["head_layer.4.bias"].clone()},
        {"model.embed_tokens.weight": weights[embeddings]},
    ):
        save_file(damaged, target / "model.safetensors")
        with pytest.raises(ModelError, match="does not hold PairRM's tensors") as error:
            PairRM(target, "float32", 2048)
        assert "\n" not in error.value.message


def test_a_tokenizer_without_the_prefixes_is_refused(folders, tmp_path):
    target = copy_of(folders["hf"], tmp_path) / "tokenizer.json"
    target.write_text(target.read_text().replace("<|candidate2|>", "<|candidate7|>"))
    with pytest.raises(ModelError, match=r"no token <\|candidate2\|>"):
        PairRM(tmp_path, "float32", 2048)


def ranking(model: Path) -> scoring.Ranking:
    return scoring.Ranking(
        "pairrm",
        scoring.Places(Path("no-base"), Path("no-teacher")),
        "float32",
        2048,
        rankers=Rankers(pairrm=str(model)),
    )


def test_the_pipeline_scores_among_all_responses_and_keeps_finished_shards(folders, small, tmp_path):
    prompts, candidates = cases(9, 4, 4)
    candidates[0], candidates[1] = ["mola"] * 4, ["mola", "kano", "kano", "tiri"]
    rows = [{"prompt": p, "responses": c, "constraints": None} for p, c in zip(prompts, candidates, strict=True)]
    first, again = ranking(folders["own"]), ranking(folders["own"])
    found = [row for shard in scoring.score(rows, first, 2, tmp_path) for row in shard]
    asked = [(prompts[i : i + 2], candidates[i : i + 2]) for i in (0, 2)]
    assert [row["scores"] for row in found] == [own for both in asked for own in small.score(*both)]
    assert [row["comparisons"] for row in found] == [own for both in asked for own in small.comparisons(*both)]
    assert [row for shard in scoring.score(rows, again, 2, tmp_path) for row in shard] == found
    assert "loaded" in vars(first) and "loaded" not in vars(again)  # nothing was left to load it for


def test_other_weights_are_other_scores_to_the_store(folders, tmp_path):
    target = copy_of(folders["own"], tmp_path)
    before = ranking(target).fingerprint
    assert before["files"]["0"]["model.safetensors"] == models.file_sha256(target / "model.safetensors")
    (target / "model.safetensors").write_bytes(b"other")
    assert ranking(target).fingerprint != before


def test_a_reference_that_leads_nowhere_names_its_parameter():
    with pytest.raises(ModelError, match=r"rankers\.pairrm is no/such/folder: there is no folder"):
        _ = ranking(Path("no/such/folder")).fingerprint


@pytest.mark.skipif("PAIRLOOP_PAIRRM" not in os.environ, reason="PAIRLOOP_PAIRRM names no folder with PairRM's weights")
def test_the_published_logits_come_out():
    """The example of PairRM-hf's model card, in float32 and one order."""
    prompts, left = ["hello!", "I love you!"], ["hi!", "I hate you!"]
    right = ["f**k off!", "I love you, too!"]
    ranker = PairRM(Path(os.environ["PAIRLOOP_PAIRRM"]), "float32", 4096)
    found = ranker.comparisons(prompts, [list(own) for own in zip(left, right, strict=True)])
    assert [matrix[0][1] for matrix in found] == pytest.approx([1.9003021717071533, -1.2547134160995483], abs=1e-4)
