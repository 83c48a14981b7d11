"""The expected losses of deep linear networks that train from random weights, step by step, for width and data alike.

Exact for many modes D with width N = nu D and samples P = alpha D in proportion: descent by the gradient of the
population, of P samples, or of fresh batches, in networks of any depth, plain or residual, in mean-field or NTK
scaling, on isotropic or power-law data. What a network has learned of a mode is u = z + R q with

    R = (E_0 + Gamma Cg_1<) / gamma       z of correlations Cg_1 / (gamma^2 nu)       D_1 = -(1 / (gamma nu)) R_1 H

for Gamma = eta gamma: Cg_1 and E_0 are of the hidden layers (`layer_sites`), R_1 H and C_q of the modes of the data
(`input_site`), and the two are put through their equations in turn, in a window that grows by four steps (`marching`).

Plain networks go 150 steps at most, residual ones 30 in 8 layers at most, since the work grows as the cube of layers
times steps. The flow, and batches drawn from samples, have no such theory. A run whose loss grows without bound is left
out, with the step before which it does. At step 0 the loss is that of the weights that a run draws, up to 32 million.

Means of 24 to 60 runs of 100 to 250 modes lie within 2.5 of their standard errors, which are 1 to 6 per cent, at all
steps where 3 per cent of the loss are left. The deviation has two parts, the scatter of independent modes and that of
the random layers, of whose size the loss's slope is taken at the readout; it is 0.5 to 1.2 times the scatter of single
runs, 1.6 in residual networks, least at late times and in deep networks, whose runs scatter widely.

Source: Bordelon and Pehlevan 2025 (arXiv:2502.02531), rederived.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np

from isoflop.lakehouse.models.deep_linear import branch_of, draw_layers, gamma_of, learned_by
from isoflop.lakehouse.models.spectrum import unit_task
from isoflop.queries.theory.equivalents import Array, Modes, power_law_modes
from isoflop.queries.theory.input_site import InputSite, LossCurves, SeenData
from isoflop.queries.theory.layer_sites import LARGEST, LayerSites, PlainSites, ResidualSites, clipped
from isoflop.queries.theory.marching import held_on, march, padded
from isoflop.queries.theory.theory import PredictedCurves, Steps, Theory

MOST_STEPS = 150  # of plain networks
MOST_RESIDUAL_STEPS, MOST_RESIDUAL_LAYERS = 30, 8  # a system of 480 equations, inverted in each sweep
MOST_DRAWN = 2**25  # weights that are drawn for the loss before training: 256 MiB
EXACT_MODES = 30  # kept one by one; curves are smooth in the mode's number
PANELS_PER_DECADE = 4  # of the others
WINDOW = 4  # steps by which the window grows
GROWN = 1e4  # times the loss before training, from which on a run has diverged
UNSETTLED = "its loss grows without bound: the learning rate, or its branches, are too large"
NEARBY = 0.05  # change of the readout's variance by which the loss's slope in it is taken
REMEMBERED = 64  # curves, for runs that differ by their seed


@dataclass(frozen=True, kw_only=True)
class DeepNetwork:
    """A deep linear network and what it learns from; sizes are over the number of modes D.

    Parameters
    ----------
    data : counts of modes sum to 1, samples are alpha = P / D, batches B / D
    ratio : nu = N / D
    depth : L
    richness : gamma
    rate : eta
    branch : b of residual branches; None for a plain network
    readout : variance of the entries of w at first
    """

    data: SeenData
    ratio: float
    depth: int
    richness: float
    rate: float
    branch: float | None = None
    readout: float = 1.0


def deep_losses(network: DeepNetwork, steps: int) -> LossCurves:
    """Return the losses before each of some steps; the variance is to be divided by D.

    Raises
    ------
    ArithmeticError : if a loss grows without bound, with the step, or the equations do not settle
    """
    state = _State(network, min(WINDOW, steps))
    march(state, steps, WINDOW, LARGEST, UNSETTLED)
    return state.site.curves()


class _State:
    """Modes and layers over a window of T steps."""

    def __init__(self, network: DeepNetwork, size: int) -> None:
        modes = network.data.modes
        self._network, self.size = network, size
        self.site = InputSite(network.data, size, float(modes.count @ modes.power))
        gain = network.rate * network.richness
        self._layers: LayerSites = (
            PlainSites(network.depth, gain, size, network.readout)
            if network.branch is None
            else ResidualSites(network.depth, gain, network.branch, size, network.readout)
        )
        self._gradients = np.full((size, size), float(modes.count @ (modes.variance * modes.power)))
        self._first: Array = np.zeros((size, size))  # D_1

    def grow(self, size: int) -> None:
        """Go on to a longer window, unless the loss has grown without bound in this one."""
        losses = np.diag(self.site.losses)
        above = losses > GROWN * losses[0]
        if above.any():
            step = int(np.argmax(above))
            raise ArithmeticError(f"its loss grows without bound, {GROWN:g} times the first at step {step}")
        self.site.grow(size)
        self._layers.grow(size)
        self._gradients, self._first, self.size = held_on(self._gradients, size), padded(self._first, size), size

    def sweep(self) -> None:
        """Put layers and modes through their equations."""
        network, layers = self._network, self._layers
        below = np.tril(np.ones((self.size, self.size)), -1)
        layers.sweep(self._gradients, self._first)
        response = layers.answer / network.richness + network.rate * layers.backward * below
        self.site.sweep(response, layers.backward / (network.richness**2 * network.ratio))
        self.site.losses = clipped(self.site.losses)
        self._gradients = clipped(self.site.gradients)
        self._first = -self.site.taught / (network.richness * network.ratio)

    def watched(self) -> Array:
        """Return losses, and the sizes of both passes."""
        return np.concatenate([np.diag(each) for each in (self.site.losses, self._gradients, self._layers.backward)])


class DeepLinearDmft(Theory):
    """Bordelon and Pehlevan's losses of `deep_linear`."""

    name = "deep_linear_dmft"
    family = "deep_linear"
    fields = (
        "dimension", "width", "depth", "spectrum_exponent", "target_exponent", "optimizer", "learning_rate", "richness",
        "parametrization", "samples", "batch_size", "noise", "branch_scale", "branch_exponent",
    )  # fmt: skip
    optional_fields = ("samples", "batch_size", "noise", "branch_scale", "branch_exponent")
    metrics: Mapping[str, str] = {"loss": "1", "train_loss": "1"}
    source = "Bordelon and Pehlevan 2025 (arXiv:2502.02531)"

    def predict(self, config: Mapping[str, Any], at: Steps) -> PredictedCurves:
        """Return expected losses and deviations at (T,) steps.

        Raises
        ------
        ArithmeticError : of a run that it is not about, that is too long, or that diverges
        """
        horizon = max(int(config["steps"]), int(at.max(initial=1)))
        settings: dict[str, Any] = {field: config.get(field) for field in self.fields}
        check_scope(horizon, settings)
        test, train, deviation, train_deviation = (curve[at] for curve in _curves(horizon, **settings))
        first = first_loss(settings, int(config["seed"]))
        if first is not None:
            test[at == 0], deviation[at == 0] = first, 0.0
        return PredictedCurves({"loss": test, "train_loss": train}, {"loss": deviation, "train_loss": train_deviation})


