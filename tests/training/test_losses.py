"""Every loss by its paper's formula, computed here from the log-probabilities of chosen and rejected responses."""

import dataclasses
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from test_dpo import Run, changed, make_job, pair
from torch import Tensor
from torch.nn.functional import logsigmoid

from pairloop.errors import DataError, ParameterError
from pairloop.params import Train, losses
from pairloop.params.losses import Loss
from pairloop.training import data, dpo

pytestmark = pytest.mark.slow

BETA, EPSILON = 0.3, 0.1
SIZE = {"per_device_train_batch_size": 4, "beta": BETA, "reference": "base"}


@dataclass
class Batch:
    """What a loss may read, of each pair of a batch."""

    chosen: Tensor
    """[B, T] log-probability of each token of the chosen response; 0 elsewhere."""

    rejected: Tensor
    base_chosen: Tensor
    """[B] under the reference."""

    base_rejected: Tensor
    lengths: tuple[Tensor, Tensor]
    """[B] tokens of the chosen and of the rejected response."""

    wins: tuple[Tensor, Tensor]
    """[B] probability to win of both."""

    squares: tuple[Tensor, Tensor]
    """[B, T] log of the sum of squared probabilities at each token; 0 elsewhere."""

    @property
    def r(self) -> Tensor:
        """Log-ratios of the chosen responses."""
        return self.chosen.sum(1) - self.base_chosen

    @property
    def s(self) -> Tensor:
        """Log-ratios of the rejected responses."""
        return self.rejected.sum(1) - self.base_rejected

    @property
    def d(self) -> Tensor:
        return self.r - self.s


def smoothed(margin: Tensor) -> Tensor:
    """The logistic loss where a share EPSILON of the labels is wrong."""
    return -(1 - EPSILON) * logsigmoid(margin) - EPSILON * logsigmoid(-margin)


def exo(b: Batch) -> Tensor:
    """Ji et al. 2024, equation 16: KL of the policy's preference from the smoothed label."""
    p = torch.stack([BETA * b.r, BETA * b.s]).softmax(0)
    return (p * (p / torch.tensor([[1 - EPSILON], [EPSILON]])).log()).sum(0)


def discopop(b: Batch) -> Tensor:
    """Lu et al. 2024, equation 5, with tau 0.05."""
    x = BETA * b.d
    share = torch.sigmoid(x / 0.05)
    return (1 - share) * -logsigmoid(x) + share * torch.exp(-x)


FORMULAS: dict[str, Callable[[Batch], Tensor]] = {
    "sigmoid": lambda b: -logsigmoid(BETA * b.d),
    "hinge": lambda b: (1 - BETA * b.d).clamp(min=0),
    "ipo": lambda b: (b.r / b.lengths[0] - b.s / b.lengths[1] - 1 / (2 * BETA)) ** 2,
    "exo_pair": exo,
    "nca_pair": lambda b: -logsigmoid(BETA * b.r) - 0.5 * logsigmoid(-BETA * b.r) - 0.5 * logsigmoid(-BETA * b.s),
    "robust": lambda b: (
        (-(1 - EPSILON) * logsigmoid(BETA * b.d) + EPSILON * logsigmoid(-BETA * b.d)) / (1 - 2 * EPSILON)
    ),
    "bco_pair": lambda b: -logsigmoid(BETA * b.r) - logsigmoid(-BETA * b.s),
    "sppo_hard": lambda b: (b.r - 1 / (2 * BETA)) ** 2 + (b.s + 1 / (2 * BETA)) ** 2,
    "sppo_soft": lambda b: (b.r - (b.wins[0] - 0.5) / BETA) ** 2 + (b.s - (b.wins[1] - 0.5) / BETA) ** 2,
    "aot": lambda b: smoothed(
        BETA * ((b.chosen.sum(1) - b.rejected.sum(1)).sort()[0] - (b.base_chosen - b.base_rejected).sort()[0])
    ),
    "aot_unpaired": lambda b: smoothed(BETA * (b.r.sort()[0] - b.s.sort()[0])),
    "apo_zero": lambda b: 1 - torch.sigmoid(BETA * b.r) + torch.sigmoid(BETA * b.s),
    "apo_down": lambda b: torch.sigmoid(BETA * b.r) + 1 - torch.sigmoid(BETA * b.d),
    "discopop": discopop,
    "sft": lambda b: -b.chosen.sum() / b.lengths[0].sum(),
    "sigmoid_norm": lambda b: -logsigmoid(BETA * (b.r / b.lengths[0] - b.s / b.lengths[1])),
}
"""Of each loss the value of each pair."""

