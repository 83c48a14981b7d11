"""Laws as declarations, and laws somebody typed."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys

import numpy as np
import pytest

from isoflop.lakehouse.errors import FitError
from isoflop.queries.laws import CHINCHILLA, KAPLAN, STEP_TIME, Coefficient, FormulaError, Role, exponent, parse_formula


def test_roles_follow_from_the_place_in_the_formula() -> None:
    law = parse_formula(
        "E + A / params ^ alpha + B * exp(-k * tokens)", ["E", "A", "B", "alpha", "k"], ["params", "tokens"]
    )
    assert {one.name: one.role for one in law.coefficients} == {
        "E": Role.FLOOR, "A": Role.AMPLITUDE, "B": Role.AMPLITUDE, "alpha": Role.EXPONENT, "k": Role.FREE,
    }  # fmt: skip


def test_declared_domains_and_values_are_kept() -> None:
    declared = Coefficient("E", lower=0.0, upper=3.0, init=1.5)
    law = parse_formula("E + A / n ^ a", [declared, Coefficient("A", fixed=2.0), exponent("a")], ["n"])
    assert law.coefficients[0] == Coefficient("E", Role.FLOOR, 0.0, 3.0, 1.5)
    assert law.coefficients[1].fixed == 2.0
    assert law.coefficients[2].upper == 5.0


def test_inputs_come_in_order_of_appearance_and_keep_the_column_spelling() -> None:
    law = parse_formula("a * Tokens + b * PARAMS", ["a", "b"], ["params", "tokens"])
    assert [one.name for one in law.inputs] == ["tokens", "params"]
    assert not any(one.positive for one in law.inputs)


def test_without_columns_every_other_name_is_an_input() -> None:
    assert [one.name for one in parse_formula("A / n ^ a + m", ["A", "a"]).inputs] == ["n", "m"]


def test_a_declared_coefficient_must_be_used() -> None:
    with pytest.raises(FormulaError, match="'B' is declared but not used"):
        parse_formula("A / n", ["A", "B"], ["n"])


def test_a_law_needs_an_input() -> None:
    with pytest.raises(FormulaError, match="no column"):
        parse_formula("A + 1", ["A"], ["n"])


def test_the_chart_of_kaplan_goes_there_and_back() -> None:
    paper = np.array([8.8e13, 5.4e13, 0.076, 0.095])
    inputs = np.array([[1e6, 1e8], [1e9, 1e10], [1e11, 3e12]])
    chart = KAPLAN.charted
    assert chart is not None
    there = KAPLAN.to_chart(paper)
    np.testing.assert_allclose(KAPLAN.from_chart(there), paper, rtol=1e-12)
    np.testing.assert_allclose(chart.predict(there, inputs), KAPLAN.predict(paper, inputs), rtol=1e-12)
    assert KAPLAN.to_chart(np.stack([paper, paper])).shape == (2, 4)


def test_predictions_broadcast_over_any_number_of_coefficient_vectors() -> None:
    coefficients = np.random.default_rng(0).uniform(0.2, 1.0, (3, 2, 5))
    inputs = np.array([[1e3, 1e4], [1e5, 1e6], [1e7, 1e8], [1e9, 1e10]])
    found = CHINCHILLA.predict(coefficients, inputs)
    assert found.shape == (3, 2, 4)
    np.testing.assert_array_equal(found[1, 0], CHINCHILLA.predict(coefficients[1, 0], inputs))


def test_wrong_shapes_say_what_was_expected() -> None:
    with pytest.raises(FitError, match=r"expected \(rows, 2\) for params, tokens"):
        CHINCHILLA.predict(np.ones(5), np.ones((3, 1)))
    with pytest.raises(FitError, match=r"expected \(..., 5\) for E, A, B, alpha, beta"):
        CHINCHILLA.predict(np.ones(4), np.ones((3, 2)))


def test_latex_keeps_inputs_upright() -> None:
    text = CHINCHILLA.latex()
    assert r"\alpha" in text and r"\mathrm{params}" in text and r"\mathrm{tokens}" in text
    assert r"\mathrm{memcpy\_bytes}" in STEP_TIME.latex()


def test_laws_survive_pickling_and_copying_after_use() -> None:
    law = parse_formula("E + A / (n + N) ^ a", ["E", "A", "N", "a"], ["n"])
    law.jacobian(np.ones(4), np.ones((2, 1)))
    for other in (pickle.loads(pickle.dumps(law)), copy.deepcopy(law)):
        assert other == law
        np.testing.assert_array_equal(
            other.predict(np.ones(4), np.ones((2, 1))), law.predict(np.ones(4), np.ones((2, 1)))
        )


def test_linear_coefficients_are_found() -> None:
    law = parse_formula("E + A * exp(-k * n) + B * E2 * n", ["E", "A", "B", "E2", "k"], ["n"])
    assert set(law.linear) >= {"E", "A"} and not {"B", "E2"} <= set(law.linear)
    assert STEP_TIME.linear == ("c_0", "c_f", "c_m", "c_L")


def test_fitting_a_built_in_law_imports_no_sympy() -> None:
    script = (
        "import sys, numpy as np\n"
        "from isoflop.queries.fitting import fit_law, predict\n"
        "from isoflop.queries.laws import POWER, STEP_TIME, CHINCHILLA\n"
        "x = np.logspace(6, 9, 12)[:, None]\n"
        "fit = fit_law(POWER, x, 2 + 300 / x[:, 0] ** 0.4, resamples=20)\n"
        "predict(fit, x); fit.macro('m')\n"
        "fit_law(STEP_TIME, np.hstack([x, x ** 0.9, x ** 0.1]), x[:, 0] * 1e-9 + 1e-3, resamples=20)\n"
        "heavy = {'sympy', 'scipy', 'sklearn', 'pandas', 'polars', 'torch', 'ray', 'matplotlib'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
