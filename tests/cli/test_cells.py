"""Tables for people: counts as 70B, compute as 5.76e23, and never two values as one; other formats keep every digit."""

from __future__ import annotations

import io
import json
from decimal import Decimal

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isoflop.cli.cells import size_cells, table_cells, unit_of
from isoflop.cli.output import show
from isoflop.lakehouse import Answer


@pytest.mark.parametrize(
    ("values", "unit", "cells"),
    [
        ([70e9, 1.4e12, 400e6], "count", ["70B", "1.4T", "400M"]),
        ([512, 4096, 999_999, 0, -5000], "count", ["512", "4,096", "999,999", "0", "-5,000"]),
        ([512.5, -0.0, float("nan"), float("inf")], "count", ["512.5", "-0", "nan", "inf"]),
        ([999_999_999_999.0], "count", ["1T"]),
        ([2e15], "count", ["2e15"]),
        ([5.76e23, 1e21, 6e9, 960], "FLOP", ["5.76e23", "1e21", "6e9", "960"]),
        ([80 * 2**30, 1024], "byte", ["80.0 GiB", "1,024"]),
    ],
)
def test_sizes_are_written_as_people_write_them(values: list[float], unit: str, cells: list[str]) -> None:
    assert size_cells(values, unit, is_whole=False) == cells


@given(
    values=st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=8, unique=True),
    unit=st.sampled_from(["count", "FLOP", "byte"]),
)
def test_two_whole_numbers_never_look_alike(values: list[int], unit: str) -> None:
    cells = size_cells(values, unit, is_whole=True)
    assert len(set(cells)) == len(values)


@given(value=st.floats(1e6, 1e30), unit=st.sampled_from(["count", "FLOP"]))
def test_four_digits_are_right(value: float, unit: str) -> None:
    (cell,) = size_cells([value], unit, is_whole=False)
    factor = {"M": 1e6, "B": 1e9, "T": 1e12}.get(cell[-1], 1)
    assert float(cell.rstrip("MBT")) * factor == pytest.approx(value, rel=5.01e-4)


def test_the_unit_of_a_column_is_its_answers_or_its_names() -> None:
    answer = Answer(pa.table({"size": [70e9]}), units={"size": "count"})
    assert table_cells(answer) == (["size"], [["70B"]])
    assert unit_of("params_lower", answer) == "count" and unit_of("loss", answer) == "nat/token"
    assert table_cells(Answer(pa.table({"params": ["7B-chat"]})))[1] == [["7B-chat"]]  # a text is no count


def test_decimals_and_equal_names() -> None:
    table = pa.Table.from_arrays([pa.array([Decimal(123456789)]), pa.array([2])], names=["params", "params"])
    assert table_cells(Answer(table)) == (["params", "params_1"], [["123.5M", "2"]])


@pytest.mark.parametrize("form", ["json", "csv", "lines"])
def test_other_formats_keep_every_digit(form: str, capsys: pytest.CaptureFixture[str]) -> None:
    show(Answer(pa.table({"params": [124_439_808]})), form)
    assert "124439808" in capsys.readouterr().out


def test_arrow_keeps_every_digit(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    import sys

    show(Answer(pa.table({"params": [124_439_808]})), "arrow")
    sys.stdout.flush()
    assert pa.ipc.open_stream(io.BytesIO(capfdbinary.readouterr().out)).read_all()["params"].to_pylist() == [124439808]


@pytest.mark.parametrize("width", [40, 80, 110, 200])
def test_a_single_wide_row_stands_on_its_side_with_whole_texts(
    width: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    words = "a note of many words " * 12
    show(Answer(pa.table({"params": [70e9], "nothing": pa.nulls(1), "notes": [words], "loss": [0.0000123]})))
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= width
    assert " ".join(out.split()).count("many") == 12 and "70B" in out and "1.23e-05" in out and "nothing" in out


def test_json_of_decimals_loses_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    show(Answer(pa.table({"a": [Decimal("123456789.123456789")], "b": [Decimal("1.500000000")]})), "json")
    assert json.loads(capsys.readouterr().out) == [{"a": "123456789.123456789", "b": 1.5}]
