"""Draws a rule of the grammar as a railroad: what a train can pass on its way from left to right can be typed.

A box is drawn with its entry at (0, 0); composing boxes is moving them. Alternatives and what may be left out branch
off downwards, what may be repeated runs back below itself, a sequence that is too long goes on in the next row.
"""

from __future__ import annotations

from dataclasses import dataclass
from html import escape

from isoflop.queries.language.syntax.grammar import (
    Alternatives,
    Listed,
    Mark,
    Maybe,
    Node,
    Reference,
    Sequence,
    Word,
)

CHARACTER, PADDING, HALF = 7.8, 10, 12  # width of a letter, space beside a text, half the height of a box [px]
BEND, GAP, STEP = 8, 8, 10  # radius of a bend, space between rows, length of rail between parts [px]
WIDEST = 780  # of a row [px]

STYLE = """
path { fill: none; stroke: #57606a; stroke-width: 1.5 } rect { fill: #f6f8fa; stroke: #57606a; stroke-width: 1.2 }
.word { fill: #ddf4ff } text { font: 13px ui-monospace, Menlo, Consolas, monospace; fill: #1f2328; text-anchor: middle }
.part text { font-style: italic }
@media (prefers-color-scheme: dark) {
path { stroke: #8b949e } rect { fill: #161b22; stroke: #8b949e } .word { fill: #12314f } text { fill: #e6edf3 } }
"""


@dataclass(frozen=True)
class Box:
    """A drawing that a rail enters at (0, 0) and leaves at (width, 0), `up` above and `down` below the rail [px]."""

    width: float
    up: float
    down: float
    svg: str


def draw(node: Node, title: str) -> str:
    """Return a rule as an SVG image."""
    box, last = _rows(node)
    left, top = 14, box.up + 6
    width, height = box.width + 2 * left, top + box.down + 6
    ends = _path(f"M4 {top:g} h{left - 4}") + _path(f"M{left + box.width:g} {top + last:g} h{left - 4}")
    posts = _path(f"M4 {top - 6:g} v12") + _path(f"M{width - 4:g} {top + last - 6:g} v12")
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:g}" height="{height:g}" '
        f'viewBox="0 0 {width:g} {height:g}" role="img"><title>{escape(title)}</title><style>{STYLE}</style>'
        f"{ends}{posts}{_at(left, top, box.svg)}</svg>\n"
    )


def _path(steps: str) -> str:
    return f'<path d="{steps}"/>'


def _at(x: float, y: float, svg: str) -> str:
    return f'<g transform="translate({x:g} {y:g})">{svg}</g>' if x or y else svg


def _box(node: Node) -> Box:
    match node:
        case Word(text) | Mark(text):
            return _label(text, "word", HALF)
        case Reference(name):
            return _label(name, "part", 0)
        case Sequence(parts):
            return _beside([_box(part) for part in parts])
        case Alternatives(options):
            return _branches([_box(option) for option in options])
        case Maybe(part):
            return _branches([Box(0, 0, 0, ""), _box(part)])
        case Listed(part):
            return _loop(_box(part))
    raise AssertionError(node)


def _label(text: str, kind: str, corner: int) -> Box:
    width = len(text) * CHARACTER + 2 * PADDING
    svg = (
        f'<g class="{kind}">'
        f'<rect class="{kind}" x="0" y="{-HALF}" width="{width:g}" height="{2 * HALF}" rx="{corner}"/>'
        f'<text x="{width / 2:g}" y="4.5">{escape(text)}</text></g>'
    )
    return Box(width, HALF, HALF, svg)


def _beside(boxes: list[Box]) -> Box:
    svg, x = "", 0.0
    for position, box in enumerate(boxes):
        if position:
            svg += _path(f"M{x:g} 0 h{STEP}")
            x += STEP
        svg += _at(x, 0, box.svg)
        x += box.width
    return Box(x, max(box.up for box in boxes), max(box.down for box in boxes), svg)


def _branches(boxes: list[Box]) -> Box:
    inner = max(box.width for box in boxes)
    width, y, svg = inner + 4 * BEND, 0.0, ""
    for position, box in enumerate(boxes):
        if position:
            y += max(boxes[position - 1].down + GAP + box.up, 2 * BEND)
            svg += _path(f"M0 0 q{BEND} 0 {BEND} {BEND} V{y - BEND:g} q0 {BEND} {BEND} {BEND}")
            svg += _path(f"M{width - 2 * BEND:g} {y:g} q{BEND} 0 {BEND} {-BEND} V{BEND} q0 {-BEND} {BEND} {-BEND}")
        else:
            svg += _path(f"M0 0 h{2 * BEND}") + _path(f"M{width - 2 * BEND:g} 0 h{2 * BEND}")
        svg += _at(2 * BEND, y, box.svg) + _path(f"M{2 * BEND + box.width:g} {y:g} H{2 * BEND + inner:g}")
    return Box(width, boxes[0].up, y + boxes[-1].down, svg)


def _loop(box: Box) -> Box:
    comma = _label(",", "word", HALF)
    width, y, right = box.width + 4 * BEND, box.down + GAP + HALF, 2 * BEND + box.width
    middle = (width - comma.width) / 2
    svg = _path(f"M0 0 h{2 * BEND}") + _at(2 * BEND, 0, box.svg) + _path(f"M{right:g} 0 h{2 * BEND}")
    svg += _path(
        f"M{right:g} 0 q{BEND} 0 {BEND} {BEND} V{y - BEND:g} q0 {BEND} {-BEND} {BEND} H{middle + comma.width:g}"
    )
    svg += _path(f"M{middle:g} {y:g} H{2 * BEND} q{-BEND} 0 {-BEND} {-BEND} V{BEND} q0 {-BEND} {BEND} {-BEND}")
    return Box(width, box.up, y + HALF, svg + _at(middle, y, comma.svg))


def _rows(node: Node) -> tuple[Box, float]:
    """Return a rule, its sequence in as many rows as it takes, and how far below its entry the last row runs."""
    parts = node.parts if isinstance(node, Sequence) else (node,)
    rows: list[list[Box]] = [[]]
    for box in map(_box, parts):
        if rows[-1] and sum(one.width + STEP for one in rows[-1]) + box.width > WIDEST:
            rows.append([])
        rows[-1].append(box)
    drawn = [_beside(row) for row in rows]
    if len(drawn) == 1:
        return drawn[0], 0.0
    indent = 2 * BEND
    width = max(drawn[0].width, *(indent + row.width for row in drawn[1:])) + BEND
    svg, y = "", 0.0
    for position, row in enumerate(drawn):
        x = indent if position else 0.0
        svg += _at(x, y, row.svg)
        if row is drawn[-1]:
            svg += _path(f"M{x + row.width:g} {y:g} H{width:g}")
            break
        turn = y + max(row.down + GAP, 2 * BEND)
        following = turn + max(GAP + drawn[position + 1].up, 2 * BEND)
        edge = x + row.width
        svg += _path(
            f"M{edge:g} {y:g} q{BEND} 0 {BEND} {BEND} V{turn - BEND:g} q0 {BEND} {-BEND} {BEND} H{BEND} "
            f"q{-BEND} 0 {-BEND} {BEND} V{following - BEND:g} q0 {BEND} {BEND} {BEND} H{indent}"
        )
        y = following
    return Box(width, drawn[0].up, y + drawn[-1].down, svg), y
