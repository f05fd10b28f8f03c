"""What is uploaded: the files of a folder whose names are known, to a place that can be."""

import hashlib
from pathlib import Path

import pytest

from pairloop import hub
from pairloop.errors import DataError


def folder(place: Path, *names: str) -> Path:
    for name in names:
        (place / name).write_text(name)
    return place


def test_the_files_of_a_model_are_known_by_name_and_listed_in_order(tmp_path: Path) -> None:
    names = ["README.md", "adapter_config.json", "adapter_model.safetensors", "tokenizer.json", "vocab.txt"]
    assert [path.name for path in hub.files(folder(tmp_path, *reversed(names)), hub.MODEL)] == names


@pytest.mark.parametrize(
    "name", ["model.safetensors", "model-00001-of-00003.safetensors", "chat_template.jinja", "merges.txt"]
)
def test_weights_in_parts_and_every_tokenizer_are_a_models(name: str) -> None:
    assert hub.MODEL.fullmatch(name) and hub.EXPORT.fullmatch(name)


@pytest.mark.parametrize(
    "name", ["key.txt", ".env", "notes.md", "model.bin", "weights.pkl", "READMExmd", "config.json.bak", "model.gguf"]
)
def test_a_file_that_no_run_writes_is_refused_by_its_name(name: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=f"{name}: that is nothing that a run writes there.*nothing is uploaded"):
        hub.files(folder(tmp_path, "model.safetensors", name), hub.MODEL)


def test_a_folder_in_a_folder_is_refused(tmp_path: Path) -> None:
    for name in ("vocab.txt", "checkpoint"):  # the first by what it is, though its name is a file's
        (folder(tmp_path, "model.safetensors") / name).mkdir()
        with pytest.raises(DataError, match=f"{name}: that is nothing"):
            hub.files(tmp_path, hub.MODEL)
        (tmp_path / name).rmdir()


def test_an_export_may_be_one_file(tmp_path: Path) -> None:
    assert [path.name for path in hub.files(folder(tmp_path, "iteration_3-q8_0.gguf"), hub.EXPORT)]


def test_a_folder_without_weights_or_rows_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no weights and no rows. `dvc pull`"):
        hub.files(folder(tmp_path, "README.md"), hub.MODEL)
    with pytest.raises(DataError, match=r"no such folder. `dvc pull`"):
        hub.files(tmp_path / "none", hub.DATA)


def test_size_and_checksum_are_those_of_the_content(tmp_path: Path) -> None:
    path = folder(tmp_path, "config.json") / "config.json"
    for content in (path, path.read_bytes()):
        found = hub.file("config.json", content)
        assert (found.size, found.sha256) == (11, hashlib.sha256(b"config.json").hexdigest())


@pytest.mark.parametrize(
    "text",
    [
        *("owner/name", "hf:name", "hf:owner/name/more", "hf:owner/", "hf:../name", "hf:o/na me", "hf:o/n.git"),
        *("hf:o/n..m", "hf:o--p/n", "s3:o/n"),
    ],
)
def test_a_place_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(DataError, match=r"--to .*: that is no repository on the hub. Needed: hf:owner/name"):
        hub.target(text, "model", "main", False)


def test_a_place_is_an_owner_a_name_and_a_branch() -> None:
    found = hub.target("hf:some-body/smol_135M.v2", "dataset", "runs/2", True)
    assert (found.repository, str(found)) == ("some-body/smol_135M.v2", "hf:some-body/smol_135M.v2@runs/2")
    for branch in ("", "a b", "-x", "a..b", "x/", "a.lock"):
        with pytest.raises(DataError, match="no name of a branch"):
            hub.target("hf:o/n", "model", branch, False)
