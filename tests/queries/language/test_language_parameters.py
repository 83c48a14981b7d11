"""Parameters stand for values in every clause, named and in order, in scripts of several statements."""

from __future__ import annotations

import re
from typing import Any

import pytest

from isoflop.lakehouse import Lakehouse
from isoflop.lakehouse.errors import StatementError

QUICK = "WITH (resamples = 0)"
OVER = "OVER params IN [1e7, 1e12] LOG, tokens IN [1e9, 1e14] LOG SUBJECT TO 6 * params * tokens <="

# A statement with named parameters, and their values; written out it must answer the same.
STATEMENTS: tuple[tuple[str, dict[str, Any]], ...] = (
    (
        "FIT loss ~ chinchilla(params, tokens) FROM points "
        "WITH (resamples = $r, seed = $s, level = $l, objective = $o, delta = $d, forward = $f, cluster = id % $m)",
        {"r": 5, "s": 1, "l": 0.9, "o": "huber_log", "d": 1e-2, "f": False, "m": 20},
    ),
    (
        f"FIT loss * $k AS y ~ power(params * $k) FROM points WHERE id < $n AND corpus = $c "
        f"GROUP BY id % $g WEIGHT BY id + $k {QUICK}",
        {"k": 2, "n": 50, "c": "web", "g": 2},
    ),
    (
        "FIT loss ~ E + $b * A / (params / $u) ^ a "
        f"PARAMETERS (E IN [$lo, $hi] INIT $i, A > $lo, a FIXED $x) FROM points {QUICK}",
        {"b": 2.5, "u": 1e6, "lo": 0, "hi": 3, "i": 1.5, "x": 0.3},
    ),
    (
        "EXTRAPOLATE chin TO params = $p, tokens = $k * params WITH (level = $l, interval = $i)",
        {"p": [1e9, 2e9], "k": 20, "l": 0.5, "i": "confidence"},
    ),
    ("EXTRAPOLATE chin TO (SELECT params, tokens FROM points WHERE id < $n LIMIT $m)", {"n": 9, "m": 3}),
    ("PREDICT chin FROM (FROM points LIMIT $m) WHERE id < $n WITH (level = $l)", {"n": 3, "m": 5, "l": 0.5}),
    ("RESIDUALS chin FROM points WHERE id < $n", {"n": 30}),
    (
        "CROSS VALIDATE chin FROM points HOLDOUT LARGEST $n PERCENT BY params * $k WITH (resamples = $r)",
        {"n": 20, "k": 2, "r": 0},
    ),
    (
        "CROSS VALIDATE loss ~ power(params * $k) FROM points KFOLD $f BY id % $g WITH (resamples = 0)",
        {"k": 2, "f": 3, "g": 9},
    ),
    ("CROSS VALIDATE chin FROM points LEAVE ONE OUT BY id % $g WITH (resamples = 0)", {"g": 3}),
    (
        "COMPARE chin, (loss ~ power(params * $k)) FROM points WHERE id < $n KFOLD $f WITH (resamples = 0)",
        {"k": 2, "n": 50, "f": 3},
    ),
    (
        "OPTIMIZE chin MINIMIZE loss + $z OVER params IN [$a, $b] LOG, tokens IN [1e9, $c] LOG "
        "SUBJECT TO $six * params * tokens <= $most WITH (level = $l)",
        {"z": 1, "a": 1e7, "b": 1e12, "c": 1e14, "six": 6, "most": 1e21, "l": 0.5},
    ),
    (f"OPTIMIZE chin MINIMIZE loss {OVER} budget FOR EACH budget IN $list", {"list": [1e20, 1e21]}),
    (f"OPTIMIZE chin MINIMIZE loss {OVER} budget FOR EACH budget IN ($a, $b)", {"a": 1e20, "b": 1e21}),
    ("SHOW LAWS LIKE $p", {"p": "chi%"}),
    ("SHOW LAW FORMS LIKE $p", {"p": "chi%"}),
    ("DESCRIBE LAW chin VERSION $v", {"v": 1}),
    ("EXPLAIN FIT loss ~ power(params) FROM points WHERE id < $n WITH (resamples = $r)", {"n": 30, "r": 7}),
    (
        "SELECT count(*) FROM (PREDICT chin FROM points WHERE id < $n) p JOIN (FROM points WHERE id < $n) q USING (id) "
        "WHERE p.id > $m",
        {"n": 30, "m": 10},
    ),
)  # fmt: skip


def written(value: Any) -> str:
    """A value as a person types it; a number with a point alone would be a DECIMAL."""
    if isinstance(value, list):
        return f"[{', '.join(map(written, value))}]"
    return f"'{value}'" if isinstance(value, str) else f"{value:e}" if isinstance(value, float) else str(value)


