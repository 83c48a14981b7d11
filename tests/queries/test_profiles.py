"""IsoFLOP profiles: which budgets are found, which have a best size, and that everybody reads the same ones."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from isoflop.cli.plot.figure import Figure, Line, PointMarks
from isoflop.cli.plot.isoflop_figure import isoflop_figure, parabola_bias
from isoflop.lakehouse import Lakehouse
from isoflop.lakehouse.errors import EmptySelection
from isoflop.lakehouse.exchange import import_table
from isoflop.lakehouse.exchange.published import find_published
from isoflop.queries.laws import CHINCHILLA
from isoflop.queries.planning import compare_approaches
from isoflop.queries.planning.approaches import power_through
from isoflop.queries.planning.best_size import best_sizes
from isoflop.queries.planning.profiles import Profiles, isoflop_profiles
from tests.lakes import open_here

PUBLISHED = "source LIKE 'import:%' AND NOT outlier"


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lakehouse]:
    """A lake with the published runs."""
    with open_here(tmp_path_factory.mktemp("lake") / "profiles.duckdb") as opened:
        import_table(opened, find_published("chinchilla_epoch"))
        yield opened


def profiles_at(decades: np.ndarray) -> Profiles:
    """Profiles of runs of different sizes at these logarithms of compute."""
    flops, params = 10**decades, np.geomspace(1e8, 2e8, len(decades))
    return isoflop_profiles(params, flops / (6 * params), 2 + 0 * flops, flops)


def budget_lines(figure: Figure) -> int:
    return len([line for line in figure.of(Line) if line.is_thin])


def test_budgets_are_found_among_scattered_runs() -> None:
    random = np.random.default_rng(0)
    decades = np.concatenate([18 + step + random.uniform(-0.03, 0.03, 6) for step in (0, 0.5, 1)] + [[21.5]])
    slices = profiles_at(decades).slices
    assert np.log10(slices.budgets).round(1).tolist() == [18.0, 18.5, 19.0]
    assert np.bincount(slices.label).tolist() == [6, 6, 6]
    for too_few in ([18.0, 19.0], [18.0, 18.01, 18.02]):
        with pytest.raises(EmptySelection, match="no budget has four runs"):
            profiles_at(np.array(too_few))


def test_every_run_counts_once_and_budgets_with_too_few_sizes_are_left_out() -> None:
    spread = 18 + np.array([0.0, 0.02, 0.04, 0.06, 0.08, 0.1, 0.12, 0.14])
    found = profiles_at(spread)
    assert np.bincount(found.slices.label).tolist() == [5]
    assert found.slices.unit.tolist() == [0, 1, 2, 3, 4]
    assert "1 budget:" in found.notes[0] and "5 of 8 runs share one" in found.notes[0]


def test_a_run_repeated_is_one_size() -> None:
    flops = np.full(6, 1e19)
    params = np.array([1e8, 1e8, 1e8, 1e8, 2e8, 4e8])
    with pytest.raises(EmptySelection, match="no budget has four runs"):
        isoflop_profiles(params, flops / (6 * params), np.full(6, 2.0), flops)


def test_a_minimum_at_the_edge_of_the_sizes_is_no_best_size() -> None:
    flops = np.repeat([1e19, 1e20], 5)
    params = np.tile(np.geomspace(1e8, 1e9, 5), 2)
    distance = np.log(params / np.where(flops == 1e19, 3e8, 3e9))
    found = isoflop_profiles(params, flops / (6 * params), 2 + 0.1 * distance**2, flops)
    assert found.params[0] == pytest.approx(3e8) and np.isnan(found.params[1])
    assert np.isnan(found.exponent) and "on 1 of 2" in found.notes[1]
    assert found.loss[0] == pytest.approx(2.0)
    assert found.curve(0, params[:5]) == pytest.approx((2 + 0.1 * distance**2)[:5])


def test_plot_and_comparison_find_the_same_budgets_and_exponent_on_the_published_runs(lake: Lakehouse) -> None:
    columns = ("params", "tokens", "loss", "flops")
    rows = lake.query(f"SELECT {', '.join(columns)} FROM runs WHERE {PUBLISHED}")
    compared = compare_approaches(*(np.array(rows.column(name)) for name in columns), resamples=0)
    asked = lake.sql(f"COMPARE APPROACHES FROM runs WHERE {PUBLISHED} WITH (resamples = 0)").records()[1]
    figure = isoflop_figure(lake, condition=PUBLISHED)
    (drawn,) = [line for line in figure.of(Line) if line.label == "best size of a budget"]
    parabola = compared["isoflop_parabola"]
    used = np.isfinite(parabola.params)
    assert asked["approach"] == "isoflop_parabola" and parabola.params_exponent == pytest.approx(0.5008, abs=5e-5)
    assert drawn.x == pytest.approx(parabola.params[used], rel=1e-9)
    exponent = power_through(parabola.budgets[used], np.asarray(drawn.x)[None])[0][0]
    assert exponent == pytest.approx(parabola.params_exponent, abs=1e-9)
    assert exponent == pytest.approx(asked["params_exponent"], abs=1e-9)
    assert f"params ~ flops^{exponent:.4f} by the parabolas of {used.sum()} budgets" in figure.notes[1]
    assert asked["budgets"] == used.sum() == 20 and budget_lines(figure) == len(parabola.budgets) == 23
    assert sum(points.x.size for points in figure.of(PointMarks)) == asked["rows"] == 215


def test_optimize_finds_the_best_size_that_comparison_finds(lake: Lakehouse) -> None:
    lake.sql(
        f"CREATE LAW chin AS FIT loss ~ chinchilla(params, tokens) FROM runs WHERE {PUBLISHED} WITH (resamples = 0)"
    )
    (law,) = lake.query("SELECT coefficients FROM laws WHERE name = 'chin'").to_pylist()
    coefficients = np.array([part["estimate"] for part in law["coefficients"]])
    budgets = np.array([1e20, 1e22])

    def loss(params: np.ndarray, tokens: np.ndarray) -> np.ndarray:
        return np.asarray(CHINCHILLA.predict(coefficients, np.column_stack([params, tokens])))

    found = best_sizes(loss, budgets, 6.0, 1e8, 1e10)
    answer = lake.sql(
        "OPTIMIZE chin MINIMIZE loss OVER params IN [1e7, 1e12] LOG, tokens IN [1e9, 1e14] LOG "
        "SUBJECT TO 6 * params * tokens <= budget FOR EACH budget IN [1e20, 1e22]"
    )
    assert np.array(answer.table.column("params")) == pytest.approx(found, rel=1e-5)
    _, a, b, alpha, beta = coefficients
    exact = (alpha * a / (beta * b)) ** (1 / (alpha + beta)) * (budgets / 6) ** (beta / (alpha + beta))
    assert found == pytest.approx(exact, rel=1e-5)


def test_a_plot_says_what_it_leaves_out_takes_for_known_and_is_off_by(lake: Lakehouse) -> None:
    rows = "SELECT b AS flops, 0.179 * (b / 6) ** 0.4 * 7 ** ((i - 5) / 5) * if(b < 2e18, 1000, 1) AS params, "
    rows += "b / 6 / params AS tokens, 1.7 + 400 / params ** 0.42 + 2000 / tokens ** 0.28 AS loss, i "
    rows += "FROM unnest([1e18, 1e19, 1e20, 1e21]) t(b), range(11) u(i)"
    table = lake.query(f"SELECT * REPLACE (if(i = 3, NULL, flops) AS flops) FROM ({rows})")
    columns = {name: np.array(table.column(name), dtype=float) for name in ("params", "tokens", "loss", "flops")}
    found = isoflop_profiles(*columns.values())
    assert found.num_assumed == 4 and "flops is NULL in 4 of 44 rows: 6 * params * tokens stands in for it there" in (
        found.notes
    )
    assert any(note.startswith("no_interior_minimum: on 1 of 4 budgets (1e+18 flop)") for note in found.notes)
    compared = compare_approaches(*columns.values(), resamples=0)
    off = compared.bias_at(compared["isoflop_parabola"], 1e21)
    figure = isoflop_figure(lake, condition=PUBLISHED)
    (said,) = [note for note in figure.notes if note.startswith("bias: in runs made from the fitted chinchilla")]
    assert "flop params by" in said
    assert off[0] != 0 and parabola_bias(columns, found) == [
        f"bias: in runs made from the fitted chinchilla, parabolas are off in the exponent by "
        f"{compared['isoflop_parabola'].bias:+.4f}, at 1e+21 flop params by {off[0]:+.1%} and tokens by {off[1]:+.1%}"
    ]
