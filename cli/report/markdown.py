"""Writes a report as Markdown, with pictures of characters; nothing in it is read as HTML."""

from __future__ import annotations

import re

from isoflop.cli.cells import markdown_rows, table_cells
from isoflop.cli.plot.terminal import draw
from isoflop.cli.report.advice import ADVICE, STATUS
from isoflop.cli.report.content import Asked, Code, Drawn, Health, Missing, Part, Quoted, Report, Sentence
from isoflop.lakehouse.visible import visible, visible_line

WIDTH, HEIGHT = 100, 26  # of a picture, in characters
MARKS = re.compile(r"([\\`*_{}\[\]<>|#~])")  # what Markdown or HTML would read as more than itself


def markdown_of(report: Report) -> str:
    """Return a report as the text of a Markdown file."""
    lines = [f"# {_words(report.title)}", ""]
    for section in report.sections:
        lines += [f"{'###' if section.is_inner else '##'} {_words(section.title)}", ""]
        for part in section.parts:
            lines += [*_part(part), ""]
    lines += ["## Statements", ""]
    lines += [f"- {name}: {_words(value)}" for name, value in report.made_with]
    every = "\n\n".join(f"{statement};" for statement in report.statements())
    return "\n".join([*lines, "", *_fenced(every, "sql"), ""])


def _part(part: Part) -> list[str]:
    match part:
        case Asked():
            notes = [f"- {_words(note)}" for note in part.notes]
            return [f"**{_words(part.caption)}**", "", *_table(part), "", *notes, *([""] if notes else []),
                    *_fenced(f"{part.statement};", "sql")]  # fmt: skip
        case Sentence():
            return ["".join(_words(piece.text if isinstance(piece, Quoted) else piece) for piece in part.parts)]
        case Drawn():
            picture = draw(part.figure, WIDTH, HEIGHT).plain
            statements = ["", *_fenced(part.figure.statement, "sql")] if part.figure.statements else []
            return [f"**{_words(part.caption)}**", "", *_fenced(picture, "text"), *statements]
        case Code():
            return [f"**{_words(part.caption)}**", "", *_fenced(f"{part.statement};", "sql")]
        case Health():
            return _health(part)
        case Missing():
            return [f"*No {_words(part.what)}: {_words(part.why)}.*"]


def _table(asked: Asked) -> list[str]:
    names, rows = table_cells(asked.answer)
    if asked.is_on_side and len(rows) == 1:
        names, rows = ["what", "value"], [list(pair) for pair in zip(names, rows[0], strict=True)]
    return markdown_rows(names, rows, _words)


def _health(health: Health) -> list[str]:
    lines = [f"**{_words(health.status.replace('_', ' '))}**: {STATUS.get(health.status, 'see the notes.')}", ""]
    for note in health.notes:
        kind, _, sentence = note.partition(": ")
        advice = ADVICE.get(kind, "nothing")
        todo = "" if advice == "nothing" else f" What to do: {advice}."
        lines.append(f"- `{visible_line(kind)}` {_words(sentence)}.{todo}")
    return lines


def _words(text: str) -> str:
    return MARKS.sub(r"\\\1", visible_line(text))


def _fenced(text: str, kind: str) -> list[str]:
    """Return a block of code whose fence is longer than any run of backquotes in it."""
    fence = "`" * max(3, *(len(run) + 1 for run in re.findall(r"`+", text)), 3)
    return [f"{fence}{kind}", visible(text), fence]
