"""Which runs to train next: those after which a forecast is narrowest, for what may be spent.

The measure is the mean over the targets of the variance of the log prediction (I-optimality). With features f and
information M = 1 + sum f f' / sigma^2, a run at x lowers the variance t' M^-1 t of a target t by

    (t' M^-1 f)^2 / (sigma^2 + f' M^-1 f)

so the gain of every candidate is one product of matrices. Runs are chosen one after another, from several ways of
sharing the budget out, and then exchanged, singly and in pairs, until no exchange helps. A run may be chosen twice.

Source: Fedorov 1972, Theory of Optimal Experiments (sequential choice and exchange); Atkinson, Donev, Tobias 2007,
Optimum Experimental Designs, chapters 10 and 12.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

SHARES = (0.25, 0.5, 0.75, 0.9)  # of what is left of a budget that the next run may take, in the first choices
PAIR_SHARES = (0.01, 0.05, 0.2, 0.5)  # of what two runs cost together that one of them may take
MOST_PAIRS = 40  # tried in one round
FINISHED = 2  # first choices, the best ones, whose runs are exchanged in pairs too
ROUNDS = 20  # of exchanges; one without a gain ends them
BETTER = 1e-6  # relative gain [1] that is worth an exchange
ROOM = 1e-9  # relative breach of a budget [1] that is rounding


@dataclass(frozen=True, eq=False)
class Choices:
    """What may be chosen, and what it is chosen for.

    Parameters
    ----------
    features : (M, D) of the candidates
    targets : (T, D) features of what is forecast
    noise : scatter of a run in log value [1]
    costs : (G, M) what each candidate takes of each of G budgets
    limits : (G,) the budgets
    per : (M,) cost by which what is gained is divided, or None
    """

    features: Array
    targets: Array
    noise: float
    costs: Array
    limits: Array
    per: Array | None = None

    def spread(self, chosen: Sequence[int]) -> Array:
        """Return the (D, D) covariance of the directions after some runs."""
        seen = self.features[list(chosen)] / self.noise
        found = np.asarray(np.linalg.inv(np.eye(self.features.shape[1]) + seen.T @ seen), dtype=np.float64)
        return found

    def variance(self, chosen: Sequence[int]) -> float:
        """Return the mean variance of the log forecasts after some runs [1]."""
        return float(np.einsum("td,de,te->t", self.targets, self.spread(chosen), self.targets).mean())

    def variances(self, chosen: Sequence[int]) -> Array:
        """Return the (T,) variances of the log forecasts after some runs [1]."""
        found: Array = np.einsum("td,de,te->t", self.targets, self.spread(chosen), self.targets)
        return found

    def score(self, chosen: Sequence[int]) -> float:
        """Return what is made large: how much narrower the forecasts are, over the cost where one counts."""
        gain = float(np.log(self.variance(()) / max(self.variance(chosen), 1e-300)))
        return gain if self.per is None else gain / max(float(self.per[list(chosen)].sum()), 1e-300)

    def after_one_more(self, chosen: Sequence[int]) -> Array:
        """Return (M,) the mean variance when each candidate is added to some runs."""
        spread = self.spread(chosen)
        moved = self.features @ spread
        gain = ((moved @ self.targets.T) ** 2).mean(axis=1)
        variance = np.einsum("td,de,te->t", self.targets, spread, self.targets).mean()
        found: Array = variance - gain / (self.noise**2 + np.einsum("md,md->m", moved, self.features))
        return found

    def best(self, chosen: Sequence[int], left: Array) -> int | None:
        """Return the candidate that helps most beside some runs and costs no more than is left, or None."""
        allowed = (self.costs <= left[:, None] * (1 + ROOM)).all(axis=0)
        if not allowed.any():
            return None
        after = np.maximum(self.after_one_more(chosen), 1e-300)
        worth = np.log(self.variance(()) / after)
        if self.per is not None:
            worth = worth / np.maximum(self.per + self.per[list(chosen)].sum(), 1e-300)
        return int(np.argmax(np.where(allowed, worth, -np.inf)))

    def left(self, chosen: Sequence[int]) -> Array:
        """Return (G,) what some runs leave of the budgets."""
        found: Array = self.limits - self.costs[:, list(chosen)].sum(axis=1)
        return found


def choose(choices: Choices, count: int, *, seed: int = 0, start: Sequence[int] | None = None) -> list[int] | None:
    """Return the positions of `count` candidates, the most informative first; None when none fit the budgets.

    Parameters
    ----------
    count : how many runs; a candidate may be chosen several times
    seed : of the pairs that are tried when there are many
    start : a choice to begin with instead of those that share out the budgets
    """
    starts = [list(start)] if start is not None else [_shared(choices, count, share) for share in (None, *SHARES)]
    starts = [start for k, start in enumerate(starts) if start not in starts[:k]]
    generator = np.random.default_rng(seed)
    found = [_exchanged(choices, start) for start in starts if start is not None]
    found = sorted(found, key=choices.score, reverse=True)[:FINISHED]
    if not found:
        return None
    return ordered(choices, max((_exchanged(choices, start, generator) for start in found), key=choices.score))


def _shared(choices: Choices, count: int, share: float | None) -> list[int] | None:
    """Choose runs one after another: each may take a share of what is left, or an equal part when None."""
    cheapest = choices.costs.min(axis=1, initial=np.inf) if choices.costs.shape[1] else np.zeros(len(choices.limits))
    chosen: list[int] = []
    for k in range(count):
        left = choices.left(chosen)
        rest = (count - k - 1) * cheapest
        part = left / (count - k) if share is None else share * left
        position = choices.best(chosen, np.clip(part, np.minimum(cheapest, left), left - rest))
        if position is None:
            return None
        chosen.append(position)
    return chosen


def _exchanged(choices: Choices, chosen: list[int], generator: np.random.Generator | None = None) -> list[int]:
    """Exchange runs until nothing helps: singly, and with a generator in pairs."""
    best = choices.score(chosen)
    for _ in range(ROUNDS):
        before = best
        for k in range(len(chosen)):
            others = chosen[:k] + chosen[k + 1 :]
            position = choices.best(others, choices.left(others))
            if position is not None:
                chosen, best = _better(choices, chosen, [*others, position], best)
        if generator is not None and len(chosen) > 1:
            pairs = list(itertools.combinations(range(len(chosen)), 2))
            some = generator.permutation(len(pairs))[:MOST_PAIRS]
            for one, other in (pairs[k] for k in some):
                chosen, best = _pair(choices, chosen, one, other, best)
        if best - before <= BETTER * abs(best):
            break
    return chosen


def _pair(choices: Choices, chosen: list[int], one: int, other: int, best: float) -> tuple[list[int], float]:
    """Try two others in place of two runs, and to share what these cost between them in other ways."""
    rest = [position for k, position in enumerate(chosen) if k not in (one, other)]
    left = choices.left(rest)
    for share in PAIR_SHARES if len(choices.limits) else (1.0,):
        first = choices.best(rest, share * left)
        if first is None:
            continue
        second = choices.best([*rest, first], left - choices.costs[:, first])
        if second is None:
            continue
        again = choices.best([*rest, second], left - choices.costs[:, second])
        changed, value = _better(choices, chosen, [*rest, second, first if again is None else again], best)
        if value > best:
            return changed, value
    return chosen, best


def _better(choices: Choices, chosen: list[int], other: list[int], best: float) -> tuple[list[int], float]:
    """Return the better of two choices with its score."""
    value = choices.score(other)
    return (other, value) if value > best + BETTER * abs(best) else (chosen, best)


def ordered(choices: Choices, chosen: Sequence[int]) -> list[int]:
    """Return chosen runs with the one first that helps most, then the one that helps most beside it, and so on."""
    left = list(chosen)
    found: list[int] = []
    while left:
        after = choices.after_one_more(found)
        found.append(min(left, key=lambda position: (after[position], position)))
        left.remove(found[-1])
    return found
