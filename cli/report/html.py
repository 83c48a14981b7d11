"""Writes a report as one HTML file: no address outside it, and no script that is not its own may run in it."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable
from html import escape
from pathlib import Path

import pyarrow.types as types

from isoflop.cli.cells import table_cells, unit_of
from isoflop.cli.report.advice import ADVICE, STATUS
from isoflop.cli.report.content import Asked, Code, Drawn, Health, Missing, Part, Quoted, Report, Section, Sentence
from isoflop.cli.report.drawing import drawing
from isoflop.lakehouse.answers import values_of
from isoflop.lakehouse.visible import visible, visible_line

FOLDER = Path(__file__).parent
CODE = re.compile(r"`([^`]+)`")


def html_of(report: Report) -> str:
    """Return a report as the text of an HTML file."""
    style, script = ((FOLDER / name).read_text(encoding="utf-8").strip() for name in ("page.css", "page.js"))
    writer = _Writer(report)
    title = escape(visible_line(report.title))
    return "\n".join(
        [
            "<!DOCTYPE html>",
            '<html lang="en">',
            "<head>",
            '<meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f'<meta http-equiv="Content-Security-Policy" content="{_policy(script)}">',
            '<meta name="referrer" content="no-referrer">',
            '<meta name="color-scheme" content="light dark">',
            f"<title>{title}</title>",
            f"<style>\n{style}\n</style>",
            "</head>",
            "<body>",
            '<a class="skip" href="#content">Skip to the content</a>',
            f'<header><h1>{title}</h1><button type="button" id="theme" hidden>Dark or light</button></header>',
            _contents(report.sections),
            '<main id="content">',
            *(writer.section(section) for section in report.sections),
            writer.closing(),
            "</main>",
            '<p class="sr" id="said" role="status"></p>',
            f"<script>{script}</script>",
            "</body>",
            "</html>",
            "",
        ]
    )


def _policy(script: str) -> str:
    """Return what a browser may do with the page: apply its styles, run this one script, and ask nobody."""
    checksum = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    scripts = f"script-src 'sha256-{checksum}'"
    return f"default-src 'none'; style-src 'unsafe-inline'; {scripts}; base-uri 'none'; form-action 'none'"


def _contents(sections: Iterable[Section]) -> str:
    links = [
        f'<li><a href="#{section.anchor}">{_words(section.title)}</a></li>'
        for section in sections
        if not section.is_inner
    ]
    statements = '<li><a href="#statements">Statements</a></li>'
    return f'<nav aria-label="Contents"><ul>{"".join(links)}{statements}</ul></nav>'


class _Writer:
    """Writes the parts of a report, and numbers what others point to."""

    def __init__(self, report: Report) -> None:
        self._report = report
        asked = [part for part in report.parts() if isinstance(part, Asked)]
        self._anchors = {id(part): f"answer-{number}" for number, part in enumerate(asked, 1)}
        self._num_plots = 0

    def section(self, section: Section) -> str:
        """Return a section with its heading."""
        level = 3 if section.is_inner else 2
        parts = "\n".join(map(self._part, section.parts))
        return (
            f'<section id="{section.anchor}" aria-labelledby="{section.anchor}-h">\n'
            f'<h{level} id="{section.anchor}-h">{_words(section.title)}</h{level}>\n{parts}\n</section>'
        )

    def closing(self) -> str:
        """Return what the report was made with, and all of its statements."""
        facts = "".join(f"<dt>{escape(name)}</dt><dd>{_words(value)}</dd>" for name, value in self._report.made_with)
        every = "\n\n".join(f"{statement};" for statement in self._report.statements())
        return (
            f'<section id="statements" aria-labelledby="statements-h">\n<h2 id="statements-h">Statements</h2>\n'
            f'<dl class="facts">{facts}</dl>\n'
            "<p>Every number above is in the answer to one of these; <code>isoflop sql</code> gives it again.</p>\n"
            f"{_code('All statements, in the order of the page', every, is_open=False)}\n</section>"
        )

    def _part(self, part: Part) -> str:
        match part:
            case Asked():
                return self._asked(part)
            case Sentence():
                return f'<p class="lead">{"".join(map(self._piece, part.parts))}</p>'
            case Drawn():
                return self._drawn(part)
            case Code():
                return _code(part.caption, f"{part.statement};")
            case Health():
                return _health(part)
            case Missing():
                return f'<p class="missing"><strong>No {_words(part.what)}:</strong> {_words(part.why)}.</p>'

    def _piece(self, piece: str | Quoted) -> str:
        if isinstance(piece, str):
            return _words(piece)
        place = f'data-answer="{self._anchors[id(piece.asked)]}" data-row="{piece.row}"'
        value = _value(values_of(piece.asked.answer.arrow().column(piece.column))[piece.row])
        return f'<data {place} data-column="{_words(piece.column)}" value="{value}">{_words(piece.text)}</data>'

    def _asked(self, asked: Asked) -> str:
        names, rows = table_cells(asked.answer)
        table = asked.answer.arrow()
        units = [unit_of(name, asked.answer) for name in table.column_names]
        heads = [
            f"{_words(name)}{f' <small>{escape(unit)}</small>' if unit else ''}"
            for name, unit in zip(names, units, strict=True)
        ]
        anchor = self._anchors[id(asked)]
        if asked.is_on_side and len(rows) == 1:
            lines = "".join(
                f'<tr><th scope="row">{head}</th><td>{_cell(cell)}</td></tr>'
                for head, cell in zip(heads, rows[0], strict=True)
            )
            body = f'<tbody class="side">{lines}</tbody>'
        else:
            are_numeric = [_is_numeric(field.type) for field in table.schema]
            kinds = [' class="number"' if is_numeric else "" for is_numeric in are_numeric]
            values = zip(*(values_of(column) for column in table.columns), strict=True)
            head = "".join(f'<th scope="col"{kind}>{text}</th>' for kind, text in zip(kinds, heads, strict=True))
            lines = "".join(
                f"<tr>{''.join(map(_number_cell, cells, exact, are_numeric))}</tr>"
                for cells, exact in zip(rows, values, strict=True)
            )
            body = f"<thead><tr>{head}</tr></thead><tbody>{lines}</tbody>"
        notes = "".join(f"<li>{_words(note)}</li>" for note in asked.notes)
        return (
            f'<div class="answer" id="{anchor}">\n'
            f'<div class="scroll" role="region" tabindex="0" aria-label="{_words(asked.caption)}">'
            f"<table><caption>{_words(asked.caption)}</caption>{body}</table></div>\n"
            + (f'<ul class="notes">{notes}</ul>\n' if notes else "")
            + f"{_code('Statement', f'{asked.statement};')}\n</div>"
        )

    def _drawn(self, drawn: Drawn) -> str:
        self._num_plots += 1
        statements = _code("Statements", drawn.figure.statement, is_open=False) if drawn.figure.statements else ""
        return (
            f"<figure>\n<figcaption>{_words(drawn.caption)} <small>{_words(drawn.figure.title)}</small></figcaption>\n"
            f"{drawing(drawn.figure, f'plot-{self._num_plots}')}\n{statements}</figure>"
        )


def _code(caption: str, statement: str, *, is_open: bool = False) -> str:
    """Return a statement that can be unfolded and copied."""
    return (
        f'<details class="code"{" open" * is_open}><summary>{_words(caption)}</summary>'
        f'<button type="button" class="copy" hidden>Copy<span class="sr"> the statement</span></button>'
        f'<pre tabindex="0"><code>{escape(visible(statement))}</code></pre></details>'
    )


def _health(health: Health) -> str:
    is_sound = health.status in ("converged", "given")
    said = STATUS.get(health.status, "See the notes.")
    lines = []
    for note in health.notes:
        kind, _, sentence = note.partition(": ")
        advice = ADVICE.get(kind)
        todo = (
            "" if advice in (None, "nothing") else f'<br><span class="todo">What to do: {_advice(str(advice))}.</span>'
        )
        lines.append(f"<li><code>{_words(kind)}</code> {_words(sentence)}{todo}</li>")
    return (
        f'<p class="health {"sound" if is_sound else "unsound"}"><strong>{_words(health.status.replace("_", " "))}'
        f"</strong> {escape(said)}</p>" + (f'<ul class="kinds">{"".join(lines)}</ul>' if lines else "")
    )


def _advice(text: str) -> str:
    return CODE.sub(r"<code>\1</code>", escape(text))


def _words(text: str) -> str:
    """Return a text of whoever wrote it, safe in HTML and in the value of an attribute."""
    return escape(visible_line(text))


def _cell(text: str) -> str:
    return escape(visible(text))


def _number_cell(text: str, value: object, is_numeric: bool) -> str:
    """Return a cell of a table; a number has every digit as its `data-value`, where fewer are shown."""
    if not is_numeric:
        return f"<td>{_cell(text)}</td>"
    is_cut = value is not None and text != _value(value)
    exact = f' data-value="{_value(value)}"' if is_cut else ""
    return f'<td class="number"{exact}>{_cell(text)}</td>'


def _value(value: object) -> str:
    return escape(repr(value) if isinstance(value, float) else visible_line(str(value)))


def _is_numeric(kind: object) -> bool:
    return bool(types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind))
