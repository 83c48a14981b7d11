"""The over-training laws of Gadre et al. 2024 (arXiv:2403.08540), from its 104 runs.

The paper fits five runs: the four smallest models at 20 tokens per parameter and the smallest at 320; the error law
adds the next model at 20. Targets are the models thirty times larger, or trained thirty times longer.

| number | value | tolerance | source |
| --- | --- | --- | --- |
| 1.4B, M = 640: relative error of loss | 0.7103 % | as printed | output of the authors' `scaling_explorer.ipynb` |
| 6.9B, M = 20: relative error of loss | 0.7320 % | as printed | same |
| 1.4B, M = 640: relative error of the 17-task error | 3.6365 % | as printed | same |
| 6.9B, M = 20: relative error of the 17-task error | 0.0464 % | as printed | same |
| a, c, b, E per training set | see `OVERTRAINED` | as given | computed independently with SciPy's curve_fit |
| A, B, E, alpha, beta per training set | see `CHINCHILLAS` | 2e-3 | computed independently, Huber(1e-3), all runs |
"""

from __future__ import annotations

import numpy as np
import pytest
from published_rows import Array, numbers, rows_of

from isoflop.queries.fitting import Fit, fit_law
from isoflop.queries.laws import CHINCHILLA, CHINCHILLA_TIED, OVERTRAINING, TASK_ERROR, PlainSquares

SMALL = ("d=96_l=8_h=4", "d=512_l=8_h=4", "d=576_l=24_h=8", "d=1024_l=24_h=8")
TARGETS = (("open_lm_1b", "640"), ("open_lm_7b", "20"))

# a, c, b, E of L = E + a N^b + c 6^(b/2) (M N)^b
OVERTRAINED = {
    "rpj": (166.21, 366.69, -0.27285, 1.8366),
    "c4_original": (113.69, 189.52, -0.24247, 1.5083),
    "rw_original": (125.10, 246.21, -0.25439, 1.7345),
}
CHINCHILLAS = {  # A, B, E, alpha, beta
    "c4_original": (122.6, 242.6, 1.620, 0.2526, 0.2622),
    "rpj": (106.1, 298.0, 1.720, 0.2431, 0.2730),
    "rw_original": (76.8, 384.2, 1.701, 0.2226, 0.2898),
}


def runs_of(train_data: str) -> list[dict[str, str]]:
    return [row for row in rows_of("gadre_overtraining") if row["train_data"] == train_data]


def fitted_on(train_data: str) -> list[dict[str, str]]:
    wanted = {(model, 20.0) for model in SMALL} | {(SMALL[0], 320.0)}
    rows = [row for row in runs_of(train_data) if (row["model"], float(row["token_multiplier"])) in wanted]
    assert len(rows) == 5
    return rows


def loss_fit(train_data: str) -> Fit:
    """Least squares on the loss itself."""
    rows = fitted_on(train_data)
    loss = numbers(rows, "loss")[:, 0]
    inputs = numbers(rows, "params", "token_multiplier")
    return fit_law(OVERTRAINING, inputs, loss, objective=PlainSquares(), resamples=0)


def target(model: str, multiplier: str) -> dict[str, str]:
    (row,) = [
        row for row in runs_of("rpj") if row["model"] == model and float(row["token_multiplier"]) == float(multiplier)
    ]
    return row


def relative_error(predicted: Array, measured: float) -> float:
    return abs(float(predicted[0]) - measured) / measured


def test_the_four_extrapolation_errors_are_the_published_ones() -> None:
    fit = loss_fit("rpj")
    assert fit.is_converged, fit
    of_loss = [
        relative_error(
            OVERTRAINING.predict(fit.coefficients, numbers([row], "params", "token_multiplier")), float(row["loss"])
        )
        for row in (target(*one) for one in TARGETS)
    ]
    assert [f"{error:.4%}" for error in of_loss] == ["0.7103%", "0.7320%"]

    rows = [*fitted_on("rpj"), target("open_lm_1b", "20")]
    error = numbers(rows, "top1_err_17task")[:, 0]
    linked = fit_law(TASK_ERROR, numbers(rows, "loss"), error, sample_weight=error**2, resamples=0)
    assert linked.is_converged, linked
    of_error = []
    for row in (target(*one) for one in TARGETS):
        loss = OVERTRAINING.predict(fit.coefficients, numbers([row], "params", "token_multiplier"))
        found = TASK_ERROR.predict(linked.coefficients, loss[:, None])
        of_error.append(relative_error(found, float(row["top1_err_17task"])))
    assert [f"{one:.4%}" for one in of_error] == ["3.6365%", "0.0464%"]


@pytest.mark.parametrize("train_data", sorted(OVERTRAINED))
def test_the_coefficients_of_the_five_runs(train_data: str) -> None:
    floor, a, b, alpha = loss_fit(train_data).coefficients
    expected = OVERTRAINED[train_data]
    assert a == pytest.approx(expected[0], abs=0.02)
    assert b * 6 ** (alpha / 2) == pytest.approx(expected[1], abs=0.02)
    assert -alpha == pytest.approx(expected[2], abs=1e-5)
    assert floor == pytest.approx(expected[3], abs=1e-4)


def test_overtraining_is_the_tied_law_in_other_words() -> None:
    rows = runs_of("rpj")
    loss = numbers(rows, "loss")[:, 0]
    by_ratio = fit_law(OVERTRAINING, numbers(rows, "params", "token_multiplier"), loss, resamples=0)
    by_tokens = fit_law(CHINCHILLA_TIED, numbers(rows, "params", "tokens"), loss, resamples=0)
    np.testing.assert_allclose(by_ratio.coefficients, by_tokens.coefficients, rtol=1e-6)


@pytest.mark.parametrize("train_data", sorted(CHINCHILLAS))
def test_chinchilla_on_all_runs_of_a_training_set(train_data: str) -> None:
    rows = runs_of(train_data)
    fit = fit_law(CHINCHILLA, numbers(rows, "params", "tokens"), numbers(rows, "loss")[:, 0], resamples=0)
    assert fit.is_converged, fit
    np.testing.assert_allclose(fit.coefficients[[1, 2, 0, 3, 4]], CHINCHILLAS[train_data], rtol=2e-3)
