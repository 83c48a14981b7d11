"""COMPARE APPROACHES: on the published runs, in groups, at budgets, from curves, and as a relation."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pytest

from isoflop.lakehouse import Lakehouse
from isoflop.lakehouse.exchange.published import find_published
from isoflop.queries.laws import CHINCHILLA
from isoflop.queries.planning import compare_approaches
from tests.lakes import open_here

COLUMNS = [
    "approach", "params_exponent", "params_lower", "params_upper", "tokens_exponent", "tokens_lower", "tokens_upper",
    "params_coefficient", "tokens_coefficient", "bias", "budgets", "left_out", "rows", "level", "notes",
]  # fmt: skip
AT = [
    "flops", "optimal_params", "optimal_params_lower", "optimal_params_upper", "optimal_params_bias",
    "optimal_tokens", "optimal_tokens_lower", "optimal_tokens_upper", "optimal_tokens_bias",
]  # fmt: skip
NAMES = ["envelope", "isoflop_parabola", "isoflop_akima", "law"]
EQUAL = np.array([1.8, 400.0, 600.0, 0.34, 0.34])
NOMINAL = "[6e18, 1e19, 3e19, 6e19, 1e20, 3e20, 6e20, 1e21, 3e21]"  # flop, Hoffmann et al.'s nine budgets


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lakehouse]:
    """A lake with the published runs, planted runs at six budgets in two corpora, and planted curves."""
    import pyarrow as pa

    budgets = np.repeat(np.logspace(18, 22, 6), 11)
    params = (EQUAL[1] / EQUAL[2]) ** (1 / 0.68) * np.sqrt(budgets / 6) * np.tile(np.geomspace(1 / 8, 8, 11), 6)
    tokens = budgets / (6 * params)
    loss = CHINCHILLA.predict(EQUAL, np.column_stack([params, tokens]))
    planted = pa.table({"n": params, "d": tokens, "y": loss * 1.0})
    size, seen = (
        x.ravel() for x in np.meshgrid(np.geomspace(1e7, 1e10, 8), np.geomspace(1e8, 3e11, 30), indexing="ij")
    )
    curves = pa.table(
        {
            "run_id": [f"run {one:.0f}" for one in size],
            "params": size,
            "tokens": seen,
            "loss": CHINCHILLA.predict(EQUAL, np.column_stack([size, seen])),
        }
    )
    with open_here(tmp_path_factory.mktemp("lake") / "approaches.duckdb") as opened:
        opened.write([("CREATE TABLE planted AS FROM _planted", None)], {"_planted": planted})
        opened.write([("CREATE TABLE points AS FROM _curves", None)], {"_curves": curves})
        published = find_published("chinchilla_epoch")
        opened.write([(f"CREATE TABLE hoffmann AS FROM read_csv('{published}') WHERE outlier = 0", None)])
        yield opened


def test_the_published_runs_give_the_published_exponents(lake: Lakehouse) -> None:
    answer = lake.sql(f"COMPARE APPROACHES FROM hoffmann WITH (budgets = {NOMINAL}, tolerance = 0.2)")
    assert answer.columns == COLUMNS
    rows = {row["approach"]: row for row in answer.records()}
    assert list(rows) == NAMES
    law = rows["law"]
    assert law["params_exponent"] == pytest.approx(0.3671826 / (0.3473127 + 0.3671826), abs=2e-5)  # Besiroglu et al.
    assert law["params_lower"] < 0.513 < law["params_upper"] and law["rows"] == 240 and law["level"] == 0.95
    parabola = rows["isoflop_parabola"]
    assert parabola["params_exponent"] == pytest.approx(0.49, abs=0.04) and parabola["rows"] == 160  # approach 2
    for row in rows.values():
        assert row["params_exponent"] + row["tokens_exponent"] == pytest.approx(1)
        assert row["budgets"] == 9 and abs(row["bias"]) < 0.02


def test_a_statement_gives_what_python_gives(lake: Lakehouse) -> None:
    answer = lake.sql("COMPARE APPROACHES FROM hoffmann WITH (resamples = 30, seed = 3, level = 0.9)")
    rows = lake.query("SELECT loss, params, tokens, flops FROM hoffmann ORDER BY flops, loss, params, tokens")
    columns = [np.array(rows.column(name)) for name in ("params", "tokens", "loss", "flops")]
    found = compare_approaches(*columns, resamples=30, seed=3, level=0.9).table
    assert found.column_names == answer.columns
    for name in ("params_exponent", "params_lower", "tokens_upper", "params_coefficient"):
        np.testing.assert_allclose(answer.table.column(name), found.column(name), rtol=1e-9)


def test_best_sizes_at_budgets(lake: Lakehouse) -> None:
    answer = lake.sql("COMPARE APPROACHES FROM hoffmann AT flops = [1e22, 5.76e23] WITH (resamples = 30)")
    assert answer.columns == [*COLUMNS, *AT] and len(answer) == 8
    counts = [name for name in AT[1:] if not name.endswith("_bias")]
    assert answer.units == {"flops": "flop", **dict.fromkeys(counts, "count")}
    law = answer.records()[-1]
    assert law["flops"] == 5.76e23 and law["optimal_params"] == pytest.approx(73.2e9, rel=0.01)  # Gopher's budget
    for row in answer.records():
        assert row["optimal_params_lower"] < row["optimal_params_upper"]
        assert 6 * row["optimal_params"] * row["optimal_tokens"] == pytest.approx(row["flops"], rel=1e-3)
        assert row["optimal_tokens_lower"] < row["optimal_tokens"] < row["optimal_tokens_upper"]
        at_one = row["params_coefficient"] * row["flops"] ** row["params_exponent"]
        assert at_one == pytest.approx(row["optimal_params"])


def test_columns_of_other_names_and_no_flops(lake: Lakehouse) -> None:
    answer = lake.sql("COMPARE APPROACHES (y ~ chinchilla(n, d)) FROM planted WITH (resamples = 0)")
    assert [row["params_exponent"] for row in answer.records()] == pytest.approx([0.5] * 4, abs=1e-6)
    assert [row["params_lower"] for row in answer.records()] == [None] * 4
    assert answer.notes[0] == "there is no column flops: compute is 6 params tokens"
    said = lake.sql("COMPARE APPROACHES (y ~ chinchilla(n, d)) FROM planted WITH (flops = 6 * n * d, resamples = 0)")
    assert [row["params_exponent"] for row in said.records()] == pytest.approx([0.5] * 4, abs=1e-6) and not said.notes


def test_a_group_that_cannot_be_compared_says_so(lake: Lakehouse) -> None:
    source = "(SELECT *, if(n < 1e11, 'near', 'far') AS half FROM planted)"
    answer = lake.sql(f"COMPARE APPROACHES (y ~ chinchilla(n, d)) FROM {source} GROUP BY half WITH (resamples = 0)")
    assert answer.columns == ["half", *COLUMNS] and len(answer) == 8
    rows = answer.records()
    assert {row["half"] for row in rows} == {"near", "far"}
    far = [row for row in rows if row["half"] == "far"]
    assert [row["approach"] for row in far] == NAMES and far[0]["params_exponent"] is None
    assert far[0]["notes"][0].startswith("failed: ")


def test_curves_are_cut_at_budgets(lake: Lakehouse) -> None:
    text = "COMPARE APPROACHES FROM points WITH (curves = run_id, budgets = [1e19, 3e19, 1e20], resamples = 0)"
    rows = {row["approach"]: row for row in lake.sql(text).records()}
    assert rows["law"]["params_exponent"] == pytest.approx(0.5, abs=1e-5)
    assert rows["isoflop_akima"]["params_exponent"] == pytest.approx(0.5, abs=0.03)


def test_the_comparison_is_a_relation(lake: Lakehouse) -> None:
    text = "COMPARE APPROACHES FROM hoffmann WITH (resamples = 0)"
    assert lake.sql(f"SELECT count(*) FROM ({text}) WHERE params_exponent BETWEEN 0.4 AND 0.6").rows() == [(4,)]
    assert lake.sql(f"WITH a AS ({text}) SELECT approach FROM a LIMIT 1").rows() == [("envelope",)]


def test_a_law_called_approaches_stays_a_law(lake: Lakehouse) -> None:
    lake.sql("CREATE LAW approaches AS FIT loss ~ chinchilla(params, tokens) FROM points WITH (resamples = 0)")
    assert lake.sql("COMPARE approaches, (loss ~ power(params)) FROM points").records()[0]["law"] == "approaches"
    assert lake.sql('COMPARE "approaches" FROM points').records()[0]["law"] == "approaches"


def test_best_sizes_come_with_their_bias_and_edges_are_named(lake: Lakehouse) -> None:
    source = (  # sizes from a fortieth of the best one to 1.6 times it
        "(SELECT b AS flops, 0.179 * (b / 6) ** 0.4 * 8 ** ((i - 5) / 5) * 0.2 AS params, b / 6 / params AS tokens, "
        "1.8 + 400 / params ** 0.42 + 2000 / tokens ** 0.28 AS loss "
        "FROM unnest([1e18, 1e19, 1e20, 1e21, 1e22]) t(b), range(11) u(i))"
    )
    answer = lake.sql(f"COMPARE APPROACHES FROM {source} AT flops = [1e20, 1e21] WITH (resamples = 20)")
    known = [row for row in answer.records() if row["params_exponent"] is not None]
    assert {row["approach"] for row in known} >= {"isoflop_parabola", "law"}
    for row in known:
        assert (1 + row["optimal_params_bias"]) * (1 + row["optimal_tokens_bias"]) == pytest.approx(1)
        half = math.log(row["optimal_params_upper"] / row["optimal_params_lower"]) / 2
        is_large = abs(math.log1p(row["optimal_params_bias"])) > max(half / 2, 0.01)
        assert is_large == any(note.startswith(f"biased_size: at {row['flops']:.3g} flop") for note in row["notes"])
    assert len([note for note in answer.notes if note.startswith("isoflop_parabola: biased_size: at 1e+2")]) == 1
    edge = lake.sql(f"COMPARE APPROACHES FROM {source} WHERE flops > 2e18 OR params < 1e6 WITH (resamples = 0)")
    (envelope,) = [row for row in edge.records() if row["approach"] == "envelope"]
    (note,) = [note for note in edge.notes if note.startswith("envelope: optimum_on_edge")]
    assert envelope["left_out"] and f"on {len(envelope['left_out'])} of" in note
    assert all(f"{flops:.3g}" in note for flops in envelope["left_out"])


def test_flops_that_are_null_under_other_names_are_told_from_params_and_tokens(lake: Lakehouse) -> None:
    source = "(SELECT n, d, y, CASE WHEN n < 1e9 THEN NULL ELSE 6 * n * d END AS c FROM planted)"
    answer = lake.sql(f"COMPARE APPROACHES (y ~ chinchilla(n, d)) FROM {source} WITH (flops = c, resamples = 0)")
    assert [row["params_exponent"] for row in answer.records()] == pytest.approx([0.5] * 4, abs=1e-6)
    assert [row["rows"] for row in answer.records()] == [66] * 4
    assert any("of 66 rows: 6 * params * tokens stands in for it there" in note for note in answer.notes)
    bad = source.replace("THEN NULL", "THEN -1")
    dropped = lake.sql(f"COMPARE APPROACHES (y ~ chinchilla(n, d)) FROM {bad} WITH (flops = c, resamples = 0)")
    assert any(note.startswith("dropped ") and "flops is" in note for note in dropped.notes)


@pytest.mark.parametrize("flops", ["", ", flops = 6 * n * d"])
def test_columns_in_another_unit_are_compared_in_counts(lake: Lakehouse, flops: str) -> None:
    rest = f"FROM planted AT flops = 1e21 WITH (resamples = 0, tolerance = 0.2{flops})"
    right = lake.sql(f"COMPARE APPROACHES (y ~ chinchilla(n, d)) {rest}").records()
    found = lake.sql(f"COMPARE APPROACHES (y ~ chinchilla(n / 1e6, 1e-9 * d)) {rest}").records()
    for one, other in zip(found, right, strict=True):
        for name in ("params_exponent", "params_coefficient", "optimal_params", "optimal_tokens"):
            assert one[name] == pytest.approx(other[name], rel=1e-5), (one["approach"], name)