def check_scope(horizon: int, settings: Mapping[str, Any]) -> None:
    """Refuse what the equations do not say, or not in reasonable time.

    Raises
    ------
    ArithmeticError : with what it is and what the theory takes
    """
    if settings["optimizer"] != "gradient_descent":
        raise ArithmeticError(f"its optimizer is {settings['optimizer']}; the theory counts steps of gradient_descent")
    if settings["samples"] and settings["batch_size"]:
        raise ArithmeticError("it draws batches from samples; the theory takes samples or batch_size")
    if settings["branch_scale"] is None:
        if horizon > MOST_STEPS:
            raise ArithmeticError(f"it has {horizon} steps; at most {MOST_STEPS}")
    elif horizon > MOST_RESIDUAL_STEPS or settings["depth"] > MOST_RESIDUAL_LAYERS:
        most = f"at most {MOST_RESIDUAL_STEPS} in {MOST_RESIDUAL_LAYERS}"
        raise ArithmeticError(f"it is residual and has {horizon} steps in {settings['depth']} hidden layers; {most}")


def network_of(settings: Mapping[str, Any]) -> DeepNetwork:
    """Return the network that a run's settings are of."""
    dimension, depth = int(settings["dimension"]), int(settings["depth"])
    ratio = float(settings["width"]) / dimension
    samples, batch_size = settings["samples"] or np.inf, settings["batch_size"] or np.inf
    return DeepNetwork(
        data=SeenData(
            modes=unit_modes(dimension, float(settings["spectrum_exponent"]), float(settings["target_exponent"])),
            samples=samples / dimension,
            batch_size=batch_size / dimension,
            noise=float(settings["noise"] or 0.0),
        ),
        ratio=ratio,
        depth=depth,
        richness=gamma_of(float(settings["richness"]), str(settings["parametrization"]), ratio),
        rate=float(settings["learning_rate"]),
        branch=branch_of(settings["branch_scale"], settings["branch_exponent"], depth),
    )


