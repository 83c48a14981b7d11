"""How linear students move: by the whole gradient in closed form, or by batches of fresh or of the same samples."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isoflop.workers.families.students.draws import Floats, Member, StudentRun

BATCHES = 2  # stream of random numbers of a run from which its batches are drawn
DRAWN_TOGETHER = 2**15  # random numbers of one row; seeding a generator costs as much as drawing a thousand


class StudentSteps(ABC):
    """How the members of all runs move; rows are runs by members."""

    def __init__(self, runs: Sequence[StudentRun], members: Sequence[Member]) -> None:
        self.members, self.step = members, 0
        self.descents = [run.descent for run in runs for _ in range(run.students)]
        self.keys = [(run.seed, BATCHES, member) for run in runs for member in range(run.students)]
        self.batch_size = runs[0].batch_size or 0

    @abstractmethod
    def advance(self, num_steps: int) -> None:
        """Take `num_steps` steps in every row."""

    @abstractmethod
    def thetas(self) -> list[Floats]:
        """Return the weights (N,) of every row."""

    @abstractmethod
    def train_losses(self) -> list[float]:
        """Return the train loss of every row."""

    def state(self, rows: slice) -> dict[str, Any]:
        """Return what continues these rows, as arrays."""
        return {}

    def restore(self, step: int, states: Sequence[Mapping[str, Any]]) -> None:
        """Continue every row after `step` steps."""
        self.step = step


class WholeGradient(StudentSteps):
    """The whole gradient, in closed form at any step."""

    def advance(self, num_steps: int) -> None:
        """Take `num_steps` steps in every row."""
        self.step += num_steps

    def thetas(self) -> list[Floats]:
        """Return the weights (N,) of every row."""
        found = []
        for member, left in zip(self.members, self._unlearned(), strict=True):
            inverse = np.divide(1.0, member.scale, out=np.zeros_like(member.scale), where=member.scale > 0)
            found.append(member.basis @ ((1 - left) * inverse * member.target))
        return found

    def train_losses(self) -> list[float]:
        """Return the train loss of every row."""
        return [
            float(np.sum((left * member.target) ** 2)) + member.residual
            for member, left in zip(self.members, self._unlearned(), strict=True)
        ]

    def _unlearned(self) -> list[Floats]:
        steps = np.array(self.step)
        return [
            descent.unlearned(member.scale**2, steps)
            for member, descent in zip(self.members, self.descents, strict=True)
        ]


class _Moving(StudentSteps):
    """Steps that see a batch each: positions, velocities, and random numbers in chunks that the row's key names."""

    def __init__(self, runs: Sequence[StudentRun], members: Sequence[Member], shape: tuple[int, ...], at_once: int):
        super().__init__(runs, members)
        self.rates = np.array([[descent.rate] for descent in self.descents]) / self.batch_size
        self.momenta = np.array([[descent.momentum] for descent in self.descents])
        self.positions, self.velocities = np.zeros(shape), np.zeros(shape)
        self._chunk_steps, self._chunk = max(1, DRAWN_TOGETHER // at_once), -1
        self._drawn: NDArray[Any] = np.empty(0)

    def advance(self, num_steps: int) -> None:
        """Take `num_steps` steps in every row."""
        for _ in range(num_steps):
            chunk, place = divmod(self.step, self._chunk_steps)
            if chunk != self._chunk:
                generators = [np.random.default_rng([*key, chunk]) for key in self.keys]
                self._drawn = np.stack([self.draw(each, self._chunk_steps) for each in generators])
                self._chunk = chunk
            self.velocities *= self.momenta
            self.velocities -= self.gradient(self._drawn[:, place])
            self.positions += self.velocities
            self.step += 1

    @abstractmethod
    def draw(self, generator: np.random.Generator, steps: int) -> NDArray[Any]:
        """Return the random numbers of one row, steps first."""

    @abstractmethod
    def gradient(self, drawn: NDArray[Any]) -> Floats:
        """Return the learning rate times the gradient of every row's batch."""

    def state(self, rows: slice) -> dict[str, Any]:
        """Return what continues these rows, as arrays."""
        return {"positions": self.positions[rows].copy(), "velocities": self.velocities[rows].copy()}

    def restore(self, step: int, states: Sequence[Mapping[str, Any]]) -> None:
        """Continue every row after `step` steps."""
        self.step = step
        self.positions = np.concatenate([state["positions"] for state in states])
        self.velocities = np.concatenate([state["velocities"] for state in states])


class FreshBatches(_Moving):
    """Batches of fresh data, in the singular basis: m = s * xi - c, and a constant coordinate of what is beyond it."""

    def __init__(self, runs: Sequence[StudentRun], members: Sequence[Member]) -> None:
        width, batch_size = len(members[0].scale) + 1, runs[0].batch_size or 0
        super().__init__(runs, members, (len(members), width), width * batch_size)
        constants = [[-np.sqrt(member.residual)] for member in members]
        self.positions[:] = np.concatenate([-np.array([member.target for member in members]), constants], axis=1)
        curvatures = np.array([[*member.scale**2, 0.0] for member in members])
        self._rates = self.rates * curvatures

    def draw(self, generator: np.random.Generator, steps: int) -> NDArray[Any]:
        """Return the random numbers of one row, steps first."""
        return generator.standard_normal((steps, self.batch_size, self.positions.shape[1]))

    def gradient(self, drawn: NDArray[Any]) -> Floats:
        """Return the learning rate times the gradient of every row's batch."""
        errors = np.add.reduce(drawn * self.positions[:, None, :], axis=-1, keepdims=True)  # (R, B, 1)
        gradient: Floats = self._rates * np.add.reduce(drawn * errors, axis=1)
        return gradient

    def thetas(self) -> list[Floats]:
        """Return the weights (N,) of every row."""
        return [
            member.basis
            @ np.divide(m[:-1] + member.target, member.scale, out=np.zeros(len(m) - 1), where=member.scale > 0)
            for member, m in zip(self.members, self.positions, strict=True)
        ]

    def train_losses(self) -> list[float]:
        """Return the train loss of every row."""
        return [float(each) for each in np.add.reduce(self.positions**2, axis=-1)]


class RepeatedBatches(_Moving):
    """Batches that are drawn, with replacement, from samples that stay."""

    def __init__(self, runs: Sequence[StudentRun], members: Sequence[Member]) -> None:
        self._rows = np.stack([member.rows for member in members if member.rows is not None])  # (R, P, N)
        self._labels = np.stack([member.labels for member in members if member.labels is not None])  # (R, P)
        self._places = np.arange(len(members))[:, None]
        super().__init__(runs, members, (len(members), self._rows.shape[2]), runs[0].batch_size or 0)

    def draw(self, generator: np.random.Generator, steps: int) -> NDArray[Any]:
        """Return the random numbers of one row, steps first."""
        return generator.integers(self._rows.shape[1], size=(steps, self.batch_size))

    def gradient(self, drawn: NDArray[Any]) -> Floats:
        """Return the learning rate times the gradient of every row's batch."""
        rows = self._rows[self._places, drawn]  # (R, B, N)
        errors = np.add.reduce(rows * self.positions[:, None, :], axis=-1) - self._labels[self._places, drawn]
        gradient: Floats = self.rates * np.add.reduce(rows * errors[:, :, None], axis=1)
        return gradient

    def thetas(self) -> list[Floats]:
        """Return the weights (N,) of every row."""
        return list(self.positions)

    def train_losses(self) -> list[float]:
        """Return the train loss of every row."""
        return [
            float(np.mean((labels - rows @ theta) ** 2))
            for rows, labels, theta in zip(self._rows, self._labels, self.positions, strict=True)
        ]
