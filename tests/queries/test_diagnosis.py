"""Bad rows give an error or a named note, never a plausible answer without a word."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray
from planted_laws import PLANTED
from run_samples import Runs

from isoflop.lakehouse.errors import FitError
from isoflop.queries.fitting import Fit, fit_law
from isoflop.queries.laws import BNSL, CHINCHILLA, KAPLAN, POWER, STEP_TIME, Law, amplitude, floor, parse_formula

Array = NDArray[np.float64]


def _fit(inputs: Array, loss: Array, resamples: int = 60) -> Fit:
    return fit_law(CHINCHILLA, inputs, loss, resamples=resamples)


def _messages(fit: Fit, code: str) -> list[str]:
    return [note.message for note in fit.notes if note.code == code]


def test_good_rows_give_no_notes(planted_rows: Runs) -> None:
    fit = _fit(planted_rows.inputs, planted_rows.loss)
    assert fit.codes == () and fit.is_converged and fit.reason is None and fit.solution.identified.condition < 1e5


@pytest.mark.parametrize(
    ("value", "reason"), [(np.nan, "missing"), (np.inf, "infinite"), (-1.0, "zero or less"), (0.0, "zero or less")]
)
def test_bad_losses_are_dropped_and_counted(planted_rows: Runs, value: float, reason: str) -> None:
    loss = planted_rows.loss.copy()
    loss[[4, 9]] = value
    fit = _fit(planted_rows.inputs, loss, 0)
    assert (len(fit.data), fit.data.num_dropped) == (58, 2)
    assert _messages(fit, "rows_dropped") == [f"2 rows dropped: loss is {reason}"]
    kept = np.delete(np.arange(60), [4, 9])
    assert fit.data.kept.tolist() == kept.tolist()
    clean = _fit(planted_rows.inputs[kept], planted_rows.loss[kept], 0)
    assert (fit.data.data_hash, fit.objective) == (clean.data.data_hash, clean.objective)


@pytest.mark.parametrize(("value", "reason"), [(np.nan, "missing"), (0.0, "zero or less"), (-np.inf, "infinite")])
def test_bad_inputs_are_dropped_and_counted(planted_rows: Runs, value: float, reason: str) -> None:
    inputs = planted_rows.inputs.copy()
    inputs[5, 1] = value
    fit = _fit(inputs, planted_rows.loss, 0)
    assert _messages(fit, "rows_dropped") == [f"1 row dropped: tokens is {reason}"]


def test_rows_of_weight_zero_are_dropped_and_counted(planted_rows: Runs) -> None:
    weights = np.ones(60)
    weights[:7] = 0
    fit = fit_law(CHINCHILLA, planted_rows.inputs, planted_rows.loss, sample_weight=weights, resamples=0)
    assert _messages(fit, "rows_dropped") == ["7 rows dropped: weight is zero"]


@pytest.mark.parametrize("count", [1, 3, 4])
def test_fewer_rows_than_coefficients_return_nothing(planted_rows: Runs, count: int) -> None:
    fit = _fit(planted_rows.inputs[:count], planted_rows.loss[:count])
    assert fit.status == "too_few_rows" and "too_few_rows" in fit.codes
    assert np.isnan(fit.coefficients).all() and np.isnan(fit.objective) and not len(fit.draws)


def test_one_point_many_times_is_too_few(planted_rows: Runs) -> None:
    fit = _fit(np.tile(planted_rows.inputs[:1], (80, 1)), np.tile(planted_rows.loss[:1], 80))
    assert fit.status == "too_few_rows"
    assert {"one_value", "repeated_rows"} <= set(fit.codes)


def test_as_many_rows_as_coefficients_say_that_none_is_to_spare(planted_rows: Runs) -> None:
    fit = _fit(planted_rows.inputs[:5], planted_rows.loss[:5])
    assert "no_spare_rows" in fit.codes
    assert np.isnan(fit.std_errors).all()


def test_few_rows_are_resampled_by_their_residuals(planted_rows: Runs) -> None:
    fit = _fit(planted_rows.inputs[:10], planted_rows.loss[:10])
    assert "small_sample" in fit.codes and "fewer than 15 rows" in _messages(fit, "small_sample")[0]
    assert "small_sample" not in _fit(planted_rows.inputs[:20], planted_rows.loss[:20]).codes


def test_one_value_of_an_input_is_named_and_leaves_the_fit_singular(planted_rows: Runs) -> None:
    inputs = planted_rows.inputs.copy()
    inputs[:, 0] = 1e9
    fit = _fit(inputs, planted_rows.loss)
    assert fit.status == "singular" and not fit.is_converged
    assert "params has one value, 1e+09" in _messages(fit, "one_value")[0]
    assert {"A", "alpha"} <= set(_messages(fit, "not_identified")[0].replace(",", "").replace(";", "").split())
    assert fit.reason is not None and "do not determine" in fit.reason


def test_two_values_of_an_input_are_named(planted_rows: Runs) -> None:
    inputs = planted_rows.inputs.copy()
    inputs[:, 0] = np.where(np.arange(60) % 2, 1e8, 1e10)
    assert "add a third value of params" in _messages(_fit(inputs, planted_rows.loss), "two_values")[0]


def test_tokens_proportional_to_params_are_named(planted_rows: Runs) -> None:
    inputs = planted_rows.inputs.copy()
    inputs[:, 1] = 20 * inputs[:, 0]
    loss = CHINCHILLA.predict(np.array([1.8, 400.0, 2000.0, 0.34, 0.36]), inputs)
    noise = np.exp(np.random.default_rng(0).normal(0, 0.003, 60))
    fit = _fit(inputs, loss * noise)
    assert (
        "tokens proportional to params (correlation of logarithms 1.0000)" in _messages(fit, "proportional_inputs")[0]
    )


def test_exactly_repeated_rows_give_the_same_fit_and_a_note(planted_rows: Runs) -> None:
    fit = _fit(np.tile(planted_rows.inputs, (2, 1)), np.tile(planted_rows.loss, 2), 0)
    single = _fit(planted_rows.inputs, planted_rows.loss, 0)
    assert "60 rows repeat another one exactly" in _messages(fit, "repeated_rows")[0]
    assert fit.objective == pytest.approx(2 * single.objective, rel=1e-8)


def test_outliers_are_named_by_row_and_do_not_move_the_fit(planted_rows: Runs) -> None:
    loss = planted_rows.loss.copy()
    loss[[5, 20, 40]] *= 10
    fit = _fit(planted_rows.inputs, loss, 0)
    clean = _fit(planted_rows.inputs, planted_rows.loss, 0)
    message = _messages(fit, "outliers")[0]
    assert message.startswith("3 rows") and all(row in message for row in ("5", "20", "40"))
    np.testing.assert_allclose(fit.coefficients[[0, 3, 4]], clean.coefficients[[0, 3, 4]], rtol=0.1)


def test_a_constant_loss_is_named(planted_rows: Runs) -> None:
    fit = _fit(planted_rows.inputs, np.full(60, 2.5))
    assert fit.status == "singular" and fit.reason == "loss is constant" and "constant_target" in fit.codes


def test_a_dead_term_and_its_exponent_are_named(planted_rows: Runs) -> None:
    generator = np.random.default_rng(0)
    loss = (1.8 + 400 / planted_rows.inputs[:, 0] ** 0.34) * np.exp(generator.normal(0, 1e-3, 60))
    loss *= 1 + 0.004 * np.log(planted_rows.inputs[:, 1] / 1e10)  # loss grows with tokens: no positive term can say so
    fit = _fit(planted_rows.inputs, loss)
    assert "dead_term" in fit.codes or "exponent_at_bound" in fit.codes
    assert fit.codes != ()


def test_an_exponent_that_runs_away_is_named(planted_rows: Runs) -> None:
    loss = np.exp(np.random.default_rng(0).normal(0, 1, 60))
    assert "exponent_at_bound" in _fit(planted_rows.inputs, loss).codes


def test_a_floor_at_zero_is_named() -> None:
    inputs = np.exp(np.random.default_rng(0).uniform([17, 20], [24, 27], (80, 2)))
    loss = (300 / inputs[:, 0] ** 0.25 + 500 / inputs[:, 1] ** 0.25) * np.exp(-0.02 * np.log(inputs[:, 0] / 1e9))
    fit = _fit(inputs, loss, 0)
    assert any(message == "E is zero: the rows show no floor" for message in _messages(fit, "dead_term"))


def test_a_price_of_zero_is_named_in_a_linear_law() -> None:
    generator = np.random.default_rng(0)
    inputs = np.exp(generator.uniform([14, 14, 0], [23, 20, 2.5], (40, 3)))
    times = STEP_TIME.predict(np.array([1e-3, 1e-11, 1e-10, 0.0]), inputs) * np.exp(generator.normal(0, 0.01, 40))
    fit = fit_law(STEP_TIME, inputs, times - 1e-6 * inputs[:, 2], resamples=20)
    assert (
        fit.coefficients[3] == 0
        and "dead_term" in fit.codes
        and fit.solution.search.starts == 1
        and fit.solution.search.share == 1.0
    )


def test_no_finite_start_is_a_fit_that_says_so() -> None:
    from isoflop.queries.laws import Coefficient, parse_formula

    law = parse_formula(
        "a * ln(x) - 100 + 0 * b / x ^ b", [Coefficient("a", lower=0, upper=1), Coefficient("b", lower=0, upper=1)]
    )
    x = np.linspace(1.0, 5.0, 12)
    fit = fit_law(law, x, np.full(12, 2.0) + x, resamples=10)
    assert fit.status == "not_converged" and fit.reason is not None and "no start gave a finite objective" in fit.reason


@dataclass(frozen=True)
class Case:
    """Rows that one published fitter or another answers without a word.

    Parameters
    ----------
    change : inputs (60, 2) and losses (60,) to those that are fitted
    status : of the fit
    codes : that must be among its notes
    """

    change: Callable[[Array, Array], tuple[Array, Array]]
    status: str
    codes: frozenset[str] = frozenset()


def _case(change: Callable[[Array, Array], tuple[Array, Array]], status: str = "converged", *codes: str) -> Case:
    return Case(change, status, frozenset(codes))


def _with(values: Array, place: tuple[int, ...] | int, value: float) -> Array:
    changed = values.copy()
    changed[place] = value
    return changed


CASES = {
    "nan loss": _case(lambda x, y: (x, _with(y, 4, np.nan)), "converged", "rows_dropped"),
    "infinite loss": _case(lambda x, y: (x, _with(y, 4, np.inf)), "converged", "rows_dropped"),
    "negative loss": _case(lambda x, y: (x, _with(y, 4, -2.0)), "converged", "rows_dropped"),
    "nan params": _case(lambda x, y: (_with(x, (4, 0), np.nan), y), "converged", "rows_dropped"),
    "zero params": _case(lambda x, y: (_with(x, (4, 0), 0.0), y), "converged", "rows_dropped"),
    "three rows": _case(lambda x, y: (x[:3], y[:3]), "too_few_rows", "too_few_rows"),
    "five rows": _case(lambda x, y: (x[:5], y[:5]), "converged", "no_spare_rows"),
    "one row 80 times": _case(
        lambda x, y: (np.tile(x[:1], (80, 1)), np.tile(y[:1], 80)),
        "too_few_rows",
        "too_few_rows",
        "one_value",
        "repeated_rows",
    ),
    "one value of params": _case(lambda x, y: (_with(x, (slice(None), 0), 1e9), y), "singular", "one_value"),
    "one value of tokens": _case(lambda x, y: (_with(x, (slice(None), 1), 1e10), y), "singular", "one_value"),
    "20 tokens per parameter": _case(lambda x, y: (x[:, [0, 0]] * [1, 20], y), "converged", "proportional_inputs"),
    "rows doubled": _case(lambda x, y: (np.tile(x, (2, 1)), np.tile(y, 2)), "converged", "repeated_rows"),
    "sizes in billions": _case(lambda x, y: (x / 1e9, y)),
    "sizes times 1e15": _case(lambda x, y: (x * 1e15, y)),
    "sizes beyond 64 bits": _case(lambda x, y: (x * 2.0**64, y)),
    "three losses times ten": _case(lambda x, y: (x, _with(y, [5, 20, 40], 25.0)), "converged", "outliers"),
    "constant loss": _case(lambda x, y: (x, np.full(60, 2.5)), "singular", "constant_target"),
    "loss that tokens raise": _case(
        lambda x, y: (x, (1.8 + 400 / x[:, 0] ** 0.34) * (y / y.mean()) ** 1e-3 * x[:, 1] ** 0.01),
        "singular",
        "not_identified",
        "exponent_at_bound",
    ),
    "loss without a floor": _case(
        lambda x, y: (x, 400 / x[:, 0] ** 0.34 + 2000 / x[:, 1] ** 0.36 - 1e-4), "converged", "dead_term"
    ),
    "noise alone": _case(
        lambda x, y: (x, np.exp(np.random.default_rng(0).normal(0, 1, 60))), "converged", "exponent_at_bound"
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_every_kind_of_bad_rows_is_named(planted_rows: Runs, name: str) -> None:
    case = CASES[name]
    fit = _fit(*case.change(planted_rows.inputs, planted_rows.loss), 0)
    assert fit.status == case.status and case.codes <= set(fit.codes), fit
    assert case.codes or fit.codes == ()
    assert (fit.reason is None) == (fit.status == "converged")


@pytest.mark.parametrize("factor", [1e-15, 1e15, 2.0**64])
@pytest.mark.parametrize("columns", [[0, 1], [0], [1]])
@pytest.mark.parametrize("law", [CHINCHILLA, KAPLAN], ids=lambda law: law.name)
def test_predictions_do_not_depend_on_units(planted_rows: Runs, law: Law, columns: list[int], factor: float) -> None:
    scaled = planted_rows.inputs.copy()
    scaled[:, columns] *= factor
    noise = np.exp(np.random.default_rng(1).normal(0, 0.003, 60))
    loss = law.predict(np.array(PLANTED[law.name].coefficients), planted_rows.inputs) * noise
    plain = fit_law(law, planted_rows.inputs, loss, resamples=0)
    fit = fit_law(law, scaled, loss, resamples=0)
    expected = law.predict(plain.coefficients, planted_rows.inputs)
    np.testing.assert_allclose(law.predict(fit.coefficients, scaled), expected, rtol=1e-8)


def test_counts_beyond_64_bits_are_numbers_like_others(planted_rows: Runs) -> None:
    inputs = [[int(a) << 40, int(b) << 40] for a, b in planted_rows.inputs]
    assert max(map(max, inputs)) > 2**63
    fit = fit_law(CHINCHILLA, inputs, planted_rows.loss, resamples=0)
    plain = _fit(planted_rows.inputs, planted_rows.loss, 0)
    np.testing.assert_allclose(fit.coefficients[[0, 3, 4]], plain.coefficients[[0, 3, 4]], rtol=1e-5)


def test_a_floor_that_the_rows_do_not_show_is_exactly_zero() -> None:
    x = np.exp(np.random.default_rng(7).uniform(17.5, 24, 60))
    fit = fit_law(POWER, x, 400 / x**0.3 - 1e-3, resamples=50)
    assert fit.coefficients[0] == 0.0 and fit.solution.at_bound[0] and fit.lower[0] == 0.0 and "dead_term" in fit.codes
    assert (fit.draws[:, 0] == 0.0).any() and fit.is_converged
    left = fit_law(POWER, x, 400 / x**0.3 - 1e-3, resamples=0, fixed={"E": 0.0})
    assert fit.objective == pytest.approx(left.objective, rel=1e-6)


def test_another_basin_that_fits_as_well_is_named() -> None:
    generator = np.random.default_rng(16)
    x = np.exp(generator.uniform(14, 18, 9))
    fit = fit_law(BNSL, x, (1.5 + 60 / x**0.25) * np.exp(generator.normal(0, 0.01, 9)), resamples=0)
    assert "rival_basin" in fit.codes and fit.solution.search.second_best is not None
    assert fit.objective < fit.solution.search.second_best < 1.01 * fit.objective


def test_coefficients_that_trade_off_are_named_with_the_condition(planted_rows: Runs) -> None:
    law = parse_formula("E + A / x ^ a + B / x ^ b", [floor("E"), amplitude("A"), amplitude("B"), "a", "b"], ["x"])
    x = planted_rows.inputs[:, 0]
    fit = fit_law(law, x, 1.8 + 300 / x**0.34 + 100 / x**0.33, resamples=0, init={"a": 0.34, "b": 0.33})
    assert {"ill_conditioned", "not_identified", "dead_term"} & set(fit.codes)
    assert fit.solution.identified.condition > 1e6 or "dead_term" in fit.codes


def test_more_amplitudes_than_can_be_solved_for_are_refused_with_what_to_do() -> None:
    names = [f"a{k}" for k in range(1, 13)]
    text = " + ".join(f"{name} / x ^ {0.1 * k:.1f}" for k, name in enumerate(names, 1))
    law = parse_formula(text, [amplitude(name) for name in names], ["x"])
    x = np.logspace(6, 10, 40)
    with pytest.raises(FitError, match="12 free amplitudes, and at most 10") as caught:
        fit_law(law, x, 1.5 + 400 / x**0.3, resamples=0)
    assert caught.value.hint is not None and "fix 2 of them" in caught.value.hint
    assert fit_law(law, x, 1.5 + 400 / x**0.3, resamples=0, fixed={"a12": 0.0, "a11": 0.0}).data.target.size == 40


def test_outliers_are_called_what_the_caller_calls_them(planted_rows: Runs) -> None:
    loss = _with(planted_rows.loss, 20, 25.0)
    loss[3] = np.nan
    inputs = planted_rows.inputs
    assert "(row 20)" in _messages(_fit(inputs, loss, 0), "outliers")[0]
    named = fit_law(CHINCHILLA, inputs, loss, resamples=0, row_name=lambda k: f"run r{k}")
    assert "(run r20)" in _messages(named, "outliers")[0]


@pytest.mark.parametrize("factor", [1e-9, 1e15])
def test_units_of_the_inputs_change_nothing_but_the_amplitudes(planted_rows: Runs, factor: float) -> None:
    plain = _fit(planted_rows.inputs, planted_rows.loss, 0)
    fit = _fit(planted_rows.inputs * factor, planted_rows.loss, 0)
    assert fit.codes == plain.codes == ()
    np.testing.assert_allclose(fit.coefficients[[0, 3, 4]], plain.coefficients[[0, 3, 4]], rtol=1e-6)


def test_notes_are_codes_with_one_line(published: Runs) -> None:
    for note in _fit(published.inputs[:12], published.loss[:12]).notes:
        assert note.code.replace("_", "").isalpha() and note.code.islower()
        assert "\n" not in note.message and str(note) == f"{note.code}: {note.message}"


@pytest.mark.parametrize("rows", [5, 7, 9])
def test_a_law_that_came_out_constant_is_said_on_few_rows_too(rows: int) -> None:
    x = np.geomspace(1e6, 1e9, rows)[:, None]
    noise = np.exp(0.01 * np.random.default_rng(rows).standard_normal(rows))
    rising = fit_law(POWER, x, 1.7 * (x[:, 0] / 1e6) ** 0.05 * noise, resamples=0)
    assert "law_does_not_fit" in rising.codes
    falling = fit_law(POWER, x, (1.7 + 400 / x[:, 0] ** 0.34) * noise, resamples=0)
    assert "law_does_not_fit" not in falling.codes
