"""Deep linear networks: the matrix dynamics against gradients of the definition, the flow, and known limits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from isoflop.lakehouse.models.spectrum import unit_task
from isoflop.workers.devices import Processor
from isoflop.workers.families import ConfigError, DeepLinear

Floats = NDArray[np.float64]


def network(**changes: Any) -> DeepLinear:
    return DeepLinear.parse({**DeepLinear.example, **changes})


def simulated(run: DeepLinear, marks: list[int]) -> dict[str, Floats]:
    """Every metric at each mark, (marks,)."""
    program = DeepLinear.program([run], Processor())
    rows, done = [], 0
    for mark in marks:
        program.advance(mark - done)
        rows.append(program.measure())
        done = mark
    return {name: np.array([row[name][0] for row in rows]) for name in rows[0]}


def first_entries(run: DeepLinear) -> list[Floats]:
    """W0 to W(L-1) and w as the definition has them, entries N(0, 1)."""
    generator = np.random.default_rng(run.seed)
    shapes = [(run.width, run.dimension), *[(run.width, run.width)] * (run.depth - 1)]
    return [*(generator.standard_normal(shape) for shape in shapes), generator.standard_normal(run.width)]


def literal_loss(run: DeepLinear, entries: list[torch.Tensor]) -> torch.Tensor:
    """Half the population risk of f = sqrt(D) / (gamma N) w W(L-1) … W0 x, written as one product of matrices."""
    variances, target = (torch.from_numpy(each) for each in unit_task(run.dimension, **run.task.model_dump()))
    product = entries[0] / np.sqrt(run.dimension)
    for matrix in entries[1:-1]:
        product = matrix @ product / np.sqrt(run.width)
    function = np.sqrt(run.dimension) / (run.gamma * run.width) * entries[-1] @ product  # of x, (D,)
    missing = target / np.sqrt(run.dimension) - function
    return 0.5 * (variances * missing**2).sum()


def literal_curve(run: DeepLinear, num_steps: int) -> list[float]:
    """Risk before each step of plain gradient descent on the entries, at rate eta gamma^2 N."""
    entries = [torch.from_numpy(each).requires_grad_() for each in first_entries(run)]
    rate = run.optimizer.learning_rate * run.gamma**2 * run.width
    risks = []
    for _ in range(num_steps + 1):
        loss = literal_loss(run, entries)
        risks.append(2 * float(loss.detach()))
        gradients = torch.autograd.grad(loss, entries)
        with torch.no_grad():
            for entry, gradient in zip(entries, gradients, strict=True):
                entry -= rate * gradient
    return risks


def reference_curve(run: DeepLinear, num_steps: int) -> list[float]:
    """The same by hand, in NumPy: every gradient as a product of the matrices after it and those before it."""
    entries = first_entries(run)
    variances, target = unit_task(run.dimension, **run.task.model_dump())
    scales = [np.sqrt(run.dimension), *[np.sqrt(run.width)] * (run.depth - 1)]
    output, risks = np.sqrt(run.dimension) / (run.gamma * run.width), []
    rate = run.optimizer.learning_rate * run.gamma**2 * run.width
    for _ in range(num_steps + 1):
        matrices = [entry / scale for entry, scale in zip(entries[:-1], scales, strict=True)]
        whole = np.linalg.multi_dot([*matrices[::-1], np.eye(run.dimension)])
        missing = target / np.sqrt(run.dimension) - output * entries[-1] @ whole
        risks.append(float((variances * missing**2).sum()))
        pull = variances * missing  # (D,), E[error x]
        changes = []
        for layer, scale in enumerate(scales):
            after = entries[-1]
            for matrix in matrices[:layer:-1]:
                after = after @ matrix
            before = pull
            for matrix in matrices[:layer]:
                before = matrix @ before
            changes.append(output / scale * np.outer(after, before))
        changes.append(output * whole @ pull)
        entries = [entry + rate * change for entry, change in zip(entries, changes, strict=True)]
    return risks


@pytest.mark.parametrize("depth", [1, 2, 4])
@pytest.mark.parametrize(("width", "parametrization"), [(5, "mean_field"), (20, "ntk")])
def test_the_risk_is_that_of_gradient_descent_on_the_definition(depth: int, width: int, parametrization: str) -> None:
    run = network(depth=depth, width=width, parametrization=parametrization, richness=1.3, learning_rate=0.05, seed=2)
    marks = list(range(31))
    found = simulated(run, marks)["loss"]
    np.testing.assert_allclose(found, reference_curve(run, 30), rtol=1e-10)
    np.testing.assert_allclose(found, literal_curve(run, 30), rtol=1e-9)
    assert found[-1] < 0.9 * found[0], "nothing was learned, so nothing was compared"


def test_the_flow_is_the_limit_of_small_steps_and_of_fine_parts() -> None:
    time, exact = 4.0, network(optimizer="gradient_flow", learning_rate=0.1, substeps=16)
    limit = simulated(exact, [40])["loss"][0]
    errors = [
        abs(simulated(network(learning_rate=time / steps), [steps])["loss"][0] - limit) for steps in (400, 800, 1600)
    ]
    np.testing.assert_allclose([errors[0] / errors[1], errors[1] / errors[2]], 2.0, rtol=0.1)  # first order in the step
    coarse = [
        abs(simulated(network(optimizer="gradient_flow", learning_rate=0.2, substeps=parts), [20])["loss"][0] - limit)
        for parts in (2, 4, 8)
    ]
    ratios = np.array(coarse[:-1]) / coarse[1:]
    assert (ratios > 10).all(), f"a method of fourth order gains 16 by halves, this one {ratios}"


def test_risk_at_first_is_one_and_what_random_weights_add() -> None:
    """E L(0) = 1 + 1 / (gamma^2 nu) for isotropic data. Source: Bordelon and Pehlevan 2025 (arXiv:2502.02531)."""
    shape = {"dimension": 60, "width": 30, "depth": 2, "spectrum_exponent": 0.0, "target_exponent": 0.0}
    losses = [simulated(network(**shape, richness=1.5, seed=seed), [0])["loss"][0] for seed in range(300)]
    error = np.std(losses) / np.sqrt(len(losses))
    assert abs(np.mean(losses) - (1 + 1 / (1.5**2 * 0.5))) < 3.5 * error
    assert error < 0.05


def test_modes_with_larger_variance_are_learned_first_and_the_teacher_is_reached() -> None:
    run = network(dimension=8, width=32, depth=2, richness=4.0, spectrum_exponent=1.0, learning_rate=0.01, steps=4000)
    found = simulated(run, [40, 4000])
    early = [found[f"alignment_{mode}"][0] for mode in (1, 2, 4)]
    assert early[0] > early[1] > early[2]
    assert found["alignment"][1] > 0.999
    assert found["loss"][1] < 1e-3
    assert found["alignment_1"][1] == pytest.approx(1.0, abs=1e-6)


def test_metrics_agree_with_one_another() -> None:
    run = network(steps=30)
    program = DeepLinear.program([run], Processor())
    program.advance(30)
    weights = program.state(0)
    learned = weights["weight_2"] @ weights["weight_1"] @ weights["weight_0"] / (run.gamma * run.ratio)
    variances, target = unit_task(run.dimension, 0.5, 0.3)
    measured = {name: values[0] for name, values in program.measure().items()}
    assert measured["loss"] == pytest.approx((variances * (target - learned) ** 2).mean(), rel=1e-12)
    assert measured["alignment_4"] == pytest.approx(learned[3] / target[3], rel=1e-12)
    inner = (variances * learned * target).sum()
    assert measured["alignment"] == pytest.approx(inner / np.sqrt((variances * learned**2).sum() * run.dimension))


def test_counts_and_rates_are_those_of_the_matrices() -> None:
    run = network(dimension=10, width=6, depth=3, richness=2.0, learning_rate=0.1)
    counts = run.counts()
    assert counts.params == 60 + 2 * 36 + 6
    assert counts.flops_per_step == 5 * (60 + 72) + 2 * counts.params
    assert (counts.memcpy_bytes_per_step, counts.tokens_per_step, counts.depth) == (None, None, 3)
    assert run.record().extra == {"entry_learning_rate": pytest.approx(0.1 * 4.0 * 6)}
    assert network(parametrization="ntk", richness=2.0, width=48).gamma == 1.0
    flow = network(optimizer="gradient_flow", substeps=3).counts().flops_per_step
    assert flow == 3 * network(optimizer="gradient_flow").counts().flops_per_step


def test_what_belongs_to_the_flow_is_refused_for_descent() -> None:
    with pytest.raises(ConfigError) as caught:
        network(substeps=2)
    assert caught.value.message == "'substeps' is not a setting of the optimizer gradient_descent"
    with pytest.raises(ConfigError, match="'optimizer' is 'adam'; it should be 'gradient_descent' or 'gradient_flow'"):
        network(optimizer="adam")
    with pytest.raises(ConfigError, match="'spectrum_exponent' is -1; it should be at least 0"):
        network(spectrum_exponent=-1)


def residual_loss(run: DeepLinear, entries: list[torch.Tensor], inputs: torch.Tensor, labels: torch.Tensor) -> Any:
    """Half the mean squared error of the network as the definition has it, on inputs (P, D)."""
    hidden = inputs @ entries[0].T / np.sqrt(run.dimension)
    for matrix in entries[1:-1]:
        passed = hidden @ matrix.T / np.sqrt(run.width)
        hidden = passed if run.branch is None else hidden + run.branch * passed
    function = np.sqrt(run.dimension) / (run.gamma * run.width) * hidden @ entries[-1]
    return 0.5 * ((labels - function) ** 2).mean()


@pytest.mark.parametrize("branches", [{}, {"branch_scale": 0.8}, {"branch_scale": 0.6, "branch_exponent": 0.0}])
@pytest.mark.parametrize("data", [{"samples": 9}, {"batch_size": 7}, {"samples": 9, "batch_size": 4}])
def test_data_and_branches_are_descent_on_the_definition(branches: dict[str, float], data: dict[str, int]) -> None:
    run = network(depth=3, noise=0.2, learning_rate=0.03, richness=1.3, seed=4, **branches, **data)
    variances, target = unit_task(run.dimension, **run.task.model_dump())

    def drawn(stream: list[int], count: int) -> tuple[Floats, Floats]:
        generator = np.random.default_rng([run.seed, *stream])
        inputs = generator.standard_normal((count, run.dimension)) * np.sqrt(variances)
        labels = inputs @ target / np.sqrt(run.dimension) + np.sqrt(0.2) * generator.standard_normal(count)
        return inputs, labels

    entries = [torch.from_numpy(each).requires_grad_() for each in first_entries(run)]
    losses = []
    for step in range(11):
        inputs, labels = drawn([1], run.samples) if run.samples else drawn([2, step], run.batch_size or 0)
        whole = [torch.from_numpy(each) for each in (inputs, labels)]
        losses.append(2 * float(residual_loss(run, entries, whole[0], whole[1]).detach()))
        if run.samples and run.batch_size:
            chosen = np.random.default_rng([run.seed, 2, step]).integers(run.samples, size=run.batch_size)
            whole = [torch.from_numpy(each[chosen]) for each in (inputs, labels)]
        gradients = torch.autograd.grad(residual_loss(run, entries, whole[0], whole[1]), entries)
        with torch.no_grad():
            for entry, gradient in zip(entries, gradients, strict=True):
                entry -= run.optimizer.learning_rate * run.gamma**2 * run.width * gradient
    found = simulated(run, list(range(11)))
    if run.samples:
        np.testing.assert_allclose(found["train_loss"], losses, rtol=1e-9)
    else:
        np.testing.assert_allclose(found["train_loss"], found["loss"] + 0.2, rtol=1e-12)
    state = DeepLinear.program([run], Processor())
    state.advance(11)
    scales = [np.sqrt(run.dimension), *[np.sqrt(run.width)] * 2, 1.0]
    for number, (entry, scale) in enumerate(zip(entries, scales, strict=True)):
        np.testing.assert_allclose(state.state(0)[f"weight_{number}"], entry.detach().numpy() / scale, atol=1e-10)
        assert np.abs(entry.detach().numpy() - first_entries(run)[number]).max() > 0.01, "nothing was learned"


def test_the_first_loss_of_residual_networks_has_a_limit_in_depth_under_the_root_of_it_alone() -> None:
    """E L(0) = 1 + (1 + beta^2 / L)^(L-1) / (gamma^2 nu). Source: Bordelon and Pehlevan 2025 (arXiv:2502.02531)."""
    shape = {"dimension": 60, "width": 60, "spectrum_exponent": 0.0, "target_exponent": 0.0, "branch_scale": 1.0}
    for depth, exponent in ((2, 0.5), (8, 0.5), (8, 0.0)):
        losses = [
            network(**shape, depth=depth, branch_exponent=exponent, seed=seed) for seed in range(200)
        ]  # fmt: skip
        values = [DeepLinear.program([run], Processor()).measure()["loss"][0] for run in losses]
        expected = 1 + (1 + depth ** (-2 * exponent)) ** (depth - 1)
        assert abs(np.mean(values) - expected) < 3.5 * np.std(values) / np.sqrt(200), (depth, exponent)


def test_runs_of_older_sweep_files_are_the_runs_they_were() -> None:
    run = network(seed=2)
    assert run.record().run_id == "nueb2axhsvbr"
    assert simulated(run, [40])["loss"][0] == pytest.approx(0.015541712198505439, rel=1e-12)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"branch_exponent": 0.5}, "'branch_exponent' is given without branch_scale, which makes a network residual"),
        ({"batch_size": 4, "optimizer": "gradient_flow"}, "'batch_size' is 4, and a flow has no batches"),
        ({"samples": 10**8}, r"'samples' is 100000000, of 12 modes: 1\.2e\+09 entries, 8\.94 GiB; at most 2"),
    ],
)
def test_what_makes_no_sense_is_refused(changes: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        network(**changes)
