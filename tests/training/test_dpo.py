"""Pairs and a policy to the next policy."""

import dataclasses
import hashlib
import math
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pairloop.errors import DataError, PairloopError, TrainingError
from pairloop.files import records
from pairloop.models import chat, references
from pairloop.params import Train, replaced
from pairloop.report import reproducible
from pairloop.training import checkpoint, data, dpo
from pairloop.training.job import Job

PARAMS = Train(learning_rate=1e-2, per_device_train_batch_size=4, save_steps=2)


def pair(number: int, prompt: str | None = None, chosen: str | None = None) -> dict[str, Any]:
    """A pair that can be learned from: friendly answers are chosen over refusals, at several lengths."""
    prompt = prompt or f"Question {number}?"
    answers = {"chosen": chosen or "yes, gladly" + "." * (number % 4), "rejected": "no" * (1 + number % 3)}
    turns = {
        side: [{"content": prompt, "role": "user"}, {"content": text, "role": "assistant"}]
        for side, text in answers.items()
    }
    return {"prompt_id": hashlib.sha256(prompt.encode()).hexdigest(), "prompt": prompt, **turns}


def swapped(row: dict[str, Any]) -> dict[str, Any]:
    return row | {"chosen": row["rejected"], "rejected": row["chosen"]}


def make_job(base: Path, params: Train = PARAMS, parent: Path | None = None, **changes: Any) -> Job:
    job = Job(
        pairs=[pair(i) for i in range(14)],
        # The last one says the opposite of what is taught.
        test_pairs=[*(pair(i) for i in range(100, 105)), swapped(pair(105))],
        parent=parent or base,
        base=base,
        params=params,
        dtype="float32",
        seed=0,
        iteration=1 if parent is None else 2,
        splits={"train_iteration_1": "0" * 64},
        engine=reproducible.promise("vllm", False),
    )
    return dataclasses.replace(job, **changes)


def changed(**values: Any) -> Train:
    return replaced(PARAMS, "train", **values)


def adapter(out: Path) -> bytes:
    return (out / "adapter_model.safetensors").read_bytes()


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    # The tiny model's matrices are too small to share: two threads mostly wait for each other.
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class Run:
    """A finished training."""

    def __init__(self, job: Job, folder: Path) -> None:
        self.job, self.out, self.scratch = job, folder / "model", folder / "scratch"
        self.log: list[tuple[int, dict[str, float]]] = []
        self.metrics = dpo.train(job, self.out, self.scratch, lambda step, values: self.log.append((step, values)))


