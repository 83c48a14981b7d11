"""What laws of schedules share: a power of the area under the schedule, less what its decay brought down."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from isoflop.lakehouse.errors import FitError
from isoflop.queries.laws.algebra.expression import Array
from isoflop.queries.laws.law import Coefficient, Input, Law
from isoflop.queries.laws.objectives import Huber, Objective
from isoflop.queries.laws.schedule import INPUTS, Drops, drops_of, faults_of

CHUNK = 2_000_000  # drops computed at a time


@dataclass(frozen=True)
class ScheduleLaw(Law):
    """E + A / area ^ alpha - a sum over the drops of the schedule, each by a kernel of its own.

    The first four coefficients are E, A, alpha and the factor of the sum; the kernel's follow.
    """

    name: str = ""
    coefficients: tuple[Coefficient, ...] = ()
    inputs: tuple[Input, ...] = INPUTS
    target: str = "loss"
    unit: str = "nat/token"
    source: str = ""
    objective: Objective = field(default_factory=Huber)

    tried: ClassVar[tuple[tuple[float, float], ...]] = ()
    """lowest and largest value of alpha and of each coefficient of the kernel where a search starts"""

    @abstractmethod
    def kernel(self, coefficients: Array, drops: Drops, *, slopes: bool) -> tuple[Array, tuple[Array, ...]]:
        """Return what a drop of one brings down, and its derivatives by the kernel's coefficients.

        Parameters
        ----------
        coefficients : (J, B, 1, 1) those of the kernel
        drops : of R rows
        slopes : whether derivatives are wanted

        Returns
        -------
        (B, R, Q), and J of that shape; none where they are not wanted
        """

    @property
    def linear(self) -> tuple[str, ...]:
        """Names of the coefficients in which the law is jointly linear."""
        return (self.coefficients[0].name, self.coefficients[1].name, self.coefficients[3].name)

    def faults(self, inputs: Array) -> list[str]:
        """Return why rows (R, 7) have no schedule, each empty for one that has."""
        return faults_of(inputs)

    def predict(self, coefficients: Array, inputs: Array) -> Array:
        """Return the loss (..., R) for coefficients (..., K) and inputs (R, 7)."""
        return self._in_chunks(coefficients, inputs, slopes=False)[0]

    def jacobian(self, coefficients: Array, inputs: Array) -> Array:
        """Return the derivatives (..., K, R) of the loss by the coefficients."""
        return self._in_chunks(coefficients, inputs, slopes=True)[1]

    def value_and_slopes(self, coefficients: Array, inputs: Array) -> tuple[Array, Array]:
        """Return the loss (..., R) and its derivatives (..., K, R) from one pass over the drops."""
        return self._in_chunks(coefficients, inputs, slopes=True)

    def starts(self, inputs: Array, values: Array, count: int, generator: np.random.Generator) -> Array:
        """Return coefficients (count, K): the curved ones drawn, the others by least squares given these."""
        drops = drops_of(inputs)
        found = np.ones((count, len(self.coefficients)))
        ranges = np.log(np.array(self.tried))
        drawn = np.exp(generator.uniform(ranges[:, 0], ranges[:, 1], (count, len(ranges))))
        good = np.isfinite(drops.area) & np.isfinite(values)
        if not good.any():
            return found
        for row, guess in zip(found, drawn, strict=True):
            kernel, _ = self.kernel(guess[1:, None, None, None], drops, slopes=False)
            design = np.column_stack(
                [np.ones(len(values)), drops.area ** -guess[0], -(drops.size * kernel[0]).sum(axis=1)]
            )
            scale = np.maximum(np.abs(design[good]).max(axis=0), 1e-300)
            solved = np.linalg.lstsq(design[good] / scale, values[good], rcond=None)[0] / scale
            floor, factor, brought = np.maximum(solved, [0.0, 1e-3 / scale[1], 1e-3 / scale[2]])
            row[:] = [floor, factor, guess[0], brought, *guess[1:]]
        return found

    def _in_chunks(self, coefficients: Array, inputs: Array, *, slopes: bool) -> tuple[Array, Array]:
        coefficients, inputs = np.asarray(coefficients, dtype=np.float64), np.asarray(inputs, dtype=np.float64)
        num = len(self.coefficients)
        if inputs.ndim != 2 or inputs.shape[1] != len(INPUTS) or coefficients.shape[-1:] != (num,):
            raise FitError(
                f"{self.name} got inputs of shape {inputs.shape} and coefficients of shape {coefficients.shape}, "
                f"expected (rows, {len(INPUTS)}) and (..., {num})"
            )
        flat, drops = coefficients.reshape(-1, num), drops_of(inputs)
        size = max(1, CHUNK // max(drops.size.size, 1))
        value = np.empty((len(flat), len(inputs)))
        bent = np.empty((len(flat), num if slopes else 0, len(inputs)))
        for first in range(0, len(flat), size):
            chunk = slice(first, first + size)
            value[chunk], bent[chunk] = self._found(flat[chunk], drops, slopes=slopes)
        shape = coefficients.shape[:-1]
        return value.reshape(*shape, len(inputs)), bent.reshape(*shape, bent.shape[1], len(inputs))

    def _found(self, flat: Array, drops: Drops, *, slopes: bool) -> tuple[Array, Array]:
        """Return the loss (B, R) and, if asked for, its derivatives (B, K, R)."""
        floor, factor, power, brought = (flat[:, k, None] for k in range(4))
        with np.errstate(all="ignore"):
            falling = drops.area**-power
            kernel, bent = self.kernel(flat.T[4:, :, None, None], drops, slopes=slopes)
            total = (drops.size * kernel).sum(axis=2)
            value = floor + factor * falling - brought * total
            if not slopes:
                return value, np.empty((len(flat), 0, len(value.T)))
            curved = [-brought * (drops.size * each).sum(axis=2) for each in bent]
            first = [np.ones_like(value), falling, -factor * falling * np.log(drops.area), -total]
        return value, np.stack([*first, *curved], axis=1)
