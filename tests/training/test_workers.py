"""Training on several devices: here on two processes of a CPU, which talk over gloo as GPUs do over NCCL."""

import dataclasses
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
import yaml
from safetensors.torch import load_file
from test_dpo import PARAMS, Run, changed, make_job

from pairloop.errors import PairloopError, ParameterError, TrainingError
from pairloop.models import references
from pairloop.params import Train, replaced
from pairloop.training import checkpoint, dpo, launcher, memory, workers
from pairloop.training.job import Job, read
from stages.schedule import composed

ROOT = Path(__file__).parents[2]
SHIPPED = sorted((ROOT / "conf" / "accelerate").glob("*.yaml"))
EIGHT = {"batch_pairs": 8, "save_steps": 50}
"""13 pairs are a step of 8 and one of 5, which do not divide by two."""


def uneven(base: Path, **values: Any) -> Job:
    job = make_job(base, changed(**EIGHT | values))
    return dataclasses.replace(job, pairs=job.pairs[:13])


@pytest.fixture(scope="module", params=["lora", "full"])
def single(request: pytest.FixtureRequest, tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """One process that computes the whole batch at once."""
    job = uneven(tiny_base, method=request.param, per_device_train_batch_size=8)
    return Run(job, tmp_path_factory.mktemp(request.param))


@pytest.fixture
def fsdp(tmp_path: Path) -> Path:
    """The shipped config, for two processes of a CPU."""
    path = tmp_path / "fsdp.yaml"
    shipped = (ROOT / "conf/accelerate/fsdp.yaml").read_text()
    path.write_text(shipped.replace("num_processes: 8", "num_processes: 2") + "use_cpu: true\n")
    return path


def check_same(run: Run, single: Run) -> None:
    """One trajectory, and weights and held-out values of one model."""
    assert [step for step, _ in run.log] == [step for step, _ in single.log]
    for (_, found), (_, wanted) in zip(run.log, single.log, strict=True):
        # Before the first change of weights every margin is 0 but for rounding, whose sign says nothing.
        named = [name for name in wanted if name != "rewards/accuracies" or abs(wanted["rewards/margins"]) > 1e-5]
        assert [found[name] for name in named] == pytest.approx([wanted[name] for name in named], abs=1e-4, rel=1e-4)
    for when in ("before", "after"):
        assert run.metrics[when] == pytest.approx(single.metrics[when], abs=1e-3)
    [file] = [path.name for path in single.out.glob("*.safetensors")]
    found, wanted = load_file(run.out / file), load_file(single.out / file)
    assert found.keys() == wanted.keys()
    for name, tensor in wanted.items():
        assert torch.allclose(found[name], tensor, atol=2e-3), name
    assert sorted(path.name for path in run.out.iterdir()) == sorted(path.name for path in single.out.iterdir())


@pytest.mark.parametrize("most", [1, 3])
def test_micro_batches_learn_what_the_whole_batch_at_once_does(single: Run, tmp_path: Path, most: int) -> None:
    params = replaced(single.job.params, "train", per_device_train_batch_size=most)
    check_same(Run(dataclasses.replace(single.job, params=params), tmp_path), single)


@pytest.mark.slow
def test_two_processes_learn_what_one_does(single: Run, tmp_path: Path) -> None:
    params = replaced(single.job.params, "train", per_device_train_batch_size=1, devices=2)
    run = Run(dataclasses.replace(single.job, params=params), tmp_path)
    check_same(run, single)
    # Pairs alone in their batch still have two lengths, and the 13th is computed twice.
    assert 0 < run.metrics["wasted_tokens"] < 0.2
    assert psutil.Process().children() == []


@pytest.mark.slow
def test_two_processes_that_hold_half_of_the_weights_each_learn_what_one_does(
    single: Run, tmp_path: Path, fsdp: Path
) -> None:
    params = replaced(single.job.params, "train", per_device_train_batch_size=2, launcher=str(fsdp))
    check_same(Run(dataclasses.replace(single.job, params=params), tmp_path), single)


STARTS = """
import os, signal, sys
from pathlib import Path
sys.path[:0] = {paths}
import test_dpo, test_workers
from pairloop.training import dpo

def log(step, values):
    if step == 6:
        os.kill(os.getpid(), signal.{signal})

dpo.train(test_workers.twice(Path({base})), Path({out}), Path({scratch}), log)
"""


def twice(base: Path) -> Job:
    return make_job(base, changed(num_train_epochs=2, per_device_train_batch_size=2, devices=2))


@pytest.mark.slow
@pytest.mark.parametrize("sent", ["SIGKILL", "SIGINT"])
def test_ended_in_mid_epoch_no_process_is_left_and_training_goes_on_to_the_bytes_of_an_unbroken_run(
    tiny_base: Path, tmp_path: Path, sent: str, capfd: pytest.CaptureFixture[str]
) -> None:
    tests = Path(__file__).parent
    scratch = tmp_path / "killed" / "scratch"
    names = {"base": tiny_base, "out": tmp_path / "killed" / "model", "scratch": scratch}
    code = STARTS.format(
        paths=[str(tests), str(tests.parent)], signal=sent, **{name: repr(str(path)) for name, path in names.items()}
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode != 0
    end = time.monotonic() + 20
    while left := [process for process in psutil.process_iter(["cmdline"]) if str(scratch) in str(process.info)]:
        assert time.monotonic() < end, left
    assert list(scratch.glob("*-2/checkpoint-*"))
    resumed = Run(twice(tiny_base), tmp_path / "killed")
    assert "goes on from checkpoint-" in capfd.readouterr().err
    unbroken = Run(twice(tiny_base), tmp_path / "unbroken")
    assert references.fingerprint(resumed.out) == references.fingerprint(unbroken.out)
    assert (resumed.metrics, resumed.log) == (unbroken.metrics, unbroken.log)


@pytest.mark.slow
def test_the_error_of_a_process_is_the_error_of_training(tiny_base: Path, tmp_path: Path) -> None:
    params = changed(learning_rate=1e20, max_grad_norm=1e20, warmup_ratio=0.0, save_steps=1, devices=2)
    with pytest.raises(TrainingError, match=r"is (nan|inf) at step \d.*of the prompts \w{12}, \w{12}"):
        Run(make_job(tiny_base, params), tmp_path)
    assert psutil.Process().children() == []
    assert [path for path in tmp_path.rglob("*") if path != tmp_path / "scratch"] == []


@pytest.mark.slow
def test_a_process_that_is_killed_ends_the_others_and_is_named(tiny_base: Path, tmp_path: Path) -> None:
    def log(step: int, values: dict[str, float]) -> None:
        if step == 2:
            psutil.Process().children()[1].kill()

    job = make_job(tiny_base, changed(num_train_epochs=50, devices=2))
    with pytest.raises(PairloopError, match=r"^train: process 2 of 2 was ended by SIGKILL.*memory"):
        dpo.train(job, tmp_path / "model", tmp_path / "scratch", log)
    assert psutil.Process().children() == []
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize("signals", [["SIGKILL"], ["SIGSEGV"], []])
def test_who_was_killed_is_named_where_the_system_says_late_that_it_has_ended(
    monkeypatch: pytest.MonkeyPatch, signals: list[str]
) -> None:
    """Its sockets are closed before it can be waited for: in between its neighbours fail, and it seems to run."""
    code = "import os, signal, sys, time; [os.kill(os.getpid(), getattr(signal, sent)) for sent in sys.argv[1:]]"
    failed, other = [
        subprocess.Popen(
            [sys.executable, "-c", f"{code}; print('ready', flush=True); time.sleep(60)", *sent], stdout=-1
        )
        for sent in ([], signals)
    ]
    for process in (failed, other):
        assert process.stdout
        process.stdout.readline()  # until it is ready or has been killed
    monkeypatch.setattr(subprocess.Popen, "poll", lambda process: process.returncode)
    if signals:
        with pytest.raises(TrainingError, match=rf"^train: process 2 of 2 was ended by {signals[0]}, so"):
            workers._check_others([failed, other], failed)
    else:
        workers._check_others([failed, other], failed)
    assert other.returncode is not None and failed.returncode is None
    failed.kill()


@pytest.mark.slow
def test_a_disk_that_fills_while_two_processes_write_a_checkpoint_is_named(tiny_base: Path, tmp_path: Path) -> None:
    job = make_job(tiny_base, changed(num_train_epochs=4, save_steps=8, devices=2))
    scratch = tmp_path / "scratch" / f"{dpo.fingerprint(job)}-2"

    def fill(step: int, values: dict[str, float]) -> None:
        if step == 5:
            (scratch / "checkpoint-16").mkdir()
            (scratch / "checkpoint-16" / "optimizer.pt").symlink_to("/dev/full")

    with pytest.raises(PairloopError, match=rf"^the disk is full \({scratch}; \d"):
        dpo.train(job, tmp_path / "model", tmp_path / "scratch", fill)
    assert checkpoint.newest(scratch) == scratch / "checkpoint-8"


def test_checkpoints_of_another_number_of_processes_are_left_alone_and_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = checkpoint.place(tmp_path, "job", 1, None)
    (one / "checkpoint-4").mkdir(parents=True)
    two = checkpoint.place(tmp_path, "job", 2, None)
    assert two != one
    assert f"{one} holds checkpoints of this training on other devices" in capsys.readouterr().err
    assert checkpoint.place(tmp_path, "job", 1, None) == one
    assert "other devices" not in capsys.readouterr().err
    assert checkpoint.place(tmp_path, "job", 1, str(SHIPPED[0])) not in (one, two)


def test_a_job_is_the_same_after_a_way_through_its_file(tiny_base: Path, tmp_path: Path) -> None:
    job = dataclasses.replace(make_job(tiny_base), sampled={("id", "text"): [1, 2]})
    job.write(tmp_path / "job.json", tmp_path / "model")
    found, out = read(tmp_path / "job.json")
    assert dpo.fingerprint(found) == dpo.fingerprint(job)
    assert (found, out) == (job, tmp_path / "model")


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with four GPUs, as far as counting goes."""
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)


@pytest.mark.usefixtures("gpus")
def test_all_gpus_train_that_have_a_pair_unless_fewer_are_asked_for() -> None:
    assert workers.count(Train(batch_pairs=128), "float32") == 4
    assert workers.count(Train(batch_pairs=3), "float32") == 3
    assert workers.count(Train(batch_pairs=128, devices=2), "float32") == 2
    assert not workers.alone(1, None)  # of four


@pytest.mark.usefixtures("gpus")
def test_more_gpus_than_there_are_are_refused_before_anything_is_read(tmp_path: Path) -> None:
    nowhere = Job([], [], tmp_path / "a", tmp_path / "b", Train(batch_pairs=8, devices=8), "float32", 0, 1)
    with pytest.raises(TrainingError, match=r"train\.devices is 8, but 4 GPUs are visible"):
        dpo.train(nowhere, tmp_path / "model", tmp_path / "scratch")
    assert list(tmp_path.iterdir()) == []


def test_on_a_cpu_one_process_trains_unless_more_are_asked_for() -> None:
    assert workers.count(Train(batch_pairs=128), "float32") == 1
    assert workers.count(Train(devices=3), "float32") == 3
    assert workers.alone(1, None)
    assert not workers.alone(2, None) and not workers.alone(1, "a.yaml")


def test_a_device_without_a_pair_is_refused() -> None:
    with pytest.raises(ParameterError, match=r"train\.devices is 8, but train\.batch_pairs is 4.*Lower train\.devices"):
        changed(devices=8)


def test_processes_share_the_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(16)))
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert [workers._environment(count)["OMP_NUM_THREADS"] for count in (1, 2, 5, 64)] == ["16", "8", "3", "1"]
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert workers._environment(4)["OMP_NUM_THREADS"] == "2"


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_the_shipped_configs_contradict_no_parameter_and_are_read_by_accelerate(path: Path) -> None:
    from accelerate.commands.config.config_args import load_config_from_file

    params = Train(launcher=str(path), batch_pairs=128, per_device_train_batch_size=8)
    for dtype in ("float32", "bfloat16"):
        assert launcher.processes(params, dtype, gpus=8) == load_config_from_file(str(path)).num_processes


@pytest.mark.parametrize(
    ("lines", "values", "said"),
    [
        ("num_processes: 2", {"devices": 3}, r"num_processes 2, but train\.devices is 3"),
        ("num_processes: 2\nmixed_precision: fp16", {}, r"mixed_precision fp16, but base\.dtype is bfloat16"),
        ("num_processes: 2\ngradient_accumulation_steps: 3", {}, "gradient_accumulation_steps 3, but .* takes 1 pass"),
        (
            "num_processes: 2\ndeepspeed_config: {train_micro_batch_size_per_gpu: 2}",
            {},
            r"train_micro_batch_size_per_gpu 2, but train\.per_device_train_batch_size is 4",
        ),
        (
            "num_processes: 2\ndeepspeed_config: {gradient_clipping: 0.5}",
            {},
            r"gradient_clipping 0\.5, but train\.max_grad_norm is 1\.0",
        ),
        (
            "num_processes: 2\ndistributed_type: FSDP",
            {"average": 0.5},
            r"distributed_type FSDP, which spreads the weights, and train\.average is 0\.5",
        ),
        ("num_processes: 4", {}, "starts 4 processes on this machine, which has 2 GPUs"),
        ("num_processes: many", {}, "num_processes many"),
        ("num_processes: 3\nnum_machines: 2", {}, "equally many on each"),
        ("[1]", {}, "mapping|not"),
    ],
)
def test_a_config_that_contradicts_the_parameters_is_refused_with_both_values(
    tmp_path: Path, lines: str, values: dict[str, Any], said: str
) -> None:
    (tmp_path / "a.yaml").write_text(lines)
    params = replaced(PARAMS, "train", launcher=str(tmp_path / "a.yaml"), **values)
    with pytest.raises(PairloopError, match=said):
        launcher.processes(params, "bfloat16", gpus=2)


def test_the_pipeline_watches_the_content_of_the_config() -> None:
    path = "conf/accelerate/fsdp.yaml"
    assert composed((f"train.launcher={path}",)).schedule.files.train.launcher == path
    assert composed().schedule.files.train.launcher == "conf/no_file"
    train = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]["train"]["do"]
    assert "${schedule.files.train.launcher}" in train["deps"]


def test_a_config_for_one_iteration_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    with pytest.raises(ParameterError, match=r"overrides\.2\.train\.launcher: it names a file that stages watch"):
        composed(("++overrides.2.train.launcher=conf/accelerate/fsdp.yaml",))


def test_a_config_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="there is no such file"):
        launcher.processes(changed(launcher=str(tmp_path / "none.yaml")), "float32", 8)


def test_where_memory_ends_what_to_lower_is_said_in_order() -> None:
    params = changed(method="full")
    with pytest.raises(TrainingError) as found, memory.enough(params):
        torch.empty(10**15)
    words = ["per_device_train_batch_size (now 4)", "gradient_checkpointing", "launcher", "method", "max_length"]
    places = [found.value.message.index(f"train.{word}") for word in words]
    assert places == sorted(places)
    assert "gradient_checkpointing" not in memory.advice(changed(gradient_checkpointing=True))
    with pytest.raises(RuntimeError, match="another"), memory.enough(params):
        raise RuntimeError("another")


def test_what_a_process_says_reaches_the_log_or_is_the_error() -> None:
    heard: list[Any] = []
    workers._hear({"step": 3, "values": {"loss": 0.5}}, lambda step, values: heard.append((step, values)))
    assert heard == [(3, {"loss": 0.5})]
    with pytest.raises(PairloopError, match=r"^train: process 2 of 4 failed; what it said stands above"):
        workers._hear({"traceback": "Traceback", "process": "process 2 of 4"}, print)
