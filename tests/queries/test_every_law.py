"""Every law in LAWS, and a computed one from outside: one contract, with tolerances by what a prediction costs.

The coefficients of some computed laws trade off against each other: those are judged by what they predict.
"""

from __future__ import annotations

import importlib.util
import pickle
import re
from pathlib import Path

import duckdb
import numpy as np
import pytest
from numpy.typing import NDArray
from planted_laws import PLANTED, PLANTED_SUMS, drifting, planned
from ridge_risk import RIDGE_RISK

from isoflop.queries.fitting import Fit, fit_law
from isoflop.queries.fitting.intervals import predict
from isoflop.queries.fitting.record import FittedLaw
from isoflop.queries.language.macros import bound_sql
from isoflop.queries.laws import LAWS, Law

Array = NDArray[np.float64]

EVERY = {**LAWS, RIDGE_RISK.name: RIDGE_RISK}
TRADED_OFF = set(PLANTED_SUMS)  # laws whose coefficients cannot be told apart
NOISE = 0.003  # of log values [1]
MOST_PREDICTIONS = 20_000  # that a costly law may be asked for, resamples included


@pytest.fixture(params=sorted(EVERY), ids=str)
def planted(request: pytest.FixtureRequest) -> tuple[Law, Array, Array]:
    """A law with its planted coefficients and rows of inputs."""
    law = EVERY[request.param]
    plan = planned(law)
    return law, np.array(plan.coefficients), plan.inputs(11)


def _values(law: Law, coefficients: Array, inputs: Array) -> Array:
    """Values to fit: of the law that is fitted."""
    return (law.surrogate or law).predict(coefficients, inputs)


def test_every_plan_is_of_a_law() -> None:
    assert set(PLANTED) | set(PLANTED_SUMS) <= set(LAWS)


@pytest.mark.slow
def test_planted_coefficients_come_back_exactly_without_noise(planted: tuple[Law, Array, Array]) -> None:
    law, coefficients, inputs = planted
    values = _values(law, coefficients, inputs)
    fit = fit_law(law, inputs, values, resamples=0)
    if law.name in TRADED_OFF:
        fitted = _values(law, fit.coefficients, inputs)
        np.testing.assert_allclose(fitted, values, rtol=1e-4)
        return
    assert fit.is_converged, fit
    np.testing.assert_allclose(fit.coefficients, coefficients, rtol=1e-6)


@pytest.mark.slow
def test_planted_coefficients_lie_within_four_standard_errors_with_noise(planted: tuple[Law, Array, Array]) -> None:
    law, coefficients, inputs = planted
    values = _values(law, coefficients, inputs)
    noise = np.random.default_rng(5).normal(0, NOISE, len(inputs))
    fit = fit_law(law, inputs, values * np.exp(noise), resamples=25 if law.is_costly else 400)
    some = slice(0, 12 if law.is_costly else None)
    found = predict(fit, inputs[some])
    assert (found.lower < found.predicted).all() and (found.predicted < found.upper).all()
    _check_cost(law, fit)
    if law.surrogate is None:
        assert fit.solution.residual_scale == pytest.approx(NOISE, rel=0.4)
        assert np.mean((found.lower < values[some]) & (values[some] < found.upper)) > 0.9
    if law.name in TRADED_OFF:
        return
    assert fit.is_converged, fit
    assert np.all(np.abs(fit.coefficients - coefficients) <= 4 * fit.std_errors), fit
    assert np.all((fit.lower < fit.coefficients) & (fit.coefficients < fit.upper)), fit
    assert fit.solution.residual_scale == pytest.approx(0.003, rel=0.4)


def _check_cost(law: Law, fit: Fit) -> None:
    """A costly law says what it was asked for, and is asked for little; others say nothing."""
    said = [note.message for note in fit.notes if note.code == "predictions"]
    assert bool(said) == law.is_costly
    for message in said:
        (number,) = re.findall(r"[\d,]*\d", message)
        assert 0 < int(number.replace(",", "")) < MOST_PREDICTIONS
        assert {"linearized", "refitted"} & set(fit.codes)


