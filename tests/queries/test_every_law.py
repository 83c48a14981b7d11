"""Every law in LAWS: planted coefficients come back, derivatives and macros agree with the law."""

from __future__ import annotations

from dataclasses import dataclass

import duckdb
import numpy as np
import pytest
from numpy.typing import NDArray

from isoflop.queries.fitting import fit_law
from isoflop.queries.laws import LAWS, Formula, Law

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Planted:
    """Published or measured coefficients of a law, and the range of inputs it is used on."""

    coefficients: tuple[float, ...]
    ranges: tuple[tuple[float, float], ...]


PLANTED = {
    "power": Planted((1.69, 406.4, 0.34), ((1e6, 1e10),)),
    "chinchilla": Planted((1.8172, 477.8, 2143.0, 0.3473, 0.3672), ((5e7, 2e10), (8e8, 3e11))),
    "kaplan": Planted((8.8e13, 5.4e13, 0.076, 0.095), ((1e5, 1e10), (2e7, 2e10))),
    "step_time": Planted((3.7e-4, 1.46e-11, 8.2e-11, 8.4e-4), ((1e6, 1e10), (1e6, 1e9), (1.0, 12.0))),
}


@pytest.fixture(params=sorted(LAWS), ids=str)
def planted(request: pytest.FixtureRequest) -> tuple[Law, Array, Array]:
    """A law with its planted coefficients and 60 rows of inputs."""
    law, plan = LAWS[request.param], PLANTED[request.param]
    generator = np.random.default_rng(11)
    logs = [generator.uniform(np.log(low), np.log(high), 60) for low, high in plan.ranges]
    return law, np.array(plan.coefficients), np.exp(np.column_stack(logs))


def test_every_law_has_a_plan() -> None:
    assert set(PLANTED) == set(LAWS)


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
    assert isinstance(law, Formula)
    slopes = law.jacobian(coefficients, inputs)
    assert slopes.shape == (len(coefficients), len(inputs))
    for k, value in enumerate(coefficients):
        step = np.zeros_like(coefficients)
        step[k] = 1e-5 * value
        differences = (law.predict(coefficients + step, inputs) - law.predict(coefficients - step, inputs)) / (
            2 * step[k]
        )
        np.testing.assert_allclose(slopes[k], differences, rtol=1e-6, atol=1e-9 * np.abs(differences).max())


def test_the_macro_predicts_what_the_law_predicts(planted: tuple[Law, Array, Array]) -> None:
    law, coefficients, inputs = planted
    assert isinstance(law, Formula)
    connection = duckdb.connect()
    connection.execute(law.macro("fitted law", coefficients))
    names = [f"x{p}" for p in range(inputs.shape[1])]
    connection.execute(f"CREATE TABLE rows ({', '.join(f'{name} DOUBLE' for name in names)})")
    connection.executemany(f"INSERT INTO rows VALUES ({', '.join('?' * len(names))})", inputs.tolist())
    found = connection.execute(f'SELECT "fitted law"({", ".join(names)}) FROM rows').fetchall()
    np.testing.assert_allclose(np.array(found)[:, 0], law.predict(coefficients, inputs), rtol=1e-12)


def test_the_macro_takes_whole_numbers_of_any_width(planted: tuple[Law, Array, Array]) -> None:
    law, coefficients, inputs = planted
    assert isinstance(law, Formula)
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
    assert law.target == ("step_seconds" if law.name == "step_time" else "loss")
