"""Compute-optimal exponents by three approaches: on a known law, on the published runs, on curves, and refusals."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from isoflop.lakehouse.errors import EmptySelection, FitError, UsageError
from isoflop.queries.laws import CHINCHILLA, CHINCHILLA_TIED, POWER
from isoflop.queries.planning import ApproachComparison, compare_approaches

Array = NDArray[np.float64]

UNEQUAL = np.array([1.8, 400.0, 2000.0, 0.42, 0.28])  # E, A, B, alpha, beta
EQUAL = np.array([1.8, 400.0, 600.0, 0.34, 0.34])
NOMINAL = [6e18, 1e19, 3e19, 6e19, 1e20, 3e20, 6e20, 1e21, 3e21]  # flop, Hoffmann et al.'s nine budgets


def best_size(coefficients: Array, flops: Array) -> Array:
    _, a, b, alpha, beta = coefficients
    return np.asarray(
        (alpha * a / (beta * b)) ** (1 / (alpha + beta)) * (flops / 6) ** (beta / (alpha + beta)), dtype=np.float64
    )


def isoflops(coefficients: Array, shift: float, noise: float = 0.0, per_budget: int = 11) -> tuple[Array, ...]:
    """Params, tokens, loss, flops at six budgets, sizes spread a factor of 8 either way of `shift` times the best."""
    budgets = np.repeat(np.logspace(18, 22, 6), per_budget)
    spread = np.tile(np.geomspace(1 / 8, 8, per_budget), 6) * shift
    params = best_size(coefficients, budgets) * spread
    tokens = budgets / (6 * params)
    loss = CHINCHILLA.predict(coefficients, np.column_stack([params, tokens]))
    return params, tokens, loss * np.exp(np.random.default_rng(2).normal(0, noise, len(loss))), budgets


@pytest.fixture(scope="module")
def published() -> tuple[Array, ...]:
    """Params, tokens, loss, flops of the 240 runs of the replication."""
    from isoflop.lakehouse.exchange.published import find_published

    with Path(find_published("chinchilla_epoch")).open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["outlier"] == "0"]
    return tuple(np.array([float(row[name]) for row in rows]) for name in ("params", "tokens", "loss", "flops"))


@pytest.fixture(scope="module")
def compared(published: tuple[Array, ...]) -> ApproachComparison:
    return compare_approaches(*published, budgets=NOMINAL, tolerance=0.2)


def test_on_a_symmetric_design_of_equal_exponents_all_agree() -> None:
    found = compare_approaches(*isoflops(EQUAL, shift=1.0), resamples=0)
    for name in ("envelope", "isoflop_parabola", "isoflop_akima", "law"):
        assert found[name].params_exponent == pytest.approx(0.5, abs=1e-6), name
        assert abs(found[name].bias) < 1e-6
    assert found["law"].params == pytest.approx(best_size(EQUAL, np.logspace(18, 22, 6)), rel=1e-5)


def test_the_law_finds_the_closed_form_and_its_sizes() -> None:
    found = compare_approaches(*isoflops(UNEQUAL, shift=1.0), resamples=0)["law"]
    assert found.params_exponent == pytest.approx(0.4, abs=1e-6) and found.tokens_exponent == pytest.approx(0.6)
    params, tokens = found.at(1e23)
    assert params == pytest.approx(best_size(UNEQUAL, np.array([1e23]))[0], rel=1e-4)
    assert 6 * params * tokens == pytest.approx(1e23)


def test_the_bias_of_the_parabola_is_found_without_knowing_the_truth() -> None:
    drifting = isoflops(UNEQUAL, shift=1.0)
    drift = (drifting[3] / 1e20) ** 0.25  # sizes wander off the optimum as budgets grow
    params, budgets = drifting[0] * drift, drifting[3]
    tokens = budgets / (6 * params)
    loss = CHINCHILLA.predict(UNEQUAL, np.column_stack([params, tokens]))
    found = compare_approaches(params, tokens, loss, budgets, resamples=50)
    parabola, spline = found["isoflop_parabola"], found["isoflop_akima"]
    assert parabola.params_exponent - 0.4 == pytest.approx(parabola.bias, abs=1e-6)
    assert abs(parabola.bias) > 0.005 and abs(spline.bias) < 0.2 * abs(parabola.bias)
    assert any(note.startswith("biased") for note in parabola.notes)


def test_intervals_hold_the_truth_under_noise() -> None:
    found = compare_approaches(*isoflops(EQUAL, shift=1.0, noise=0.001, per_budget=21))
    for name in ("isoflop_parabola", "law"):
        assert found[name].params_lower < 0.5 < found[name].params_upper
        assert found[name].params_upper - found[name].params_lower < 0.1
        assert len(found[name].draws) == 200
    again = compare_approaches(*isoflops(EQUAL, shift=1.0, noise=0.001, per_budget=21))
    assert found.records == again.records


def test_the_published_runs_give_the_published_exponent(compared: ApproachComparison) -> None:
    law = compared["law"]
    assert law.params_exponent == pytest.approx(0.3671826 / (0.3473127 + 0.3671826), abs=2e-5)
    assert law.params_lower < 0.513 < law.params_upper
    assert law.at(5.76e23)[0] == pytest.approx(73.2e9, rel=0.01)  # Gopher's budget
    parabola = compared["isoflop_parabola"]
    assert parabola.params_lower < law.params_exponent < parabola.params_upper
    assert parabola.params_exponent == pytest.approx(0.49, abs=0.04)  # Hoffmann et al., approach 2
    assert len(compared.slices.budgets) == 9


def test_the_table_has_a_row_an_approach(compared: ApproachComparison) -> None:
    table = compared.table
    assert table.column("approach").to_pylist() == ["envelope", "isoflop_parabola", "isoflop_akima", "law"]
    assert table.column("params_exponent").to_pylist() == [one.params_exponent for one in compared.approaches]
    total = np.array(table.column("params_exponent")) + np.array(table.column("tokens_exponent"))
    np.testing.assert_allclose(total, 1.0)
    assert "isoflop_parabola" in repr(compared) and "95% interval" in repr(compared)
    without = compare_approaches(*isoflops(EQUAL, shift=1.0), resamples=0).table
    assert without.column("params_lower").null_count == 4


def test_learning_curves_are_cut_at_budgets() -> None:
    sizes = np.geomspace(1e7, 1e10, 12)
    tokens = np.geomspace(1e8, 3e11, 60)
    params, seen = (axis.ravel() for axis in np.meshgrid(sizes, tokens, indexing="ij"))
    loss = CHINCHILLA.predict(EQUAL, np.column_stack([params, seen]))
    curves = [f"run {np.searchsorted(sizes, one)}" for one in params]
    found = compare_approaches(params, seen, loss, curves=curves, budgets=np.logspace(18.5, 20.5, 5), resamples=40)
    assert found["isoflop_akima"].params_exponent == pytest.approx(0.5, abs=0.02)
    assert found["law"].params_exponent == pytest.approx(0.5, abs=1e-5)
    assert found["isoflop_parabola"].bias == pytest.approx(found["isoflop_parabola"].params_exponent - 0.5, abs=5e-3)
    automatic = compare_approaches(params, seen, loss, curves=curves, resamples=0)
    assert len(automatic.slices.budgets) >= 8


def test_another_law_of_params_and_tokens_serves() -> None:
    found = compare_approaches(*isoflops(EQUAL, shift=1.0), law=CHINCHILLA_TIED, resamples=0)
    assert found["law"].params_exponent == pytest.approx(0.5, abs=1e-9)


def test_minima_outside_the_sizes_are_not_guessed() -> None:
    found = compare_approaches(*isoflops(EQUAL, shift=20.0), resamples=0)
    for name in ("isoflop_parabola", "isoflop_akima"):
        assert np.isnan(found[name].params_exponent)
        assert found[name].notes[0].startswith("no_interior_minimum: on 6 of 6 budgets")
    assert found["law"].params_exponent == pytest.approx(0.5, abs=1e-6)


def test_what_cannot_be_answered_is_refused() -> None:
    params, tokens, loss, flops = isoflops(EQUAL, shift=1.0)
    with pytest.raises(FitError, match="1 compute budgets have four sizes"):
        compare_approaches(params[:11], tokens[:11], loss[:11], flops[:11])
    with pytest.raises(EmptySelection):
        compare_approaches(params, tokens, -loss, flops)
    with pytest.raises(FitError, match="columns have"):
        compare_approaches(params, tokens[:-1], loss, flops)
    with pytest.raises(UsageError, match="law 'power' predicts from x"):
        compare_approaches(params, tokens, loss, flops, law=POWER)
    with pytest.raises(UsageError, match="level"):
        compare_approaches(params, tokens, loss, flops, level=95)


def test_the_bias_of_best_sizes_is_found_where_the_exponent_has_none() -> None:
    found = compare_approaches(*isoflops(UNEQUAL, shift=0.2), resamples=0)
    parabola = found["isoflop_parabola"]
    assert abs(parabola.bias) < 1e-6
    for flops in (1e20, 1e24):
        params, tokens = parabola.at(flops)
        true = float(best_size(UNEQUAL, np.array([flops]))[0])
        off_params, off_tokens = found.bias_at(parabola, flops)
        assert off_params == pytest.approx(params / true - 1, abs=1e-5)
        assert off_tokens == pytest.approx(tokens / (flops / (6 * true)) - 1, abs=1e-5)
        assert off_tokens > 0.2  # a fifth and more, on a line of the right exponent
        (note,) = found.notes_at(parabola, flops)
        assert note.startswith(f"biased_size: at {flops:.3g} flop") and f"tokens by {off_tokens:+.0%}" in note
        assert found.bias_at(found["law"], flops) == pytest.approx((0, 0), abs=1e-5)
        assert not found.notes_at(found["law"], flops)


def test_a_best_size_on_the_edge_is_named_and_left_out() -> None:
    params, _, _, flops = isoflops(EQUAL, shift=1.0)
    moved = params * np.where(flops < 2e18, 20.0, np.where(flops > 5e21, 0.05, 1.0))  # two budgets miss the best size
    tokens = flops / (6 * moved)
    loss = CHINCHILLA.predict(EQUAL, np.column_stack([moved, tokens]))
    found = compare_approaches(moved, tokens, loss, flops, resamples=50)
    envelope = found["envelope"]
    assert envelope.params_exponent == pytest.approx(0.5, abs=1e-6)  # with them it is 0.03
    assert envelope.left_out == pytest.approx([1e18, 1e22]) and np.isnan(envelope.params[[0, -1]]).all()
    smallest, largest = envelope.notes[:2]
    assert smallest.startswith("optimum_on_edge: on 1 of 6 budgets (1e+18 flop) the best size is the smallest")
    assert largest.startswith("optimum_on_edge: on 1 of 6 budgets (1e+22 flop) the best size is the largest")
    assert "2 of 6 budgets (1e+18, 1e+22 flop)" in found["isoflop_akima"].notes[0]
    assert found["law"].notes[0].startswith("optimum_beyond_sizes: on 2 of 6 budgets (1e+18, 1e+22 flop)")
    record = found.records[0]
    assert record["left_out"] == envelope.left_out.tolist() and record["budgets"] == 4
    assert found.table.column("left_out").to_pylist()[0] == record["left_out"]


def test_compute_that_is_not_known_is_six_params_tokens() -> None:
    params, tokens, loss, flops = isoflops(EQUAL, shift=1.0)
    holes = np.where(np.arange(len(flops)) % 5 == 0, np.nan, flops)
    found, whole = (compare_approaches(params, tokens, loss, each, resamples=20) for each in (holes, flops))
    assert found.notes == ("flops is NULL in 14 of 66 rows: 6 * params * tokens stands in for it there",)
    assert [one.params_exponent for one in found.approaches] == pytest.approx(
        [one.params_exponent for one in whole.approaches]
    )
    assert whole.notes == () and found.records[0]["notes"][-1] == found.notes[0]
