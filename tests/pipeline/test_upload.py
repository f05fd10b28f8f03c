"""Uploading what a run made, by the command: to a hub on this machine, and what is refused before it is asked."""

import hashlib
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from conftest import PEOPLE, ROOT, Project
from hub_server import TOKEN, Hub
from written import holding, machine

UPLOAD = (sys.executable, "-m", "stages.upload", "--to", "hf:me/tuned")
PAGE = (ROOT / "docs" / "upload.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^\$ python (-m stages.upload .+)$", PAGE, flags=re.M)
LINE = re.compile(r"^([0-9a-f]{64}) +([\d,]+)  (\S+)$", flags=re.M)


@pytest.fixture
def server() -> Iterator[Hub]:
    running = Hub()
    yield running
    running.close()


@dataclass(frozen=True)
class Uploaded:
    """What the page's three commands did, one after the other, in a project with keys around it."""

    project: Project
    server: Hub
    printed: list[str]

    def files(self, name: str) -> dict[str, bytes]:
        return self.server.repositories[name].files


@pytest.fixture(scope="module")
def uploaded(reproduced: Project, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Uploaded]:
    project = reproduced.copy(tmp_path_factory.mktemp("uploaded") / "project")
    project.run("git", "remote", "add", "origin", "https://somebody:wherewithal@example.org/run.git")
    server, printed = Hub(), []
    keys = PEOPLE | {"HF_TOKEN": TOKEN, "OPENAI_API_KEY": f"sk-{TOKEN}"}
    env = keys | {"HF_ENDPOINT": server.url, "HF_HUB_DISABLE_XET": "1"}
    for number, command in enumerate(COMMANDS):
        found = project.run(sys.executable, *command.split(), env=env | ({} if number else {"HF_TOKEN": ""}))
        printed.append(found.stdout)
        assert not (number == 0 and server.requests), "a dry run asks nothing"
    yield Uploaded(project, server, printed)
    server.close()


def upload(
    project: Project, *options: str, server: Hub | None = None, token: str = "", check: bool = True
) -> "tuple[int, str, str]":
    """Exit status and what is printed, for people and on errors."""
    place = server.url if server else "http://127.0.0.1:1"
    env = {"HF_ENDPOINT": place, "HF_HUB_DISABLE_XET": "1", "HF_TOKEN": token}
    found = project.run(*UPLOAD, *options, check=check, env=env)
    return found.returncode, found.stdout, found.stderr


def refused(project: Project, *options: str, server: Hub | None = None, token: str = "") -> str:
    status, _, said = upload(project, *options, server=server, token=token, check=False)
    assert status == 1 and "Traceback" not in said
    return said.removeprefix("Error: ").strip()


def listed(printed: str) -> dict[str, tuple[str, int]]:
    return {name: (sha256, int(size.replace(",", ""))) for sha256, size, name in LINE.findall(printed)}


def test_a_dry_run_says_each_files_size_and_checksum(uploaded: Uploaded) -> None:
    found, folder = listed(uploaded.printed[0]), uploaded.project.folder / "models" / "iteration_3"
    assert set(found) == {path.name for path in folder.iterdir()}
    for path in folder.iterdir():
        content = path.read_bytes()
        same = found[path.name] == (hashlib.sha256(content).hexdigest(), len(content))
        assert same == (path.name != "README.md"), path.name


def test_the_session_of_the_page_is_what_the_command_prints(uploaded: Uploaded) -> None:
    block = re.search(r"^\$ python -m stages.upload .+ --dry-run\n(.*?)```", PAGE, flags=re.S | re.M)
    assert block
    changing = re.compile(r"[0-9a-f]{64} +[\d,]+|[\d.]+ MB")
    assert changing.sub("…", uploaded.printed[0]) == changing.sub("…", block[1])


