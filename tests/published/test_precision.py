"""The precision laws of Kumar et al. 2024 (arXiv:2411.04330), with the paper's coefficients.

| number | value | tolerance | source |
| --- | --- | --- | --- |
| effective share of params at 2, 4, 8, 16 weight bits | 0.527, 0.776, 0.950, 0.997 | 0.001 | arithmetic of the form |
| effective share at 6 bits everywhere; at 7, 7, 4 | 0.833; 0.8743 | 0.002; 0.001 | same |
| increase by rounding to 4 bits, N 1e9, D / N = 20, 2000 | 0.009, 0.094 | as given | same, with the paper's constants |
| gamma_w, gamma_a from 60 runs with 0.3 % noise | 2.6745, 2.2102 | 15 % | computed independently, three seeds |
| held-out error of that fit | 1 % | at most | same |
| gamma_D, gamma_N, gamma_post from 40 runs with 5 % noise | 0.5068, 0.3439, 0.5907 | 0.05 | same |
"""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from isoflop.queries.fitting import fit_law
from isoflop.queries.laws import PRECISION, PTQ

Array = NDArray[np.float64]

PAPER = np.array([2.7648, 4299.0, 1.806e4, 0.4965, 0.4965, 2.6745, 2.2102, 0.9578])
ROUNDING = np.array([0.0598, 0.5068, 0.3439, 0.5907])
FULL = 1e6  # bits at which nothing is lost


def share(weight_bits: float, activation_bits: float, kv_bits: float) -> float:
    """Effective over real params, read off the loss."""
    rows = np.array([[1e8, 1e30, weight_bits, activation_bits, kv_bits], [1e8, 1e30, FULL, FULL, FULL]])
    few, full = PRECISION.predict(PAPER, rows) - PAPER[0]
    return float((few / full) ** (-1 / PAPER[3]))


def test_the_effective_parameters_are_those_of_the_form() -> None:
    found = [share(bits, FULL, FULL) for bits in (2, 4, 8, 16)]
    assert found == pytest.approx([0.527, 0.776, 0.950, 0.997], abs=1e-3)
    assert share(6, 6, 6) == pytest.approx(0.833, abs=2e-3) and share(7, 7, 4) == pytest.approx(0.8743, abs=1e-3)


def test_rounding_costs_what_the_paper_says() -> None:
    found = PTQ.predict(ROUNDING, np.array([[1e9, 2e10, 4.0], [1e9, 2e12, 4.0]]))
    np.testing.assert_allclose(found, [0.009, 0.094], atol=5e-4)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_gammas_come_back_from_sixty_noisy_runs(seed: int) -> None:
    generator = np.random.default_rng(seed)
    bits = np.array([3.0, 4.0, 6.0, 8.0, 16.0])
    rows = np.column_stack(
        [
            generator.choice([3e7, 6e7, 1.1e8, 2.2e8], 60),
            np.exp(generator.uniform(np.log(1.5e9), np.log(2.6e10), 60)),
            generator.choice(bits, 60),
            generator.choice(bits, 60),
            np.full(60, 16.0),
        ]
    )
    loss = PRECISION.predict(PAPER, rows) * np.exp(generator.normal(0, 0.003, 60))
    train, held = np.arange(48), np.arange(48, 60)
    fit = fit_law(PRECISION, rows[train], loss[train], fixed={"gamma_kv": PAPER[7]}, resamples=0)
    assert fit.is_converged, fit
    np.testing.assert_allclose(fit.coefficients[[5, 6]], PAPER[[5, 6]], rtol=0.15)
    assert np.max(np.abs(np.log(PRECISION.predict(fit.coefficients, rows[held]) / loss[held]))) < 0.01 + 3 * 0.003


def test_bits_that_never_change_are_named() -> None:
    generator = np.random.default_rng(3)
    rows = np.column_stack(
        [*np.exp(generator.uniform([17, 21], [19, 24], (40, 2))).T, generator.uniform(3, 16, 40), *np.full((2, 40), 16)]
    )
    fit = fit_law(PRECISION, rows, PRECISION.predict(PAPER, rows) * np.exp(generator.normal(0, 1e-3, 40)), resamples=0)
    assert "one_value" in fit.codes


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_rounding_law_comes_back_from_forty_noisy_runs(seed: int) -> None:
    generator = np.random.default_rng(seed)
    rows = np.column_stack(
        [np.exp(generator.uniform([17, 21], [20.5, 26], (40, 2))), generator.choice([3.0, 4.0, 5.0, 6.0], 40)]
    )
    fit = fit_law(PTQ, rows, PTQ.predict(ROUNDING, rows) * np.exp(generator.normal(0, 0.05, 40)), resamples=0)
    assert fit.is_converged, fit
    np.testing.assert_allclose(fit.coefficients[1:], ROUNDING[1:], atol=0.05)
