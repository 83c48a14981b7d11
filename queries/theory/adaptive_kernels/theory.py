"""Kernels that adapt to the labels: what networks in the mean-field scale learn at infinite width.

Two-layer and linear networks under Langevin sampling: regression with an adaptive kernel and the ridge 1 / beta,

    f(x*) = k(x*)' Delta,  Delta = (Phi + 1 / beta)^-1 y,  Phi = <phi phi'>_p,  p ~ prior exp((gamma Delta . phi)^2 / 2)

found by annealed particles for two layers, by algebra for linear networks of any depth. That is the equilibrium, what a
run measures from its burn-in on. Every step but 0 has it, so compare the last ones. Two layers under descent with
weight decay: the trajectory of 4,000 neurons, at every step, whose rest is regression with the last features and the
ridge lambda. Deep networks that are not linear have equations for each layer that are not solved here, and are refused;
so are deep linear ones under decay, where what is learned depends on the path.

The means have the noise of one sample of a network of N neurons; the deviations are those of leading order in 1 / N,
with the labels' pull on the neurons and the motion of the kernel. Deep linear networks have the deviation of their last
layer alone in what is said of their kernel. Under decay the deviation is the scatter of 8 systems of 250 neurons. Means
of runs of 256 neurons lie within 5 per cent, those of 64 within 10: terms beyond 1 / N, most of all where gamma^2 N is
below 1; at gamma = 2 the overlap is 3 per cent too low, which is more than runs scatter.

Of the same data it says what lazy kernels do, which no run measures: `nngp_loss` and `ntk_loss` at the run's ridge,
`nngp_best_loss` and `ntk_best_loss` at the best of this and of 1 to 0.001.

Source: Lauditi, Bordelon and Pehlevan 2025 (arXiv:2502.07998).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np

from isoflop.lakehouse.models.mean_field import DrawnTask, draw_task
from isoflop.queries.theory.adaptive_kernels.flow import FlowCurves, Motion, flow_curves
from isoflop.queries.theory.adaptive_kernels.lazy import lazy_kernels
from isoflop.queries.theory.adaptive_kernels.linear import solve_linear
from isoflop.queries.theory.adaptive_kernels.readings import (
    Change,
    Equilibrium,
    Neurons,
    Reading,
    lazy_errors,
    neuron_moments,
)
from isoflop.queries.theory.adaptive_kernels.saddle import EXTRA, Problem, solve_saddle
from isoflop.queries.theory.equivalents import Array
from isoflop.queries.theory.theory import PredictedCurves, Steps, Theory

PARTICLES = 2000  # of a round; of 100 samples, seeds then differ by 0.3 per cent in overlap and 1 in loss
RIDGES = (1.0, 0.3, 0.1, 0.03, 0.01, 0.001)  # among which lazy kernels have their best
REMEMBERED = 64  # solutions, for runs that differ by their width, or share their data
STREAM = 11  # of random numbers for particles and neurons
LAZY = ("nngp", "ntk")
SHAPE = ("dimension", "samples", "test_samples", "task", "noise")
NETWORK = ("depth", "activation", "richness", "input_scale")


class AdaptiveKernel(Theory):
    """Lauditi et al.'s adaptive kernels of `mean_field`."""

    name = "adaptive_kernel"
    family = "mean_field"
    fields = (
        *SHAPE, *NETWORK, "task_seed", "width", "optimizer", "learning_rate", "substeps", "weight_decay",
        "inverse_temperature",
    )  # fmt: skip
    optional_fields = ("task_seed", "substeps", "weight_decay", "inverse_temperature")
    metrics: Mapping[str, str] = dict.fromkeys(
        (
            "loss", "train_loss", "predictor_loss", "overlap", "alignment", "kernel_change",
            *(f"{name}_loss" for name in LAZY), *(f"{name}_best_loss" for name in LAZY),
        ),
        "1",
    )  # fmt: skip
    source = "Lauditi, Bordelon and Pehlevan 2025 (arXiv:2502.07998)"

    def predict(self, config: Mapping[str, Any], at: Steps) -> PredictedCurves:
        """Return means and deviations at (T,) steps.

        Raises
        ------
        ArithmeticError : if the network is deep and not linear, or deep and under decay; if its steps are too long
        """
        depth, activation, width = int(config["depth"]), str(config["activation"]), int(config["width"])
        sampled = config["optimizer"] == "langevin"
        if depth > 1 and not (sampled and activation == "linear"):
            kind = activation if sampled else f"{activation} under weight decay"
            raise ArithmeticError(f"it has {depth} hidden layers, {kind}; deep networks are solved where they are "
                                  "linear and sampled")  # fmt: skip
        seed = config.get("task_seed")
        seed = int(config["seed"]) if seed is None else int(seed)
        ridge = 1 / float(config["inverse_temperature"]) if sampled else float(config["weight_decay"])
        settings = {"seed": seed, "ridge": ridge, **{name: config[name] for name in (*SHAPE, *NETWORK)}}
        if sampled:
            means, deviations = self._sampled(settings, width, at)
        else:
            substeps = int(config["substeps"]) if config["optimizer"] == "gradient_flow" else 0
            curves = _flow(tuple(at.tolist()), float(config["learning_rate"]), substeps, **settings)
            means = {name: values.copy() for name, values in curves.limit.items()}
            deviations = {name: values / np.sqrt(width) for name, values in curves.scatter.items()}
            for name in ("loss", "train_loss", "kernel_change"):
                deviations[name][at == 0] = 0.0
        for name, value in _lazy(**settings).items():
            means[name], deviations[name] = np.full(len(at), value), np.zeros(len(at))
        return PredictedCurves(means, deviations)

    def _sampled(self, settings: Mapping[str, Any], width: int, at: Steps) -> tuple[dict[str, Array], dict[str, Array]]:
        """Means and deviations of equilibrium, and of step 0."""
        ends = [
            {name: reading.at_width(width) for name, reading in readings.items()}
            for readings in _equilibrium(**settings)
        ]
        before, after = ends
        means, deviations = (
            {name: np.where(at == 0, before[name][place], after[name][place]) for name in after} for place in (0, 1)
        )
        return means, deviations