SMOOTHED = {"label_smoothing": EPSILON}
NEEDED = {"robust": SMOOTHED, "exo_pair": SMOOTHED, "aot": SMOOTHED, "aot_unpaired": SMOOTHED}


class Built(BaseException):
    """Ends a training when all is built and nothing trained."""


@dataclass
class Lab:
    """Iteration 2, held to the base and about to be trained: its log-ratios are not zero."""

    parent: Run
    base: Path
    folder: Path
    monkeypatch: pytest.MonkeyPatch
    count: int = 0

    def loss(self, **changes: Any) -> tuple[float, Batch]:
        """The loss of the first batch, which has a gradient, and what it may depend on."""
        tuning = self.built(changed(**SIZE | changes))
        batch = next(iter(tuning.get_train_dataloader()))
        tuning.model.train()
        loss = tuning.compute_loss(tuning.model, dict(batch))
        loss.backward()
        gradients = [p.grad for p in tuning.model.parameters() if p.requires_grad]
        assert any(bool(gradient.any()) for gradient in gradients if gradient is not None)
        return float(loss.detach()), self.read(tuning, batch)

    def built(self, params: Train) -> Any:
        from pairloop.training import trainer

        kept: list[Any] = []

        def run(tuning: Any, newest: Path | None) -> None:
            kept.append(tuning)
            raise Built

        self.monkeypatch.setattr(trainer, "run", run)
        job = make_job(self.base, params, parent=self.parent.out)
        job = dataclasses.replace(job, win_probabilities=wins(job))
        self.count += 1
        with pytest.raises(Built):
            dpo.train(job, self.folder / str(self.count), self.folder / "scratch")
        return kept[0]

    def read(self, tuning: Any, batch: Any) -> Batch:
        with torch.no_grad():
            plain = tuning.model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"])
        scores = plain.logits[:, :-1].log_softmax(-1)
        mask = batch["completion_mask"][:, 1:]
        tokens = scores.gather(-1, batch["input_ids"][:, 1:, None])[..., 0] * mask
        lengths, squares = mask.sum(1), (2 * scores).logsumexp(-1) * mask
        probabilities = batch.get("win_probabilities", torch.zeros(len(mask)))
        reference = (batch["ref_chosen_logps"], batch["ref_rejected_logps"])
        split: list[Any] = [tuple(value.chunk(2)) for value in (lengths, probabilities, squares)]
        return Batch(*tokens.chunk(2), *reference, *split)


def wins(job: dpo.Job) -> dict[tuple[str, str], float]:
    """Some probability for every response."""
    sides = [(row["prompt_id"], row[side][-1]["content"]) for row in job.pairs for side in ("chosen", "rejected")]
    return {key: (number % 7 + 1) / 8 for number, key in enumerate(sides)}


