"""Infinitely wide networks as scikit-learn regressors: two kernels that are fixed, and one that adapts to the labels.

`NNGPRegressor` is the mean of a wide network over its prior, given the labels; `NTKRegressor` what a lazy one learns by
gradient descent; `AdaptiveKernelRegressor` what a network in the mean-field scale learns, which is regression too, with
a kernel whose features have turned to the labels. The latter gains where the target depends on few directions of many
columns and there are samples enough to find them; with as few as six a column it may gain nothing.

Columns are brought to mean 0 and deviation 1, and labels too, so that `noise` and `richness` mean the same on every
table: `noise` is the ridge, the variance of the labels' noise as a part of theirs.

Source: Lauditi, Bordelon and Pehlevan 2025 (arXiv:2502.07998).
"""

from __future__ import annotations

from abc import abstractmethod
from numbers import Integral, Real
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, RegressorMixin, _fit_context
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted, validate_data

from isoflop.lakehouse.errors import FitError
from isoflop.lakehouse.models.mean_field import ACTIVATIONS
from isoflop.queries.theory.adaptive_kernels.lazy import lazy_kernels
from isoflop.queries.theory.adaptive_kernels.linear import solve_linear
from isoflop.queries.theory.adaptive_kernels.saddle import Problem, solve_saddle
from isoflop.queries.theory.equivalents import Array

LARGEST_SEED = 2**32 - 1


class _WideNetwork(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """What the three have in common: scaled columns and labels, a constant column, and a dual coefficient a sample."""

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "activation": [StrOptions(set(ACTIVATIONS))],
        "depth": [Interval(Integral, 1, None, closed="left")],
        "input_scale": [Interval(Real, 0, None, closed="neither")],
        "bias": [Interval(Real, 0, None, closed="left")],
        "noise": [Interval(Real, 0, None, closed="neither")],
    }

    activation: str
    depth: int
    input_scale: float
    bias: float
    noise: float

    @_fit_context(prefer_skip_nested_validation=True)  # type: ignore[untyped-decorator]
    def fit(self, X: Any, y: ArrayLike) -> Self:
        """Fit the network to a table.

        Parameters
        ----------
        X : (R, P) columns, or a data frame
        y : (R,) labels

        Raises
        ------
        FitError : if there is no such network, as of a `richness` too large for the noise
        ValueError : if X, y or a parameter is of no use, as scikit-learn says
        """
        rows, labels = validate_data(self, X, y, dtype=np.float64, order="C", y_numeric=True)
        self.column_means_, self.column_scales_ = rows.mean(axis=0), _scale(rows.std(axis=0))
        self.label_mean_, self.label_scale_ = float(labels.mean()), float(_scale(labels.std()))
        self.inputs_ = self._scaled(rows)
        try:
            self._solve(self.inputs_, (labels - self.label_mean_) / self.label_scale_)
        except (ArithmeticError, np.linalg.LinAlgError) as error:
            raise FitError(f"{type(self).__name__} has no fit: {error}") from error
        return self

    def predict(self, X: Any) -> Array:
        """Return predictions (R,) in the labels' unit.

        Raises
        ------
        ValueError : if X has other columns than the table of the fit
        NotFittedError : before `fit`
        """
        check_is_fitted(self)
        rows = self._scaled(validate_data(self, X, reset=False, dtype=np.float64, order="C"))
        return np.asarray(self.label_mean_ + self.label_scale_ * self._predicted(rows))

    def _scaled(self, rows: Array) -> Array:
        """Rows (R, P) as scaled inputs (R, P + 1): s_0 (x / sqrt(P), bias)."""
        inputs = (rows - self.column_means_) / self.column_scales_ / np.sqrt(rows.shape[1])
        constant = np.full((len(rows), 1), float(self.bias))
        return np.asarray(self.input_scale * np.concatenate([inputs, constant], axis=1))

    @abstractmethod
    def _solve(self, inputs: Array, labels: Array) -> None:
        """Fit to scaled inputs (R, D) and labels (R,)."""

    @abstractmethod
    def _predicted(self, inputs: Array) -> Array:
        """Predictions (R,) at scaled inputs (R, D)."""


class _LazyNetwork(_WideNetwork):
    """Regression with a fixed kernel."""

    _tangent: ClassVar[bool]

    def __init__(
        self,
        activation: str = "relu",
        *,
        depth: int = 1,
        input_scale: float = 1.0,
        bias: float = 1.0,
        noise: float = 0.1,
    ) -> None:
        self.activation = activation
        self.depth = depth
        self.input_scale = input_scale
        self.bias = bias
        self.noise = noise

    def kernel(self, X: Any, other: Any = None) -> Array:
        """Return the kernel (R, S) between rows (R, P) and others (S, P), or the rows of the fit."""
        check_is_fitted(self)
        left = self._scaled(validate_data(self, X, reset=False, dtype=np.float64, order="C"))
        if other is None:
            return self._kernel(left, self.inputs_)
        return self._kernel(left, self._scaled(validate_data(self, other, reset=False, dtype=np.float64, order="C")))

    def _kernel(self, left: Array, right: Array) -> Array:
        return lazy_kernels(left, right, self.activation, self.depth)[self._tangent]

    def _solve(self, inputs: Array, labels: Array) -> None:
        kernel = self._kernel(inputs, inputs)
        self.dual_coef_ = np.linalg.solve(kernel + self.noise * np.eye(len(kernel)), labels)

    def _predicted(self, inputs: Array) -> Array:
        return self._kernel(inputs, self.inputs_) @ self.dual_coef_


