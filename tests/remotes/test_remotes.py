"""Remotes of one's own as docs/remotes.md sets them up, against real servers: what arrives, and what failures leave.

The run is that of the smoke recipe, with one large file beside it, on which transfers are cut off.
"""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import remote_servers
import yaml
from conftest import ROOT, Project, dry_make, new_project
from remote_servers import Server
from stage_runs import stages

from stages import artifacts, publish

pytestmark = pytest.mark.clients

PAGE = (ROOT / "docs" / "remotes.md").read_text(encoding="utf-8")
SPLIT, OTHER = "data/train_iteration_1.parquet", "data/test_iteration_1.parquet"
LARGE, LARGE_BYTES = "weights.bin", 40_000_000


@dataclass
class Remote:
    """A remote, set up in every clone by the commands of the page's section, with these names in the place of its."""

    section: str
    names: dict[str, str]
    place: Path
    """Where the server keeps what it has."""
    server: Server | None = None
    replace: Callable[[str, bytes | None], None] | None = None
    """Give the object at an address another content, or delete it."""
    wrong: dict[str, str] = field(default_factory=dict)
    """Names for credentials that are refused."""

    def commands(self) -> list[str]:
        """The page's commands, up to the first push."""
        block = re.search(rf"^## {self.section}\n.*?```console\n(.*?)```", PAGE, flags=re.M | re.S)
        assert block, self.section
        commands = [line[2:] for line in block[1].splitlines() if line.startswith("$ ")]
        assert commands[-1] in ("dvc push", "dvc pull")
        return commands[:-1]

    def set_up(self, project: Project, names: dict[str, str], local: bool) -> None:
        """Run the page's commands that go into .dvc/config, or those that go into .dvc/config.local."""
        for command in self.commands():
            for old, new in names.items():
                command = command.replace(old, new)
            if ("--local" in command) == local and not command.startswith(("pip ", "export ")):
                project.run(*shlex.split(command))


def directory(folder: Path) -> Remote:
    place = folder / "stored"

    def replace(address: str, content: bytes | None) -> None:
        Path(address).unlink()
        if content is not None:
            Path(address).write_bytes(content)

    return Remote("A directory", {"/shared/pairloop": str(place)}, place, replace=replace)


def s3(folder: Path) -> Remote:
    server, address = remote_servers.s3(folder / "s3")
    names = {"https://s3.example.org": address, "s3://bucket/pairloop": "s3://bucket/run"}
    names |= {"KEY": remote_servers.KEY, "SECRET": remote_servers.SECRET}
    replace = remote_servers.replacer(address)
    return Remote("S3, and what speaks like it", names, folder / "s3", server, replace, {"SECRET": "another"})


def ssh(folder: Path) -> Remote:
    server, port, key = remote_servers.sshd(folder / "ssh")
    place = folder / "stored"
    names = {
        "ssh://user@host.example.org/data/pairloop": f"ssh://127.0.0.1:{port}{place}",
        "~/.ssh/id_ed25519": str(key),
    }

    def replace(address: str, content: bytes | None) -> None:
        path = Path("/" + address.split("/", 3)[3])
        path.unlink()
        if content is not None:
            path.write_bytes(content)

    return Remote("ssh", names, place, server, replace, {"~/.ssh/id_ed25519": str(folder / "ssh" / "host")})


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The smoke recipe, run in this process as what is to be published, and a large file; nothing is pushed."""
    project = new_project(tmp_path_factory.mktemp("ran") / "project")
    values = yaml.safe_load((project.folder / "params.yaml").read_text())
    (project.folder / publish.PARAMETERS).write_text(publish.parameters(values))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(project.folder)
        patch.setenv("DVC_ROOT", str(project.folder))
        for stage in stages(project.folder).values():
            stage.run()
    (project.folder / LARGE).write_bytes(os.urandom(LARGE_BYTES))
    project.run("dvc", "add", "--quiet", LARGE)
    project.run("dvc", "commit", "--force")
    project.commit("Run")
    return project


@pytest.fixture(scope="module", params=[directory, s3, ssh])
def remote(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Remote]:
    """A remote whose server runs, and which holds nothing yet."""
    found = request.param(tmp_path_factory.mktemp(request.param.__name__))
    if found.server:
        found.server.start()
    yield found
    if found.server:
        found.server.kill()


@pytest.fixture(scope="module")
def owner(remote: Remote, ran: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The project of the one who made the run, with the remote set up, but nothing pushed."""
    project = ran.copy(tmp_path_factory.mktemp("owner") / "project")
    remote.set_up(project, remote.names, local=False)
    project.commit("Use our remote")
    return project


