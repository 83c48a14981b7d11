"""Every law in LAWS: planted coefficients come back, derivatives and macros agree with the law."""

from __future__ import annotations

import pickle

import duckdb
import numpy as np
import pytest
from numpy.typing import NDArray
from planted_laws import PLANTED

from isoflop.queries.fitting import fit_law
from isoflop.queries.fitting.intervals import predict
from isoflop.queries.fitting.record import FittedLaw
from isoflop.queries.fitting.widening import size_edge
from isoflop.queries.language.macros import bound_sql
from isoflop.queries.laws import LAWS, Law

Array = NDArray[np.float64]


# Their coefficients trade off, so that they are judged by what they predict: test_nqs.py.
SUMS = {"nqs", "nqs_regularised"}


@pytest.fixture(params=sorted(set(LAWS) - SUMS), ids=str)
def planted(request: pytest.FixtureRequest) -> tuple[Law, Array, Array]:
    """A law with its planted coefficients and rows of inputs."""
    law, plan = LAWS[request.param], PLANTED[request.param]
    return law, np.array(plan.coefficients), plan.inputs(11)


def test_every_law_has_a_plan() -> None:
    assert set(PLANTED) == set(LAWS) - SUMS


def test_planted_coefficients_come_back_exactly_without_noise(planted: tuple[Law, Array, Array]) -> None:
    law, coefficients, inputs = planted
    fit = fit_law(law, inputs, law.predict(coefficients, inputs), resamples=0)
    assert fit.is_converged, fit
    np.testing.assert_allclose(fit.coefficients, coefficients, rtol=1e-6)


def test_planted_coefficients_lie_within_four_standard_errors_with_noise(planted: tuple[Law, Array, Array]) -> None:
    law, coefficients, inputs = planted
    noise = np.random.default_rng(5).normal(0, 0.003, len(inputs))
    fit = fit_law(law, inputs, law.predict(coefficients, inputs) * np.exp(noise), resamples=400)
    assert fit.is_converged, fit
    assert np.all(np.abs(fit.coefficients - coefficients) <= 4 * fit.std_errors), fit
    assert np.all((fit.lower < fit.coefficients) & (fit.coefficients < fit.upper)), fit
    assert fit.residual_scale == pytest.approx(0.003, rel=0.4)


def test_predictions_are_finite_and_positive_on_the_domain(planted: tuple[Law, Array, Array]) -> None:
    law, coefficients, inputs = planted
    predicted = law.predict(coefficients, inputs)
    assert np.isfinite(predicted).all() and (predicted > 0).all()


def test_the_jacobian_agrees_with_differences(planted: tuple[Law, Array, Array]) -> None:
    law, coefficients, inputs = planted
    slopes = law.jacobian(coefficients, inputs)
    assert slopes.shape == (len(coefficients), len(inputs))
    for k, value in enumerate(coefficients):
        step = np.zeros_like(coefficients)
        step[k] = 1e-5 * value
        differences = (law.predict(coefficients + step, inputs) - law.predict(coefficients - step, inputs)) / (
            2 * step[k]
        )
        rounding = 4 * np.finfo(float).eps * np.abs(law.predict(coefficients, inputs)).max() / step[k]
        absolute = 1e-9 * np.abs(differences).max() + abs(rounding)  # what a difference of nearly equal values can tell
        np.testing.assert_allclose(slopes[k], differences, rtol=1e-6, atol=absolute)


def test_the_macro_predicts_what_the_law_predicts(planted: tuple[Law, Array, Array]) -> None:
    law, coefficients, inputs = planted
    connection = duckdb.connect()
    connection.execute(law.macro("fitted law", coefficients))
    names = [f"x{p}" for p in range(inputs.shape[1])]
    connection.execute(f"CREATE TABLE rows ({', '.join(f'{name} DOUBLE' for name in names)})")
    connection.executemany(f"INSERT INTO rows VALUES ({', '.join('?' * len(names))})", inputs.tolist())
    found = connection.execute(f'SELECT "fitted law"({", ".join(names)}) FROM rows').fetchall()
    np.testing.assert_allclose(np.array(found)[:, 0], law.predict(coefficients, inputs), rtol=1e-12)


@pytest.mark.parametrize(("draws", "widening", "level"), [(40, 1.0, 0.5), (1000, 1.8, 0.95)])
def test_the_bounds_in_sql_are_those_of_a_prediction(
    planted: tuple[Law, Array, Array], draws: int, widening: float, level: float
) -> None:
    law, coefficients, inputs = planted
    resampled = coefficients * np.exp(0.01 * np.random.default_rng(2).standard_normal((draws, len(coefficients))))
    resampled[:, 0] = coefficients[0]  # as if it were fixed
    logs = np.log(inputs)
    support = np.exp(np.quantile(logs, [0.2, 0.8], axis=0).T)  # some rows lie beyond on every side
    edge = size_edge(law, inputs[: len(inputs) // 2])
    fitted = FittedLaw(law, coefficients, resampled, 0.01, support, widening, edge)
    expected = predict(fitted, inputs[:12], level=level)
    connection = duckdb.connect()
    names = [one.name for one in law.inputs]
    columns = ", ".join(f'unnest($x{p}) AS "{name}"' for p, name in enumerate(names))
    values = {f"x{p}": inputs[:12, p].tolist() for p in range(len(names))}
    tail = (1 - level) / 2
    for share, ends in ((tail, expected.lower), (1 - tail, expected.upper)):
        rows = connection.execute(f"SELECT {bound_sql(fitted, share)} FROM (SELECT {columns})", values).fetchall()
        np.testing.assert_allclose(np.array(rows)[:, 0], ends, rtol=1e-9)


def test_the_macro_takes_whole_numbers_of_any_width(planted: tuple[Law, Array, Array]) -> None:
    law, coefficients, inputs = planted
    connection = duckdb.connect()
    connection.execute(law.macro("m", dict(zip([c.name for c in law.coefficients], coefficients, strict=True))))
    whole = np.maximum(np.round(inputs[:1]), 1)
    row = connection.execute(f"SELECT m({', '.join(str(int(one)) for one in whole[0])})").fetchone()
    assert row is not None
    assert row[0] == pytest.approx(float(law.predict(coefficients, whole)[0]), rel=1e-12)


def test_every_law_declares_units_a_source_and_a_target(planted: tuple[Law, Array, Array]) -> None:
    law, _, _ = planted
    assert law.source and law.target and law.unit and law.formula
    assert all(one.unit for one in law.inputs)
    assert law.target == PLANTED[law.name].target


def test_every_law_is_written_in_latex(planted: tuple[Law, Array, Array]) -> None:
    law, _, _ = planted
    text = law.latex()
    assert text.count("{") == text.count("}") > 0
    assert all(one.name.split("_")[0] in text for one in law.inputs)


def test_every_law_is_fitted_in_a_process_of_its_own(planted: tuple[Law, Array, Array]) -> None:
    law, coefficients, inputs = planted
    law.predict(coefficients, inputs)
    copy = pickle.loads(pickle.dumps(law))
    np.testing.assert_array_equal(copy.predict(coefficients, inputs), law.predict(coefficients, inputs))
