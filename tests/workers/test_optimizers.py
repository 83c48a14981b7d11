"""Optimizers and schedules: their steps by hand, what they cost, that they learn and go on from a checkpoint."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from isoflop.lakehouse import Spool
from isoflop.workers import TrainOptions, Transformer, train
from isoflop.workers.components import AdamW, Lion, Mup, Optimizer
from isoflop.workers.components.optimizers import WeightGroup, set_learning_rate, weight_groups
from isoflop.workers.coordinates import check, measure, of_family
from isoflop.workers.devices import Cpu
from isoflop.workers.families import ConfigError
from isoflop.workers.gradient_training import Trainer
from isoflop.workers.timing import HostClock

LANGUAGE = {"kind": "markov", "vocabulary": 32, "contrast": 3.0}
SMALL = {"corpus": LANGUAGE, "width": 32, "depth": 2, "sequence_length": 16, "steps": 40, "validation_tokens": 0}
OPTIMIZERS: dict[str, dict[str, Any]] = {
    "adamw": {"learning_rate": 0.01},
    "sgd": {"learning_rate": 0.5, "momentum": 0.9},
    "lion": {"learning_rate": 0.002},
    "muon": {"learning_rate": 0.02, "adam_learning_rate": 0.01},
}
every_optimizer = pytest.mark.parametrize("optimizer", OPTIMIZERS)


def run(**changes: Any) -> Transformer:
    chosen = OPTIMIZERS[changes["optimizer"]] if "optimizer" in changes else {}
    return Transformer.parse({**SMALL, **chosen, **changes})


def stepped(trainer: Trainer, run: Transformer, first: int, last: int) -> None:
    clock = HostClock(is_cpu_time=True)
    batches = run.batches(run.open_corpus(), first_step=first)
    for _ in range(first, last):
        clock.begin_step()
        trainer.step(torch.from_numpy(next(batches)), run.optimizer.learning_rate, clock)


def weights(trainer: Trainer) -> list[torch.Tensor]:
    return [weight.detach().clone() for weight in trainer.model.parameters()]


@every_optimizer
def test_every_optimizer_learns(optimizer: str, tmp_path: Path) -> None:
    family = run(optimizer=optimizer)
    with Spool(tmp_path, "x", 1) as spool:
        outcome = train(family, spool, options=TrainOptions(device="cpu", threads=1))
    assert outcome.status == "finished" and outcome.loss is not None
    assert outcome.loss < 0.93 * family.loss_of_knowing_nothing()


@every_optimizer
def test_a_run_goes_on_from_its_state_to_the_same_bits(optimizer: str) -> None:
    family = run(optimizer=optimizer)
    straight, begun, resumed = (Trainer(family, Cpu()) for _ in range(3))
    stepped(straight, family, 0, 6)
    stepped(begun, family, 0, 3)
    resumed.restore(copy.deepcopy(begun.state()))
    stepped(resumed, family, 3, 6)
    for one, other in zip(weights(straight), weights(resumed), strict=True):
        assert torch.equal(one, other)


@every_optimizer
def test_warming_up_changes_nothing(optimizer: str) -> None:
    family = run(optimizer=optimizer)
    warm, cold = Trainer(family, Cpu()), Trainer(family, Cpu())
    warm.warm_up(torch.from_numpy(next(family.batches(family.open_corpus()))))
    for trainer in (warm, cold):
        stepped(trainer, family, 0, 2)
    for one, other in zip(weights(warm), weights(cold), strict=True):
        assert torch.equal(one, other)


@every_optimizer
def test_an_optimizer_keeps_and_computes_what_is_counted(optimizer: str) -> None:
    family = run(optimizer=optimizer, attention="plain")
    trainer, counts = Trainer(family, Cpu()), family.counts()
    batch = torch.from_numpy(next(family.batches(family.open_corpus())))
    with FlopCounterMode(display=False) as counter:
        trainer.step(batch, 0.01, HostClock(is_cpu_time=True))
    assert counter.get_total_flops() == counts.flops_per_step
    usual = run(attention="plain").counts()
    kept = sum(
        each.numel()
        for weight, state in trainer.optimizer.state.items()
        if weight.ndim == 2
        for each in state.values()
        if isinstance(each, torch.Tensor) and each.ndim == 2
    )
    spared = 4 * (2 * usual.params - kept)  # type: ignore[operator]
    assert usual.memory_bytes - counts.memory_bytes == pytest.approx(spared)  # type: ignore[operator]


def test_lion_steps_by_the_sign_of_its_mean() -> None:
    weight = torch.nn.Parameter(torch.tensor([[1.0, -2.0, 3.0]]))
    optimizer = Lion(learning_rate=1.0, weight_decay=0.1).build([WeightGroup([weight], True)])
    set_learning_rate(optimizer, 0.5)
    weight.grad = torch.tensor([[2.0, -1.0, 0.0]])
    optimizer.step()
    decayed = torch.tensor([[1.0, -2.0, 3.0]]) * (1 - 0.5 * 0.1)
    after = decayed - 0.5 * torch.tensor([[1.0, -1.0, 0.0]])
    torch.testing.assert_close(weight.detach(), after)
    weight.grad = torch.tensor([[-0.1, 1.0, 1.0]])  # the first mean is 0.01 * 2: 0.9 * 0.02 - 0.1 * 0.1 > 0
    optimizer.step()
    signs = torch.tensor([[1.0, 1.0, 1.0]])
    torch.testing.assert_close(weight.detach(), after * (1 - 0.05) - 0.5 * signs)


def test_muon_moves_matrices_of_layers_orthogonally_and_others_by_adam() -> None:
    family = run(optimizer="muon", weight_decay=0.0, gradient_clip=None)
    trainer, adam = Trainer(family, Cpu()), Trainer(run(optimizer="adamw", weight_decay=0.0, gradient_clip=None), Cpu())
    before = {name: weight.detach().clone() for name, weight in trainer.model.named_parameters()}
    clock, batch = HostClock(is_cpu_time=True), torch.from_numpy(next(family.batches(family.open_corpus())))
    for each, rate in ((trainer, 0.02), (adam, 0.01)):
        each.step(batch, rate, clock)
    for name, weight in trainer.model.named_parameters():
        moved = (weight.detach() - before[name]) / 0.02
        if "blocks" in name and weight.ndim == 2:
            outputs, inputs = weight.shape
            sizes = torch.linalg.svdvals(moved) / max(1.0, outputs / inputs) ** 0.5
            assert 0.5 < float(sizes.median()) < 1.3 and float(sizes.max()) < 1.4, name
        else:
            torch.testing.assert_close(weight, dict(adam.model.named_parameters())[name], rtol=1e-5, atol=1e-7)


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", ["lion", "muon"])
def test_changes_are_flat_over_width_under_mup(optimizer: str) -> None:
    rates: dict[str, Any] = {"lion": {"learning_rate": 0.003}, "muon": {"learning_rate": 0.05}}[optimizer]
    widths, found = (32, 64, 128, 256), {}
    for scheme in ({"parametrization": "standard"}, {"parametrization": "mup", "base_width": 32}):
        measured = [
            measure(of_family(run(optimizer=optimizer, width=width, seed=seed, **scheme, **rates)), width, steps=4)
            for seed in (0, 1)
            for width in widths
        ]
        found[scheme["parametrization"]] = check(measured)
    assert {each.verdict for each in found["mup"]} <= {"pass", "unsure"}
    assert max(abs(each.change_slope) for each in found["mup"]) < 0.3
    assert max(each.change_slope for each in found["standard"]) > 0.3


def test_groups_of_weights_are_told_apart_by_how_they_learn() -> None:
    family = run(width=64, parametrization="mup", base_width=32)
    model = family.build(Cpu(), torch.Generator().manual_seed(0))
    assert isinstance(family.parametrization, Mup)
    groups = weight_groups(model, family.parametrization.treatments(family.roles(model), "muon"))
    inner = [group for group in groups if group.scaling.is_inner]
    assert sum(len(group.weights) for group in inner) == 4 * 2
    assert {group.scaling.rate_factor for group in inner} == {1.0}


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("cosine", [0.5, 1.0, 1.0, 0.775, 0.325, 0.1]),
        ("linear", [0.5, 1.0, 1.0, 0.7, 0.4, 0.1]),
        ("constant", [0.5, 1.0, 1.0, 1.0, 1.0, 1.0]),
        ("wsd", [0.5, 1.0, 1.0, 1.0, 1.0, 0.1]),
    ],
)
def test_schedules_go_from_the_peak_to_the_final_fraction(schedule: str, expected: list[float]) -> None:
    optimizer = AdamW(learning_rate=2.0, warmup_fraction=1 / 3, schedule=schedule)  # type: ignore[arg-type]
    rates = [optimizer.rate_at(step, 6) / 2.0 for step in range(6)]
    assert rates == pytest.approx(expected)


def test_wsd_falls_in_its_last_steps_alone() -> None:
    optimizer = AdamW(learning_rate=1.0, schedule="wsd", decay_fraction=0.5, final_learning_rate_fraction=0.0)
    rates = [optimizer.rate_at(step, 101) for step in range(101)]
    stable = 101 - round(0.5 * 101)
    assert rates[2:stable] == [1.0] * (stable - 2)
    falls = [before - after for before, after in zip(rates[stable - 1 :], rates[stable:], strict=False)]
    assert falls == pytest.approx([1 / (101 - stable)] * len(falls)) and rates[-1] == 0.0


def test_a_cosine_is_the_run_of_before_and_other_schedules_are_others() -> None:
    usual = run().record()
    assert run(schedule="cosine").record().run_id == usual.run_id
    assert (usual.extra["schedule"], usual.config["schedule"]) == ("cosine", None)
    wsd = run(schedule="wsd").record()
    assert wsd.run_id == run(schedule="wsd", decay_fraction=0.2).record().run_id != usual.run_id
    assert (wsd.config["schedule"], wsd.config["decay_fraction"]) == ("wsd", 0.2)
    assert "schedule" not in wsd.extra


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schedule": "step"}, "'schedule' is 'step'; it should be 'cosine', 'linear', 'constant' or 'wsd'"),
        (
            {"decay_fraction": 0.1},
            "'decay_fraction' is of the schedule wsd, not of cosine; leave one of them out",
        ),
        ({"schedule": "wsd", "decay_fraction": 2}, "'decay_fraction' is 2; it should be at most 1"),
        ({"optimizer": "lion", "momentum": 0.9}, "'momentum' is not a setting of the optimizer lion"),
        ({"optimizer": "lion", "beta1": 1}, "'beta1' is 1; it should be less than 1"),
        ({"optimizer": "muon", "adam_learning_rate": 0}, "'adam_learning_rate' is 0; it should be more than 0"),
    ],
)
def test_what_an_optimizer_cannot_have_is_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Transformer.parse({**SMALL, **changes})
    assert caught.value.message == message


def test_every_optimizer_has_one_rate_for_all_steps() -> None:
    for optimizer in OPTIMIZERS:
        assert isinstance(run(optimizer=optimizer).optimizer, Optimizer)
        assert run(optimizer=optimizer).optimizer.rate_at(39, 40) == pytest.approx(
            0.1 * run(optimizer=optimizer).optimizer.learning_rate
        )
