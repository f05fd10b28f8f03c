"""conf/ranker: each preset composes, fits, and ranks with a tiny model of the class that it names."""

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner
from omegaconf import OmegaConf
from pairrm_data import write_checkpoints
from test_reward import QWEN3

from pairloop import params
from pairloop.files import records
from pairloop.models.random_model import write_random_model
from stages import rank as verb
from stages.schedule import composed

ROOT = Path(__file__).parents[2]
PRESETS = sorted(path.stem for path in (ROOT / "conf" / "ranker").glob("*.yaml"))
PROMPTS = ["mola kano", "tiri sudu reno"]
RESPONSES = ["mola", "kano tiri", "reno lono lono pari", "sudu", "pani"]


def write_qwen3(folder: Path) -> Path:
    """A tiny Qwen3ForSequenceClassification with one output, and Qwen3's chat template as far as it matters here."""
    import torch
    from transformers import AutoTokenizer, Qwen3Config, Qwen3ForSequenceClassification

    write_random_model(0, folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.chat_template = QWEN3
    tokenizer.save_pretrained(folder)
    size = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "head_dim": 8}
    torch.manual_seed(0)
    config = Qwen3Config(vocab_size=len(tokenizer), num_key_value_heads=2, num_labels=1, pad_token_id=0, **size)
    Qwen3ForSequenceClassification(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A tiny model for each ranker that a preset can name."""
    return {
        "pairrm": write_checkpoints(tmp_path_factory.mktemp("pairrm"))["hf"],
        "reward": write_qwen3(tmp_path_factory.mktemp("reward")),
    }


def write_responses() -> None:
    ids = [hashlib.sha256(prompt.encode()).hexdigest() for prompt in PROMPTS]
    texts = [{"prompt_id": name, "prompt": prompt} for name, prompt in zip(ids, PROMPTS, strict=True)]
    records.write(Path("prompts"), records.PROMPT, [[row | {"source": "s", "constraints": None} for row in texts]])
    tokens = {"token_counts": [1] * 5, "token_ids": [[1]] * 5, "logps": None}
    rows = [row | {"responses": RESPONSES, "finish_reasons": ["stop"] * 5} | tokens for row in texts]
    records.write(Path("responses"), records.RESPONSE, [rows])


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_ranks_with_a_model_of_the_class_that_it_names(
    preset: str, weights: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    kind = composed((f"+ranker={preset}",)).rank.ranker
    values: Any = OmegaConf.to_container(composed((f"+ranker={preset}", f"rankers.{kind}={weights[kind]}")))
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_text(json.dumps(values))
    write_responses()
    outs = ["rankings", "rank.json", "time.json"]
    found = CliRunner().invoke(
        verb.main, ["--iteration", "1", "base", "policy", "teacher", "prompts", "responses", *outs]
    )
    assert found.exit_code == 0, found.output
    rows = records.read(Path("rankings"), records.RANKING)
    assert [len({round(score, 6) for score in row["scores"]}) for row in rows] == [5, 5]
    assert all((row["comparisons"] is not None) == (kind == "pairrm") for row in rows)


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_changes_the_ranker_and_its_batches_only(preset: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    plain, changed = (OmegaConf.to_container(composed(changes)) for changes in ((), (f"+ranker={preset}",)))
    assert isinstance(plain, dict) and isinstance(changed, dict)
    params.parse(changed)
    assert {name for name in plain if plain[name] != changed[name]} <= {"rank", "rankers"}
    assert changed["rank"]["ranker"] in ("pairrm", "reward")


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_says_what_its_ranker_costs_and_how_good_it_is_after_whom(preset: str) -> None:
    text = (ROOT / "conf" / "ranker" / f"{preset}.yaml").read_text()
    for said in ("Licence ", r"0\.\d billion parameters", r"\d+ forwards per prompt at n = 5", r"RewardBench \d\d\.\d"):
        assert re.search(said, text), said
    assert re.search(r"arXiv \d{4}\.\d{5}", text)
    page = (ROOT / "docs" / "rankers.md").read_text()
    row = next(line for line in page.splitlines() if line.startswith(f"| `{preset}` |"))
    assert re.findall(r"RewardBench (\d\d\.\d)", text)[0] in row
    assert next(iter(yaml.safe_load(text)["rankers"].values())).removeprefix("hf:") in row


def test_there_is_no_preset_of_what_does_not_load_without_code_of_its_own() -> None:
    assert PRESETS == ["better-pairrm", "pairrm", "skywork-0.6b"]