def test_predictions_are_finite_and_positive_on_the_domain(planted: tuple[Law, Array, Array]) -> None:
    law, coefficients, inputs = planted
    predicted = law.predict(coefficients, inputs)
    assert np.isfinite(predicted).all() and (predicted > 0).all()


def test_batches_of_coefficients_keep_their_shape_and_their_values(planted: tuple[Law, Array, Array]) -> None:
    law, coefficients, inputs = planted
    many = coefficients * np.exp(0.01 * np.random.default_rng(3).standard_normal((2, 3, len(coefficients))))
    rows = inputs[:7]
    value, slopes = law.value_and_slopes(many, rows)
    assert value.shape == (2, 3, 7) and slopes.shape == (2, 3, len(coefficients), 7)
    np.testing.assert_allclose(law.predict(many, rows), value, rtol=1e-12)
    np.testing.assert_allclose(law.jacobian(many, rows), slopes, rtol=1e-12)
    np.testing.assert_allclose(value[1, 2], law.predict(many[1, 2], rows), rtol=1e-12)


def test_the_jacobian_agrees_with_differences(planted: tuple[Law, Array, Array]) -> None:
    law, coefficients, inputs = planted
    relative, absolute = (2e-4, 1e-6) if law.is_costly else (1e-6, 1e-9)
    slopes = law.jacobian(coefficients, inputs)
    assert slopes.shape == (len(coefficients), len(inputs))
    for k, value in enumerate(coefficients):
        step = np.zeros_like(coefficients)
        step[k] = 1e-5 * value
        differences = (law.predict(coefficients + step, inputs) - law.predict(coefficients - step, inputs)) / (
            2 * step[k]
        )
        rounding = 4 * np.finfo(float).eps * np.abs(law.predict(coefficients, inputs)).max() / step[k]
        floor = absolute * np.abs(differences).max() + abs(rounding)  # what nearly equal values can tell
        np.testing.assert_allclose(slopes[k], differences, rtol=relative, atol=floor)


def test_second_derivatives_agree_with_differences_of_the_first(planted: tuple[Law, Array, Array]) -> None:
    law, coefficients, inputs = planted
    value, slopes, curvatures = law.curvatures(coefficients[None], inputs)
    np.testing.assert_allclose(value[0], law.predict(coefficients, inputs), rtol=1e-12)
    np.testing.assert_allclose(
        slopes[0], law.jacobian(coefficients, inputs), rtol=1e-9, atol=1e-14 * np.abs(slopes).max()
    )
    assert (curvatures is not None) == law.has_curvatures
    if curvatures is None:
        return
    rows, columns = np.triu_indices(len(coefficients))
    for k, value in enumerate(coefficients):
        step = np.zeros_like(coefficients)
        step[k] = 1e-5 * value
        bent = (law.jacobian(coefficients + step, inputs) - law.jacobian(coefficients - step, inputs)) / (2 * step[k])
        own = curvatures[0, (rows == k) | (columns == k)]
        others = [j for pair in zip(rows, columns, strict=True) if k in pair for j in ({*pair} - {k} or {k})]
        rounding = 1e-15 * np.abs(slopes[0][others]).max(axis=1, keepdims=True) / abs(step[k])
        tolerance = np.broadcast_to(1e-5 * np.abs(bent[others]).max(axis=1, keepdims=True) + 9 * rounding, own.shape)
        np.testing.assert_array_less(np.abs(own - bent[others]), tolerance + 1e-300)


