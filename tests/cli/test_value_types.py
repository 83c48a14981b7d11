"""Every type that DuckDB has, in every format: as DuckDB writes it, no digit lost, no control character sent."""

from __future__ import annotations

import csv
import io
import json

import pyarrow as pa
import pytest

from isoflop.cli.output import show
from isoflop.lakehouse import Answer, Lakehouse

# SQL -> what it is as text, and in JSON.
VALUES = {
    "170141183460469231731687303715884105727::HUGEINT": ("170141183460469231731687303715884105727", 2**127 - 1),
    "340282366920938463463374607431768211455::UHUGEINT": ("340282366920938463463374607431768211455", str(2**128 - 1)),
    "18446744073709551615::UBIGINT": ("18446744073709551615", 2**64 - 1),
    "1.50::DECIMAL(9, 2)": ("1.50", 1.5),
    "INTERVAL '1 year 2 months 3 days 4.5 seconds'": ("1 year 2 months 3 days 00:00:04.5",) * 2,
    "'6ba7b810-9dad-11d1-80b4-00c04fd430c8'::UUID": ("6ba7b810-9dad-11d1-80b4-00c04fd430c8",) * 2,
    r"'a\x00\xFF'::BLOB": (r"a\x00\xFF",) * 2,
    "'10101'::BIT::VARCHAR": ("10101",) * 2,  # a BIT by itself is a BLOB to Arrow
    "12345678901234567890123456789::BIGNUM": ("12345678901234567890123456789",) * 2,
    "'a'::ENUM('a', 'b')": ("a", "a"),
    "{'x': 1, 'y': [1.5, NULL]}": ("x 1, y [1.5, -]", {"x": 1, "y": [1.5, None]}),
    "MAP {'k': 1}": ("k 1", {"k": 1}),
    "MAP {[1]: 2}": ("[[[1], 2]]", [[[1], 2]]),
    "1::UNION(n INTEGER, t VARCHAR)": ("1", 1),
    "-0.0::DOUBLE": ("-0", -0.0),
    "'nan'::DOUBLE": ("nan", "nan"),
    "'-inf'::DOUBLE": ("-inf", "-inf"),
    "0.0000123::DOUBLE": ("1.23e-05", 1.23e-05),
    "DATE '2024-02-03'": ("2024-02-03",) * 2,
    "'infinity'::TIMESTAMP": ("infinity",) * 2,
    "TIMESTAMP_NS '2024-01-01 00:00:00.123456789'": ("2024-01-01 00:00:00.123456789",) * 2,
    "true": ("true", True),
}


@pytest.mark.parametrize("expression", VALUES)
def test_a_value_in_every_format(curves_lake: Lakehouse, expression: str, capsys: pytest.CaptureFixture[str]) -> None:
    text, as_json = VALUES[expression]
    answer = curves_lake.sql(f"SELECT {expression} AS x, NULL AS y")

    def printed(form: str) -> str:
        show(answer, form)
        return capsys.readouterr().out

    assert printed("table").splitlines()[2].split("   ")[0].strip() == text
    assert printed("lines").splitlines()[1] == f"x  {text}"
    assert printed("markdown").splitlines()[2] == f"| {text} | - |"
    (row,) = json.loads(printed("json"))
    assert row["y"] is None and repr(row["x"]) == repr(as_json)  # also -0.0
    (_, cells) = csv.reader(io.StringIO(printed("csv")))
    assert cells[1] == "" and cells[0] != ""


@pytest.mark.parametrize("form", ["table", "lines", "json", "csv", "markdown"])
def test_equal_names_are_told_apart(form: str, capsys: pytest.CaptureFixture[str]) -> None:
    show(Answer(pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["x", "x"])), form)
    out = capsys.readouterr().out
    assert "x_1" in out and "1" in out and "2" in out


@pytest.mark.parametrize("form", ["table", "lines", "markdown"])
def test_control_characters_are_shown(form: str, capsys: pytest.CaptureFixture[str]) -> None:
    show(Answer(pa.table({"a\x1b[2J": ["b\x1b[31m"]})), form)
    out = capsys.readouterr().out
    assert "\x1b" not in out and r"\x1b[31m" in out and r"\x1b[2J" in out
