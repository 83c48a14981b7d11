"""Networks that learn features: their steps against gradients of the definition, and what projection keeps."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from isoflop.lakehouse.models.spectrum import power_law
from isoflop.workers import TrainOptions
from isoflop.workers.families import ConfigError, FeatureLearning, RandomFeatures

Floats = NDArray[np.float64]


def network(**changes: Any) -> FeatureLearning:
    return FeatureLearning.parse({**FeatureLearning.example, "steps": 30, "seed": 3, **changes})


def measured(run: Any, marks: list[int]) -> dict[str, Floats]:
    """Every metric of one run at each mark, (marks,)."""
    program = type(run).program([run], type(run).device(TrainOptions()))
    rows, done = [], 0
    for mark in marks:
        program.advance(mark - done)
        rows.append(program.measure())
        done = mark
    return {name: np.array([row[name][0] for row in rows]) for name in rows[0]}


def literal_losses(run: FeatureLearning, num_steps: int) -> list[float]:
    """The loss before each step of descent on theta and, `richness` times as fast, on A = B A(0) or A, by torch."""
    variances = torch.from_numpy(power_law(run.dimension, 2 * run.task.spectrum_exponent))
    target = torch.from_numpy(power_law(run.dimension, run.task.target_exponent))
    drawn = torch.from_numpy(np.random.default_rng([run.seed, 0]).standard_normal((run.width, run.dimension)))
    readout = torch.zeros(run.width, dtype=torch.float64, requires_grad=True)
    mixed = (torch.eye(run.width, dtype=torch.float64) if run.project else drawn.clone()).requires_grad_()
    losses = []
    for _ in range(num_steps + 1):
        features = mixed @ drawn if run.project else mixed
        loss = (variances * (target - features.T @ readout / run.width) ** 2).sum()
        losses.append(float(loss.detach()))
        of_readout, of_mixed = torch.autograd.grad(loss / 2, (readout, mixed))
        with torch.no_grad():  # the gradient carries 1 / N once; that of B, in the span of A(0), carries P_0 by A(0)
            readout -= run.learning_rate * run.width * of_readout
            mixed -= run.learning_rate * run.richness * (1 if run.project else run.width) * of_mixed
    return losses


@pytest.mark.parametrize("project", [True, False])
@pytest.mark.parametrize("richness", [0.0, 1.5])
def test_steps_are_descent_on_the_definition(project: bool, richness: float) -> None:
    run = network(project=project, richness=richness)
    found = measured(run, list(range(31)))["loss"]
    np.testing.assert_allclose(found, literal_losses(run, 30), rtol=1e-9)
    assert found[-1] < 0.5 * found[0], "nothing was learned, so nothing was compared"


def test_a_lazy_network_is_a_student_of_random_features() -> None:
    lazy = network(richness=0.0)
    settings = {name: value for name, value in lazy.config().items() if name not in ("richness", "project")}
    other = RandomFeatures.parse({**settings, "optimizer": "gradient_descent", "seed": 3})
    features = np.random.default_rng([3, 0]).standard_normal((lazy.width, lazy.dimension))
    variances, target = (power_law(lazy.dimension, each) for each in (1.5, 0.125))
    kernel = features.T @ features / lazy.width
    missing = target.copy()
    for _ in range(30):
        missing = missing - lazy.learning_rate * kernel @ (variances * missing)
    assert measured(lazy, [30])["loss"][0] == pytest.approx(float(variances @ missing**2), rel=1e-10)
    assert set(other.metrics()) < set(lazy.metrics()), "one loss has one name in both families"


def test_projection_keeps_features_in_the_span_they_began_with_and_nothing_else_does() -> None:
    for project in (True, False):
        run = network(project=project, richness=2.0)
        program = FeatureLearning.program([run], FeatureLearning.device(TrainOptions()))
        before = program.state(0)["features"]
        program.advance(30)
        after = program.state(0)["features"]
        beyond = after - after @ np.linalg.pinv(before) @ before
        assert (np.abs(beyond).max() < 1e-10) == project
        assert np.abs(after - before).max() > 0.1


@pytest.mark.parametrize("changes", [{"samples": 30}, {"samples": 30, "batch_size": 4}, {"batch_size": 4}])
def test_data_take_the_place_of_the_population(changes: dict[str, int]) -> None:
    run = network(noise=0.1, **changes)
    found = measured(run, [0, 30])
    assert found["loss"][1] < found["loss"][0] and found["train_loss"][1] < found["train_loss"][0]
    large = {name: 400_000 if name == "batch_size" else 20_000 for name in changes}
    near = measured(network(steps=5, **large), [5])["loss"][0]
    assert near == pytest.approx(measured(network(steps=5), [5])["loss"][0], rel=0.05)
    assert (found["alignment"] >= 0).all() and found["alignment"][1] > 0.3 and found["readout"][0] == 0.0


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"'dimension' is 100000000: features and samples have 1\.2e"):
        network(dimension=100_000_000)
