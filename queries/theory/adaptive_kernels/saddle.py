"""The adaptive kernel of a two-layer network under Langevin sampling, by annealed particles.

With a dual variable Delta (P,), neurons of an infinitely wide network are independent, with the law

    p(w) ~ exp(-|w|^2 / 2 + (gamma^2 / 2) (Delta . phi(w))^2),      Phi = <phi phi'>_p,  Delta = (Phi + 1 / beta)^-1 y

and Delta is the minimum of a convex function,

    S(Delta) = |Delta|^2 / (2 beta) - Delta . y + gamma^-2 ln E exp((gamma^2 / 2) (Delta . phi(w))^2),  w ~ N(0, 1)

Weights of prior samples would collapse, so particles follow: gamma grows in `ROUNDS` equal parts and stays for `EXTRA`
more; in each round S is minimized over Delta with particles weighted for what changes, they are resampled, and moved by
Hamiltonian Monte Carlo with the law of the new Delta. Its step adapts to the acceptance of the round before. The
particles of the `EXTRA` rounds are kept, all of them, and S is minimized a last time over them together, so that kernel
and Delta are those of one set of neurons. Particles that do not settle are begun again with twice as many.

Source: Lauditi, Bordelon and Pehlevan 2025 (arXiv:2502.07998); the annealing is this project's.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from isoflop.lakehouse.models.mean_field import ACTIVATIONS
from isoflop.queries.theory.equivalents import Array

ROUNDS, EXTRA = 40, 10  # while gamma grows, and at its full size
MOVES, LEAPS = 3, 8  # of Hamiltonian Monte Carlo a round, and leapfrog steps of each
FIRST_STEP = 0.12  # of a leapfrog; of the size 1 of the prior
SPARSE, DENSE = 0.65, 0.9  # acceptance below which steps shrink, and above which they grow
MOST_ITERATIONS = 60  # of L-BFGS a round
LAST_ITERATIONS = 1000  # over the particles that were kept

# Over 24 tables of 60 to 200 samples, particles of which two seeds agree to 7 per cent have 0.012 or less, 0.5 or more.
MOST_APART = 0.015  # errors of a round from those of all, over the labels
FEWEST_EFFECTIVE = 0.3  # share of the particles kept that count
WORSE = 1.1  # times what is missing of a lazy network
FEWEST_PER_SAMPLE = 5  # particles of a round
MOST_DOUBLED = 2  # times


@dataclass(frozen=True, kw_only=True)
class Problem:
    """What a network of two layers is taught.

    Parameters
    ----------
    inputs : (P, D), times s_0 / sqrt(D)
    labels : (P,)
    activation : a key of `ACTIVATIONS`
    richness : gamma >= 0; 0 is lazy
    ridge : 1 / beta, > 0
    """

    inputs: Array
    labels: Array
    activation: str
    richness: float
    ridge: float

    def features(self, weights: Array, inputs: Array | None = None) -> Array:
        """Return phi(w) of weights (S, D), (S, P), at the samples or other scaled inputs."""
        found: Array = ACTIVATIONS[self.activation].value(weights @ (self.inputs if inputs is None else inputs).T)
        return found


@dataclass(frozen=True)
class Saddle:
    """Where the neurons of an infinitely wide network are: an adaptive kernel.

    Parameters
    ----------
    weights : (S, D), particles
    shares : (S,), of each, which sum to 1
    missing : (P,), Delta, at which S is least
    """

    weights: Array
    shares: Array
    missing: Array

    def kernel(self, problem: Problem, inputs: Array | None = None) -> Array:
        """Return the adaptive kernel (n, P) between the samples and themselves, or n other scaled inputs."""
        seen = problem.features(self.weights)
        left = seen if inputs is None else problem.features(self.weights, inputs)
        found: Array = left.T @ (seen * self.shares[:, None])
        return found


def solve_saddle(problem: Problem, particles: int, seed: int) -> Saddle:
    """Return the saddle point.

    Parameters
    ----------
    particles : of each round, at least; `EXTRA` times as many are kept, and errors fall as the root of their number
    seed : of the particles and their moves

    Raises
    ------
    ArithmeticError : if particles do not settle, which a `richness` too large for the ridge keeps them from
    """
    if not problem.richness:
        weights = np.random.default_rng(seed).standard_normal((EXTRA * particles, problem.inputs.shape[1]))
        return Saddle(weights, np.full(len(weights), 1 / len(weights)), _regression(problem, weights))
    count = max(particles, FEWEST_PER_SAMPLE * len(problem.labels))
    for doubled in range(MOST_DOUBLED + 1):
        found = _annealed(problem, count << doubled, seed)
        if found is not None:
            return found
    raise ArithmeticError(
        f"{count << MOST_DOUBLED:,} particles do not settle: richness {problem.richness:g} is too large for a ridge of "
        f"{problem.ridge:g}"
    )


def _annealed(problem: Problem, particles: int, seed: int) -> Saddle | None:
    """Return where particles come to; None where they do not settle.

    Delta has a number for each sample, and so can fit itself to few particles, which show it nowhere but in what the
    next ones say: the errors that single rounds leave differ, the particles kept do not speak for one law, or more is
    missing than with the kernel of the prior, which features that turn to the labels can only lessen.
    """
    generator = np.random.default_rng(seed)
    weights = generator.standard_normal((particles, problem.inputs.shape[1]))
    lazy = missing = _regression(problem, weights)
    tilt, step = np.zeros(particles), FIRST_STEP
    kept, tilts, rounds = list[Array](), list[Array](), list[Array]()
    for round_ in range(ROUNDS + EXTRA):
        gamma = problem.richness * min(1.0, (round_ + 1) / ROUNDS)
        features = problem.features(weights)
        missing = minimize_action(problem, gamma, features, -tilt, missing, MOST_ITERATIONS)
        weights = weights[_resampled(gamma**2 / 2 * (features @ missing) ** 2 - tilt, generator)]
        accepted = 0.0
        for _ in range(MOVES):
            weights, share = _moved(problem, gamma, missing, weights, step, generator)
            accepted += share / MOVES
        step *= 0.8 if accepted < SPARSE else 1.1 if accepted > DENSE else 1.0
        tilt = gamma**2 / 2 * (problem.features(weights) @ missing) ** 2
        if round_ >= ROUNDS:
            kept.append(weights)
            tilts.append(tilt)
            rounds.append(missing)
    weights, tilt = np.concatenate(kept), np.concatenate(tilts)
    if not np.isfinite(tilt).all():
        return None
    features = problem.features(weights)
    missing = minimize_action(problem, problem.richness, features, -tilt, missing, LAST_ITERATIONS)
    logarithms = problem.richness**2 / 2 * (features @ missing) ** 2 - tilt
    shares = np.exp(logarithms - logarithms.max())
    shares /= shares.sum()
    size = float(np.linalg.norm(problem.labels)) or 1.0
    apart = problem.ridge * float(np.mean(np.linalg.norm(np.array(rounds) - missing, axis=1))) / size
    effective = 1 / float(shares @ shares) / len(shares)
    is_worse = np.linalg.norm(missing) > WORSE * np.linalg.norm(lazy)
    if not apart < MOST_APART or effective < FEWEST_EFFECTIVE or is_worse:
        return None
    return Saddle(weights, shares, missing)


def action(problem: Problem, gamma: float, features: Array, logarithms: Array, missing: Array) -> tuple[float, Array]:
    """Return S and its slope (P,) at Delta, by particles with features (S, P) and weights exp(logarithms), (S,)."""
    along = features @ missing
    exponents = gamma**2 / 2 * along**2 + logarithms
    highest = exponents.max()
    weighed = np.exp(exponents - highest)
    total = weighed.sum()
    mean = (np.log(total / len(weighed)) + highest) / gamma**2
    value = problem.ridge / 2 * missing @ missing - missing @ problem.labels + mean
    return float(value), problem.ridge * missing - problem.labels + (weighed / total * along) @ features


def minimize_action(
    problem: Problem, gamma: float, features: Array, logarithms: Array, start: Array, iterations: int
) -> Array:
    """Return the Delta (P,) at which S is least, or what so many iterations from a start have come to."""
    from scipy.optimize import minimize

    found = minimize(
        lambda missing: action(problem, gamma, features, logarithms, missing),
        start, jac=True, method="L-BFGS-B", options={"maxiter": iterations},
    )  # fmt: skip
    return np.asarray(found.x, dtype=np.float64)


def _regression(problem: Problem, weights: Array) -> Array:
    """Delta of the particles' kernel."""
    features = problem.features(weights)
    kernel = features.T @ features / len(features)
    damped = kernel + problem.ridge * np.eye(len(kernel))
    return np.asarray(np.linalg.solve(damped, problem.labels), dtype=np.float64)


