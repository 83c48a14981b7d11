"""Tables on narrow terminals: whole columns, whole numbers, and a word about what is left out."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isoflop.cli.widths import EMPTY, fit

WORDS = "a text that is longer than most columns are wide"
CELLS = st.sampled_from(["1.5", "-3.15711e+10", "12", EMPTY, "word", WORDS])


@given(data=st.data(), width=st.integers(20, 200))
def test_a_number_is_shown_whole_or_not_at_all(data: st.DataObject, width: int) -> None:
    names = [f"column_{place}" for place in range(data.draw(st.integers(1, 30)))]
    rows = data.draw(st.lists(st.lists(CELLS, min_size=len(names), max_size=len(names)), min_size=1, max_size=4))
    shown = fit(names, rows, width)
    assert len(shown.rows) == len(rows) and all(len(row) == len(shown.columns) for row in shown.rows)
    for place, name in enumerate(shown.columns):
        if name != "…" and shown.are_numbers[place]:
            assert [row[place] for row in shown.rows] == [row[names.index(name)] for row in rows]
    left_out = [name for name in names if name not in shown.columns]
    assert bool(left_out) == any("more column" in line for line in shown.under)
    widths = [max(len(name), *(len(row[i]) for row in shown.rows)) for i, name in enumerate(shown.columns)]
    assert sum(widths) + 3 * (len(widths) - 1) <= width or len(shown.columns) <= 3


def test_notes_stand_below_a_wide_table_once() -> None:
    names = ["rank", *(f"value_{place}" for place in range(12)), "notes"]
    rows = [[str(rank), *["3.14159"] * 12, "few rows decide"] for rank in (1, 2)]
    shown = fit(names, rows, 80)
    assert "notes" not in shown.columns and shown.under[-1] == "row 1, 2: few rows decide"


@pytest.mark.parametrize("width", [40, 80, 120])
def test_what_fits_is_left_as_it_is(width: int) -> None:
    assert fit(["a", "b"], [["1", "word"]], width).columns == ["a", "b"]
