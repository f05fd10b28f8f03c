"""A run that others read: published to a web server's folder, had by the repository's git URL, released by name."""

import shlex
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from conftest import ROOT, Project

from pairloop.errors import PairloopError
from stages import artifacts, publish, release

VERB = (sys.executable, "-m")
EXAMPLES = {"/srv/www/run": "to", "https://example.org/run": "read", "https://example.org/me/pairloop.git": "url"}
"""What docs/remotes.md has as examples of a place to push to, of its address for readers and of a repository."""

SPLIT = "data/train_iteration_1.parquet"


def section(title: str) -> str:
    return (ROOT / "docs/remotes.md").read_text().split(f"## {title}\n")[1].split("\n## ")[0]


def documented(words: str, **places: str) -> list[str]:
    """The command of docs/remotes.md that begins with some words, with the test's own addresses in it."""
    page = section("From a git URL") + section("Releases")
    (line,) = [line[2:] for line in page.splitlines() if line.startswith(f"$ {words}")]
    for shown, own in EXAMPLES.items():
        line = line.replace(shown, places.get(own, shown))
    return shlex.split(line)


def recipe(command: list[str]) -> list[tuple[str, ...]]:
    """What a target of the Makefile runs, but for the page of docs/ that `make publish` draws."""
    dry = [*command, "-n", f"PYTHON={sys.executable}"]
    shown = subprocess.run(dry, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    lines = [shlex.split(line) for line in shown.splitlines() if line.startswith("python -m stages.")]
    return [(sys.executable, *words[1:]) for words in lines if "stages.followed" not in words]


class Web:
    """A web server that shows a folder and knows what was asked of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.asked: list[str] = []
        asked = self.asked

        class Handler(SimpleHTTPRequestHandler):
            def log_message(self, format: str, *args: object) -> None:
                asked.append(self.path)

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder)))
        self.address = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    web = Web(tmp_path_factory.mktemp("www"))
    yield web
    web.server.shutdown()
    web.server.server_close()


@pytest.fixture(scope="module")
def released(reproduced: Project, web: Web, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A run that was published for others, and whose commit was released as v1.0.0."""
    project = reproduced.copy(tmp_path_factory.mktemp("released") / "project")
    params = yaml.safe_load((project.folder / "params.yaml").read_text())
    (project.folder / publish.PARAMETERS).write_text(publish.parameters(params))
    project.run("dvc", "repro")
    pipeline = project.folder / "dvc.yaml"
    pipeline.write_text(artifacts.renewed(pipeline.read_text(), 1))
    assert "up to date" in project.run("dvc", "status").stdout, "an artifact makes a stage stale"
    named, published = recipe(documented("make publish", to=str(web.folder / "run"), read=f"{web.address}/run"))
    assert "names the models of this run's iterations" in project.run(*named).stdout
    project.commit("Name the models")
    project.run(*published)
    project.run(*documented("git add dvc.yaml")[:4])
    project.run("git", "commit", "-q", "-m", "Publish")
    (registered,) = recipe(documented("make release"))
    project.run(*registered)
    return project


@pytest.fixture(scope="module")
def url(released: Project) -> str:
    return f"file://{released.folder}"


def test_a_file_is_had_by_git_url(released: Project, url: str, tmp_path: Path) -> None:
    Project(tmp_path).run(*documented("dvc get", url=url))
    assert (tmp_path / Path(SPLIT).name).read_bytes() == (released.folder / SPLIT).read_bytes()


def test_another_project_imports_a_model_by_git_url(released: Project, url: str, tmp_path: Path) -> None:
    mine = Project(tmp_path)
    mine.run("git", "init", "-q")
    mine.run("dvc", "init", "-q")
    mine.run(*documented("dvc import", url=url))
    assert (tmp_path / "iteration_1.dvc").is_file()
    for path in (released.folder / "models/iteration_1").iterdir():
        assert (tmp_path / "iteration_1" / path.name).read_bytes() == path.read_bytes()


def test_python_reads_a_file_by_git_url(released: Project, url: str, tmp_path: Path) -> None:
    found = Project(tmp_path).run(*documented("python", url=url)).stdout
    assert found == (released.folder / "data/README.md").read_text() + "\n"
    script = f"import dvc.api\nwith dvc.api.open({SPLIT!r}, repo={url!r}, mode='rb') as file: print(len(file.read()))"
    size = (released.folder / SPLIT).stat().st_size
    assert Project(tmp_path).run("python", "-c", script).stdout == f"{size}\n"


def test_a_release_is_had_by_name(released: Project, url: str, tmp_path: Path) -> None:
    elsewhere = Project(tmp_path)
    for name in ("iteration-3", "data"):
        elsewhere.run(*documented(f"dvc artifacts get https://example.org/me/pairloop.git {name}", url=url))
    model = released.folder / "models/iteration_3/adapter_model.safetensors"
    assert (tmp_path / "iteration_3/adapter_model.safetensors").read_bytes() == model.read_bytes()
    for name in ("README.md", *(f"{part}_iteration_3.parquet" for part in ("train", "test"))):
        assert (tmp_path / "data" / name).read_bytes() == (released.folder / "data" / name).read_bytes()


def test_a_release_is_an_annotated_tag_for_each_artifact(released: Project) -> None:
    shown = released.run("git", "for-each-ref", "--format=%(refname:short) %(objecttype)", "refs/tags").stdout
    named = ("data", "iteration-1", "iteration-2", "iteration-3", "model")
    assert shown.splitlines() == [f"{name}@v1.0.0 tag" for name in named]


def test_a_clone_pulls_from_the_repository_without_asking_the_server(
    released: Project, web: Web, tmp_path: Path
) -> None:
    subprocess.run(["git", "clone", "-q", str(released.folder), str(tmp_path / "clone")], check=True)
    clone, before = Project(tmp_path / "clone"), len(web.asked)
    clone.run("dvc", "pull", "--remote", "published", SPLIT)
    assert len(web.asked) == before
    assert (clone.folder / SPLIT).read_bytes() == (released.folder / SPLIT).read_bytes()
    assert clone.run("dvc", "pull", "models/iteration_2").returncode == 0
    assert len(web.asked) > before, "the default is the address that others read"


def test_the_remote_in_the_repository_serves_no_git_url(url: str, tmp_path: Path) -> None:
    found = Project(tmp_path).run("dvc", "get", url, SPLIT, "--remote", "published", check=False)
    assert found.returncode != 0 and not list(tmp_path.iterdir())


def test_what_was_released_is_not_released_again(released: Project) -> None:
    found = released.run(*VERB, "stages.release", "v1.0.0", check=False)
    assert found.returncode == 1 and "v1.0.0 exists (data@v1.0.0)" in found.stderr
    found = released.run(*VERB, "stages.release", "v1.0.1", check=False)
    assert found.returncode == 1 and "this commit is released already, as data@v1.0.0" in found.stderr


def test_a_run_that_others_cannot_read_is_not_released(released: Project, web: Web, tmp_path: Path) -> None:
    project = released.copy(tmp_path / "project")
    project.commit("Go on")
    (project.folder / "note.txt").write_text("new")
    found = project.run(*VERB, "stages.release", "v2.0.0", check=False)
    assert found.returncode == 1 and "not committed" in found.stderr and "note.txt" in found.stderr
    config = project.folder / ".dvc/config"
    config.write_text(config.read_text().replace(f"{web.address}/run", f"{web.address}/nothing"))
    project.commit("Name an address that shows nothing")
    found = project.run(*VERB, "stages.release", "v2.0.0", check=False)
    assert found.returncode == 1 and "the run is not published" in found.stderr
    config.write_text(config.read_text().replace("remote = public", "remote = published"))
    project.commit("Let only clones read")
    found = project.run(*VERB, "stages.release", "v2.0.0", check=False)
    assert found.returncode == 1 and "from which no git URL gets a file" in found.stderr
    assert "v2.0.0" not in project.run("git", "tag").stdout


def test_an_address_that_shows_something_else_is_not_published(released: Project, web: Web, tmp_path: Path) -> None:
    project = released.copy(tmp_path / "project")
    before = (project.folder / ".dvc/config").read_text()
    local = project.folder / ".dvc/config.local"
    own = f"['remote \"store\"']\n    url = {tmp_path / 'pushed'}\n"
    local.write_text(own)
    to, read = "store", f"{web.address}/elsewhere"
    found = project.run(*VERB, "stages.publish", "--to", str(to), "--read", read, check=False)
    assert found.returncode == 1 and f"what was pushed to {to} is not all at {read}" in found.stderr
    assert list((tmp_path / "pushed").rglob("*")), "nothing was pushed"
    assert (project.folder / ".dvc/config").read_text() == before
    assert local.read_text() == own
    assert project.run("git", "status", "--porcelain").stdout == ""


def test_where_to_push_is_said_again(released: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(released.folder)
    for options, said in (
        ((), "nothing says where to push"),
        (("--to", "published"), "lies in the project"),
        (("--read", "example.org/run"), "is no URL"),
        (("--read", "https://me:secret@example.org/run"), "holds a password"),
    ):
        found = CliRunner().invoke(publish.main, options)
        assert found.exit_code == 1 and said in found.output, options


def test_readers_keep_their_address_and_get_that_of_the_push_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    config = {"core.remote": "public", "remote.public.url": "https://example.org/run", "remote.store.url": "s3://b"}
    monkeypatch.setattr(publish, "configured", lambda name, level=(): config.get(name, ""))
    assert publish.sharing("store", None) == publish.Shared("store", "https://example.org/run")
    assert publish.sharing("s3://bucket/run", None) == publish.Shared("s3://bucket/run", "https://example.org/run")
    assert publish.sharing(None, "https://host/published") == publish.Shared(None, "https://host/published")
    config["remote.public.url"] = "s3://old/run"
    assert publish.sharing("s3://bucket/run", None) == publish.Shared("s3://bucket/run", "s3://bucket/run")
    assert publish.sharing("public", None) == publish.Shared("public", "s3://old/run")
    config.clear()
    assert publish.sharing(None, None) is None


def test_a_run_too_large_for_the_repository_is_only_pushed(
    released: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(released.folder)
    assert publish.fits()
    held = sum(path.stat().st_size for path in (released.folder / "published").rglob("*") if path.is_file())
    monkeypatch.setattr(publish, "MOST_BYTES", held // 2)
    assert not publish.fits() and "published/ stays as it is" in capsys.readouterr().out


@pytest.mark.parametrize("version", ["1.0.0", "v1.0", "v1.0.0.0", "v01.0.0", "v1.0.0 ", "latest", ""])
def test_what_is_no_version_is_refused(version: str) -> None:
    found = CliRunner().invoke(release.main, ["--", version])
    assert found.exit_code == 1 and "is no version" in found.output


def test_all_are_registered_or_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = Project(tmp_path)
    for command in (("init", "-q"), ("config", "user.name", "t"), ("config", "user.email", "t@example.org")):
        project.run("git", *command)
    project.commit("Start")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(PairloopError, match="and nothing is registered"):
        release.register(["model", "a_"], "v1.0.0")
    assert project.run("git", "tag").stdout == ""
    release.register(["model"], "v1.0.0")
    assert project.run("git", "tag").stdout == "model@v1.0.0\n"


def test_every_command_of_the_page_is_run_here() -> None:
    page = section("From a git URL") + section("Releases")
    starts = {" ".join(line.split()[1:3]) for line in page.splitlines() if line.startswith("$ ")}
    assert starts == {"make publish", "git add", "dvc get", "dvc import", "python -c", "make release", "dvc artifacts"}


def test_the_artifacts_of_dvc_yaml_follow_the_iterations() -> None:
    text = (ROOT / "dvc.yaml").read_text()
    iterations = yaml.safe_load((ROOT / "params.yaml").read_text())["iterations"]
    assert artifacts.renewed(text, iterations) == text, "run `python -m stages.artifacts dvc.yaml`"
    for number in (1, 12):
        renewed = artifacts.renewed(text, number)
        assert artifacts.names(renewed) == [*(f"iteration-{n}" for n in range(1, number + 1)), "model", "data"]
        assert yaml.safe_load(renewed)["stages"] == yaml.safe_load(text)["stages"]
        assert artifacts.renewed(renewed, iterations) == text


def test_only_the_names_of_iterations_are_written_anew() -> None:
    kept = "stages:\n  iteration-7:\n    cmd: a\n{}plots:\n  - iteration-8:\n      x: y\n"
    one = artifacts.MODEL.format(n=1)
    own = "artifacts:\n{}  # mine\n  mine:\n    path: m\n\n"
    assert artifacts.renewed(kept.format(own.format("")), 1) == kept.format(own.format(one))
    assert artifacts.renewed("stages: {}\n", 1) == f"stages: {{}}\n\nartifacts:\n{one}"
