"""Every law in LAWS: planted coefficients come back, derivatives and macros agree with the law."""

from __future__ import annotations

import pickle
from dataclasses import dataclass

import duckdb
import numpy as np
import pytest
from numpy.typing import NDArray

from isoflop.queries.fitting import fit_law
from isoflop.queries.fitting.intervals import predict
from isoflop.queries.fitting.record import FittedLaw
from isoflop.queries.fitting.widening import size_edge
from isoflop.queries.language.macros import bound_sql
from isoflop.queries.laws import LAWS, Formula, Law
from isoflop.queries.laws.bounded_power import BoundedPower

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Planted:
    """Published or measured coefficients of a law, and rows of inputs as it is used on.

    Parameters
    ----------
    coefficients : (K,) in the law's order
    ranges : lowest and highest value of each input; logarithms are uniform between them
    rows : number of rows
    target : what the law predicts
    """

    coefficients: tuple[float, ...]
    ranges: tuple[tuple[float, float], ...]
    rows: int = 60
    target: str = "loss"

    def inputs(self, seed: int) -> Array:
        """(R, P) rows of inputs."""
        generator = np.random.default_rng(seed)
        logs = [generator.uniform(np.log(low), np.log(high), self.rows) for low, high in self.ranges]
        return np.exp(np.column_stack(logs))


SIZES, TOKENS, BUDGETS = (5e7, 2e10), (8e8, 3e11), (1e17, 1e23)

PLANTED = {
    "power": Planted((1.69, 406.4, 0.34), ((1e6, 1e10),)),
    "plain_power": Planted((9.4, 0.05), (BUDGETS,)),
    "shifted_power": Planted((1.7, 400.0, 3e7, 0.34), ((1e6, 1e10),)),
    "saturating_power": Planted((30.0, 1e-9, 0.13), ((1e7, 1e12),)),
    "bounded_power": Planted((1.2, 4.6, 900.0, 0.35, 0.8), ((1e4, 1e12),)),
    "bnsl": Planted((0.4, 30.0, 0.12, 0.35, 3e7, 0.3), ((1e5, 1e10),)),
    "bnsl2": Planted((0.4, 12.0, 0.05, 0.4, 1e6, 0.25, -0.3, 1e8, 0.2), ((1e4, 1e11),), 120),
    "bnsl3": Planted((0.4, 12.0, 0.05, 0.4, 1e6, 0.2, -0.3, 1e8, 0.2, 0.5, 1e10, 0.2), ((1e4, 1e12),), 120),
    "compute_loss": Planted((1.7, 70.0, 0.08), (BUDGETS,)),
    "chinchilla": Planted((1.8172, 477.8, 2143.0, 0.3473, 0.3672), (SIZES, TOKENS)),
    "chinchilla_tied": Planted((1.84, 110.0, 300.0, 0.27), (SIZES, TOKENS)),
    "kaplan": Planted((8.8e13, 5.4e13, 0.076, 0.095), ((1e5, 1e10), (2e7, 2e10))),
    "overtraining": Planted((1.8366, 166.21, 287.2, 0.27285), ((1e7, 7e9), (5.0, 640.0))),
    "task_error": Planted((0.86, 2.4, 0.75), ((1.9, 4.5),), target="task_error"),
    "data_constrained": Planted(
        (1.87, 521.0, 1488.0, 0.353, 0.353, 15.4, 5.31), ((1e7, 1e10), (1e8, 1e11), (1.0, 60.0))
    ),
    "width_depth": Planted((1.6, 60.0, 2.0, 3e4, 0.7, 0.8, 0.5), ((128, 4096), (2, 80), (1e9, 1e11))),
    "precision": Planted(
        (2.7648, 4299.0, 1.806e4, 0.4965, 0.4965, 2.6745, 2.2102, 0.9578),
        ((3e7, 2.2e8), (1.5e9, 2.6e10), (2, 16), (2, 16), (1, 8)),
    ),
    "ptq": Planted((0.0598, 0.5068, 0.3439, 0.5907), ((3e7, 2.2e8), (1.5e9, 2.6e11), (3, 6)), target="loss_increase"),
    "additive": Planted((0.3, 4.0, 8.0, 0.5, 0.75), ((10, 1e5), (16, 512))),
    "smooth_max": Planted((1.4, 2.3, 0.5, 0.75, 2.2), ((10, 1e5), (16, 512))),
    "optimal_params": Planted((0.09, 0.5), (BUDGETS,), target="params"),
    "optimal_tokens": Planted((1.9, 0.5), (BUDGETS,), target="tokens"),
    "optimal_learning_rate": Planted((1.79, -0.713, 0.307), ((6e7, 1e9), (2e9, 1e11)), target="learning_rate"),
    "optimal_batch": Planted((0.58, 0.571), ((2e9, 1e11),), target="batch_tokens"),
    "step_time": Planted(
        (3.7e-4, 1.46e-11, 8.2e-11, 8.4e-4), ((1e6, 1e10), (1e6, 1e9), (1.0, 12.0)), target="step_seconds"
    ),
    "loss_in_time": Planted((1.8172, 477.8, 2143.0, 0.3473, 0.3672), (SIZES, (1e4, 1e6), (0.01, 3.0), (1e3, 1e6))),
}


# Their coefficients trade off, so that they are judged by what they predict: test_nqs.py.
SUMS = {"nqs", "nqs_regularised"}


@pytest.fixture(params=sorted(set(LAWS) - SUMS), ids=str)
def planted(request: pytest.FixtureRequest) -> tuple[Law, Array, Array]:
    """A law with its planted coefficients and rows of inputs."""
    law, plan = LAWS[request.param], PLANTED[request.param]
    return law, np.array(plan.coefficients), plan.inputs(11)


def _closed(law: Law) -> Formula | BoundedPower:
    """The law as one of the kinds that know their derivatives, their LaTeX and their macro."""
    assert isinstance(law, Formula | BoundedPower)
    return law


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
    slopes = _closed(law).jacobian(coefficients, inputs)
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
    connection.execute(_closed(law).macro("fitted law", coefficients))
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
    connection.execute(
        _closed(law).macro("m", dict(zip([c.name for c in law.coefficients], coefficients, strict=True)))
    )
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
    text = _closed(law).latex()
    assert text.count("{") == text.count("}") > 0
    assert all(one.name.split("_")[0] in text for one in law.inputs)


def test_every_law_is_fitted_in_a_process_of_its_own(planted: tuple[Law, Array, Array]) -> None:
    law, coefficients, inputs = planted
    law.predict(coefficients, inputs)
    copy = pickle.loads(pickle.dumps(law))
    np.testing.assert_array_equal(copy.predict(coefficients, inputs), law.predict(coefficients, inputs))