def test_the_macro_predicts_what_the_law_predicts(planted: tuple[Law, Array, Array]) -> None:
    law, coefficients, inputs = planted
    macro = law.macro("fitted law", coefficients)
    if macro is None:
        assert law.sql(["0e0"] * len(coefficients), ["1e0"] * len(law.inputs)) is None
        return
    connection = duckdb.connect()
    connection.execute(macro)
    names = [f"x{p}" for p in range(inputs.shape[1])]
    connection.execute(f"CREATE TABLE rows ({', '.join(f'{name} DOUBLE' for name in names)})")
    connection.executemany(f"INSERT INTO rows VALUES ({', '.join('?' * len(names))})", inputs.tolist())
    found = connection.execute(f'SELECT "fitted law"({", ".join(names)}) FROM rows').fetchall()
    np.testing.assert_allclose(np.array(found)[:, 0], law.predict(coefficients, inputs), rtol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize(("draws", "drift", "level"), [(40, 0.0, 0.5), (1000, 0.02, 0.95)])
def test_the_bounds_in_sql_are_those_of_a_prediction(
    planted: tuple[Law, Array, Array], draws: int, drift: float, level: float
) -> None:
    law, coefficients, inputs = planted
    draws, rows = (10, 4) if law.is_costly else (draws, 12)
    resampled = coefficients * np.exp(0.01 * np.random.default_rng(2).standard_normal((draws, len(coefficients))))
    resampled[:, 0] = coefficients[0]  # as if it were fixed
    logs = np.log(inputs)
    support = np.exp(np.quantile(logs, [0.2, 0.8], axis=0).T)  # some rows lie beyond on every side
    fitted = FittedLaw(law, coefficients, resampled, 0.01, support, drifting(law, support, drift))
    expected = predict(fitted, inputs[:rows], level=level)
    connection = duckdb.connect()
    names = [column.name for column in law.inputs]
    columns = ", ".join(f'unnest($x{p}) AS "{name}"' for p, name in enumerate(names))
    values = {f"x{p}": inputs[:rows, p].tolist() for p in range(len(names))}
    tail = (1 - level) / 2
    for share, ends in ((tail, expected.lower), (1 - tail, expected.upper)):
        body = bound_sql(fitted, share)
        if body is None:
            assert law.sql(["0e0"] * len(coefficients), ["1e0"] * len(names)) is None
            continue
        found = connection.execute(f"SELECT {body} FROM (SELECT {columns})", values).fetchall()
        np.testing.assert_allclose(np.array(found)[:, 0], ends, rtol=1e-9)


def test_the_macro_takes_whole_numbers_of_any_width(planted: tuple[Law, Array, Array]) -> None:
    law, coefficients, inputs = planted
    names = [coefficient.name for coefficient in law.coefficients]
    macro = law.macro("m", dict(zip(names, coefficients, strict=True)))
    if macro is None:
        return
    connection = duckdb.connect()
    connection.execute(macro)
    whole = np.maximum(np.round(inputs[:1]), 1)
    row = connection.execute(f"SELECT m({', '.join(str(int(number)) for number in whole[0])})").fetchone()
    assert row is not None
    assert row[0] == pytest.approx(float(law.predict(coefficients, whole)[0]), rel=1e-12)


def test_every_law_declares_units_a_source_and_a_target(planted: tuple[Law, Array, Array]) -> None:
    law, _, _ = planted
    assert law.source and law.target and law.unit and law.formula
    assert all(column.unit for column in law.inputs)
    assert law.target == planned(law).target


def test_every_law_is_written_in_latex(planted: tuple[Law, Array, Array]) -> None:
    law, _, _ = planted
    text = law.latex()
    assert text.count("{") == text.count("}") > 0
    assert all(column.name.split("_")[0] in text for column in law.inputs)


def test_every_law_has_a_section_on_its_page(planted: tuple[Law, Array, Array]) -> None:
    law, _, _ = planted
    place = Path(__file__).resolve().parents[2] / "docs" / "laws.py"
    spec = importlib.util.spec_from_file_location("docs_laws", place)
    assert spec is not None and spec.loader is not None
    page = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(page)
    text = page.section(law, "What it is.", False)
    assert law.source in text and "```math" in text and "What it is." in text
    assert ("CREATE OR REPLACE" in text) == (law.macro("m", [0.5] * len(law.coefficients)) is not None)


def test_every_law_is_fitted_in_a_process_of_its_own(planted: tuple[Law, Array, Array]) -> None:
    law, coefficients, inputs = planted
    law.predict(coefficients, inputs)
    copy = pickle.loads(pickle.dumps(law))
    np.testing.assert_array_equal(copy.predict(coefficients, inputs), law.predict(coefficients, inputs))
