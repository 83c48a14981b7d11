"""Sums of powers, compiled: the same objective, gradient and curvature as `power_sum`, one fused pass over the rows.

Used when numba can be imported (`pip install isoflop[fast]`) and the objective is one of Huber's family; NumPy does
the rest, and everything without numba. Whole descents run compiled, problems side by side on the threads there are.
Kernels are kept on disk, so the seconds of compiling are spent once.

Shape letters: B problems, R rows, K coefficients, J terms.
"""

from __future__ import annotations

import functools
import importlib.util
import os
import sys
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from contextvars import ContextVar
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from isoflop.lakehouse.sql.cancellation import report
from isoflop.queries.fitting.solver.model import Array, Curve
from isoflop.queries.laws.objectives import Huber, LeastAbsolute, LeastSquares, Objective
from isoflop.queries.laws.robust_objectives import HuberLikelihood

OFF = "ISOFLOP_NO_COMPILED"  # environment variable that keeps to NumPy
BLOCK = 32  # problems that one thread takes at a time
FEWEST_VALUES = 300  # problems times rows below which NumPy is as quick
WORTH_LOADING = 1_000_000  # the same while numba is not loaded yet, which takes half a second
Descended = tuple[Array, Array, NDArray[np.bool_]]


# Undecided, a batch goes compiled where that pays: answers then depend in their last digits on what was fitted before.
_is_on: ContextVar[bool | None] = ContextVar("compiled", default=None)


def is_available() -> bool:
    """Return whether numba is installed and not switched off by the environment variable ISOFLOP_NO_COMPILED."""
    return _is_on.get() is not False and _is_installed()


def pays(values: int) -> bool:
    """Return whether a job of that many problems times rows is quicker compiled, with numba to be loaded or not."""
    return is_available() and ("numba" in sys.modules or values >= WORTH_LOADING)


@functools.cache
def _is_installed() -> bool:
    return not os.environ.get(OFF) and importlib.util.find_spec("numba") is not None


@contextmanager
def switched(is_on: bool) -> Iterator[None]:
    """Use the compiled path, or not, for all that is fitted within a block; without numba there is none to use."""
    token = _is_on.set(is_on)
    try:
        yield
    finally:
        _is_on.reset(token)


def penalty_of(objective: Objective) -> tuple[float, float] | None:
    """Return an objective as Huber's delta and a factor, or None when it is no such penalty."""
    match objective:
        case Huber(delta):
            return delta, 1.0
        case LeastSquares():
            return np.inf, 1.0
        case LeastAbsolute(smoothing):
            return smoothing, 1.0 / smoothing
        case HuberLikelihood(delta):
            return delta * objective.known_scale, objective.known_scale**-2
        case _:
            return None


def descend_compiled(
    model: Curve,
    theta: Array,
    weights: Array,
    targets: Array,
    objective: Objective,
    *,
    exact: bool,
    max_steps: int,
    tolerance: float,
) -> Descended | None:
    """Return ends (B, K), objectives (B,) and whether each converged, or None where NumPy has to do it.

    Parameters
    ----------
    model, theta, weights, targets, objective, exact, max_steps, tolerance : as for `newton.descend`
    """
    tables = getattr(model, "tables", None)
    penalty = penalty_of(objective)
    values = len(theta) * targets.shape[1]
    if (
        tables is None
        or penalty is None
        or values < FEWEST_VALUES
        or not (is_available() if _is_on.get() else pays(values))
    ):
        return None
    from isoflop.queries.fitting.solver import kernels

    run: Any = kernels.descend
    start = np.clip(theta, model.lower, model.upper)
    weights, targets = np.ascontiguousarray(weights), np.ascontiguousarray(targets)

    def block(first: int) -> Descended:
        own = slice(first, first + BLOCK)
        found: Descended = run(
            start[own], weights if len(weights) == 1 else weights[own], targets if len(targets) == 1 else targets[own],
            (model.lower, model.upper), tables, penalty, (exact, max_steps, tolerance),
        )  # fmt: skip
        return found

    firsts = range(0, len(theta), BLOCK)
    parts = []
    if len(firsts) == 1:
        parts.append(block(0))
    else:
        # The generator itself is closed: whoever stops drops the blocks that are left at once.
        with closing(cast(Generator[Descended, None, None], _threads(os.getpid()).map(block, firsts))) as blocks:
            for found in blocks:
                parts.append(found)
                report("descents", min(BLOCK * len(parts), len(theta)), len(theta))
    ends, values, settled = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    return ends, values, settled


@functools.cache
def _threads(process: int) -> ThreadPoolExecutor:
    """Threads of one process: a forked child has none of its parent's."""
    return ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="isoflop-descent")


def term_tables(terms: Any, num_rows: int) -> tuple[NDArray[np.int64], NDArray[np.int64], Array, Array]:
    """Return the terms of a sum of powers as arrays: widths (J,), indices (J, D), regressors (J, D, R), offsets (J, R).

    Parameters
    ----------
    terms : J `LogTerm`
    num_rows : R
    """
    widest = max((len(term.indices) for term in terms), default=0)
    widths = np.array([len(term.indices) for term in terms], dtype=np.int64)
    indices = np.zeros((len(terms), max(widest, 1)), dtype=np.int64)
    regressors = np.zeros((len(terms), max(widest, 1), num_rows))
    offsets = np.zeros((len(terms), num_rows))
    for j, term in enumerate(terms):
        indices[j, : widths[j]] = term.indices
        regressors[j, : widths[j]] = term.regressors
        if term.offset is not None:
            offsets[j] = term.offset
    return widths, indices, regressors, offsets
