"""PairRM against llm_blender itself, and against a plain restatement of what it computes, on tiny random weights."""

import json
import os
import random
from pathlib import Path

import pytest
from pairrm_data import (
    HOSTILE,
    PREFIXES,
    WORDS,
    asked_of_the_package,
    cases,
    copy_of,
    largest_difference,
    ranks,
    shimmed_package,
    write_checkpoints,
)

from pairloop.errors import ModelError, RankingError
from pairloop.files import records
from pairloop.models import fetch, references
from pairloop.params import Rankers
from pairloop.rankers import scoring
from pairloop.rankers.pairrm import deberta
from pairloop.rankers.pairrm.ranker import PairRM


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return write_checkpoints(tmp_path_factory.mktemp("pairrm"))


@pytest.fixture
def package(tmp_path, monkeypatch):
    return shimmed_package(tmp_path, monkeypatch)


@pytest.fixture(scope="module")
def small(folders):
    return PairRM(folders["own"], "float32", 2048)


def assert_same(found, expected):
    assert largest_difference(found, expected) <= 1e-6
    assert ranks(found) == ranks(expected)
    assert max(abs(score) for own in expected for score in own) > 0.1  # else 1e-6 would say little


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::RuntimeWarning:dataclasses_json")
@pytest.mark.parametrize(("seed", "prompts", "count"), [(1, 70, 3), (2, 30, 4), (3, 8, 5)])
def test_scores_are_those_of_llm_blender_with_batch_size_1(package, folders, small, seed, prompts, count):
    asked = cases(seed, prompts, count)
    assert_same(small.score(*asked), asked_of_the_package(package, folders["own"], *asked))


def with_published_limits(folders, target: Path) -> Path:
    """llm-blender/PairRM's layout with its own limits, which PairRM-hf has too."""
    stated = json.loads((folders["own"] / "config.json").read_text())
    for name in ("model.safetensors", "tokenizer.json"):
        (target / name).symlink_to(folders["own"] / name)
    (target / "config.json").write_text(json.dumps(stated | {"source_maxlength": 1224, "candidate_maxlength": 412}))
    return target


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::RuntimeWarning:dataclasses_json")
def test_scores_of_the_other_layout_are_those_of_llm_blender_too(package, folders, tmp_path):
    prompts, candidates = cases(10, 100, 3)
    long, longer = " ".join(WORDS * 22), " ".join(WORDS * 30)  # 1,056 and 1,440 tokens, of at most 1,004 and 1,224
    ranker, other = PairRM(folders["hf"], "float32", 4096), with_published_limits(folders, tmp_path)
    for asked in ((prompts, candidates), (["mola", longer], [[long, "[SEP]"], [longer, ""]])):
        assert_same(ranker.score(*asked), asked_of_the_package(package, other, *asked))


@pytest.mark.filterwarnings("ignore::RuntimeWarning:dataclasses_json")
@pytest.mark.filterwarnings("ignore:.*max_length.*")
def test_logits_are_those_of_the_class_that_llm_blender_loads_pairrm_hf_with(package, folders):
    import torch
    from llm_blender.blender.blender_utils import tokenize_pair
    from llm_blender.pair_ranker.pairrm import DebertaV2PairRM
    from safetensors.torch import load_file
    from transformers import DebertaV2Config, PreTrainedTokenizerFast

    tokenizer = PreTrainedTokenizerFast.from_pretrained(folders["hf"])
    stated = json.loads((folders["hf"] / "config.json").read_text())
    missing = {"sep_token_id": 2, "cand_prefix_id": stated["source_prefix_id"] + 3}  # transformers 5 asks for them
    model = DebertaV2PairRM(DebertaV2Config(**stated | missing)).eval()
    model.load_state_dict(load_file(folders["hf"] / "model.safetensors"))
    prompts, candidates = ["mola", "kano tiri", ""], [["tiri", "sudu"], ["", "mola mola"], ["reno", "lono lono pari"]]
    encoded = tokenize_pair(tokenizer, prompts, *(list(side) for side in zip(*candidates, strict=True)))
    with torch.no_grad():
        expected = model(encoded["input_ids"], encoded["attention_mask"], return_dict=True).logits.tolist()
    found = [matrix[0][1] for matrix in PairRM(folders["hf"], "float32", 4096).comparisons(prompts, candidates)]
    assert found == pytest.approx(expected, abs=1e-6)


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
    with_published_limits(folders, tmp_path)
    asked = cases(5, 4, 3)
    assert PairRM(tmp_path, "float32", 4096).score(*asked) == PairRM(folders["hf"], "float32", 4096).score(*asked)