@pytest.fixture(scope="module")
def parent(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return Run(make_job(tiny_base, changed(learning_rate=1e-4)), tmp_path_factory.mktemp("parent"))


@pytest.fixture
def lab(parent: Run, tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield Lab(parent, tiny_base, tmp_path, monkeypatch)
    torch.set_num_threads(threads)


def test_every_loss_has_a_formula_here() -> None:
    assert set(FORMULAS) == set(get_args(Loss))


def test_the_names_are_those_of_trl() -> None:
    import inspect
    import re

    from trl import DPOTrainer

    names = set(re.findall(r'loss_type == "(\w+)"', inspect.getsource(DPOTrainer._compute_loss)))
    assert names == set(get_args(Loss)) - {"sppo_soft"}


@pytest.mark.parametrize("name", FORMULAS)
def test_a_loss_is_its_formula(name: str, lab: Lab) -> None:
    found, batch = lab.loss(loss=[name], **NEEDED.get(name, {}))
    assert len(batch.r) == 4 and float(batch.d.abs().min()) > 0.01
    assert found == pytest.approx(float(FORMULAS[name](batch).mean()), rel=1e-4)


@pytest.mark.parametrize(
    "weights",
    [{"sigmoid": 0.8, "bco_pair": 0.2, "sft": 1.0}, {"sppo_soft": 0.5, "apo_zero": 2.0}, {"sppo_soft": 0.25}],
    ids=["of TRL's", "with sppo_soft", "sppo_soft alone"],
)
def test_several_losses_are_their_weighted_sum(weights: dict[str, float], lab: Lab) -> None:
    found, batch = lab.loss(loss=list(weights), loss_weights=list(weights.values()))
    wanted = sum(weight * float(FORMULAS[name](batch).mean()) for name, weight in weights.items())
    assert found == pytest.approx(wanted, rel=1e-4)


def test_without_weights_each_loss_counts_once(lab: Lab) -> None:
    found, batch = lab.loss(loss=["sigmoid", "sft"])
    assert found == pytest.approx(sum(float(FORMULAS[name](batch).mean()) for name in ("sigmoid", "sft")), rel=1e-4)


WEIGHTED = sorted(set(FORMULAS) - {"aot", "aot_unpaired", "sft", "hinge", "sppo_soft"})


@pytest.mark.parametrize("name", WEIGHTED)
def test_weighting_multiplies_each_pair_by_its_likelihood(name: str, lab: Lab) -> None:
    found, batch = lab.loss(loss=[name], use_weighting=True, **NEEDED.get(name, {}))
    weight = torch.ones(4)
    for tokens, squares, length in zip((batch.chosen, batch.rejected), batch.squares, batch.lengths, strict=True):
        weight *= torch.exp((tokens - squares).sum(1) / length)  # WPO's equation 2, sampled alignment
    assert found == pytest.approx(float((FORMULAS[name](batch) * weight).mean()), rel=1e-4)


@pytest.mark.parametrize(
    ("changes", "score"),
    [
        ({"f_divergence_type": "forward_kl"}, lambda x: 1 - torch.exp(-x)),
        ({"f_divergence_type": "js_divergence"}, lambda x: math.log(2) + x - torch.log1p(torch.exp(x))),
        ({"f_divergence_type": "alpha_divergence"}, lambda x: (torch.exp(-0.5 * x) - 1) / -0.5),
        (
            {"f_divergence_type": "alpha_divergence", "f_alpha_divergence_coef": 0.2},
            lambda x: (torch.exp(-0.8 * x) - 1) / -0.8,
        ),
    ],
    ids=["forward KL", "Jensen-Shannon", "alpha 0.5", "alpha 0.2"],
)
def test_another_divergence_is_the_derivative_of_its_f(
    changes: dict[str, Any], score: Callable[[Tensor], Tensor], lab: Lab
) -> None:
    found, batch = lab.loss(**changes)
    assert found == pytest.approx(float(-logsigmoid(BETA * (score(batch.r) - score(batch.s))).mean()), rel=1e-4)


def test_sure_winners_and_losers_make_soft_sppo_the_hard_one() -> None:
    from pairloop.training.losses import sppo_soft

    ratios, sure = torch.tensor([0.5, -1.0, 0.2, 3.0]), torch.tensor([1.0, 1.0, 0.0, 0.0])
    hard = (ratios[:2] - 0.5 / BETA) ** 2 + (ratios[2:] + 0.5 / BETA) ** 2
    assert float(sppo_soft(ratios, sure, BETA)) == pytest.approx(float(hard.mean()))


def test_probabilities_reach_the_responses_that_they_are_of(lab: Lab) -> None:
    batch = next(iter(lab.built(changed(**SIZE, loss=["sppo_soft"])).get_train_dataloader()))
    job = make_job(lab.base, parent=lab.parent.out)
    shuffled, known = data.shuffle(job.pairs, job.seed, job.iteration), wins(job)
    rows = [shuffled[row] for row in batch["rows"]]
    wanted = [known[row["prompt_id"], row[side][-1]["content"]] for side in ("chosen", "rejected") for row in rows]
    assert batch["win_probabilities"].tolist() == pytest.approx(wanted)


def test_a_pair_without_a_probability_to_win_is_named(tiny_base: Path, tmp_path: Path) -> None:
    job = make_job(tiny_base, changed(loss=["sppo_soft"]))
    known = wins(job)
    del known[(pair(3)["prompt_id"], "no")]
    with pytest.raises(DataError, match=f"{pair(3)['prompt_id']}.*the rejected response has no probability to win"):
        Run(dataclasses.replace(job, win_probabilities=known), tmp_path)


def test_soft_sppo_trains_and_probabilities_are_part_of_the_job(tiny_base: Path, tmp_path: Path) -> None:
    job = make_job(tiny_base, changed(loss=["sppo_soft"], beta=1.0))
    job = dataclasses.replace(job, win_probabilities=dict.fromkeys(wins(job), 0.5))
    still = Run(job, tmp_path / "still")
    assert still.log[0][1]["grad_norm"] == pytest.approx(0, abs=1e-6)  # none is to be more or less likely than before
    moved = Run(dataclasses.replace(job, win_probabilities=wins(job)), tmp_path / "moved")
    assert moved.log[0][1]["grad_norm"] > 1e-3 and dpo.fingerprint(moved.job) != dpo.fingerprint(job)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"loss": ["sigmoid", "sft"], "loss_weights": [1.0]}, r"loss_weights has 1 number, but train.loss names 2"),
        ({"label_smoothing": 0.1}, r"label_smoothing is 0.1, but the loss sigmoid does not read it"),
        ({"loss": ["exo_pair"]}, r"label_smoothing is 0, but the loss exo_pair takes its logarithm"),
        ({"loss": ["bco_pair"], "f_divergence_type": "forward_kl"}, r"f_divergence_type .* and bco_pair is none"),
        ({"loss": ["sft"], "f_divergence_type": "forward_kl"}, r"f_divergence_type .* and sft is none"),
        ({"f_alpha_divergence_coef": 0.3}, r"f_alpha_divergence_coef is 0.3, but the divergence reverse_kl does not"),
        *(({"loss": [name], "use_weighting": True}, f"the loss {name} ") for name in ("aot", "aot_unpaired", "sft")),
        *(({"loss": [name], "use_weighting": True}, f"the loss {name} ") for name in ("hinge", "sppo_soft")),
        ({"loss": ["sft"], "ld_alpha": 0.5}, r"ld_alpha is 0.5, but the loss sft does not read it"),
        ({"loss": ["aot"], "per_device_train_batch_size": 1}, r"batch_size is 1, but the loss aot compares"),
        ({"loss": ["sppo_soft"], "data": "replay"}, r"train.data is replay, but the loss sppo_soft"),
    ],
)
def test_what_would_be_ignored_or_cannot_be_combined_is_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        changed(**values)


@pytest.mark.parametrize("name", ["aot", "aot_unpaired", "sft", "hinge"])
def test_what_is_refused_with_weighting_would_fail_in_trl(name: str, lab: Lab) -> None:
    lab.monkeypatch.setattr(losses, "UNWEIGHTED", {})
    with pytest.raises((NotImplementedError, RuntimeError), match=r"misalign|single memory location|inplace operation"):
        lab.loss(loss=[name], use_weighting=True, **NEEDED.get(name, {}))
