"""Uploading what a run made, by the command: to a hub on this machine, and what is refused before it is asked."""

import hashlib
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import ROOT, Project
from hub_server import TOKEN, Hub

UPLOAD = (sys.executable, "-m", "stages.upload", "--to", "hf:me/tuned")
PAGE = (ROOT / "docs" / "upload.md").read_text(encoding="utf-8")
LINE = re.compile(r"^([0-9a-f]{64}) +([\d,]+)  (\S+)$", flags=re.M)


@pytest.fixture
def server() -> Iterator[Hub]:
    running = Hub()
    yield running
    running.close()


def upload(
    project: Project, *options: str, server: Hub | None = None, token: str = "", check: bool = True
) -> "tuple[int, str, str]":
    """Exit status and what is printed, for people and on errors."""
    place = server.url if server else "http://127.0.0.1:1"
    env = {"HF_ENDPOINT": place, "HF_HUB_DISABLE_XET": "1", "HF_TOKEN": token}
    found = project.run(*UPLOAD, *options, check=check, env=env)
    return found.returncode, found.stdout, found.stderr


def refused(project: Project, *options: str, **more: object) -> str:
    status, _, said = upload(project, *options, check=False, **more)  # type: ignore[arg-type]
    assert status == 1 and "Traceback" not in said
    return said.removeprefix("Error: ").strip()


def listed(printed: str) -> dict[str, tuple[str, int]]:
    return {name: (sha256, int(size.replace(",", ""))) for sha256, size, name in LINE.findall(printed)}


def test_a_dry_run_says_each_files_size_and_checksum_and_asks_nothing(project: Project, server: Hub) -> None:
    _, printed, _ = upload(project, "--what", "model", "--dry-run", server=server)
    found, folder = listed(printed), project.folder / "models" / "iteration_3"
    assert set(found) == {path.name for path in folder.iterdir()} and not server.requests
    for path in folder.iterdir():
        content = path.read_bytes()
        same = found[path.name] == (hashlib.sha256(content).hexdigest(), len(content))
        assert same == (path.name != "README.md"), path.name
    assert printed.splitlines()[-1].startswith("hf:me/tuned@main, a model: 7 files, ")
    assert printed.splitlines()[-1].endswith("This was a dry run: nothing was sent.")


def test_a_model_is_uploaded_with_its_commit_and_results_and_again_without_a_change(
    project: Project, server: Hub
) -> None:
    from huggingface_hub import ModelCard

    sent = [upload(project, "--what", "model", "--iteration", "2", server=server, token=TOKEN)[1] for _ in range(2)]
    [commits, *others] = [one.branches["main"] for one in server.repositories.values()]
    assert not others and len(commits) == 2 and server.asked("PUT") == 1
    assert sent[0] == sent[1] and f"Its commit: hf:me/tuned@{commits[-1][0]}\n" in sent[0]
    files, folder = commits[-1][1], project.folder / "models" / "iteration_2"
    assert {name: content for name, content in files.items() if name not in ("README.md", ".gitattributes")} == {
        path.name: path.read_bytes() for path in folder.iterdir() if path.name != "README.md"
    }
    card = ModelCard(files["README.md"].decode())
    assert project.run("git", "rev-parse", "HEAD").stdout.strip() in card.text
    assert {"win_rate", "accuracy"} <= {result.metric_type for result in card.data.eval_results}
    assert TOKEN not in "".join(sent)


def test_the_data_are_a_data_set_that_loads(project: Project, server: Hub, tmp_path: Path) -> None:
    import datasets

    upload(project, "--what", "data", "--private", server=server, token=TOKEN)
    repository = server.repositories["datasets/me/tuned"]
    assert repository.private
    (tmp_path / "data").mkdir()
    for name, content in repository.files.items():
        (tmp_path / "data" / name).write_bytes(content)
    found = datasets.load_dataset(str(tmp_path / "data"), cache_dir=str(tmp_path / "cache"))
    assert {f"{name}.parquet" for name in found} == {name for name in repository.files if name.endswith(".parquet")}
    assert len(found) == 6 and "pool.parquet" not in repository.files


def test_a_file_that_no_run_writes_is_named_and_nothing_is_sent(project: Project, server: Hub) -> None:
    for what, path in (("model", "models/iteration_3/.env"), ("data", "data/mine.csv")):
        (project.folder / path).write_text("secret")
        said = refused(project, "--what", what, server=server, token=TOKEN)
        assert said.startswith(f"{path}: that is nothing that a run writes there") and not server.requests


def test_a_run_that_no_commit_names_is_refused(project: Project, server: Hub) -> None:
    ask = ("--what", "model", "--dry-run")
    (project.folder / "note.txt").write_text("new")
    assert "upload: there are changes that are not committed" in refused(project, *ask)
    project.commit("Add a note")
    upload(project, *ask)
    (project.folder / "params.yaml").write_text(
        (project.folder / "params.yaml").read_text().replace("beta: 0.1", "beta: 0.2")
    )
    project.commit("Change beta without running")
    assert "upload: the run is not clean" in refused(project, *ask)


def test_what_cannot_be_is_one_sentence(project: Project, server: Hub) -> None:
    wrong = refused(project, "--what", "model", server=server, token="hf_" + "b" * 34)
    assert wrong.startswith("hf:me/tuned@main: the hub does not know this token.") and "bbb" not in wrong
    assert refused(project, "--what", "model", server=server).startswith("HF_TOKEN is not set.")
    assert refused(project, "--what", "model", "--iteration", "4").startswith("--iteration 4: the run has 3, from 1.")
    assert refused(project, "--what", "export", "--dry-run").startswith("--what export: the run has no export")
    assert "no repository on the hub" in refused(project, "--what", "model", "--to", "me/tuned")
    gone = refused(project, "--what", "model", token=TOKEN)
    assert "the hub at http://127.0.0.1:1 is not reached" in gone and "Run this again" in gone
    assert [gone, wrong] == [gone.splitlines()[0], wrong.splitlines()[0]]


def test_the_address_of_the_repository_is_in_the_card_without_the_password_in_it(project: Project, server: Hub) -> None:
    project.run("git", "remote", "add", "origin", "https://somebody:secret@example.org/run.git")
    upload(project, "--what", "model", server=server, token=TOKEN)
    card = server.repositories["models/me/tuned"].files["README.md"].decode()
    assert "git clone https://example.org/run.git" in card and "secret" not in card and "somebody" not in card


def test_the_session_of_the_page_is_what_the_command_prints(project: Project) -> None:
    block = re.search(r"```console\n\$ python (-m stages.upload .+ --dry-run)\n(.*?)```", PAGE, flags=re.S)
    assert block
    printed = project.run(sys.executable, *block[1].split(), env={"HF_TOKEN": ""}).stdout
    changing = re.compile(r"[0-9a-f]{64} +[\d,]+|[\d.]+ MB")
    assert changing.sub("…", printed) == changing.sub("…", block[2])


def test_every_command_of_the_page_is_one(project: Project, server: Hub) -> None:
    commands = re.findall(r"^\$ python (-m stages.upload .+)$", PAGE, flags=re.M)
    env = {"HF_ENDPOINT": server.url, "HF_HUB_DISABLE_XET": "1", "HF_TOKEN": TOKEN}
    for command in commands:
        project.run(sys.executable, *command.split(), env=os.environ | env)
    assert len(commands) == 3 and {*server.repositories} == {"models/owner/tuned", "datasets/owner/pairs"}