@pytest.mark.parametrize(("text", "values"), STATEMENTS, ids=[text[:60] for text, _ in STATEMENTS])
def test_a_parameter_is_its_value(planted: Lakehouse, text: str, values: dict[str, Any]) -> None:
    names = re.compile(r"\$(\w+)")
    plain = planted.sql(names.sub(lambda found: written(values[found[1]]), text))
    named = planted.sql(text, values)
    in_order = planted.sql(names.sub("?", text), [values[name] for name in names.findall(text)])
    as_typed = ("slack", "binding", "multiplier", "law", "form", "detail")  # these hold what was typed
    columns = [name for name in plain.columns if name not in as_typed and name in named.columns]
    for answer in (named, in_order):
        assert answer.table.select(columns).to_pylist() == plain.table.select(columns).to_pylist()


def test_the_value_of_each_row_of_an_optimum_may_be_written_as_a_parameter(planted: Lakehouse) -> None:
    text = f"OPTIMIZE chin MINIMIZE loss {OVER} BUDGET FOR EACH budget IN [1e20, 1e21]"
    columns = ["budget", "params", "tokens", "predicted_loss"]
    expected = planted.sql(text).table.select(columns)
    assert planted.sql(text.replace("BUDGET", "$budget")).table.select(columns) == expected


def test_a_law_keeps_the_values_that_it_was_made_with(planted: Lakehouse) -> None:
    planted.sql(
        "CREATE LAW twice AS FIT loss * $k AS y ~ power(params * $k) FROM points WITH (resamples = 3, forward = false)",
        {"k": 2.5},
    )
    planted.sql(
        "CREATE LAW units AS FIT loss ~ E + A / (params / ?) ^ a PARAMETERS (E > 0, A > 0, a > 0) FROM points "
        "WITH (resamples = 3, forward = false)",
        [1e6],
    )
    assert len(planted.sql("PREDICT twice FROM points")) == len(planted.sql("RESIDUALS twice")) == 60
    by_column, by_input = (planted.sql(f"EXTRAPOLATE twice TO {point}").rows() for point in ("params = 4e8", "x = 1e9"))
    (column,), (input_,) = by_column, by_input
    assert column[1:5] == input_[1:5] and column[6] == {"params": 0.04} and input_[6] == {"x": 0.04}
    (row,) = planted.sql("EXTRAPOLATE units TO params = 1e9").records()
    assert planted.sql("SELECT units(1e9)").rows() == [(pytest.approx(row["predicted_loss"], rel=1e-12),)]
    assert planted.query("SELECT formula FROM laws WHERE name = 'units'").to_pylist() == [
        {"formula": "E + A / (params / 1000000.0e0) ^ a"}
    ]
    for name in ("twice", "units"):
        assert planted.sql(f"REFIT LAW {name}").records()[0]["bit_equal"] is True
        planted.sql(f"DROP LAW {name}")


def test_texts_of_changes_may_be_parameters(planted: Lakehouse) -> None:
    planted.sql("COMMENT ON LAW chin IS $c", {"c": "it's it"})
    assert planted.sql("SHOW LAWS LIKE ?", ["chin"]).records()[0]["comment"] == "it's it"
    planted.sql("COMMENT ON LAW chin IS NULL")


def test_a_script_numbers_its_parameters_through(planted: Lakehouse) -> None:
    made = "SELECT ?; CREATE OR REPLACE TABLE few AS FROM points WHERE id < ?"
    text = f"{made}; FIT loss ~ power(tokens) FROM few WHERE id > ? {QUICK}"
    assert planted.sql(text, ["first", 30, 9]).records()[0]["rows"] == 20
    assert planted.sql(f"{text}; SELECT ? - ?", ["first", 30, 9, 5, 3]).rows() == [(2,)]


@pytest.mark.parametrize(
    ("text", "values", "message"),
    [
        ("EXTRAPOLATE chin TO params = ?, tokens = ?", [1e9], "no value is given for parameter ?"),
        ("SHOW LAWS LIKE $p", {"p": 3}, "a pattern is a text, got $p"),
        ("DESCRIBE LAW chin VERSION ?", [1.5], "a version is a whole number, got ?"),
        ("COMMENT ON LAW chin IS ?", [None], "a comment is a text, got ?"),
        (
            "FIT loss ~ power(params) FROM points WITH (seed = $s)",
            {"s": "one"},
            "seed is a whole number, like 0, got $s",
        ),
    ],
)
def test_the_caret_is_under_the_parameter(planted: Lakehouse, text: str, values: Any, message: str) -> None:
    with pytest.raises(StatementError) as caught:
        planted.sql(text, values)
    assert message in str(caught.value)
    assert text[caught.value.start] in "?$"