@pytest.fixture(scope="module")
def pushed(remote: Remote, owner: Project) -> Project:
    """The same after a push that was refused, one that was cut off where there is a server, and one that was whole."""
    if remote.server:
        refused(remote, owner)
        remote.set_up(owner, remote.names, local=True)
        said = cut_off(owner, ["dvc", "push"], remote.server, remote.place)
        assert re.search(r"\d+ files failed to upload", said[-1]), said
        remote.server.start()
    owner.run("dvc", "push")
    return owner


def refused(remote: Remote, project: Project) -> None:
    """Push with wrong credentials: one message, and nothing arrives."""
    remote.set_up(project, remote.names | remote.wrong, local=True)
    found = project.run("dvc", "push", check=False)
    assert found.returncode and "Traceback" not in found.stderr
    [said] = [line for line in found.stderr.splitlines() if line.startswith("ERROR")]
    assert "Forbidden" in said or "Permission denied" in said


def cut_off(project: Project, command: list[str], server: Server, place: Path) -> list[str]:
    """Kill the server once a part of the large file is there; the errors of the command that then fails."""
    log = project.folder.parent / "log"
    before = size(place)
    with log.open("w") as written:
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        running = subprocess.Popen(command, cwd=project.folder, env=os.environ | {"PATH": path}, stderr=written)
    while size(place) - before < LARGE_BYTES // 10:
        assert running.poll() is None, log.read_text()
        time.sleep(0.001)
    server.kill()
    assert running.wait() != 0
    assert "Traceback" not in log.read_text()
    return [line for line in log.read_text().splitlines() if line.startswith("ERROR")]


def size(folder: Path) -> int:
    """Bytes of the files below a folder that others write to."""
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_size if path.is_file() else 0
        except FileNotFoundError:
            continue
    return total


def cloned(owner: Project, folder: Path) -> Project:
    """A fresh clone whose user has set up their own credentials."""
    subprocess.run(["git", "clone", "-q", str(owner.folder), str(folder)], check=True)
    clone = Project(folder)
    for name, value in (("user.name", "t"), ("user.email", "t@example.org")):
        clone.run("git", "config", name, value)
    mine = owner.folder / ".dvc" / "config.local"
    if mine.exists():
        shutil.copy(mine, clone.folder / ".dvc")
    return clone


@pytest.fixture
def clone(pushed: Project, tmp_path: Path) -> Project:
    return cloned(pushed, tmp_path / "clone")


def cached(project: Project) -> set[str]:
    """The md5 of each object in the project's cache."""
    found = (project.folder / ".dvc/cache/files/md5").glob("??/*")
    return {path.parent.name + path.name for path in found if not path.name.startswith(".")}


def test_one_split_comes_alone_and_loads(clone: Project) -> None:
    from datasets import load_dataset

    clone.run("dvc", "pull", SPLIT)
    assert cached(clone) == {clone.md5s()[SPLIT]}
    rows = load_dataset("parquet", data_files=str(clone.folder / SPLIT), split="train")
    assert rows.column_names[:4] == ["prompt_id", "prompt", "chosen", "rejected"] and len(rows)


