"""OPTIMUM OF: the best setting of every cell, the power law through them, kept and used, and what says nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from isoflop.lakehouse import Lakehouse
from isoflop.lakehouse.errors import IsoflopError, StatementError, UnknownName
from tests.lakes import open_here

STEP_LAW = (1.79, -0.713, 0.307)  # k, a, b of Li et al. 2025 (arXiv:2503.04715)
NOISE = 0.004  # of the loss [nat/token]
COLUMNS = ["optimum", "lower", "upper", "loss_at_optimum", "rows", "lowest", "largest", "weight", "status"]
OF = "OPTIMUM OF lr BY (params, tokens)"


def best(params: float, tokens: float) -> float:
    """The planted optimum."""
    return STEP_LAW[0] * params ** STEP_LAW[1] * tokens ** STEP_LAW[2]


def sweeps(seed: int = 0, noise: float = NOISE) -> pa.Table:
    """Nine rates for each of nine models, whose tokens are counted in whole batches; `score` is to be large."""
    generator = np.random.default_rng(seed)
    rows = []
    for params in (1e8, 3e8, 1e9):
        for tokens in (2e9, 1e10, 5e10):
            center = best(params, tokens) * np.exp(0.2 * generator.standard_normal())
            for rate in center * np.geomspace(1 / 8, 8, 9):
                loss = 1.7 + 400 / params**0.34 + 410 / tokens**0.28 + 0.03 * np.log(rate / best(params, tokens)) ** 2
                counted = tokens * (1 - 2e-4 * generator.random())
                rows.append((params, counted, rate, loss + noise * generator.standard_normal()))
    names = ("params", "tokens", "lr", "loss")
    table = pa.table({name: [row[k] for row in rows] for k, name in enumerate(names)})
    score = pa.array(1 / np.array(table.column("loss")))
    kind = pa.array(["a" if k % 2 else "b" for k in range(len(rows))])
    return table.append_column("score", score).append_column("kind", kind)


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lakehouse]:
    """A lake with the table `tried`, and `exact` without noise."""
    with open_here(tmp_path_factory.mktemp("lake") / "optima.duckdb") as opened:
        opened.write([("CREATE TABLE tried AS FROM _tried", None)], {"_tried": sweeps()})
        opened.write([("CREATE TABLE exact AS FROM _exact", None)], {"_exact": sweeps(noise=0.0)})
        yield opened


def test_every_cell_has_its_optimum(lake: Lakehouse) -> None:
    answer = lake.sql(f"{OF} FROM exact")
    assert answer.columns == ["params", "tokens", *COLUMNS] and len(answer) == 9
    for row in answer.records():
        assert row["optimum"] == pytest.approx(best(row["params"], row["tokens"]), rel=1e-3)  # tokens are 0.02 % off
        assert row["status"] == "optimal" and row["rows"] == 9
        floor = 1.7 + 400 / row["params"] ** 0.34 + 410 / row["tokens"] ** 0.28
        assert row["loss_at_optimum"] == pytest.approx(floor, abs=1e-4)  # as far as 0.02 % of the tokens move it
    assert [(row["params"], row["tokens"]) for row in answer.records()] == sorted(
        (row["params"], row["tokens"]) for row in answer.records()
    )
    assert answer.notes[0].startswith("lr = 1.79") and answer.notes[0].endswith("through 9 of 9 cells")


def test_intervals_hold_the_planted_optima(lake: Lakehouse) -> None:
    rows = lake.sql(f"{OF} FROM tried").records()
    held = [row["lower"] <= best(row["params"], row["tokens"]) <= row["upper"] for row in rows]
    assert sum(held) >= 7  # of nine at 0.95; tests/queries/test_optimum_cells.py has the coverage
    narrow = lake.sql(f"{OF} FROM tried WITH (level = 0.5)").records()
    assert all(one["lower"] < other["lower"] for one, other in zip(rows, narrow, strict=True))
    none = lake.sql(f"{OF} FROM tried WITH (resamples = 0)").records()
    assert {(row["lower"], row["weight"]) for row in none} == {(None, 1.0)}


def test_the_law_is_kept_and_used(lake: Lakehouse) -> None:
    (kept,) = lake.sql(f"CREATE LAW best_lr AS {OF} FROM tried").records()
    assert kept["form"] == "k * params ^ a * tokens ^ b" and kept["rows"] == 9 and kept["status"] == "converged"
    note = next(note for note in lake.sql(f"{OF} FROM tried").notes if note.startswith("lr = "))
    said = f"{kept['coefficients']['k']:.4g} * params ^ {kept['coefficients']['a']:.4g}"
    assert said in note  # the note's least squares and the fit's are the same
    (row,) = lake.sql("EXTRAPOLATE best_lr TO params = 7e9, tokens = 1e11").records()
    assert row["lower"] < best(7e9, 1e11) < row["upper"] and row["upper"] / row["lower"] < 2
    (called,) = lake.sql("SELECT best_lr(7e9, 1e11) AS lr").records()
    assert called["lr"] == pytest.approx(row["predicted_lr"])
    assert len(lake.sql("RESIDUALS best_lr")) == 9
    assert lake.sql("REFIT LAW best_lr").records()[0]["bit_equal"]
    by_name = {row["coefficient"]: row for row in lake.sql("DESCRIBE LAW best_lr").records()}
    for name, planted in zip(("k", "a", "b"), STEP_LAW, strict=True):
        assert by_name[name]["lower"] < planted < by_name[name]["upper"]
    (law,) = lake.sql("SELECT statement FROM laws WHERE name = 'best_lr'").records()
    assert lake.sql(
        law["statement"].replace("LAW best_lr", "OR REPLACE LAW best_lr", 1).replace("CREATE OR", "CREATE OR")
    )


def test_exponents_are_covered(lake: Lakehouse) -> None:
    held = np.zeros(2)
    for seed in range(20):
        lake.write([("CREATE OR REPLACE TABLE drawn AS FROM _drawn", None)], {"_drawn": sweeps(seed, 3 * NOISE)})
        (row,) = lake.sql(
            "FIT optimum AS lr ~ k * params ^ a * tokens ^ b PARAMETERS (k > 0, a IN [-5, 5], b IN [-5, 5]) "
            f"FROM ({OF} FROM drawn) WHERE status = 'optimal' WEIGHT BY weight "
            "WITH (objective = 'least_squares_log', resamples = 100, forward = false, intervals = 'percentile')"
        ).records()
        pairs = zip("ab", STEP_LAW[1:], strict=True)
        held += [row["lower"][name] <= planted <= row["upper"][name] for name, planted in pairs]
    assert (held >= 18).all(), held  # nine tenths


def test_a_built_in_form_is_taken_where_it_is_the_law(lake: Lakehouse) -> None:
    text = "CREATE OR REPLACE LAW named AS OPTIMUM OF lr AS learning_rate BY (params, tokens) FROM tried"
    (kept,) = lake.sql(f"{text} WITH (resamples = 20)").records()
    assert kept["form"] == "optimal_learning_rate"
    (row,) = lake.sql("EXTRAPOLATE named TO params = 1e9, tokens = 1e10").records()
    assert row["predicted_learning_rate"] == pytest.approx(best(1e9, 1e10), rel=0.1)


def test_what_is_to_be_large_and_what_has_any_sign(lake: Lakehouse) -> None:
    small = lake.sql(f"{OF} MINIMIZE loss FROM exact").records()
    for text in ("MAXIMIZE -loss", "MINIMIZE loss - 10", "MAXIMIZE 5 - loss"):
        rows = lake.sql(f"{OF} {text} FROM exact").records()
        assert [row["optimum"] for row in rows] == pytest.approx([row["optimum"] for row in small], rel=1e-6)
    scored = lake.sql(f"{OF} MAXIMIZE score FROM exact").records()
    for one, other in zip(small, scored, strict=True):
        assert other["optimum"] == pytest.approx(one["optimum"], rel=0.05)
        assert other["score_at_optimum"] == pytest.approx(1 / one["loss_at_optimum"], rel=0.01)


def test_edges_and_few_rows_are_named_and_left_out(lake: Lakehouse) -> None:
    answer = lake.sql(f"{OF} FROM exact WHERE lr < 0.0025 AND (params < 1e9 OR lr < 2e-4)")
    kinds: dict[str, int] = {}
    for row in answer.records():
        kinds[row["status"]] = kinds.get(row["status"], 0) + 1
        is_bracketed = row["lowest"] < best(row["params"], row["tokens"]) < row["largest"]
        assert (row["status"] == "optimal") is (is_bracketed and row["rows"] >= 4), row
        assert (row["optimum"] is None) is (row["weight"] is None) is (row["status"] != "optimal")
    assert kinds["at_upper_edge"] >= 2 and kinds["too_few_rows"] >= 1
    used = [row for row in answer.records() if row["status"] == "optimal"]
    assert len(used) < 9 and all(row["weight"] > 0 for row in used)
    assert any("is at_upper_edge" in note or "are at_upper_edge" in note for note in answer.notes)
    assert any("try larger ones there" in note for note in answer.notes)
    whole = lake.sql(f"{OF} FROM exact WHERE lr < 0.004 OR params > 1e8")
    used = [row for row in whole.records() if row["status"] == "optimal"]
    assert 6 <= len(used) < 9
    assert any(f"through {len(used)} of {len(whole)} cells" in note for note in whole.notes)


def test_groups_have_laws_of_their_own(lake: Lakehouse) -> None:
    answer = lake.sql(f"{OF} FROM exact GROUP BY kind")
    assert answer.columns == ["kind", "params", "tokens", *COLUMNS] and len(answer) == 18
    laws = [note for note in answer.notes if " lr = " in note]
    assert len(laws) == 2 and laws[0].startswith("group 'a': lr = 1.79")


def test_one_column_and_expressions_with_names(lake: Lakehouse) -> None:
    bare = lake.sql("OPTIMUM OF lr BY 6 * params * tokens FROM exact")
    assert bare.columns[0] == "6 * params * tokens"
    named = lake.sql("OPTIMUM OF lr * 2 AS twice BY (6 * params * tokens AS flops) FROM exact")
    assert named.columns[0] == "flops"
    for one, other in zip(bare.records(), named.records(), strict=True):
        assert 2 * one["optimum"] == pytest.approx(other["optimum"])
    (kept,) = lake.sql(
        "CREATE OR REPLACE LAW twice_lr AS OPTIMUM OF lr * 2 AS twice BY (6 * params * tokens AS flops, params AS a) "
        "FROM exact WITH (resamples = 0)"
    ).records()
    assert kept["form"] == "k * flops ^ b * a ^ c"
    assert [*kept["coefficients"].values()][1:] == pytest.approx([STEP_LAW[2], STEP_LAW[1] - STEP_LAW[2]], abs=1e-3)


def test_isoflop_profiles_are_cells_too(lake: Lakehouse) -> None:
    from isoflop.lakehouse.exchange.published import find_published

    lake.write(
        [(f"CREATE TABLE hoffmann AS FROM read_csv('{find_published('chinchilla_epoch')}') WHERE outlier = 0", None)]
    )
    lake.sql("CREATE LAW best_size AS OPTIMUM OF params BY flops FROM hoffmann WITH (tolerance = 0.1, resamples = 0)")
    (row,) = lake.sql("SELECT coefficient, estimate FROM (DESCRIBE LAW best_size) WHERE coefficient = 'a'").records()
    profiles = lake.sql("COMPARE APPROACHES FROM hoffmann WITH (resamples = 0)").records()[1]
    assert row["estimate"] == pytest.approx(profiles["params_exponent"], abs=0.01)


def test_parameters_are_kept_with_the_law(lake: Lakehouse) -> None:
    text = f"CREATE OR REPLACE LAW asked AS {OF} FROM tried WHERE params > $size WITH (seed = $seed, tolerance = $near)"
    lake.sql(text, {"size": 2e8, "seed": 3, "near": 1e-3})
    assert lake.sql("REFIT LAW asked").records()[0]["bit_equal"]
    lake.sql(f"CREATE OR REPLACE LAW asked AS {OF} FROM tried WHERE params > ? WITH (resamples = ?)", [2e8, 20])
    assert lake.sql("REFIT LAW asked").records()[0]["rows"] == 6


def test_explain_says_cells_and_does_nothing(lake: Lakehouse) -> None:
    steps = dict(lake.sql(f"EXPLAIN CREATE LAW unmade AS {OF} FROM tried WITH (within = 0.05, seed = 2)").rows())
    assert steps["law"] == "lr ~ k * params ^ a * tokens ^ b" and steps["cells"].startswith("9 by params, tokens")
    assert steps["left out"].startswith("rows more than 5.0%") and "CREATE LAW unmade AS FIT optimum" in steps["as"]
    assert not len(lake.sql("SHOW LAWS LIKE 'unmade'"))


@pytest.mark.parametrize(
    ("text", "message", "caret"),
    [
        ("OPTIMUM OF lr FROM tried", "expected BY", "FROM"),
        (f"{OF} FROM tried MINIMIZE loss", "MINIMIZE stands before FROM", "MINIMIZE"),
        (f"{OF} FROM tried WEIGHT BY loss", "has no weights", "loss"),
        ("OPTIMUM OF lr BY (params, lr) FROM tried", "'lr' is swept", "lr)"),
        ("OPTIMUM OF lr BY (params, params) FROM tried", "names 'params' twice", "params)"),
        ("OPTIMUM OF lr BY (params AS weight) FROM tried", "a column 'weight' of its own", "weight"),
        ("OPTIMUM OF lr BY (params, kind) FROM tried", "'kind' holds no numbers", "kind"),
        ("OPTIMUM OF lr BY (params, tokns) FROM tried", 'column "tokns" not found', "tokns"),
        ("OPTIMUM OF rate BY (params, tokens) FROM tried", 'column "rate" not found', "rate"),
        (f"{OF} FROM tried GROUP BY status", "a column 'status' of its own", "status"),
        (f"{OF} FROM tried WHERE lr > 1e3", "OPTIMUM needs rows, and no row matched", "lr > 1e3"),
        (f"{OF} FROM tried WITH (within = -1)", "within is a number above 0", "-1"),
        (f"{OF} FROM tried WITH (tolerence = 1)", "no option 'tolerence'", "tolerence"),
        (f"CREATE LAW no AS {OF} FROM tried GROUP BY kind", "CREATE LAW keeps one law", "kind"),
        (f"CREATE LAW no AS {OF} FROM tried WHERE params = 1e9", "3 of 3 cells have an optimum, which do not tell", OF),
        (f"CREATE LAW no AS {OF} FROM tried WITH (objectiv = 'x')", "no option 'objectiv'", "objectiv"),
        (f"CREATE LAW sqrt AS {OF} FROM tried", "is a function of DuckDB", "sqrt"),
    ],
)
def test_mistakes_have_one_clear_error(lake: Lakehouse, text: str, message: str, caret: str) -> None:
    with pytest.raises((StatementError, UnknownName, IsoflopError), match=message.replace("(", r"\(")) as caught:
        lake.sql(text)
    error = caught.value
    assert isinstance(error, StatementError) and error.text == text
    assert text[error.start :].startswith(caret), text[error.start :]
    assert not len(lake.sql("SHOW LAWS LIKE 'no'"))


def test_a_table_called_optimum_stays_a_table(lake: Lakehouse) -> None:
    lake.sql("CREATE OR REPLACE TABLE optimum AS SELECT 1 AS of")
    assert lake.sql("SELECT o.of FROM (FROM optimum) o, optimum WHERE optimum.of = 1").rows() == [(1,)]


def test_a_law_of_cells_in_another_unit_is_one_of_counts(tmp_path: Path) -> None:
    with open_here(str(tmp_path / "lake.duckdb")) as lake:
        lake.sql(
            "CREATE TABLE lr AS SELECT n AS params, d AS tokens, k * 3 * n ^ -0.7 * d ^ 0.3 AS learning_rate, "
            "(1.7 + 400 / n ^ 0.34 + 410 / d ^ 0.28) * (1 + 0.02 * ln(k) ^ 2) AS loss FROM "
            "(SELECT unnest([1e7, 1e8, 1e9]) n), (SELECT unnest([1e9, 1e10, 1e11]) d), "
            "(SELECT unnest([0.25, 0.5, 0.8, 1, 1.3, 2, 4]) k)"
        )
        for name, by in (("plain", "params, tokens"), ("scaled", "params / 1e6, tokens / 1e9")):
            lake.sql(f"CREATE LAW {name} AS OPTIMUM OF learning_rate BY ({by}) FROM lr WITH (resamples = 50)")
        right = lake.sql("EXTRAPOLATE plain TO params = 1e10, tokens = 1e12").records()[0]
        found = lake.sql("EXTRAPOLATE scaled TO params = 1e10, tokens = 1e12").records()[0]
        assert found["predicted_learning_rate"] == pytest.approx(right["predicted_learning_rate"], rel=1e-9)
        assert lake.sql("SELECT scaled(1e10, 1e12)").rows()[0][0] == pytest.approx(3 * 1e10**-0.7 * 1e12**0.3, rel=1e-3)
        assert lake.sql("REFIT LAW scaled").records()[0]["bit_equal"] is True
        own = lake.sql("PREDICT plain")
        assert len(own) == 9 and "lower, upper of the rows themselves are left out" in own.notes
