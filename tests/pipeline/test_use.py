"""Every block of docs/use.md works on the committed run's files, in a clone, in the page's order."""

import json
import re
import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from conftest import ROOT, Project

PAGE = (ROOT / "docs" / "use.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", PAGE, flags=re.M | re.S))
BLOCK = re.compile(r"```(console|python|yaml)\n(.*?)```", flags=re.S)

ALONE = """
import sys, types
from importlib import util
package = types.ModuleType("alignment")
package.__path__ = util.find_spec("alignment").submodule_search_locations
sys.modules["alignment"] = package
from alignment import data
package.apply_chat_template, package.get_datasets = data.apply_chat_template, data.get_datasets
"""
"""Lets `import alignment` bring its module `data` without its own __init__, which downloads a data set."""


def rows(path: Path) -> int:
    import pyarrow.parquet as pq

    return int(pq.read_metadata(path).num_rows)


class Reader:
    """Someone who does what the page says, in one clone."""

    def __init__(self, clone: Project) -> None:
        self.clone = clone
        self.settings = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_CACHE": str(clone.folder.parent / "cache")}
        self.settings |= {"PYTHONPATH": str(clone.folder), "VLLM_CPU_KVCACHE_SPACE": "1"}

    def follow(self, section: str, project: Project | None = None, before: str = "") -> str:
        """Do all that a section says; what it prints."""
        text, printed = SECTIONS[section], ""
        for block in BLOCK.finditer(text):
            language, content = block.groups()
            if language == "yaml":
                self._write(re.findall(r"`(\S+\.yaml)`", text[: block.start()])[-1], content)
            todo = {"console": commands(content), "python": [[sys.executable, "-c", before + content]], "yaml": []}
            for command in todo[language]:
                printed += (project or self.clone).run(*command, env=self.settings).stdout
        return printed

    def _write(self, name: str, content: str) -> None:
        path = self.clone.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")


def commands(content: str) -> list[list[str]]:
    """The commands of a console block, as words."""
    return [shlex.split(line[2:]) for line in content.splitlines() if line.startswith("$ ")]


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Reader:
    """A reader whose clone has nothing yet of what DVC keeps."""
    folder = tmp_path_factory.mktemp("use") / "pairloop"
    subprocess.run(["git", "clone", "-q", str(ROOT), str(folder)], check=True)
    return Reader(Project(folder))


@pytest.fixture(scope="module")
def one_split(bare: Reader) -> str:
    """What the section on one split prints, in a clone without the others."""
    return bare.follow("One split")


@pytest.fixture(scope="module")
def all_splits(bare: Reader, one_split: str) -> str:
    """What the section on all splits prints."""
    return bare.follow("All splits")


@pytest.fixture(scope="module")
def answer(bare: Reader, all_splits: str) -> str:
    """What the section on PEFT and transformers prints; the merged weights are there then."""
    return bare.follow("PEFT and transformers")


@pytest.fixture
def reader(bare: Reader, answer: str) -> Reader:
    """A reader who has come as far as the merged weights."""
    return bare


def test_the_page_has_a_way_into_each_tool() -> None:
    used = ["One split", "All splits", "PEFT and transformers", "TRL", "alignment-handbook", "lm-eval", "vLLM"]
    assert [*SECTIONS] == [*used, "DVC from another project", "Which test runs what"]


@pytest.mark.slow
def test_one_split_loads_without_the_others(bare: Reader, one_split: str) -> None:
    assert int(one_split.split()[-1]) == rows(bare.clone.folder / "data" / "train_iteration_3.parquet")


@pytest.mark.slow
def test_all_splits_load(bare: Reader, all_splits: str) -> None:
    files = sorted((bare.clone.folder / "data").glob("*_iteration_*.parquet"))
    printed = [line.split() for line in all_splits.splitlines() if re.match(r"(train|test)_iteration_\d", line)]
    assert sorted(printed) == sorted([path.stem, str(rows(path))] for path in files)


