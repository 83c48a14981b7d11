"""The hidden layers of a deep linear network of large width: correlations and responses of its two passes over T steps.

h(l) is the forward pass of the gradient q through the layers, g(l) the backward pass from the readout, each with one
number a neuron. Large random matrices make neurons independent of each other: each sees Gaussian sources, whose
correlations are those of the layers beside it, and answers to itself by their responses. With X< the part of X below
the diagonal and Gamma = eta gamma, a neuron of layer l of a plain network obeys

    h = x + Mh g       Mh = D_l + Gamma Ch_(l-1)<                       x of correlations Ch_(l-1), Ch_0 = C_q
    g = z + Mg h       Mg = E_l + Gamma Cg_(l+1)<, Gamma 1< for l = L   z of correlations Cg_(l+1), 1 for l = L

so that with I_h = (1 - Mh Mg)^-1 and I_g = (1 - Mg Mh)^-1

    Ch_l = I_h (Ch_(l-1) + Mh Cg_(l+1) Mh') I_h'       D_(l+1) = I_h Mh
    Cg_l = I_g (Cg_(l+1) + Mg Ch_(l-1) Mg') I_g'       E_(l-1) = I_g Mg

Residual branches couple all layers of a neuron into one system of 2 L T equations,

    h(1) = x + (D_1 + Gamma C_q<) g(1)     h(l+1) = h(l) + b x(l) + b^2 (D_(l+1) + Gamma Ch_l<) g(l+1)
    g(L) = z + Gamma 1< h(L)               g(l) = g(l+1) + b z(l) + b^2 (E_l + Gamma Cg_(l+1)<) h(l)

whose inverse holds everything: D_(l+1) is how h(l) answers a source of g(l), E_l how g(l+1) answers one of h(l+1).

Source: Bordelon and Pehlevan 2025 (arXiv:2502.02531), rederived in the normalization of the family `deep_linear`.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

from isoflop.queries.theory.equivalents import Array
from isoflop.queries.theory.marching import held_on, padded

LARGEST = 1e6  # of an entry that has not settled yet; losses are of order 1


class LayerSites(Protocol):
    """Hidden layers over a window of T steps."""

    @property
    def backward(self) -> Array:
        """Cg_1, correlations of g(1), (T, T)."""

    @property
    def answer(self) -> Array:
        """E_0, how g(1) answers a source of h(1), (T, T)."""

    def grow(self, size: int) -> None:
        """Go on to a longer window."""

    def sweep(self, gradients: Array, first: Array) -> None:
        """Put every layer through its equations, for C_q and D_1, (T, T) each."""


class PlainSites:
    """Layers one after another.

    Parameters
    ----------
    depth : L
    gain : Gamma
    size : T at first
    readout : variance of the entries of w at first
    """

    def __init__(self, depth: int, gain: float, size: int, readout: float = 1.0) -> None:
        self._depth, self._gain, self._size, self._readout = depth, gain, size, readout
        whole, none = np.ones((size, size)), np.zeros((size, size))
        self._forward = [whole] * (depth + 1)  # Ch_0 to Ch_L
        self._backward = [whole] * (depth + 2)  # Cg_1 to Cg_L, and 1 for Cg_(L+1); Cg_0 is none
        self._down = [none] * (depth + 2)  # D_1 to D_L; D_0 and D_(L+1) are not used
        self._up = [none] * (depth + 1)  # E_0 to E_(L-1), and none for E_L

    @property
    def backward(self) -> Array:
        """Cg_1."""
        return self._backward[1]

    @property
    def answer(self) -> Array:
        """E_0."""
        return self._up[0]

    def grow(self, size: int) -> None:
        """Go on to a longer window: correlations as at its last step, no responses yet."""
        self._forward = [held_on(each, size) for each in self._forward]
        self._backward = [held_on(each, size) for each in self._backward]
        self._down = [padded(each, size) for each in self._down]
        self._up = [padded(each, size) for each in self._up]
        self._size = size

    def sweep(self, gradients: Array, first: Array) -> None:
        """Go through the layers forward and back."""
        self._forward[0], self._down[1] = gradients, first
        for layer in [*range(1, self._depth + 1), *range(self._depth - 1, 0, -1)]:
            self._settle(layer)

    def _settle(self, layer: int) -> None:
        one, below = np.eye(self._size), np.tril(np.ones((self._size, self._size)), -1)
        before, after = self._forward[layer - 1], self._backward[layer + 1]
        source = after if layer < self._depth else self._readout * after
        ahead = self._down[layer] + self._gain * before * below  # Mh
        back = self._up[layer] + self._gain * after * below  # Mg; for L that of 1 below the diagonal
        held = np.linalg.inv(one - ahead @ back)  # I_h
        turned = one + back @ held @ ahead  # I_g
        self._forward[layer] = clipped(held @ (before + ahead @ source @ ahead.T) @ held.T)
        self._backward[layer] = clipped(turned @ (source + back @ before @ back.T) @ turned.T)
        self._up[layer - 1] = clipped(turned @ back)
        self._down[layer + 1] = clipped(held @ ahead)


class ResidualSites:
    """All layers of a neuron at once.

    Parameters
    ----------
    depth : L
    gain : Gamma
    branch : b
    size : T at first
    readout : variance of the entries of w at first
    """

    def __init__(self, depth: int, gain: float, branch: float, size: int, readout: float = 1.0) -> None:
        self._depth, self._gain, self._branch, self._readout = depth, gain, branch, readout
        self._forward = np.ones((depth, size, size))  # Ch_1 to Ch_L
        self._backward = np.ones((depth, size, size))  # Cg_1 to Cg_L
        self._down = np.zeros((depth - 1, size, size))  # D_2 to D_L
        self._up = np.zeros((depth - 1, size, size))  # E_1 to E_(L-1)
        self._answer: Array = np.zeros((size, size))

    @property
    def answer(self) -> Array:
        """E_0."""
        return self._answer

    @property
    def backward(self) -> Array:
        """Cg_1."""
        found: Array = self._backward[0]
        return found

    def grow(self, size: int) -> None:
        """Go on to a longer window: correlations as at its last step, no responses yet."""
        self._forward = np.stack([held_on(each, size) for each in self._forward])
        self._backward = np.stack([held_on(each, size) for each in self._backward])
        self._down, self._up = (
            np.array([padded(each, size) for each in responses]).reshape(-1, size, size)
            for responses in (self._down, self._up)
        )
        self._answer = padded(self._answer, size)

    def sweep(self, gradients: Array, first: Array) -> None:
        """Solve the system and read everything off its inverse."""
        depth, size = self._depth, len(gradients)
        one, below = np.eye(size), np.tril(np.ones((size, size)), -1)
        square = self._branch**2
        system = np.zeros((2, depth, size, 2, depth, size))  # of h(1) to h(L), then of g(1) to g(L)
        sources = np.zeros((2, depth, size, size))  # correlations, which lie on the diagonal of the system
        for layer in range(depth):
            system[0, layer, :, 0, layer] += one
            system[1, layer, :, 1, layer] += one
        system[0, 0, :, 1, 0] -= first + self._gain * gradients * below
        system[1, -1, :, 0, -1] -= self._gain * below
        sources[0, 0], sources[1, -1] = gradients, self._readout
        for layer in range(depth - 1):
            system[0, layer + 1, :, 0, layer] -= one
            ahead = self._down[layer] + self._gain * self._forward[layer] * below
            system[0, layer + 1, :, 1, layer + 1] -= square * ahead
            system[1, layer, :, 1, layer + 1] -= one
            back = self._up[layer] + self._gain * self._backward[layer + 1] * below
            system[1, layer, :, 0, layer] -= square * back
            sources[0, layer + 1], sources[1, layer] = square * self._forward[layer], square * self._backward[layer + 1]
        answers: Array = np.linalg.inv(system.reshape(2 * depth * size, -1)).astype(np.float64, copy=False)
        self._read(answers.reshape(system.shape), sources)

    def _read(self, answers: Array, sources: Array) -> None:
        """Take correlations and responses from the inverse of the system."""
        depth, size = self._depth, sources.shape[-1]
        rows = answers.reshape(2 * depth, size, 2 * depth, size).transpose(0, 2, 1, 3)  # (2 L, 2 L, T, T)
        passes = (rows @ sources.reshape(-1, size, size) @ rows.transpose(0, 1, 3, 2)).sum(axis=1)  # (2 L, T, T)
        self._forward, self._backward = clipped(passes[:depth]), clipped(passes[depth:])
        self._answer = clipped(answers[1, 0, :, 0, 0])
        for layer in range(depth - 1):
            self._down[layer] = clipped(answers[0, layer, :, 1, layer])
            self._up[layer] = clipped(answers[1, layer + 1, :, 0, layer + 1])


def clipped(values: Array) -> Array:
    """Return values none of which is larger than one that has settled."""
    found: Array = np.clip(values, -LARGEST, LARGEST)
    return found
