"""The reference's log-probabilities: from sampling, or computed once."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from test_dpo import changed, make_job, pair

from pairloop.files import records
from pairloop.models import chat, references
from pairloop.training import data, dpo, reference, sharing

CUT = 36
"""Tokens that the tiny model's template, the longest prompt and some of a response have."""

SAMPLED = changed(reference_logps="sampled")
Likely = dict[tuple[str, str], list[float]]


def sampling(base: Path, job: dpo.Job, off: float = 0.0) -> dpo.Job:
    """The job with what a sampler stores of its responses: ids, and log-probabilities that are `off` by so much."""
    import torch

    tokenizer, model = references.load_tokenizer(base), references.load_model(base, "float32").to("cpu")
    ids: dict[tuple[str, str], list[int]] = {}
    likely: Likely = {}
    for row in [*job.pairs, *job.test_pairs]:
        prompt = chat.encode_prompt(tokenizer, row["prompt"])
        for side in ("chosen", "rejected"):
            key = row["prompt_id"], row[side][1]["content"]
            ids[key] = chat.encode_response(tokenizer, key[1])
            with torch.no_grad():
                scores = model(torch.tensor([prompt + ids[key]])).logits[0, len(prompt) - 1 : -1].log_softmax(-1)
            likely[key] = [float(row[token]) + off for row, token in zip(scores, ids[key], strict=True)]
    return dataclasses.replace(job, sampled=ids, logps=likely)


def train(job: dpo.Job, folder: Path) -> list[float]:
    """The losses of its steps."""
    losses: list[float] = []
    dpo.train(job, folder / "model", folder / "scratch", lambda step, values: losses.append(values["loss"]))
    return losses


def computed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Fills with the names of the splits that the reference reads."""
    names: list[str] = []
    read = sharing.with_reference

    def counted(trainer: Any, rows: Any, planned: Any) -> Any:
        names.append(next((name for name, plan in trainer.plans.items() if plan is planned), "first"))
        return read(trainer, rows, planned)

    monkeypatch.setattr(sharing, "with_reference", counted)
    return names


@pytest.mark.parametrize("changes", [{}, {"ld_alpha": 0.3}, {"max_length": CUT}], ids=["plain", "ld_alpha", "cut"])
def test_sampled_log_probabilities_give_the_losses_of_computed_ones(
    tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any]
) -> None:
    job = sampling(tiny_base, make_job(tiny_base, changed(**changes)))
    wanted = train(job, tmp_path / "computed")
    names = computed(monkeypatch)
    found = train(dataclasses.replace(job, params=changed(reference_logps="sampled", **changes)), tmp_path / "sampled")
    assert found == pytest.approx(wanted, abs=1e-4)
    assert names == ["first", "eval"]
    prompts = [len(chat.encode_prompt(references.load_tokenizer(tiny_base), row["prompt"])) for row in job.test_pairs]
    assert max(prompts) == CUT - 4


@pytest.mark.parametrize(
    ("off", "without", "said"),
    [(0.01, 0, "do not compute alike"), (0.0, 1, "some responses have no log-probabilities")],
)
def test_log_probabilities_that_are_missing_or_others_are_computed(
    tiny_base: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    off: float,
    without: int,
    said: str,
) -> None:
    job = sampling(tiny_base, make_job(tiny_base, SAMPLED), off)
    names = computed(monkeypatch)
    train(dataclasses.replace(job, logps=dict(list(job.logps.items())[without:])), tmp_path)
    assert said in capsys.readouterr().err
    assert names[-2:] == ["train", "eval"]


@pytest.mark.parametrize("change", [{"reference": "base"}, {"method": "qlora", "lora_target_modules": ["q_proj"]}])
def test_the_log_probabilities_of_a_reference_that_did_not_sample_are_computed(
    tiny_base: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    change: dict[str, Any],
) -> None:
    own = {"lora_target_modules": change["lora_target_modules"]} if "method" in change else {}
    train(make_job(tiny_base, changed(**own)), tmp_path / "1")
    names = computed(monkeypatch)
    params = changed(reference_logps="sampled", **change)
    train(sampling(tiny_base, make_job(tiny_base, params, parent=tmp_path / "1" / "model"), 0.0), tmp_path / "2")
    assert "the reference is not what sampled: its log-probabilities are computed" in capsys.readouterr().err
    assert names[-2:] == ["train", "eval"]


def test_a_resumed_run_takes_what_was_computed(
    tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, names = make_job(tiny_base), computed(monkeypatch)

    def stop(step: int, values: dict[str, float]) -> None:
        if step == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        dpo.train(job, tmp_path / "model", tmp_path / "scratch", stop)
    assert names == ["train", "eval"]
    kept = next((tmp_path / "scratch").glob(f"*/{reference.KEPT}"))
    assert [len(column) for column in records.read_json(kept)["train"]] == [14, 14]
    train(job, tmp_path)
    assert names == ["train", "eval"]
    assert not kept.exists()


def test_a_cut_response_counts_to_where_it_is_cut() -> None:
    row = {"prompt_ids": [1, 2], "chosen_ids": [3, 4, 5], "rejected_ids": [6]}
    encoded = data.Encoded([row], ["0"], [0], {}, 1, [(5, 3)])
    one = pair(0)
    texts = [(one["prompt_id"], one[side][1]["content"]) for side in ("chosen", "rejected")]
    known = dict(zip(texts, [[-1.0, -2.0, -4.0], [-8.0]], strict=True))
    reference.take_sampled([one], encoded, changed(reference_logps="sampled", max_length=8), known, True)
    assert [row[column] for column in reference.COLUMNS] == [-7.0, -8.0]
    row["prompt_ids"] = [1] * 6
    reference.take_sampled([one], encoded, changed(reference_logps="sampled", max_length=8), known, True)
    assert [row[column] for column in reference.COLUMNS] == [-3.0, -8.0]