def _resampled(logarithms: Array, generator: np.random.Generator) -> Array:
    """Particles (S,) drawn by systematic resampling from weights exp(logarithms)."""
    weighed = np.exp(logarithms - logarithms.max())
    count = len(weighed)
    edges = np.cumsum(weighed / weighed.sum())
    found: Array = np.minimum(np.searchsorted(edges, (np.arange(count) + generator.random()) / count), count - 1)
    return found


def _moved(
    problem: Problem, gamma: float, missing: Array, weights: Array, step: float, generator: np.random.Generator
) -> tuple[Array, float]:
    """Particles after one move of Hamiltonian Monte Carlo, and the share of moves that was accepted."""
    phi = ACTIVATIONS[problem.activation]
    pull = missing[:, None] * problem.inputs  # (P, D)

    def energy(at: Array) -> tuple[Array, Array]:
        """Minus the logarithm of the law, (S,), and its slope, (S, D)."""
        fields = at @ problem.inputs.T
        features = phi.value(fields)
        along = features @ missing
        slope = at - (gamma**2 * along)[:, None] * (phi.slope(fields, features) @ pull)
        return np.add.reduce(at**2, axis=1) / 2 - gamma**2 / 2 * along**2, slope

    speed = generator.standard_normal(weights.shape)
    before, slope = energy(weights)
    before = before + np.add.reduce(speed**2, axis=1) / 2
    at, after = weights, before
    with np.errstate(over="ignore", invalid="ignore"):
        speed = speed - step / 2 * slope
        for leap in range(LEAPS):
            at = at + step * speed
            after, slope = energy(at)
            speed = speed - (step if leap < LEAPS - 1 else step / 2) * slope
        after = after + np.add.reduce(speed**2, axis=1) / 2
        taken = np.log(generator.random(len(at))) < before - after
    return np.where(taken[:, None], at, weights), float(np.mean(taken))
