"""Kernels of infinitely wide networks that do not move: NNGP of their outputs, NTK of their training; and regression.

    h1 ~ N(0, K0), K0 = x x' of scaled inputs        NNGP(l) = E phi(h) phi(h)', h ~ N(0, NNGP(l-1))
    NTK(0) = K0                                      NTK(l) = NNGP(l) + E phi'(h) phi'(h)' * NTK(l-1)

For relu the means are closed (arc cosines). For tanh, with u and v of deviations s and t and correlation r,

    E phi(u) phi(v) = sum_k c_k(s) c_k(t) r^k,        c_k(s) = E phi(s g) He_k(g) / sqrt(k!)

by the rule of trapezoids in g; the sum ends at k = 127, so it is positive definite, and to 1e-8 for deviations up to 2.
Beyond 10 the series is slow, and kernels of near neighbors come out low by per cents.

Source: Cho and Saul 2009; Jacot et al. 2018 (arXiv:1806.07572); Mehler 1866 for the series.
"""

from __future__ import annotations

import numpy as np

from isoflop.lakehouse.models.mean_field import ACTIVATIONS
from isoflop.queries.theory.equivalents import Array

ORDERS = 128  # of the Hermite series
REACH, SPACING = 12.0, 0.01  # of the rule of trapezoids; beyond, polynomials times the normal law are below 1e-15


def lazy_kernels(left: Array, right: Array, activation: str, depth: int = 1) -> tuple[Array, Array]:
    """Return the NNGP and NTK, (n, m) each, between two sets of scaled inputs.

    Parameters
    ----------
    left, right : (n, D) and (m, D), inputs times s_0 / sqrt(D)
    activation : a key of `ACTIVATIONS`
    depth : hidden layers
    """
    kernel = left @ right.T
    tangent, (rows, columns) = kernel, (np.add.reduce(each**2, axis=1) for each in (left, right))
    for _ in range(depth):
        if activation == "linear":
            tangent = kernel + tangent
        elif activation == "relu":
            kernel, slopes = arc_cosines(kernel, rows, columns)
            tangent, rows, columns = kernel + slopes * tangent, rows / 2, columns / 2
        else:
            kernel, slopes, rows, columns = _by_series(kernel, rows, columns, activation)
            tangent = kernel + slopes * tangent
    return kernel, tangent


def regressed(kernel: Array, cross: Array, labels: Array, ridge: float) -> Array:
    """Return kernel regression (m,) of labels (n,), of a kernel (n, n), at points of kernels (m, n).

    Raises
    ------
    ArithmeticError : if the kernel has no regression, being infinite or singular with a ridge of 0
    """
    try:
        found: Array = cross @ np.linalg.solve(kernel + ridge * np.eye(len(kernel)), labels)
    except np.linalg.LinAlgError as error:
        raise ArithmeticError(f"the kernel of {len(kernel)} samples has no regression: {error}") from error
    return found


def arc_cosines(kernel: Array, rows: Array, columns: Array) -> tuple[Array, Array]:
    """Return E relu relu and E relu' relu', (n, m) each, of normals of covariances (n, m), variances (n,) and (m,)."""
    cosines = _cosines(kernel, rows, columns)
    angle = np.arccos(cosines)
    size = np.sqrt(np.multiply.outer(rows, columns))
    return size * (np.sin(angle) + (np.pi - angle) * cosines) / (2 * np.pi), (np.pi - angle) / (2 * np.pi)


def _cosines(kernel: Array, rows: Array, columns: Array) -> Array:
    """Correlations of normals with covariances (n, m) and variances (n,) and (m,); 0 where one has none."""
    size = np.sqrt(np.multiply.outer(rows, columns))
    return np.clip(np.divide(kernel, size, out=np.zeros_like(kernel), where=size > 0), -1, 1)


def _by_series(kernel: Array, rows: Array, columns: Array, activation: str) -> tuple[Array, Array, Array, Array]:
    """E phi phi, E phi' phi', and the variances of phi on both sides."""
    cosines, phi = _cosines(kernel, rows, columns), ACTIVATIONS[activation]
    at = np.arange(-REACH, REACH + SPACING / 2, SPACING)
    basis = _hermite(at)
    sides = []
    for variances in (rows, columns):
        fields = np.sqrt(variances)[:, None] * at
        values = phi.value(fields)
        sides.append((values @ basis.T, phi.slope(fields, values) @ basis.T, values**2 @ basis[0]))
    (first, first_slope, first_square), (second, second_slope, second_square) = sides
    values, slopes = np.zeros_like(kernel), np.zeros_like(kernel)
    for order in range(ORDERS - 1, -1, -1):
        values = values * cosines + np.multiply.outer(first[:, order], second[:, order])
        slopes = slopes * cosines + np.multiply.outer(first_slope[:, order], second_slope[:, order])
    return values, slopes, first_square, second_square


def _hermite(at: Array) -> Array:
    """Polynomials He_k(g) / sqrt(k!) times the normal density and the spacing, (K, G)."""
    found = np.empty((ORDERS, len(at)))
    found[0] = np.exp(-(at**2) / 2) / np.sqrt(2 * np.pi) * SPACING
    found[1] = at * found[0]
    for order in range(2, ORDERS):
        found[order] = (at * found[order - 1] - np.sqrt(order - 1) * found[order - 2]) / np.sqrt(order)
    return found
