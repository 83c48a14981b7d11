"""Wide networks as scikit-learn regressors: its own checks, kernels of sampled networks, and what adapting gains."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import DotProduct, WhiteKernel
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator

from isoflop.lakehouse.errors import FitError
from isoflop.queries import AdaptiveKernelRegressor, NNGPRegressor, NTKRegressor

RANDOM = np.random.default_rng(1)
ROWS = RANDOM.standard_normal((200, 8))
SIX = (ROWS[:6] - ROWS[:6].mean(axis=0)) / ROWS[:6].std(axis=0)  # as a fit to these rows scales them
LABELS = 5 + 3 * np.sin(1.5 * ROWS[:, 0]) + 0.2 * RANDOM.standard_normal(200)
MODELS: dict[str, Any] = {
    "adaptive": AdaptiveKernelRegressor("tanh", particles=100),
    "adaptive linear": AdaptiveKernelRegressor("linear", depth=3),
    "nngp": NNGPRegressor(),
    "ntk": NTKRegressor("tanh", depth=2),
}


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
@pytest.mark.parametrize("name", [pytest.param("adaptive", marks=pytest.mark.slow), "adaptive linear", "nngp", "ntk"])
def test_scikit_learns_own_checks_pass(name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the checks provoke warnings on purpose
        found = check_estimator(MODELS[name], on_skip=None)
    assert {one["status"] for one in found} <= {"passed", "skipped"}
    assert sum(one["status"] == "passed" for one in found) > 40


@pytest.mark.parametrize("name", MODELS)
def test_parameters_can_be_read_set_and_cloned(name: str) -> None:
    model = clone(MODELS[name]).set_params(noise=0.3)
    assert model.get_params()["noise"] == 0.3 and clone(model).noise == 0.3
    with pytest.raises(NotFittedError):
        model.predict(ROWS)
    with pytest.raises(ValueError, match=r"'noise' parameter of .* must be a float in the range"):
        model.set_params(noise=-1.0).fit(ROWS, LABELS)
    with pytest.raises(ValueError, match=r"'activation' parameter of .* must be a str among"):
        clone(MODELS[name]).set_params(activation="sin").fit(ROWS, LABELS)


def test_labels_and_columns_may_have_any_unit() -> None:
    """Powers of two, which change no bit of what follows: particles turn the last bit into another sample."""
    for model in MODELS.values():
        plain = clone(model).fit(ROWS[:50], LABELS[:50]).predict(ROWS[100:])
        frame = pd.DataFrame(1024 * ROWS, columns=list("abcdefgh"))
        other = clone(model).fit(frame[:50], 64 * LABELS[:50])
        np.testing.assert_array_equal(other.predict(frame[100:]), 64 * plain)
        assert other.feature_names_in_.tolist() == list("abcdefgh")
        with pytest.raises(ValueError, match="feature names should match"):
            other.predict(frame[["a", "b"]])
    lazy, moved = NNGPRegressor().fit(ROWS, LABELS), NNGPRegressor().fit(1e3 * ROWS + 7, 50 * LABELS - 1)
    np.testing.assert_allclose(moved.predict(1e3 * ROWS + 7), 50 * lazy.predict(ROWS) - 1, rtol=1e-8)


def test_a_deep_adaptive_network_that_is_not_linear_is_refused() -> None:
    with pytest.raises(FitError, match="depth is 2 with relu; adaptive kernels of deep networks") as caught:
        AdaptiveKernelRegressor(depth=2).fit(ROWS, LABELS)
    assert caught.value.hint == "depth=1, or NNGPRegressor or NTKRegressor"


def sampled_kernels(activation: str, depth: int, width: int, random: np.random.Generator) -> np.ndarray:
    """Of one network at six rows: products of its last features, and of its gradients by all weights, (2, 6, 6)."""
    inputs = 1.5 * np.concatenate([SIX, np.ones((6, 1)) * np.sqrt(8)], axis=1) / np.sqrt(8)
    phi: Any = {"tanh": np.tanh, "relu": lambda h: np.maximum(h, 0), "linear": lambda h: h}[activation]
    values, slopes, weights = [inputs.T], [], []
    for layer in range(depth):
        weights.append(random.standard_normal((width, len(values[-1]))) / (1 if layer == 0 else np.sqrt(width)))
        field = weights[-1] @ values[-1]
        values.append(phi(field))
        slopes.append((phi(field + 1e-6) - phi(field - 1e-6)) / 2e-6)
    covariance = values[-1].T @ values[-1] / width
    tangents, back = covariance.copy(), random.standard_normal((width, 1)) * slopes[-1]
    for layer in range(depth - 1, -1, -1):
        tangents += (back.T @ back / width) * (values[layer].T @ values[layer] / (1 if layer == 0 else width))
        back = slopes[layer - 1] * (weights[layer].T @ back) if layer else back
    return np.array([covariance, tangents])


@pytest.mark.parametrize(("activation", "depth"), [("tanh", 1), ("tanh", 2), ("relu", 1), ("relu", 3), ("linear", 2)])
def test_lazy_kernels_are_those_of_wide_networks(activation: str, depth: int) -> None:
    random = np.random.default_rng(2)
    sampled = np.array([sampled_kernels(activation, depth, 1000, random) for _ in range(20)])
    for place, kind in enumerate((NNGPRegressor, NTKRegressor)):
        model = kind(activation, depth=depth, input_scale=1.5).fit(ROWS[:6], LABELS[:6])
        found, error = model.kernel(ROWS[:6]), np.linalg.norm(sampled[:, place].std(axis=0)) / np.sqrt(20)
        assert error < 0.04 * np.linalg.norm(found)
        assert np.linalg.norm(found - sampled[:, place].mean(axis=0)) < 3 * error


def test_a_linear_nngp_is_a_gaussian_process_of_products() -> None:
    rows = (ROWS - ROWS[:100].mean(axis=0)) / ROWS[:100].std(axis=0)
    labels = (LABELS - LABELS[:100].mean()) / LABELS[:100].std()
    kernel = DotProduct(np.sqrt(8), "fixed") * (1 / 8) + WhiteKernel(0.1, "fixed")
    known = GaussianProcessRegressor(kernel, optimizer=None).fit(rows[:100], labels[:100]).predict(rows[100:])
    model = NNGPRegressor("linear").fit(rows[:100], labels[:100])
    np.testing.assert_allclose(model.predict(rows[100:]), known, atol=1e-8)


def test_without_richness_an_adaptive_kernel_is_the_lazy_one() -> None:
    lazy = NNGPRegressor("tanh").fit(ROWS[:40], LABELS[:40]).predict(ROWS)
    for richness in (0.0, 1e-3):
        model = AdaptiveKernelRegressor("tanh", richness=richness, particles=1500).fit(ROWS[:40], LABELS[:40])
        assert np.std(model.predict(ROWS) - lazy) < 0.02 * np.std(lazy)
    deep = NNGPRegressor("linear", depth=3).fit(ROWS, LABELS).predict(ROWS)
    linear = AdaptiveKernelRegressor("linear", depth=3, richness=1e-6).fit(ROWS, LABELS).predict(ROWS)
    np.testing.assert_allclose(linear, deep, rtol=1e-6)


def test_few_particles_do_not_fit_themselves() -> None:
    """A small ridge and 60 rows: what 60 or 300 particles came to had nothing to do with the network."""
    random = np.random.default_rng(1)
    rows = random.standard_normal((260, 10))
    labels = np.sin(1.5 * rows[:, 0]) + 0.3 * rows[:, 1] + 0.1 * random.standard_normal(260)
    said = [
        AdaptiveKernelRegressor("tanh", particles=count, noise=0.01, random_state=seed).fit(rows[:60], labels[:60])
        for count in (60, 600) for seed in (0, 1)
    ]  # fmt: skip
    first, *others = (model.predict(rows[60:]) for model in said)
    assert all(np.linalg.norm(first - other) < 0.1 * np.linalg.norm(first) for other in others)
    assert all(model.score(rows[:60], labels[:60]) > 0.9 for model in said)


def test_particles_that_do_not_settle_are_no_fit() -> None:
    with pytest.raises(FitError, match=r"particles do not settle: richness 50 is too large for a ridge of 0.001"):
        AdaptiveKernelRegressor("relu", richness=50, noise=1e-3).fit(ROWS[:30], LABELS[:30])


@pytest.mark.slow
def test_adapting_helps_where_few_columns_matter() -> None:
    model = AdaptiveKernelRegressor("tanh", input_scale=2.0, particles=200)
    lazy = GridSearchCV(NNGPRegressor("tanh", input_scale=2.0), {"noise": [1, 0.3, 0.1, 0.03, 0.01]}, cv=4)
    errors = [1 - cross_val_score(each, ROWS, LABELS, cv=3).mean() for each in (model, lazy)]
    assert errors[0] < 0.75 * errors[1]


@pytest.mark.slow
def test_it_works_in_grids_and_pipelines() -> None:
    model = AdaptiveKernelRegressor("tanh", input_scale=2.0, particles=400)
    grid = GridSearchCV(make_pipeline(StandardScaler(), model), {"adaptivekernelregressor__richness": [0.0, 1.0]}, cv=2)
    grid.fit(ROWS, LABELS)
    assert grid.best_params_ == {"adaptivekernelregressor__richness": 1.0}


@pytest.mark.slow
def test_a_seed_gives_the_same_fit_and_another_one_nearly() -> None:
    first, again, other = (
        AdaptiveKernelRegressor("relu", particles=500, random_state=seed).fit(ROWS[:40], LABELS[:40]).predict(ROWS)
        for seed in (3, 3, 4)
    )
    np.testing.assert_array_equal(first, again)
    assert 0 < np.std(first - other) < 0.1 * np.std(first)