def test_a_model_is_uploaded_with_its_commit_and_results(uploaded: Uploaded) -> None:
    from huggingface_hub import ModelCard

    files, folder = uploaded.files("models/owner/tuned"), uploaded.project.folder / "models" / "iteration_3"
    assert listed(uploaded.printed[1]) == listed(uploaded.printed[0])
    assert listed(uploaded.printed[1]) == {
        name: (hashlib.sha256(content).hexdigest(), len(content))
        for name, content in files.items()
        if name != ".gitattributes"
    }
    assert files["adapter_model.safetensors"] == (folder / "adapter_model.safetensors").read_bytes()
    commits = uploaded.server.repositories["models/owner/tuned"].branches["main"]
    assert len(commits) == 2 and f"Its commit: hf:owner/tuned@{commits[-1][0]}\n" in uploaded.printed[1]
    card = ModelCard(files["README.md"].decode())
    assert uploaded.project.run("git", "rev-parse", "HEAD").stdout.strip() in card.text
    assert {"win_rate", "accuracy"} <= {result.metric_type for result in card.data.eval_results}


def test_the_data_are_a_private_data_set_that_loads(uploaded: Uploaded, tmp_path: Path) -> None:
    import datasets

    files = uploaded.files("datasets/owner/pairs")
    assert uploaded.server.repositories["datasets/owner/pairs"].private
    (tmp_path / "data").mkdir()
    for name, content in files.items():
        (tmp_path / "data" / name).write_bytes(content)
    found = datasets.load_dataset(str(tmp_path / "data"), cache_dir=str(tmp_path / "cache"))
    assert {f"{name}.parquet" for name in found} == {name for name in files if name.endswith(".parquet")}
    assert len(found) == 6 and "pool.parquet" not in files


def test_the_address_of_the_repository_is_in_the_card_without_name_and_password(uploaded: Uploaded) -> None:
    card = uploaded.files("models/owner/tuned")["README.md"].decode()
    assert "git clone https://example.org/run.git" in card and "wherewithal" not in card and "somebody" not in card


def test_what_is_uploaded_and_printed_holds_no_key_place_or_name(uploaded: Uploaded, tmp_path: Path) -> None:
    for name in uploaded.server.repositories:
        for path, content in uploaded.files(name).items():
            place = tmp_path / "hub" / name / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(content)
    (tmp_path / "hub" / "printed").write_text("".join(uploaded.printed))
    assert not holding(tmp_path / "hub", TOKEN, *machine(uploaded.project))
    assert not holding(uploaded.project.folder, TOKEN)


def test_a_file_that_no_run_writes_is_named_and_nothing_is_sent(project: Project, server: Hub) -> None:
    for what, path in (("model", "models/iteration_3/.env"), ("data", "data/mine.csv")):
        (project.folder / path).write_text("secret")
        said = refused(project, "--what", what, server=server, token=TOKEN)
        assert said.startswith(f"{path}: that is nothing that a run writes there") and not server.requests


def test_a_run_that_no_commit_names_is_refused(project: Project) -> None:
    ask = ("--what", "model", "--dry-run")
    path = project.folder / "params.yaml"
    path.write_text(path.read_text().replace("beta: 0.1", "beta: 0.2"))
    assert "upload: there are changes that are not committed" in refused(project, *ask)
    project.commit("Change beta without running")
    assert "upload: the run is not clean" in refused(project, *ask)


def test_what_cannot_be_is_one_sentence_before_anything_is_asked(project: Project) -> None:
    assert refused(project, "--what", "model").startswith("HF_TOKEN is not set.")
    assert refused(project, "--what", "model", "--iteration", "4", "--dry-run").startswith(
        "--iteration 4: the run has 3"
    )
    assert refused(project, "--what", "export", "--dry-run").startswith("--what export: params.yaml has no such export")
    assert "no repository on the hub" in refused(project, "--what", "model", "--to", "me/tuned")


def test_a_token_that_the_hub_does_not_know_is_one_sentence_without_it(project: Project, server: Hub) -> None:
    wrong = refused(project, "--what", "model", server=server, token="hf_" + "b" * 34)
    assert wrong.startswith("hf:me/tuned@main: the hub does not know this token.") and "bbb" not in wrong
    assert wrong.count("\n") == 0