@pytest.fixture(scope="module")
def first(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Iteration 1 from the tiny base."""
    return Run(make_job(tiny_base), tmp_path_factory.mktemp("first"))


def test_every_step_is_logged_with_values_that_equal_runs_share(first: Run) -> None:
    assert [step for step, _ in first.log] == [1, 2, 3, 4]
    names = ["loss", "rewards/margins", "rewards/accuracies", "learning_rate", "grad_norm"]
    assert all(list(values) == names for _, values in first.log)
    assert first.metrics["steps"] == 4
    assert first.metrics["loss_first"] == first.log[0][1]["loss"]
    assert first.metrics["loss_last"] == first.log[-1][1]["loss"]


def test_each_iteration_has_its_own_learning_rate_and_its_lineage_names_it(
    first: Run, tiny_base: Path, tmp_path: Path
) -> None:
    params = changed(learning_rate=(1e-2, 4e-3, 2e-3), lr_scheduler_type="constant", warmup_ratio=0.0)
    run = Run(dataclasses.replace(make_job(tiny_base, params), iteration=2), tmp_path)
    assert {values["learning_rate"] for _, values in run.log} == {4e-3}
    assert records.read_json(run.out / "lineage.json")["parameters"]["learning_rate"] == 4e-3
    assert max(values["learning_rate"] for _, values in first.log) == PARAMS.learning_rate[0]


def test_training_raises_the_margin_of_held_out_pairs(first: Run) -> None:
    before, after = first.metrics["before"], first.metrics["after"]
    assert (before["accuracy"], before["margin"]) == (0.0, 0.0)
    assert after["accuracy"] == pytest.approx(5 / 6)
    assert after["margin"] > 0.1


@pytest.mark.parametrize(
    ("params", "dtype"),
    [
        (changed(gradient_checkpointing=True, batch_pairs=8), "float32"),
        (changed(method="full"), "float32"),
        (PARAMS, "bfloat16"),
        (changed(ld_alpha=0.3), "float32"),
    ],
    ids=["checkpointing", "full", "bfloat16", "length-desensitised"],
)
def test_margins_start_at_exactly_zero(tiny_base: Path, tmp_path: Path, params: Train, dtype: str) -> None:
    run = Run(make_job(tiny_base, params, dtype=dtype), tmp_path)
    assert run.log[0][1]["rewards/margins"] == 0.0
    assert run.log[0][1]["loss"] == pytest.approx(math.log(2), abs=1e-7)
    assert run.metrics["before"]["margin"] == 0.0
    assert run.metrics["after"]["margin"] > 0


def log_probability(model: Any, tokenizer: Any, prompt: str, response: str) -> float:
    """By hand, one sequence at a time."""
    import torch

    start = chat.encode_prompt(tokenizer, prompt)
    answer = chat.encode_response(tokenizer, response)
    with torch.no_grad():
        scores = model(torch.tensor([start + answer])).logits[0].log_softmax(-1)
    return sum(float(scores[len(start) - 1 + i, token]) for i, token in enumerate(answer))


def test_the_reference_of_iteration_2_is_iteration_1_and_not_the_base(
    first: Run, tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pairloop.training import trainer

    seen: dict[str, Any] = {}
    train = trainer.run

    def run(tuning: Any, newest: Path | None) -> None:
        seen["rows"] = list(tuning.train_dataset)
        seen["batches"] = list(tuning.get_train_dataloader())
        train(tuning, newest)

    def reference(self: Any, model: Any, batch: dict[str, Any]) -> Any:
        seen.setdefault("as for the reference", []).append(batch["input_ids"].tolist())
        return computed(self, model, batch)

    computed = trainer.PairTrainer.compute_ref_log_probs
    monkeypatch.setattr(trainer.PairTrainer, "compute_ref_log_probs", reference)
    monkeypatch.setattr(trainer, "run", run)
    second = Run(make_job(tiny_base, parent=first.out), tmp_path)
    assert second.log[0][1]["rewards/margins"] == 0.0

    assert [batch["input_ids"].tolist() for batch in seen["batches"]] == seen["as for the reference"][:4]

    tokenizer = references.load_tokenizer(tiny_base)
    found = {tuple(row["prompt_ids"]): row["ref_chosen_logps"] for row in seen["rows"]}
    for folder, is_reference in ((first.out, True), (tiny_base, False)):
        model = references.load_policy(folder, tiny_base, "float32").to("cpu")
        for row in second.job.pairs[:4]:
            wanted = log_probability(model, tokenizer, row["prompt"], row["chosen"][1]["content"])
            reference = found[tuple(chat.encode_prompt(tokenizer, row["prompt"]))]
            assert (abs(wanted - reference) < 1e-3) == is_reference


@pytest.mark.parametrize("method", ["lora", "full"])
def test_held_to_the_base_iteration_2_starts_from_the_margin_that_iteration_1_reached(
    first: Run, tiny_base: Path, tmp_path: Path, method: str
) -> None:
    one = first if method == "lora" else Run(make_job(tiny_base, changed(method="full")), tmp_path / "1")
    params = changed(method=method, reference="base")
    two = Run(make_job(tiny_base, params, parent=one.out), tmp_path / "2")
    assert two.metrics["before"]["margin"] == pytest.approx(one.metrics["after"]["margin"], abs=1e-5)
    assert two.metrics["after"]["margin"] > two.metrics["before"]["margin"] > 0


def test_the_same_inputs_give_the_same_bytes_wherever_they_lie(first: Run, tiny_base: Path, tmp_path: Path) -> None:
    elsewhere = shutil.copytree(tiny_base, tmp_path / "another" / "iteration_0")
    again = Run(dataclasses.replace(first.job, base=elsewhere, parent=elsewhere), tmp_path / "again")
    assert references.fingerprint(again.out) == references.fingerprint(first.out)
    assert (again.metrics, again.log) == (first.metrics, first.log)


def test_the_order_of_the_rows_does_not_matter(first: Run, tmp_path: Path) -> None:
    turned = Run(dataclasses.replace(first.job, pairs=first.job.pairs[::-1]), tmp_path)
    assert adapter(turned.out) == adapter(first.out)


def test_pairs_stand_in_another_order_in_each_iteration() -> None:
    pairs = [pair(i) for i in range(20)]
    orders = [[row["prompt"] for row in data.shuffle(pairs, 0, iteration)] for iteration in (1, 2)]
    assert sorted(orders[0]) == sorted(orders[1])
    assert orders[0] != orders[1] != [row["prompt"] for row in pairs]


@pytest.mark.parametrize("change", [{"params": changed(beta=0.2)}, {"seed": 1}])
def test_another_beta_or_seed_gives_other_bytes(first: Run, tmp_path: Path, change: dict[str, Any]) -> None:
    other = Run(dataclasses.replace(first.job, **change), tmp_path)
    assert adapter(other.out) != adapter(first.out)


KILLED = """
import json, os, signal, sys
from pathlib import Path
import torch
sys.path[:0] = {paths}
torch.set_num_threads(1)
import test_dpo
from pairloop.training import dpo

def log(step, values):
    if step == 6:  # its checkpoint is not written yet; those of steps 2 and 4 are
        os.kill(os.getpid(), signal.SIGKILL)

job = test_dpo.make_job(Path({base}), test_dpo.changed(num_train_epochs=2))
dpo.train(job, Path({out}), Path({scratch}), log)
"""


@pytest.fixture(scope="module")
def killed(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The scratch folder of a run that was killed in its sixth step of eight."""
    folder = tmp_path_factory.mktemp("killed")
    tests = Path(__file__).parent
    names = {
        "paths": [str(tests), str(tests.parent)],
        "base": repr(str(tiny_base)),
        "out": repr(str(folder / "model")),
        "scratch": repr(str(folder / "scratch")),
    }
    found = subprocess.run([sys.executable, "-c", KILLED.format(**names)], capture_output=True, text=True)
    assert found.returncode == -signal.SIGKILL, found.stderr
    assert not (folder / "model").exists()
    return folder / "scratch"


@pytest.fixture(scope="module")
def unbroken(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The same run, not killed."""
    return Run(make_job(tiny_base, changed(num_train_epochs=2)), tmp_path_factory.mktemp("unbroken"))


def resume(job: Job, killed: Path, folder: Path, damage: str | None = None) -> Run:
    shutil.copytree(killed, folder / "scratch")
    (checkpoints,) = (path for path in (folder / "scratch").iterdir() if path.is_dir())
    if damage == "cut short":
        weights = checkpoints / "checkpoint-4" / "adapter_model.safetensors"
        weights.write_bytes(weights.read_bytes()[:100])
    if damage == "half written":
        shutil.copytree(checkpoints / "checkpoint-2", checkpoints / "checkpoint-6")
        (checkpoints / "checkpoint-6" / "complete.json").unlink()
        (checkpoints / "checkpoint-6" / "optimizer.pt").unlink()
    return Run(job, folder)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("damage", "step"), [(None, 4), ("cut short", 2), ("half written", 4)], ids=["whole", "cut short", "half written"]
)
def test_a_killed_run_goes_on_and_gives_the_bytes_and_the_log_of_an_unbroken_one(
    unbroken: Run, killed: Path, tmp_path: Path, damage: str | None, step: int, capsys: pytest.CaptureFixture[str]
) -> None:
    resumed = resume(unbroken.job, killed, tmp_path, damage)
    assert f"goes on from checkpoint-{step}\n" in capsys.readouterr().err
    assert references.fingerprint(resumed.out) == references.fingerprint(unbroken.out)
    assert (resumed.metrics, resumed.log) == (unbroken.metrics, unbroken.log)


@pytest.mark.slow
def test_a_run_with_other_data_never_takes_up_the_checkpoints_of_a_killed_one(
    unbroken: Run, killed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    job = dataclasses.replace(unbroken.job, pairs=[*unbroken.job.pairs[:-1], pair(99)])
    beside = resume(job, killed, tmp_path / "beside")
    assert "goes on" not in capsys.readouterr().err
    assert adapter(beside.out) == adapter(Run(job, tmp_path / "clean").out)


@pytest.mark.parametrize("change", ["params", "dtype", "seed", "iteration", "sampled", "parent", "test_pairs"])
def test_whatever_changes_the_result_changes_the_name_of_the_checkpoints(
    first: Run, tiny_base: Path, change: str
) -> None:
    values: dict[str, Any] = {
        "params": changed(learning_rate=2e-2),
        "dtype": "bfloat16",
        "seed": 1,
        "iteration": 3,
        "sampled": {("0", "text"): [5]},
        "parent": first.out,
        "test_pairs": [pair(7)],
    }
    assert dpo.fingerprint(dataclasses.replace(first.job, **{change: values[change]})) != dpo.fingerprint(first.job)


def test_a_finished_run_leaves_how_it_went_and_no_checkpoint(first: Run) -> None:
    name = dpo.fingerprint(first.job)
    left = {path.relative_to(first.scratch).as_posix() for path in first.scratch.rglob("*")}
    assert left == {name, f"{name}/finished.json", f"{name}.lock"}
    assert [path.name for path in first.out.parent.iterdir() if path.name.startswith(".")] == []


def test_of_two_runs_of_the_same_job_the_second_waits(tmp_path: Path) -> None:
    entered = threading.Event()

    def second() -> None:
        with checkpoint.owned(tmp_path / "job"):
            entered.set()

    thread = threading.Thread(target=second)
    with checkpoint.owned(tmp_path / "job"):
        thread.start()
        assert not entered.wait(0.3)
    assert entered.wait(30)
    thread.join()


def test_a_run_that_waited_for_an_equal_one_takes_what_that_made(
    first: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(first.scratch, tmp_path / "scratch")
    shutil.copytree(first.out, tmp_path / "model")
    before = references.fingerprint(first.out)
    waited = Run(first.job, tmp_path)
    assert (waited.metrics, waited.log) == (first.metrics, first.log)
    assert references.fingerprint(waited.out) == before
    assert f"has trained the same and made {waited.out}" in capsys.readouterr().err


def test_what_another_process_makes_while_a_run_trains_is_neither_overwritten_nor_a_traceback(
    first: Run, tmp_path: Path
) -> None:
    def log(step: int, values: dict[str, float]) -> None:
        if step == 3:
            (tmp_path / "model").mkdir()
            (tmp_path / "model" / "mine").touch()

    with pytest.raises(DataError, match=r"another process has made .*model meanwhile"):
        dpo.train(first.job, tmp_path / "model", tmp_path / "scratch", log)
    assert [path.name for path in (tmp_path / "model").iterdir()] == ["mine"]
    assert list((tmp_path / "scratch").glob("*/checkpoint-*"))  # from which the next run goes on


FULL = Path("/dev/full")
"""What Linux has in place of a disk without space."""


@pytest.mark.slow
@pytest.mark.parametrize("file", ["optimizer.pt", "rng_state.pth", "trainer_state.json"])
def test_a_disk_that_fills_while_a_checkpoint_is_written_is_named_and_the_next_run_goes_on(
    first: Run, tmp_path: Path, file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    scratch = tmp_path / "scratch" / dpo.fingerprint(first.job)

    def fill(step: int, values: dict[str, float]) -> None:
        if step == 3:  # the checkpoint of step 2 is written, that of step 4 is not
            (scratch / "checkpoint-4").mkdir()
            (scratch / "checkpoint-4" / file).symlink_to(FULL)

    with pytest.raises(PairloopError, match=rf"^the disk is full \({scratch}; \d") as found:
        dpo.train(first.job, tmp_path / "model", tmp_path / "scratch", fill)
    assert "Free some space" in found.value.message
    assert references.fingerprint(Run(first.job, tmp_path).out) == references.fingerprint(first.out)
    assert "goes on from checkpoint-2" in capsys.readouterr().err


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system needs root")
def test_whatever_writes_to_a_disk_that_fills_it_is_named(first: Run, tmp_path: Path, small_disk: Path) -> None:
    full = rf"^the disk is full \({small_disk}"
    with pytest.raises(PairloopError, match=full):  # safetensors, of an adapter in a checkpoint
        dpo.train(first.job, tmp_path / "model", small_disk)
    full_job = dataclasses.replace(first.job, params=changed(method="full", save_steps=50))
    with pytest.raises(PairloopError, match=full):  # safetensors, of a whole model
        dpo.train(full_job, small_disk / "model", tmp_path / "scratch")


def test_a_loss_that_is_no_number_stops_training_and_nothing_is_written(tiny_base: Path, tmp_path: Path) -> None:
    job = make_job(tiny_base, changed(learning_rate=1e20, max_grad_norm=1e20, warmup_ratio=0.0, save_steps=1))
    with pytest.raises(TrainingError, match=r"(loss|grad_norm) is (nan|inf) at step \d.*train.learning_rate") as found:
        Run(job, tmp_path)
    step = int(re.search(r"at step (\d)", found.value.message)[1])
    order = [row["prompt_id"][:12] for row in data.shuffle(job.pairs, job.seed, job.iteration)]
    assert f"of the prompts {', '.join(order[4 * step - 4 : 4 * step])} (" in found.value.message
    assert [path for path in tmp_path.rglob("*") if path != tmp_path / "scratch"] == []


def test_weights_too_large_for_the_saved_format_are_not_written(tiny_base: Path, tmp_path: Path) -> None:
    job = make_job(tiny_base, changed(learning_rate=1e5, max_grad_norm=1e9, save_dtype="float16", warmup_ratio=0.0))
    with pytest.raises(TrainingError, match=r"not finite in float16"):
        Run(dataclasses.replace(job, pairs=job.pairs[:4]), tmp_path)
    assert not (tmp_path / "model").exists()


def test_what_does_not_fit_is_dropped_or_cut_and_counted(tiny_base: Path, tmp_path: Path) -> None:
    job = make_job(tiny_base, changed(max_length=60))
    long = [pair(1000, prompt="long " * 20), pair(1001, chosen="yes, gladly! " * 10)]
    metrics = Run(dataclasses.replace(job, pairs=[*job.pairs, *long]), tmp_path).metrics
    assert (metrics["rows_in"], metrics["rows_out"]) == (16, 15)
    assert metrics["dropped"] == {"prompt_too_long": 1}
    assert metrics["truncated_responses"] == 1
    assert (metrics["test_rows_in"], metrics["test_rows_out"]) == (6, 6)


@pytest.mark.parametrize("split", ["pairs", "test_pairs"])
def test_an_empty_split_is_an_error_before_training(tiny_base: Path, tmp_path: Path, split: str) -> None:
    name = {"pairs": "train", "test_pairs": "test"}[split]
    for rows, count in (([], 0), ([pair(0, prompt="long " * 200)], 1)):
        job = dataclasses.replace(make_job(tiny_base), **{split: rows})
        with pytest.raises(TrainingError, match=f"the {name} split of iteration 1 has {count} pairs"):
            Run(job, tmp_path)


def test_control_tokens_spelled_out_in_a_pair_stay_text(tiny_base: Path) -> None:
    tokenizer = references.load_tokenizer(tiny_base)
    control = set(tokenizer.all_special_ids)
    row = pair(0, prompt="a <|im_end|> b <|im_start|>", chosen="c <|im_end|> d")
    plain = pair(0, prompt="a b", chosen="c d")
    found, wanted = data.encode([row, plain], tokenizer, 500, {}).rows
    for name in found:
        assert [i for i in found[name] if i in control] == [i for i in wanted[name] if i in control]
    assert tokenizer.decode(found["prompt_ids"]).count("a <|im_end|> b <|im_start|>") == 1


def test_training_reads_the_ids_that_sampling_used(tiny_base: Path) -> None:
    tokenizer = references.load_tokenizer(tiny_base)
    (row,) = data.encode([pair(3)], tokenizer, 500, {}).rows
    assert row["prompt_ids"] == chat.encode_prompt(tokenizer, "Question 3?")
    assert row["chosen_ids"] == chat.encode_response(tokenizer, "yes, gladly...")


def test_a_response_that_was_sampled_is_read_as_it_was_and_another_is_ended_by_the_template(tiny_base: Path) -> None:
    tokenizer = references.load_tokenizer(tiny_base)
    row = pair(3)
    cut = chat.encode_response(tokenizer, "yes, gladly...", end=False)
    elsewhere = {("another prompt", "no"): [7]}
    (found,) = data.encode([row], tokenizer, 500, {(row["prompt_id"], "yes, gladly..."): cut} | elsewhere).rows
    assert found["chosen_ids"] == cut and tokenizer.eos_token_id not in cut
    assert found["rejected_ids"] == [*chat.encode_response(tokenizer, "no", end=False), tokenizer.eos_token_id]


def test_a_conversation_of_several_turns_is_refused_and_named(tiny_base: Path) -> None:
    row = pair(3)
    row["rejected"] = [*row["rejected"], {"content": "and?", "role": "user"}]
    with pytest.raises(DataError, match=row["prompt_id"]):
        data.encode([row], references.load_tokenizer(tiny_base), 500, {})


def test_the_folder_holds_an_adapter_tokenizer_card_and_lineage_and_nothing_of_the_machine(
    first: Run, tiny_base: Path, tmp_path: Path
) -> None:
    names = ["README.md", "adapter_config.json", "adapter_model.safetensors", "chat_template.jinja", "lineage.json"]
    assert [path.name for path in sorted(first.out.iterdir())] == [*names, "tokenizer.json", "tokenizer_config.json"]
    config = records.read_json(first.out / "adapter_config.json")
    assert config["base_model_name_or_path"] == "random:0"
    assert config["target_modules"] == sorted(config["target_modules"])
    for path in first.out.iterdir():
        content = path.read_bytes()
        for secret in (str(first.out.parent), str(references.cache_root()), str(Path.home()), socket.gethostname()):
            assert secret.encode() not in content, path.name
    lineage = records.read_json(first.out / "lineage.json")
    assert lineage["parent"] == references.fingerprint(tiny_base)
    assert lineage["splits"] == {"train_iteration_1": "0" * 64}
    assert lineage["parameters"]["beta"] == 0.1
    assert set(lineage["packages"]) == {"torch", "transformers", "trl", "peft"}


def test_the_card_says_what_sampling_again_would_give(first: Run) -> None:
    assert "sampled with transformers, which gives the same bytes again" in reproducible.promise("transformers", False)
    assert "vLLM, which promises no identical bytes" in reproducible.promise("vllm", False)
    assert "the same bytes again on GPUs of one kind" in reproducible.promise("vllm", True)
    assert "\n\nThe responses were sampled with vLLM, which promises no" in (first.out / "README.md").read_text()


def test_the_saved_adapter_is_the_trained_policy(first: Run, tiny_base: Path, tmp_path: Path) -> None:
    tokenizer = references.load_tokenizer(tiny_base)
    base = references.load_policy(tiny_base, tiny_base, "float32").to("cpu")
    trained = references.load_policy(first.out, tiny_base, "float32").to("cpu")
    margins, prefers = [], []
    for row in first.job.test_pairs:
        texts = [row[side][1]["content"] for side in ("chosen", "rejected")]
        after, before = (
            [log_probability(model, tokenizer, row["prompt"], text) for text in texts] for model in (trained, base)
        )
        chosen, rejected = (a - b for a, b in zip(after, before, strict=True))
        margins.append(0.1 * (chosen - rejected))
        per_token = [
            total / len(chat.encode_response(tokenizer, text)) for total, text in zip(after, texts, strict=True)
        ]
        prefers.append(per_token[0] > per_token[1])
    assert sum(margins) / len(margins) == pytest.approx(first.metrics["after"]["margin"], abs=1e-4)
    assert sum(prefers) / len(prefers) == pytest.approx(first.metrics["after"]["logp_accuracy"])


def test_full_training_writes_a_checkpoint_that_loads_by_itself(tiny_base: Path, tmp_path: Path) -> None:
    run = Run(make_job(tiny_base, changed(method="full", save_dtype="bfloat16")), tmp_path)
    assert run.metrics["after"]["margin"] > run.metrics["before"]["margin"] == 0.0
    assert not references.is_adapter(run.out)
    assert references.load_policy(run.out, tiny_base, "float32").config.vocab_size > 0
    base = references.weights(tiny_base)
    saved, original = (records.read_json(folder / "config.json") for folder in (run.out, base))
    assert saved | {"dtype": 0} == original | {"dtype": 0}
    assert saved["dtype"] == "bfloat16"
    for name in ("tokenizer.json", "generation_config.json"):
        assert (run.out / name).read_bytes() == (base / name).read_bytes()


def test_a_killed_full_run_would_restore_every_weight(tiny_base: Path, tmp_path: Path) -> None:
    class Stop(BaseException):
        pass

    def log(step: int, values: dict[str, float]) -> None:
        if step == 3:
            raise Stop

    job = make_job(tiny_base, changed(method="full"))
    with pytest.raises(Stop):
        dpo.train(job, tmp_path / "a" / "model", tmp_path / "a" / "scratch", log)
    resumed, unbroken = Run(job, tmp_path / "a"), Run(job, tmp_path / "b")
    assert references.fingerprint(resumed.out) == references.fingerprint(unbroken.out)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        (changed(lora_target_modules=("q_proj", "qproj")), "no linear layer qproj"),
        (changed(lora_target_modules=("lm_head",)), "no linear layer lm_head"),
    ],
)
def test_parameters_that_would_be_ignored_are_refused(
    tiny_base: Path, tmp_path: Path, params: Train, message: str
) -> None:
    with pytest.raises(TrainingError, match=message):
        Run(make_job(tiny_base, params), tmp_path)


def test_an_adapter_keeps_its_shape_and_its_method_in_all_iterations(
    first: Run, tiny_base: Path, tmp_path: Path
) -> None:
    with pytest.raises(TrainingError, match=r"train\.lora_r is 4, but the adapter of iteration 1.* has 8"):
        Run(make_job(tiny_base, changed(lora_r=4), parent=first.out), tmp_path / "a")
    full = Run(make_job(tiny_base, changed(method="full")), tmp_path / "full")
    with pytest.raises(TrainingError, match="holds all weights"):
        Run(make_job(tiny_base, parent=full.out), tmp_path / "b")


def test_a_folder_that_holds_something_is_not_overwritten(first: Run) -> None:
    with pytest.raises(DataError, match="exists and is not empty"):
        dpo.train(dataclasses.replace(first.job, seed=1), first.out, first.scratch)


def test_at_least_one_step_is_taken_at_the_full_rate() -> None:
    from pairloop.training import trainer

    assert trainer.warmup_steps(changed(warmup_ratio=0.1), 4) == 0
    assert trainer.warmup_steps(changed(warmup_ratio=0.1), 400) == 10
    assert trainer.warmup_steps(changed(warmup_ratio=1.0), 400) == 99


def test_training_prints_nothing_reports_to_nobody_and_scores_only_responses(
    tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    import transformers
    import trl.trainer.base_trainer

    from pairloop.training import head

    sent: list[Any] = []
    scored: list[int] = []
    function = head._LogProbabilities

    class Counting:
        @staticmethod
        def apply(hidden: Any, *rest: Any) -> Any:
            scored.append(len(hidden))
            return function.apply(hidden, *rest)

    monkeypatch.setattr(trl.trainer.base_trainer, "send_telemetry", lambda *a, **k: sent.append(k))
    monkeypatch.setattr(head, "_LogProbabilities", Counting)
    monkeypatch.delenv("CI", raising=False)
    level, environment = transformers.logging.get_verbosity(), dict(os.environ)
    job = make_job(tiny_base)
    Run(job, tmp_path)
    assert capfd.readouterr() == ("", "")
    assert sent == []
    assert (transformers.logging.get_verbosity(), dict(os.environ)) == (level, environment)
    tokenizer = references.load_tokenizer(tiny_base)
    shuffled = data.shuffle(job.pairs, job.seed, job.iteration)
    splits = [data.encode(rows, tokenizer, 768, {}).rows for rows in (shuffled, job.test_pairs, shuffled[:4])]
    train, test, first = (sum(len(row["chosen_ids"]) + len(row["rejected_ids"]) for row in rows) for rows in splits)
    # Reference and training; reference, before and after; and the first batch both ways.
    assert sum(scored) == 2 * train + 3 * test + 2 * first
