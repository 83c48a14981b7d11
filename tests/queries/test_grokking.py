"""Curves of quadratic networks from statistics of their neurons: against the flow's equations, runs, and kernels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.integrate import solve_ivp

from isoflop.lakehouse.models.grokking import draw_task
from isoflop.queries.theory import Theory
from isoflop.queries.theory.grokking import GROKKING, GROKKING_WIDE
from isoflop.workers import TrainOptions
from isoflop.workers.families import Grokking
from isoflop.workers.packed_training import log_steps

Floats = NDArray[np.float64]
SMALL: dict[str, Any] = {
    "dimension": 8, "samples": 40, "width": 200, "output_scale": 2.0, "epsilon": 0.5, "learning_rate": 0.25,
    "steps": 1200,
}  # fmt: skip
LARGE: dict[str, Any] = {
    "dimension": 16, "samples": 110, "width": 400, "epsilon": 0.5, "learning_rate": 1.0, "paired": True,
    "steps": 10_000,
}  # fmt: skip


def curves(theory: Theory, run: Grokking, at: Floats | list[int]) -> dict[str, Floats]:
    said = theory.predict({**run.config(), "seed": run.seed, "steps": run.length}, np.asarray(at, dtype=np.int64))
    return dict(said.mean)


def measured(run: Grokking, at: list[int]) -> dict[str, Floats]:
    program = Grokking.program([run], Grokking.device(TrainOptions()))
    rows, done = [], 0
    for place in at:
        program.advance(place - done)
        rows.append(program.measure())
        done = place
    return {name: np.array([row[name][0] for row in rows]) for name in rows[0]}


def flow(run: Grokking, mean: Floats, second: Floats, times: Floats) -> tuple[Floats, Floats]:
    """Train and test loss of dw_/dt = v + eps V w_ and dM/dt = v w_' + w_ v' + eps (V M + M V)."""
    task, eps, alpha, size = draw_task(run.dimension, run.samples, run.seed), run.epsilon, run.output_scale, len(mean)
    x, y = task.inputs, task.target

    def error(w: Floats, m: Floats) -> Floats:
        return alpha * (x @ (w - mean) + eps / 2 * np.einsum("pi,ij,pj->p", x, m - second, x)) - y

    def slope(_: float, z: Floats) -> Floats:
        w, m = z[:size], z[size:].reshape(size, size)
        e = error(w, m) / (-alpha * run.samples)
        v, big = x.T @ e, (x.T * e) @ x
        return np.concatenate(
            [v + eps * big @ w, (np.outer(v, w) + np.outer(w, v) + eps * (big @ m + m @ big)).ravel()]
        )

    start = np.concatenate([mean, second.ravel()])
    found = solve_ivp(slope, (0, times[-1]), start, t_eval=times, rtol=1e-8, atol=1e-10)
    train, test = [], []
    for z in found.y.T:
        w, m = z[:size], z[size:].reshape(size, size)
        train.append(np.mean(error(w, m) ** 2))
        a, b = alpha * (w - mean), alpha * eps * (m - second) - np.outer(task.direction, task.direction)
        test.append(a @ a / size + (np.trace(b) ** 2 + 2 * np.sum(b**2)) / (4 * size**2))
    return np.array(train), np.array(test)


def statistics(run: Grokking) -> tuple[Floats, Floats]:
    weights = Grokking.program([run], Grokking.device(TrainOptions())).state(0)["weights"]
    return weights.mean(axis=0), weights.T @ weights / len(weights)


@pytest.mark.parametrize("seed", [0, 1])
def test_1_the_closed_equations_are_the_network(seed: int) -> None:
    run = Grokking.parse({**SMALL, "seed": seed})
    at = np.unique(np.geomspace(4, 1200, 10).astype(int)).tolist()
    network = measured(run, at)
    train, test = flow(run, *statistics(run), np.array(at) * 0.25)
    np.testing.assert_allclose(network["train_loss"], train, rtol=0.01)
    np.testing.assert_allclose(network["loss"], test, rtol=0.01)
    said = curves(GROKKING, run, at)
    for metric, values in network.items():
        np.testing.assert_allclose(said[metric], values, rtol=1e-9, err_msg=metric)


def test_1_the_flow_of_the_theory_is_that_of_the_equations() -> None:
    run = Grokking.parse({**SMALL, "optimizer": "gradient_flow", "output_scale": 0.5})
    at = [4, 40, 400, 1200]
    said, network = curves(GROKKING, run, at), measured(run, at)
    train, test = flow(run, *statistics(run), np.array(at) * 0.25)
    np.testing.assert_allclose(said["train_loss"], train, rtol=1e-5)
    np.testing.assert_allclose(said["loss"], test, rtol=1e-5)
    for metric, values in network.items():
        np.testing.assert_allclose(said[metric], values, rtol=1e-8, err_msg=metric)
    wide = curves(GROKKING_WIDE, run, at)
    train, test = flow(run, np.zeros(8), np.eye(8), np.array(at) * 0.25)
    np.testing.assert_allclose(wide["train_loss"], train, rtol=1e-5)
    np.testing.assert_allclose(wide["loss"], test, rtol=1e-5)


def gap(run: Grokking) -> float:
    """t_test over t_train where both losses fall below 5 per cent of what they were, on a fine grid of steps."""
    at = np.unique(np.geomspace(1, run.length, 500).astype(int))
    said = curves(GROKKING, run, [0, *at])
    train, test = (np.flatnonzero(said[name] < 0.05 * said[name][0]) for name in ("train_loss", "loss"))
    assert len(train), "samples are not learned"
    return float(at[test[0] - 1] / at[train[0] - 1]) if len(test) else np.inf


def test_3_lazy_networks_learn_the_rule_late_and_very_lazy_ones_do_not() -> None:
    gaps = {
        scale: [gap(Grokking.parse({**LARGE, "output_scale": scale, "seed": seed})) for seed in range(3)]
        for scale in (0.5, 5.0, 50.0)
    }
    rich, lazy = np.median(gaps[0.5]), np.median(gaps[5.0])
    assert 1.5 <= rich <= 7 and lazy >= 3 * rich, gaps
    assert all(late > soon for late, soon in zip(gaps[5.0], gaps[0.5], strict=True)), gaps
    assert gaps[50.0] == [np.inf] * 3, gaps


@pytest.mark.slow
def test_3_holds_for_runs_and_what_they_write_down_of_themselves() -> None:
    found: dict[float, list[float]] = {}
    for scale in (0.5, 5.0, 50.0):
        for seed in range(3):
            program = Grokking.program([Grokking.parse({**LARGE, "output_scale": scale, "seed": seed})], None)  # type: ignore[arg-type]
            program.advance(10_000)
            found.setdefault(scale, []).append(program.results(0).get("gap", np.inf))
    assert 1.5 <= np.median(found[0.5]) <= 7 and np.median(found[5.0]) >= 3 * np.median(found[0.5]), found
    assert found[50.0] == [np.inf] * 3, found


def test_4_a_very_lazy_network_is_kernel_regression_and_keeps_its_features() -> None:
    run = Grokking.parse({**SMALL, "samples": 20, "output_scale": 1e4, "learning_rate": 4.0, "steps": 20_000})
    program = Grokking.program([run], Grokking.device(TrainOptions()))
    mean, second = statistics(run)
    before, aligned = program.state(0)["weights"], program.measure()["alignment"][0]
    program.advance(20_000)
    after = program.state(0)["weights"]
    task = draw_task(run.dimension, run.samples, run.seed)
    inputs = np.random.default_rng(1).standard_normal((500, 8)) / np.sqrt(8)

    def kernel(x: Floats, z: Floats) -> Floats:
        along = run.epsilon * ((x @ mean)[:, None] + z @ mean)
        return x @ z.T * (1 + along + run.epsilon**2 * x @ second @ z.T)

    regressed = kernel(inputs, task.inputs) @ np.linalg.solve(kernel(task.inputs, task.inputs), task.target)
    now, then = (inputs @ weights.T for weights in (after, before))
    learned = run.output_scale * np.mean(now - then + run.epsilon / 2 * (now**2 - then**2), axis=1)
    assert np.sqrt(np.mean((learned - regressed) ** 2)) < 0.02 * np.sqrt(np.mean(regressed**2))
    assert abs(program.measure()["alignment"][0] - aligned) < 1e-3


def test_6_many_samples_leave_no_delay() -> None:
    assert gap(Grokking.parse({**LARGE, "samples": 200, "output_scale": 5.0})) < 3.5


def distances(width: int, seeds: range, steps: int = 300) -> tuple[float, float]:
    """How far runs are from infinite width: the mean of |d log loss|, and of the square in deviations."""
    logs, squares = [], []
    for seed in seeds:
        run = Grokking.parse({**LARGE, "width": width, "output_scale": 0.5, "steps": steps, "seed": seed})
        at = np.array(log_steps(steps))
        said = GROKKING_WIDE.predict({**run.config(), "seed": seed, "steps": steps}, at)
        loss, wide = measured(run, at.tolist())["loss"], said.mean["loss"]
        logs.append(np.mean(np.abs(np.log(loss / wide))))
        squares.append(np.mean(((loss - wide) / said.deviation["loss"]) ** 2))
    return float(np.mean(logs)), float(np.mean(squares))


@pytest.mark.slow
def test_wide_networks_are_those_of_infinite_width_and_the_deviation_is_their_distance() -> None:
    near, square = distances(100, range(24))
    nearer, _ = distances(1600, range(24, 30))
    assert near < 0.12 and 2.5 < near / nearer < 6.5, "distances fall as the root of the width, by 4 here"
    assert 0.5 < square < 2.0


def test_steps_that_are_too_large_are_said_to_be() -> None:
    run = Grokking.parse({**SMALL, "learning_rate": 1000.0})
    with pytest.raises(ArithmeticError, match="the learning rate is too large"):
        curves(GROKKING, run, [0, 1200])