def _task(settings: Mapping[str, Any]) -> tuple[DrawnTask, Problem, Array]:
    """The data, the problem, and the scaled inputs of test points."""
    task = draw_task(
        settings["task"], int(settings["dimension"]), int(settings["samples"]), int(settings["test_samples"]),
        float(settings["noise"]), int(settings["seed"]),
    )  # fmt: skip
    scale = float(settings["input_scale"])
    problem = Problem(
        inputs=scale * task.inputs, labels=task.labels, activation=str(settings["activation"]),
        richness=float(settings["richness"]), ridge=float(settings["ridge"]),
    )  # fmt: skip
    return task, problem, scale * task.test_inputs


@lru_cache(maxsize=REMEMBERED)
def _flow(at: tuple[int, ...], rate: float, substeps: int, **settings: Any) -> FlowCurves:
    task, problem, tests = _task(settings)
    seed = int(np.random.SeedSequence([int(settings["seed"]), STREAM]).generate_state(1)[0])
    return flow_curves(problem, task, tests, Motion(rate, substeps), np.array(at), seed)


@lru_cache(maxsize=REMEMBERED)
def _lazy(**settings: Any) -> dict[str, float]:
    """Test errors of lazy kernels, by metric."""
    task, problem, tests = _task(settings)
    activation, depth = problem.activation, int(settings["depth"])
    among = lazy_kernels(problem.inputs, problem.inputs, activation, depth)
    across = lazy_kernels(tests, problem.inputs, activation, depth)
    return lazy_errors(dict(zip(LAZY, zip(among, across, strict=True), strict=True)), task, problem.ridge, RIDGES)


@lru_cache(maxsize=REMEMBERED)
def _equilibrium(**settings: Any) -> tuple[Mapping[str, Reading | Change], Mapping[str, Reading | Change]]:
    """Readings before training and at equilibrium."""
    task, problem, tests = _task(settings)
    generator = np.random.default_rng([int(settings["seed"]), STREAM])
    count = EXTRA * PARTICLES
    prior, even = generator.standard_normal((count, problem.inputs.shape[1])), np.full(count, 1 / count)
    if problem.activation == "linear":
        prior = prior @ np.linalg.inv(np.linalg.cholesky(prior.T @ prior / count)).T  # its kernels are then exact
        spiked = solve_linear(problem, int(settings["depth"]))
        along = problem.inputs.T @ spiked.missing  # the direction of the spike among weights, (D,)
        size = float(along @ along)
        grown = (np.sqrt(1 + spiked.spike * size) - 1) / size if size > 0 else 0.0
        weights, shares, missing = prior + grown * np.multiply.outer(prior @ along, along), even, spiked.missing
        points = np.concatenate([problem.inputs, tests])
        spike = points @ along
        joint = spiked.scale * points @ points.T + 2 * spiked.curvature * np.multiply.outer(spike, spike)
        samples = len(problem.inputs)
        moments = joint[:samples, :samples], joint[samples:, :samples], joint[samples:, samples:]
        neurons = Neurons(problem.features(weights), problem.features(weights, tests), shares)
    else:
        saddle = solve_saddle(problem, PARTICLES, int(generator.integers(2**32)))
        missing = saddle.missing
        neurons = Neurons(problem.features(saddle.weights), problem.features(saddle.weights, tests), saddle.shares)
        moments = neuron_moments(neurons, missing, problem.richness)
    found = Equilibrium(
        task=task, ridge=problem.ridge, richness=problem.richness, missing=missing, neurons=neurons,
        first=Neurons(problem.features(prior), problem.features(prior, tests), even),
        among=moments[0], across=moments[1], tested=moments[2],
    )  # fmt: skip
    return found.first_readings(), found.readings()


ADAPTIVE_KERNEL = AdaptiveKernel()