def test_a_pull_that_is_cut_off_leaves_nothing_half_there_and_the_next_brings_all(
    remote: Remote, pushed: Project, clone: Project
) -> None:
    if remote.server:
        said = cut_off(clone, ["dvc", "pull"], remote.server, clone.folder / ".dvc/cache")
        assert re.search(r"\d+ files failed to download", said[-1]), said
        assert not (clone.folder / LARGE).exists()
        assert not {path for path in (clone.folder / ".dvc/cache/files/md5").glob("??/*") if path.name.startswith(".")}
        remote.server.start()
    clone.run("dvc", "pull")
    assert (clone.folder / LARGE).read_bytes() == (pushed.folder / LARGE).read_bytes()
    assert "up to date" in clone.run("dvc", "status").stdout


def test_another_project_gets_imports_and_opens_a_split(pushed: Project, clone: Project, tmp_path: Path) -> None:
    had_by_another(pushed, clone, tmp_path / "other")


def had_by_another(owner: Project, clone: Project, folder: Path) -> None:
    """Get, import and open what a clone does not have itself, from another project."""
    import dvc.api

    wanted = (owner.folder / SPLIT).read_bytes()
    other = Project(folder)
    other.folder.mkdir()
    other.run("git", "init", "-q")
    other.run("dvc", "init", "-q")
    other.run("dvc", "get", str(clone.folder), SPLIT)
    other.run("dvc", "import", str(clone.folder), OTHER)
    assert (other.folder / Path(SPLIT).name).read_bytes() == wanted
    assert (other.folder / Path(OTHER).name).read_bytes() == (owner.folder / OTHER).read_bytes()
    assert yaml.safe_load((other.folder / f"{Path(OTHER).name}.dvc").read_text())["deps"][0]["repo"]["rev_lock"]
    with dvc.api.open(SPLIT, repo=str(clone.folder), mode="rb") as file:
        assert file.read() == wanted


def test_an_experiment_travels_with_its_data(pushed: Project, clone: Project, tmp_path: Path) -> None:
    experiment_travels(pushed, clone, tmp_path)


def experiment_travels(owner: Project, clone: Project, folder: Path, *pushing: str) -> None:
    """Save an experiment with another large file, push it with some options, and apply it in a clone."""
    tried = owner.copy(folder / "tried")
    origin = folder / "origin"
    tried.run("git", "init", "-q", "--bare", str(origin))
    for project in (tried, clone):
        project.run("git", "remote", "add", "shared", str(origin))
    tried.run("git", "push", "-q", "shared", "HEAD:main")
    (tried.folder / LARGE).unlink()
    (tried.folder / LARGE).write_bytes(b"another")
    tried.run("dvc", "exp", "save", "--name", "smaller")
    tried.run("dvc", "exp", "push", *pushing, "shared", "smaller")
    clone.run("dvc", "exp", "pull", "shared", "smaller")
    clone.run("dvc", "exp", "apply", "smaller")
    assert (clone.folder / LARGE).read_bytes() == b"another"


