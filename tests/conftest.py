"""Real parts for the tests: a tiny random model, and a real project that DVC has run on the smoke recipe."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from filelock import FileLock
from warm import Warm

from pairloop.models import references
from pairloop.work import threads

threads.wait_briefly()  # before any test imports torch
os.environ.setdefault("TQDM_DISABLE", "1")  # before any imports tqdm, as stages.annotate does for AlpacaEval's bars

ROOT = Path(__file__).parents[1]
KEPT = [
    *("conf", "data/preferences", "data/prompts", "pairloop", "stages"),
    *(".dvc/config", ".dvc/.gitignore", ".dvcignore", ".gitignore"),
]

SECRETS = {name: f"secret-{name.lower()}-5d41402abc4b2a76b9719d911017c592" for name in ("HF_TOKEN", "OPENAI_API_KEY")}
"""Keys in the environment of the run that `reproduced` makes."""

PEOPLE = {"USER": "quillfeather", "LOGNAME": "quillfeather"}
"""Whose run that is."""

SLOW = {"reproduced", "warm", "browser", "cluster"}
"""Fixtures that take long to start: what uses one is not in the fast subset."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if SLOW & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.slow)
    # Files with long tests first, so that several processes end at about the same time. Of those that need the run that
    # all share one is the first, and the rest come when that has made it: nobody waits for it.
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    shared = [item.path for item in items if "reproduced" in getattr(item, "fixturenames", ())]
    later = set(shared) - set(shared[:1])
    items.sort(
        key=lambda item: (
            item.path.parent.name != "pipeline", item.path not in slow, item.path not in shared[:1], item.path in later
        )
    )  # fmt: skip


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder like models/iteration_0 that points to the tiny random model."""
    folder = tmp_path_factory.mktemp("models") / "iteration_0"
    folder.mkdir()
    (folder / "model.json").write_text(json.dumps(references.pin("random:0", None, references.cache_root())))
    return folder


class Project:
    """A copy of this project in a git repository of its own."""

    def __init__(self, folder: Path, made_in: Path | None = None, warm: Warm | None = None) -> None:
        self.folder = folder
        self.made_in = made_in or folder
        """Where its run was made, if it is a copy."""
        self.warm = warm
        """What starts its stages, if not a Python of their own."""

    def run(
        self, *command: str, check: bool = True, env: dict[str, str] | None = None
    ) -> "subprocess.CompletedProcess[str]":
        """Run a command in the project with the environment that the tests run in."""
        first = [self.warm.programs] if self.warm else []
        path = os.pathsep.join(map(str, [*first, Path(sys.executable).parent, os.environ["PATH"]]))
        settings = os.environ | {"PATH": path, "DVC_NO_ANALYTICS": "1", "DVC_ROOT": ""} | (env or {})
        del settings["DVC_ROOT"]
        found = subprocess.run(command, cwd=self.folder, env=settings, capture_output=True, text=True)
        assert not check or found.returncode == 0, f"{command}\n{found.stdout[-4000:]}\n{found.stderr[-4000:]}"
        return found

    def commit(self, message: str) -> None:
        """Commit everything."""
        self.run("git", "add", "-A")
        self.run(
            "git", "-c", "user.name=t", "-c", "user.email=t@example.org", "commit", "-q", "--allow-empty", "-m", message
        )

    def would_run(self) -> set[str]:
        """The stages that `dvc repro` would run now, if everything that it remakes came out differently."""
        shown = self.run("dvc", "repro", "--dry", "--force-downstream").stdout
        return {line.split("'")[1] for line in shown.splitlines() if line.startswith("Running stage")}

    def kill_generation_after_a_shard(self, command: list[str]) -> None:
        """Start a command of `generation` and end it with SIGKILL once it has stored a shard that was not there."""
        known = self._shards()
        running = subprocess.Popen(command, cwd=self.folder, stderr=subprocess.DEVNULL)
        while not self._shards() - known:
            assert running.poll() is None
            time.sleep(0.005)
        running.send_signal(signal.SIGKILL)
        running.wait()

    def _shards(self) -> set[Path]:
        stored = (self.folder / ".dvc/tmp/pairloop").rglob("*")
        return {path for path in stored if path.is_file() and path.suffix not in (".partial", ".lock")}

    def copy(self, folder: Path, warm: Warm | None = None) -> "Project":
        """The same project, cache and all, somewhere else."""
        shutil.copytree(self.folder, folder, symlinks=True)
        return Project(folder, self.made_in, warm or self.warm)

    def md5s(self) -> dict[str, str]:
        """md5 of every output in dvc.lock but the times, and the page and the metrics that show them."""
        import yaml

        stages = yaml.safe_load((self.folder / "dvc.lock").read_text())["stages"]
        outs = {out["path"]: out["md5"] for stage in stages.values() for out in stage.get("outs", [])}
        timed = ("report/index.html", "report/metrics.json")
        return {path: md5 for path, md5 in outs.items() if "/time/" not in path and path not in timed}


def generation(out: str) -> list[str]:
    """The verb generate for iteration 2, writing to `out` instead of the iteration's own file."""
    return [
        *(sys.executable, "-m", "stages.generate", "--iteration", "2", "models/iteration_0", "models/iteration_1"),
        *("data/iteration_2/prompts.parquet", out, f"{out}.json", f"{out}.time.json"),
    ]


