"""How an answer looks in a notebook: a table with its statement, units and notes, safe to show whatever it holds."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

from isoflop.lakehouse.answers import SHOWN_ROWS, plain

if TYPE_CHECKING:
    import pyarrow as pa

    from isoflop.lakehouse.answers import Answer

LONGEST_TITLE = 160  # characters of a statement that are shown
# Colours follow the notebook's theme: nothing is painted but a line and the notes.
_NUMBER = "text-align:right;font-variant-numeric:tabular-nums"
_TEXT = "text-align:left"
_QUIET = "opacity:.65;font-weight:normal"


def answer_html(answer: Answer) -> str:
    """Return an answer as HTML: statement, columns with units, rows, notes."""
    table = answer.arrow()
    parts = ['<div class="isoflop-answer">']
    title = " ".join(answer.statement.split())
    if title:
        cut = title if len(title) <= LONGEST_TITLE else title[: LONGEST_TITLE - 1] + "…"
        parts.append(f'<div style="{_QUIET}"><code title="{escape(title)}">{escape(cut)}</code></div>')
    styles = [_NUMBER if _is_number(field.type) else _TEXT for field in table.schema]
    if table.num_columns:
        head = "".join(
            f'<th style="{style}">{escape(name)}{_unit(answer, name)}</th>'
            for name, style in zip(table.column_names, styles, strict=True)
        )
        rows = "".join(_row(list(row.values()), styles) for row in table.slice(0, SHOWN_ROWS).to_pylist())
        parts.append(f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>")
    counted = f"{len(answer)} row{'s' * (len(answer) != 1)}"
    more = f", {SHOWN_ROWS} shown" if len(answer) > SHOWN_ROWS else ""
    parts.append(f'<div style="{_QUIET}">{counted}{more}</div>')
    parts += [f"<div>⚠ {escape(note)}</div>" for note in answer.notes]
    return "".join([*parts, "</div>"])


def _unit(answer: Answer, name: str) -> str:
    unit = answer.units.get(name)
    return f'<br><span style="{_QUIET}">{escape(unit)}</span>' if unit else ""


def _row(values: list[Any], styles: list[str]) -> str:
    cells = (f'<td style="{style}">{escape(plain(value))}</td>' for value, style in zip(values, styles, strict=True))
    return f"<tr>{''.join(cells)}</tr>"


def _is_number(kind: pa.DataType) -> bool:
    import pyarrow.types as types

    return bool(types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind))