class NNGPRegressor(_LazyNetwork):
    """Kernel regression with the covariance of an infinitely wide network's outputs.

    Parameters
    ----------
    activation : `tanh`, `relu` or `linear`
    depth : hidden layers
    input_scale : s_0, deviation of a neuron's field on a typical row
    bias : size of a constant column beside the others; 0 for a network without
    noise : the ridge [variance of the labels]

    Attributes
    ----------
    dual_coef_ : (R,) of each row of the fit
    inputs_ : (R, P + 1) scaled rows of the fit
    n_features_in_, feature_names_in_ : as in scikit-learn

    Example
    -------
    >>> x = np.linspace(-2, 2, 30)[:, None]
    >>> model = NNGPRegressor("relu", noise=1e-4).fit(x, np.abs(x[:, 0]))
    >>> bool(abs(model.predict([[1.03]])[0] - 1.03) < 0.02)
    True
    """

    _tangent = False


class NTKRegressor(_LazyNetwork):
    """Kernel regression with the tangent kernel of an infinitely wide network; parameters as of NNGPRegressor."""

    _tangent = True


class AdaptiveKernelRegressor(_WideNetwork):
    """Kernel regression with the kernel that a network in the mean-field scale learns: two layers, or linear ones.

    Parameters
    ----------
    activation : `tanh`, `relu` or `linear`
    depth : hidden layers; more than 1 only where they are linear
    richness : gamma, how far features move; 0 is NNGP regression by random features
    input_scale : s_0, deviation of a neuron's field on a typical row
    bias : size of a constant column beside the others; 0 for a network without
    noise : the ridge, 1 / beta [variance of the labels]
    particles : neurons of a round of annealing, at least, ten times as many make the kernel; at least 5 a row are
        taken, and up to four times as many where they do not settle
    random_state : of the particles

    Attributes
    ----------
    dual_coef_ : (R,), Delta, of each row of the fit
    weights_, shares_ : (S, P + 1) and (S,), the neurons and what part each is; of networks that are not linear
    inputs_ : (R, P + 1) scaled rows of the fit
    n_features_in_, feature_names_in_ : as in scikit-learn

    Example
    -------
    >>> rows = np.random.default_rng(0).standard_normal((80, 6))
    >>> labels = np.sin(1.5 * rows[:, 0])
    >>> model = AdaptiveKernelRegressor("tanh", particles=200, random_state=0).fit(rows[:60], labels[:60])
    >>> lazy = NNGPRegressor("tanh").fit(rows[:60], labels[:60])
    >>> model.score(rows[60:], labels[60:]) > lazy.score(rows[60:], labels[60:])
    True
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **_WideNetwork._parameter_constraints,
        "richness": [Interval(Real, 0, None, closed="left")],
        "particles": [Interval(Integral, 2, None, closed="left")],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        activation: str = "relu",
        *,
        depth: int = 1,
        richness: float = 1.0,
        input_scale: float = 1.0,
        bias: float = 1.0,
        noise: float = 0.1,
        particles: int = 1000,
        random_state: Any = 0,
    ) -> None:
        self.activation = activation
        self.depth = depth
        self.richness = richness
        self.input_scale = input_scale
        self.bias = bias
        self.noise = noise
        self.particles = particles
        self.random_state = random_state

    def _solve(self, inputs: Array, labels: Array) -> None:
        problem = Problem(
            inputs=inputs, labels=labels, activation=self.activation, richness=self.richness, ridge=self.noise
        )
        if self.activation == "linear":
            found = solve_linear(problem, self.depth)
            self.dual_coef_ = found.missing
            self._direction = found.scale * inputs.T @ found.missing
            return
        if self.depth > 1:
            raise FitError(
                f"depth is {self.depth} with {self.activation}; adaptive kernels of deep networks are solved for linear"
                " ones only",
                hint="depth=1, or NNGPRegressor or NTKRegressor",
            )
        seed = int(check_random_state(self.random_state).randint(LARGEST_SEED, dtype=np.uint32))
        saddle = solve_saddle(problem, self.particles, seed)
        self.dual_coef_, self.weights_, self.shares_ = saddle.missing, saddle.weights, saddle.shares
        self._readout = self.shares_ * (problem.features(self.weights_) @ self.dual_coef_)

    def _predicted(self, inputs: Array) -> Array:
        if self.activation == "linear":
            found: Array = inputs @ self._direction
            return found
        value = ACTIVATIONS[self.activation].value
        return np.concatenate([value(self.weights_ @ part.T).T @ self._readout for part in _parts(inputs)])


def _parts(inputs: Array) -> list[Array]:
    """Rows in parts whose features take little memory."""
    return np.array_split(inputs, max(1, -(-len(inputs) // 500)))


def _scale(deviations: Any) -> Any:
    """Deviations, and 1 where there is none."""
    return np.where(deviations > 0, deviations, 1.0)