def unit_modes(dimension: int, spectrum_exponent: float, target_exponent: float) -> Modes:
    """Return the modes of `lakehouse.models.spectrum.unit_task`, with counts that sum to 1; one for isotropic data."""
    if spectrum_exponent == target_exponent == 0:
        return Modes(np.ones(1), np.ones(1), np.ones(1))
    found = power_law_modes(
        dimension, 2 * spectrum_exponent, 2 * (spectrum_exponent + target_exponent),
        exact=EXACT_MODES, per_decade=PANELS_PER_DECADE,
    )  # fmt: skip
    share = found.count / found.count.sum()
    return Modes(found.variance / (share @ found.variance), found.power / (share @ found.power), share)


def first_loss(settings: Mapping[str, Any], seed: int) -> float | None:
    """Return the loss before training of the weights that a run draws; None where they are too many."""
    dimension, width, depth = (int(settings[name]) for name in ("dimension", "width", "depth"))
    if width * (dimension + (depth - 1) * width) > MOST_DRAWN:
        return None
    network = network_of(settings)
    learned, _ = learned_by(
        draw_layers(dimension, width, depth, seed), network.richness * network.ratio, network.branch
    )
    variances, target = unit_task(dimension, settings["spectrum_exponent"], settings["target_exponent"])
    return float(np.mean(variances * (target - learned) ** 2))


@lru_cache(maxsize=REMEMBERED)
def _curves(horizon: int, **settings: Any) -> tuple[Array, Array, Array, Array]:
    """Test loss, train loss and the deviation of each before training and after each step, (horizon + 1,) each."""
    network = network_of(settings)
    found = deep_losses(network, horizon + 1)
    try:
        nearby = deep_losses(replace(network, readout=1 + NEARBY), horizon + 1)
    except ArithmeticError:  # just below divergence
        nearby = found
    slope, train_slope = (
        (after - before) / NEARBY for before, after in ((found.test, nearby.test), (found.train, nearby.train))
    )
    size = passed_variance(network) / int(settings["width"])
    deviation = np.sqrt(found.variance / int(settings["dimension"]) + size * slope**2)
    samples = settings["samples"]
    own = 2 * found.train**2 / samples if samples else found.variance / int(settings["dimension"])
    return found.test, found.train, deviation, np.sqrt(own + size * train_slope**2)


def passed_variance(network: DeepNetwork) -> float:
    """Return N times the relative variance of |g(1)|^2, the size of the backward pass through random layers."""
    if network.branch is None:
        return 2.0 * network.depth
    return 2.0 + 4 * network.branch**2 / (1 + network.branch**2) * (network.depth - 1)


DEEP_LINEAR_DMFT = DeepLinearDmft()