def new_project(folder: Path, warm: Warm | None = None) -> Project:
    """This project's files, with the smoke recipe, committed but not run."""
    folder.mkdir(parents=True)
    for name in [*KEPT, "dvc.yaml", "params.yaml", "pyproject.toml"]:
        source, target = ROOT / name, folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(source, target)
    project = Project(folder, warm=warm)
    project.run("git", "init", "-q", "-b", "main")
    project.run("git", "config", "user.name", "t")
    project.run("git", "config", "user.email", "t@example.org")
    project.run(sys.executable, "-m", "stages.schedule", "--write", "+recipe=smoke")
    project.commit("Start")
    return project


@pytest.fixture(scope="session")
def warm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warm]:
    """Starts stages in milliseconds."""
    found = Warm(tmp_path_factory.mktemp("warm"))
    yield found
    found.end()


@pytest.fixture(scope="session")
def reproduced(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project on the smoke recipe that `dvc repro` has run. For reading: copy it to change it."""
    own = tmp_path_factory.getbasetemp()
    # Several processes have a folder each, side by side: one makes the run, and each has a copy.
    made = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "made"
    with FileLock(f"{made}.lock"):
        if not (made / "printed").exists():
            shutil.rmtree(made, ignore_errors=True)  # of one that failed
            project = new_project(made / "project")
            printed = project.run("dvc", "repro", env=SECRETS | PEOPLE)
            project.commit("Reproduce")
            (made / "printed").write_text(printed.stdout + printed.stderr)
    shutil.copytree(made, own / "reproduced", symlinks=True)
    return Project(own / "reproduced" / "project", made / "project")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own with room for 48 kB."""
    folder = tmp_path / "small"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=48k", "none", str(folder)], check=True)
    yield folder
    # A library that failed may still hold a file open.
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture
def project(reproduced: Project, warm: Warm, tmp_path: Path) -> Project:
    """A reproduced project of the test's own."""
    return reproduced.copy(tmp_path / "project", warm)


@pytest.fixture
def edit() -> Callable[[Project, str, object], None]:
    """Change one parameter by hand, as an editor would."""

    def change(project: Project, name: str, value: object) -> None:
        import yaml

        path = project.folder / "params.yaml"
        values = yaml.safe_load(path.read_text())
        *sections, key = name.split(".")
        place = values
        for section in sections:
            place = place.setdefault(section, {})
        place[key] = value
        path.write_text(yaml.safe_dump(values, sort_keys=False))

    return change


@pytest.fixture(scope="session")
def version_4(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A transformers 4 with what it needs in other versions than ours, to be put before our packages."""
    folder = tmp_path_factory.mktemp("transformers-4")
    wanted = ["transformers==4.57.6", "tokenizers==0.22.2", "huggingface-hub==0.36.2"]
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(folder)]
    subprocess.run([*command, *wanted], check=True)
    return folder


@pytest.fixture
def real_tokenizer() -> object:
    """The default base's tokenizer: byte-pair merges and all."""
    import yaml

    base = yaml.safe_load((ROOT / "params.yaml").read_text())["base"]
    from transformers import AutoTokenizer

    from pairloop.models import fetch

    folder = fetch.fetch(base["model"], base["sha256"], references.cache_root()).folder
    return AutoTokenizer.from_pretrained(folder)


def dry_make(*words: str) -> str:
    """What make would run, or why not."""
    # The tests may run under a make, which would pass its own options on and say which folder it enters and leaves.
    alone = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")}
    found = subprocess.run(["make", "--dry-run", *words], cwd=ROOT, env=alone, capture_output=True, text=True)
    return found.stdout + found.stderr