@pytest.mark.slow
def test_the_merged_weights_are_the_policy(reader: Reader, answer: str) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    from pairloop.models import references

    folder = reader.clone.folder
    policy = references.load_policy(folder / "models" / "iteration_3", folder / "models" / "iteration_0", "float32")
    merged = AutoModelForCausalLM.from_pretrained(folder / "build" / "merged")
    base = AutoModelForCausalLM.from_pretrained(references.weights(folder / "models" / "iteration_0"))
    ids = torch.arange(100, 140)[None]
    with torch.no_grad():
        ours, theirs, before = (model(ids).logits for model in (policy, merged, base))
    assert torch.allclose(ours, theirs, atol=1e-3) and not torch.allclose(before, theirs, atol=1e-1)
    assert answer.strip()


@pytest.mark.slow
def test_trl_trains_on_the_splits(reader: Reader) -> None:
    printed = reader.follow("TRL")
    prompt = "<|im_start|>user\n" + first_prompt(reader) + "<|im_end|>\n<|im_start|>assistant\n"
    assert prompt in printed
    for folder in ("tuned", "tuned-by-command"):
        assert (reader.clone.folder / "build" / folder / "adapter_model.safetensors").is_file()


def first_prompt(reader: Reader) -> str:
    import pyarrow.parquet as pq

    table = pq.read_table(reader.clone.folder / "data" / "train_iteration_3.parquet")
    return str(table["prompt"][0].as_py())


@pytest.mark.slow
def test_another_project_gets_files_with_dvc(reader: Reader) -> None:
    other = Project(reader.clone.folder.parent / "other")
    other.folder.mkdir()
    other.run("git", "init", "-q")
    other.run("dvc", "init", "-q")
    printed = reader.follow("DVC from another project", other)
    beta = yaml.safe_load((reader.clone.folder / "params.yaml").read_text())["train"]["beta"]
    ours = reader.clone.folder / "data" / "train_iteration_3.parquet"
    assert printed.splitlines()[-2:] == [str(rows(ours)), str(beta)]
    assert (other.folder / ours.name).read_bytes() == ours.read_bytes()
    assert json.loads((other.folder / "adapter" / "adapter_config.json").read_text())["peft_type"] == "LORA"
    assert yaml.safe_load((other.folder / "test_iteration_3.parquet.dvc").read_text())["deps"][0]["repo"]["rev_lock"]


@pytest.mark.clients
def test_the_handbook_reads_the_splits(reader: Reader) -> None:
    printed = reader.follow("alignment-handbook", before=ALONE)
    data = reader.clone.folder / "data"
    assert f"{rows(data / 'train_iteration_3.parquet')} {rows(data / 'test_iteration_3.parquet')}\n" in printed
    assert "<|im_start|>user\n" in printed and "<|im_start|>assistant\n" in printed


@pytest.mark.clients
def test_lm_eval_evaluates_the_policy_on_a_split(reader: Reader) -> None:
    printed = reader.follow("lm-eval")
    values = {name: float(value) for name, value in re.findall(r"\|(acc\w*) *\|\W*\|([\d. ]+)\|", printed)}
    assert set(values) == {"acc", "acc_norm"} and all(0 <= value <= 1 for value in values.values())


@pytest.mark.vllm
def test_vllm_serves_the_policy(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    content, client = (block[1].replace("8000", str(port)) for block in BLOCK.findall(SECTIONS["vLLM"]))
    [command] = commands(content)
    for name, value in reader.settings.items():
        monkeypatch.setenv(name, value)
    log = reader.clone.folder.parent / "server"
    with log.open("w") as written:
        server = subprocess.Popen(
            [sys.executable, *command[1:]], cwd=reader.clone.folder, stdout=written, stderr=written
        )
    try:
        wait_until(lambda: "startup complete" in log.read_text(), server)
        assert reader.clone.run(sys.executable, "-c", client).stdout.strip()
    finally:
        server.terminate()
        server.wait()


def wait_until(is_ready: Callable[[], bool], server: "subprocess.Popen[bytes]") -> None:
    while not is_ready():
        assert server.poll() is None, "the server has ended"
        time.sleep(0.2)