def test_what_is_damaged_in_the_remote_does_not_arrive_and_is_mended_by_the_page(
    remote: Remote, pushed: Project, clone: Project
) -> None:
    assert remote.replace
    whole = (pushed.folder / SPLIT).read_bytes()
    address = clone.run("dvc", "get", "--show-url", ".", SPLIT).stdout.strip()
    remote.replace(address, whole[: len(whole) // 2])
    found = clone.run("dvc", "pull", SPLIT, OTHER, check=False)
    assert found.returncode and "Traceback" not in found.stderr
    assert f"Checkout failed for following targets:\n{SPLIT}\n" in found.stderr
    assert not (clone.folder / SPLIT).exists() and (clone.folder / OTHER).is_file()
    assert cached(clone) == {clone.md5s()[OTHER]}
    if remote.server:
        remote.replace(address, None)
    pushed.run("dvc", "push", SPLIT)
    clone.run("dvc", "pull", SPLIT)
    assert (clone.folder / SPLIT).read_bytes() == whole


NEEDED = {
    *("data/pool.parquet", "data/iteration_0/answers.parquet", "data/iteration_3/answers.parquet", OTHER),
    *("models/iteration_0", "models/iteration_3", "models/teacher"),
}
"""What a fourth iteration and its evaluation read of three that are done."""

MADE_ANEW = {"report/iterations.json", "report/curves.json", "data/README.md"}
"""What tells of all iterations."""


@pytest.mark.parametrize("remote", [s3], indirect=True)
def test_an_iteration_more_fetches_only_what_it_needs_and_is_named_by_the_next_publish(clone: Project) -> None:
    before, pipeline = clone.md5s(), clone.folder / "dvc.yaml"
    clone.run("dvc", "exp", "run", "--pull", "--allow-missing", "-S", "iterations=4")
    assert {path for path, md5 in before.items() if md5 in cached(clone)} == NEEDED
    assert not (clone.folder / LARGE).exists()
    after = clone.md5s()
    assert {path for path, md5 in before.items() if after[path] != md5} <= MADE_ANEW
    assert {"models/iteration_4", "data/train_iteration_4.parquet", "data/iteration_4/answers.parquet"} <= set(after)
    assert (clone.folder / "models/iteration_4/adapter_model.safetensors").is_file()
    rows = json.loads((clone.folder / "report/iterations.json").read_text())
    assert [row["iteration"] for row in rows] == [0, 1, 2, 3, 4]
    assert "iteration-4" not in artifacts.names(pipeline.read_text())
    [naming] = made("publish", verb="stages.artifacts")
    clone.run(*naming)
    assert yaml.safe_load(pipeline.read_text())["artifacts"]["iteration-4"]["path"] == "models/iteration_4"


@pytest.mark.parametrize("remote", [s3, ssh], indirect=True)
def test_what_is_published_is_pulled_from_there(remote: Remote, ran: Project, tmp_path: Path) -> None:
    project, address = for_publishing(remote, ran, tmp_path / "project", remote.names)
    [publishing] = made("publish", f"TO={address}", verb="stages.publish")
    assert f"Others read the run at {address}" in project.run(*publishing).stdout
    project.run("git", "add", ".dvc/config")
    project.run("git", "commit", "-q", "-m", "Publish")
    clone = cloned(project, tmp_path / "clone")
    shutil.rmtree(clone.folder / publish.FOLDER)
    clone.run("dvc", "pull")
    assert not [path for path in ran.md5s() if not (clone.folder / path).exists()]
    assert (clone.folder / SPLIT).read_bytes() == (ran.folder / SPLIT).read_bytes()


@pytest.mark.parametrize("remote", [s3], indirect=True)
def test_what_a_server_refuses_is_not_published(remote: Remote, ran: Project, tmp_path: Path) -> None:
    project, address = for_publishing(remote, ran, tmp_path / "project", remote.names | remote.wrong)
    [publishing] = made("publish", f"TO={address}", verb="stages.publish")
    found = project.run(*publishing, check=False)
    assert found.returncode == 1 and "Traceback" not in found.stderr
    assert "Forbidden" in found.stderr and f"the push to {address} failed" in found.stderr
    assert not (project.folder / publish.FOLDER).exists()
    assert project.run("git", "status", "--porcelain").stdout == ""


def for_publishing(remote: Remote, ran: Project, folder: Path, names: dict[str, str]) -> tuple[Project, str]:
    """A run without the large file, and a place to publish it, with its options as the page says."""
    project = ran.copy(folder)
    project.run("git", "rm", "-q", f"{LARGE}.dvc")
    [(shown, own)] = [pair for pair in names.items() if pair[0].startswith(("s3://", "ssh://"))]
    names = {"mine": publish.PUBLIC} | names | {shown: f"{own}-published"}
    for local in (False, True):
        remote.set_up(project, names, local)
    project.commit("Say what readers need")
    return project, names[shown]


def made(*words: str, verb: str) -> list[list[str]]:
    """The commands of a target of the Makefile that run one verb."""
    lines = [shlex.split(line) for line in dry_make(*words).splitlines() if f"-m {verb} " in f"{line} "]
    return [[sys.executable, *line[1:]] for line in lines]


@pytest.fixture(scope="module")
def web(ran: Project, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Remote, Project]]:
    """A web server over the folder of a directory remote, and the project that pushed there."""
    folder = tmp_path_factory.mktemp("http")
    owner = ran.copy(folder / "project")
    beside = directory(folder)
    beside.set_up(owner, beside.names, local=False)
    owner.run("dvc", "push")
    owner.run("dvc", "remote", "remove", "mine")
    owner.run("dvc", "remote", "add", "--local", "store", str(beside.place))
    server, address = remote_servers.http(beside.place, folder / "log")
    names = {"https://data.example.org/pairloop": address}
    remote = Remote("HTTP, for reading", names, beside.place, server, beside.replace)
    remote.set_up(owner, names, local=False)
    owner.commit("Use our remote")
    server.start()
    yield remote, owner
    server.kill()


def test_over_http_a_clone_pulls_and_another_project_opens_but_nobody_pushes(
    web: tuple[Remote, Project], tmp_path: Path
) -> None:
    import dvc.api

    remote, owner = web
    clone = cloned(owner, tmp_path / "clone")
    clone.run("dvc", "pull", SPLIT)
    assert cached(clone) == {clone.md5s()[SPLIT]}
    with dvc.api.open(OTHER, repo=str(clone.folder), mode="rb") as file:
        assert file.read() == (owner.folder / OTHER).read_bytes()
    assert remote.server
    said = cut_off(clone, ["dvc", "pull"], remote.server, clone.folder / ".dvc/cache")
    assert re.search(r"\d+ files failed to download", said[-1]), said
    remote.server.start()
    clone.run("dvc", "pull")
    assert (clone.folder / LARGE).read_bytes() == (owner.folder / LARGE).read_bytes()
    (clone.folder / "new.txt").write_text("new")
    clone.run("dvc", "add", "new.txt")
    found = clone.run("dvc", "push", "new.txt", check=False)
    assert found.returncode and "1 files failed to upload" in found.stderr and "Traceback" not in found.stderr


def test_over_http_another_project_gets_imports_and_opens_a_split(web: tuple[Remote, Project], tmp_path: Path) -> None:
    had_by_another(web[1], reader(web, tmp_path), tmp_path / "other")


def test_an_experiment_that_is_pushed_to_the_folder_behind_is_pulled_over_http(
    web: tuple[Remote, Project], tmp_path: Path
) -> None:
    experiment_travels(web[1], reader(web, tmp_path), tmp_path, "--remote", "store")


def reader(web: tuple[Remote, Project], folder: Path) -> Project:
    """A clone that knows the web server alone."""
    clone = cloned(web[1], folder / "clone")
    (clone.folder / ".dvc/config.local").unlink()
    return clone


def test_what_is_damaged_behind_a_web_server_does_not_arrive(web: tuple[Remote, Project], tmp_path: Path) -> None:
    remote, owner = web
    clone = cloned(owner, tmp_path / "clone")
    md5 = clone.md5s()[SPLIT]
    stored = remote.place / "files" / "md5" / md5[:2] / md5[2:]
    stored.chmod(0o644)
    os.truncate(stored, stored.stat().st_size // 2)
    found = clone.run("dvc", "pull", SPLIT, check=False)
    assert f"Checkout failed for following targets:\n{SPLIT}\n" in found.stderr
    assert not (clone.folder / SPLIT).exists() and not cached(clone)