@pytest.mark.slow
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


@pytest.mark.parametrize("text", HOSTILE)
def test_control_tokens_spelled_out_in_a_text_stay_text(small, text):
    pairs = small._pairs(f"mola {text} kano", [f"{text}tiri", f"sudu {text}"])
    seen = [token for pair in pairs for token in pair.ids]
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


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json"])
def test_a_missing_file_is_named(folders, tmp_path, name):
    (copy_of(folders["hf"], tmp_path) / name).unlink()
    with pytest.raises(ModelError, match=f"has no {name}"):
        PairRM(tmp_path, "float32", 2048)


def test_a_damaged_file_is_a_plain_error(folders, tmp_path):
    target = copy_of(folders["hf"], tmp_path)
    for name in ("model.safetensors", "tokenizer.json", "config.json"):
        kept = (target / name).read_bytes()
        (target / name).write_bytes(kept[: len(kept) // 2])
        with pytest.raises(ModelError, match=f"{name} .*cannot be read"):
            PairRM(target, "float32", 2048)
        (target / name).write_bytes(kept)


def test_equal_responses_score_0_and_a_prompt_with_none_is_refused_wherever_it_stands(small):
    assert small.score(["mola", "kano"], [["", ""], ["tiri"] * 5]) == [[0.0] * 2, [0.0] * 5]
    assert small.score([], []) == []
    with pytest.raises(RankingError, match="'kano' has 0 responses"):
        small.score(["mola", "kano", "tiri"], [["a", "b"], [], ["c", "d"]])


def test_another_architecture_is_refused():
    folder = fetch.fetch("random:0", None, references.cache_root()).folder
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
    assert before["files"]["0"]["model.safetensors"] == records.file_sha256(target / "model.safetensors")
    (target / "model.safetensors").write_bytes(b"other")
    assert ranking(target).fingerprint != before


def test_a_reference_that_leads_nowhere_names_its_parameter():
    with pytest.raises(ModelError, match=r"rankers\.pairrm is no/such/folder: there is no folder"):
        _ = ranking(Path("no/such/folder")).fingerprint


def test_the_cpu_s_own_reading_of_deberta_is_transformers_one(small):
    import torch

    body, draw = small._checkpoint.body, random.Random(11)
    texts = [[draw.randint(5, 90) for _ in range(length)] for length in (3, 40, 4, 700, 41, 40)]
    positions = [[0, len(text) - 1, 1] for text in texts]
    assert deberta.applies(body)
    with torch.inference_mode():
        found = deberta.states(body, deberta.relative(body), texts, positions)
        for text, own, states in zip(texts, positions, found, strict=True):
            torch.testing.assert_close(states, body(torch.tensor([text])).last_hidden_state[0, own], atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    "change", [{"share_att_key": False}, {"pos_att_type": ["c2p"]}, {"num_hidden_layers": 1}, {"type_vocab_size": 2}]
)
def test_another_deberta_is_read_by_transformers(folders, change):
    from transformers import DebertaV2Config, DebertaV2Model

    stated = json.loads((folders["hf"] / "config.json").read_text())
    assert not deberta.applies(DebertaV2Model(DebertaV2Config(**stated | change)))


def real_weights() -> Path | None:
    """PairRM itself, where this machine has it: $PAIRLOOP_PAIRRM, or a copy that was fetched from the hub."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    if "PAIRLOOP_PAIRRM" in os.environ:
        return Path(os.environ["PAIRLOOP_PAIRRM"])
    try:
        folder = Path(snapshot_download("llm-blender/PairRM-hf", local_files_only=True))
    except LocalEntryNotFoundError:
        return None
    return folder if (folder / "model.safetensors").is_file() else None


def test_the_published_logits_come_out():
    """The example of PairRM-hf's model card, in float32 and one order."""
    folder = real_weights()
    if folder is None:
        pytest.skip("this machine has no PairRM: neither PAIRLOOP_PAIRRM nor the hub's cache names its folder")
    prompts, left = ["hello!", "I love you!"], ["hi!", "I hate you!"]
    right = ["f**k off!", "I love you, too!"]
    ranker = PairRM(folder, "float32", 4096)
    found = ranker.comparisons(prompts, [list(own) for own in zip(left, right, strict=True)])
    assert [matrix[0][1] for matrix in found] == pytest.approx([1.9003021717071533, -1.2547134160995483], abs=1e-4)
