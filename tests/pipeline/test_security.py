"""Nothing that a run writes, publishes or uploads holds a key, a place of the machine or a name of who ran it."""

import io
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import PEOPLE, ROOT, SECRETS, Project
from hub_server import TOKEN, Hub

PUBLISHED = ("published", "data", "models", "results", "report", "dvc.lock", "params.yaml", "conf", ".dvc/config")
"""What others get to see: of a run in git, and of what DVC keeps."""


def texts(content: bytes) -> Iterator[bytes]:
    """A file's bytes, and what a table holds unpacked."""
    yield content
    if content[:4] == b"PAR1":
        import pyarrow.parquet as pq

        table = pq.read_table(io.BytesIO(content))
        yield json.dumps(table.to_pylist(), ensure_ascii=False).encode()
        yield repr(pq.read_metadata(io.BytesIO(content)).metadata).encode()


def holding(folder: Path, *words: str) -> dict[str, set[str]]:
    """The files in a folder, or the one file, that hold one of the words, and which."""
    paths = [folder] if folder.is_file() else [path for path in sorted(folder.rglob("*")) if path.is_file()]
    found = {
        str(path): {word for text in texts(path.read_bytes()) for word in words if word.encode() in text}
        for path in paths
    }
    return {path: own for path, own in found.items() if own}


def machine(project: Project) -> list[str]:
    """Places of this machine, its name and its user's: none may be in what others see."""
    places = {project.folder, ROOT, Path.home(), Path(tempfile.gettempdir()), Path(sys.prefix)} - {Path("/")}
    names = {*PEOPLE.values(), socket.gethostname()} - {"localhost"}
    return [*(f"{place}/" for place in places), str(project.folder), *(name for name in names if len(name) > 5)]


@pytest.fixture
def published(project: Project) -> Project:
    """A project whose run is published."""
    publish = (sys.executable, "-m", "stages.publish")
    project.run(*publish, check=False)  # notes the run's parameters
    project.run("dvc", "repro", env=SECRETS | PEOPLE)
    project.commit("Note the parameters")
    project.run(*publish, env=SECRETS | PEOPLE)
    project.commit("Publish")
    return project


def test_a_word_is_found_in_a_table_that_is_packed_and_in_a_folder(tmp_path: Path) -> None:
    from pairloop.files import records

    row = {"prompt_id": "1", "prompt": "the word wherewithal" * 99, "source": "a", "constraints": None}
    records.write(tmp_path / "in" / "a.parquet", records.PROMPT, [[row] * 99])
    assert [*holding(tmp_path, "wherewithal")] == [str(tmp_path / "in" / "a.parquet")]
    assert not holding(tmp_path, "whereas")


def test_no_key_is_written_anywhere_and_no_place_or_name_where_others_see_it(
    published: Project, reproduced: Project
) -> None:
    everything = [reproduced.folder.parent / "printed", published.folder]
    assert not [found for place in everything if (found := holding(place, *SECRETS.values()))]
    shown = [found for name in PUBLISHED if (found := holding(published.folder / name, *machine(published)))]
    assert not shown


def test_what_is_uploaded_holds_no_key_place_or_name(project: Project, tmp_path: Path) -> None:
    server = Hub()
    env = PEOPLE | {
        "HF_ENDPOINT": server.url,
        "HF_HUB_DISABLE_XET": "1",
        "HF_TOKEN": TOKEN,
        "OPENAI_API_KEY": "sk-" + TOKEN,
    }
    printed = ""
    for what in ("model", "data"):
        found = project.run(sys.executable, "-m", "stages.upload", "--to", "hf:me/it", "--what", what, env=env)
        printed += found.stdout + found.stderr
    server.close()
    for name, repository in server.repositories.items():
        for path, content in repository.files.items():
            place = tmp_path / "hub" / name / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(content)
    (tmp_path / "hub" / "printed").write_text(printed)
    assert len(server.repositories) == 2 and not holding(tmp_path / "hub", TOKEN, *machine(project))
    assert not holding(project.folder, TOKEN)


def test_what_is_committed_here_holds_no_key_and_no_persons_folder() -> None:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout.decode()
    secret = re.compile(
        rb"\bhf_[A-Za-z0-9]{30,}|\bsk-[A-Za-z0-9_-]{20,}|\bAKIA[0-9A-Z]{16}|-----BEGIN [A-Z ]*PRIVATE KEY"
    )
    person = re.compile(rb"(?<![\w.])/(?:home|Users)/(?!somebody\b|someone\b|you\b|me\b)\w+/|(?<![\w.~])/root/\w")
    found = {}
    for name in filter(None, listed.split("\0")):
        for text in texts((ROOT / name).read_bytes()) if (ROOT / name).is_file() else ():
            if hits := [*secret.findall(text), *person.findall(text)]:
                found[name] = hits
    assert not found


def test_dvcs_committed_configuration_has_no_credentials() -> None:
    text = (ROOT / ".dvc" / "config").read_text(encoding="utf-8")
    assert not re.search(
        r"^\s*(password|token|\w*secret\w*|\w*access_key\w*|sas_token|connection_string)\s*=", text, re.M
    )
    assert not re.search(r"://[^/\s]*@", text)
    ignored = subprocess.run(["git", "check-ignore", ".dvc/config.local"], cwd=ROOT, capture_output=True)
    assert ignored.returncode == 0 and os.fsencode(".dvc/config.local") in ignored.stdout
