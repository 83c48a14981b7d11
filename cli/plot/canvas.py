"""A grid of character cells that takes dots: two by four Braille dots a cell, or one a cell in plain ASCII.

Dot columns count from the left, dot rows from the top. What is drawn later covers the color of what was there;
dots only add up, so a dithered band and a curve share a cell and both stay readable.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from isoflop.cli.plot.figure import Array

BRAILLE = 0x2800
WEIGHTS = np.array([[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]], dtype=np.int32)
"""Bit of each dot in a Braille cell, four rows of two (Unicode block U+2800)."""

MOST_STEPS = 8192
"""Dots one straight piece may take; a longer one lies almost completely outside the canvas."""


class Ink(NamedTuple):
    """How a kind of mark looks: a rich style, and the character it becomes in ASCII."""

    style: str
    glyph: str


NO_INK = Ink("", " ")


class Canvas:
    """Cells to draw on.

    Parameters
    ----------
    columns, rows : size in character cells
    is_ascii : one dot a cell and ASCII characters only
    """

    def __init__(self, columns: int, rows: int, *, is_ascii: bool = False) -> None:
        self.columns, self.rows, self.is_ascii = max(1, columns), max(1, rows), is_ascii
        self.across, self.upright = (1, 1) if is_ascii else (2, 4)
        self.width, self.height = self.columns * self.across, self.rows * self.upright
        self._dots: NDArray[np.bool_] = np.zeros((self.height, self.width), dtype=bool)
        self._ink: NDArray[np.int16] = np.zeros((self.rows, self.columns), dtype=np.int16)
        self._text: NDArray[np.int32] = np.zeros((self.rows, self.columns), dtype=np.int32)
        self._inks: list[Ink] = [NO_INK]

    def dots(self, i: Array, j: Array, ink: Ink) -> None:
        """Set the dots nearest to the positions (i, j), (R,) float arrays in dots; others are left out."""
        known = np.isfinite(i) & np.isfinite(j)
        column, row = np.rint(i[known]).astype(np.int64), np.rint(j[known]).astype(np.int64)
        inside = (column >= 0) & (column < self.width) & (row >= 0) & (row < self.height)
        column, row = column[inside], row[inside]
        self._dots[row, column] = True
        self._ink[row // self.upright, column // self.across] = self._number(ink)

    def line(self, i: Array, j: Array, ink: Ink, *, dash: int = 0) -> None:
        """Join the positions (i, j), (S,) float arrays in dots; a missing one interrupts the line.

        Parameters
        ----------
        dash : dots drawn and then left out in turn; 0 draws all of them
        """
        if i.size == 1:
            return self.dots(i, j, ink)
        keep = np.isfinite(i[:-1]) & np.isfinite(i[1:]) & np.isfinite(j[:-1]) & np.isfinite(j[1:])
        if not keep.any():
            return self.dots(i, j, ink)
        left, top = i[:-1][keep], j[:-1][keep]
        across, down = i[1:][keep] - left, j[1:][keep] - top
        length = np.maximum(np.abs(across), np.abs(down))
        steps = np.clip(np.ceil(length), 1, MOST_STEPS).astype(np.int64)
        piece = np.repeat(np.arange(steps.size), steps)
        share = (np.arange(piece.size) - np.repeat(np.cumsum(steps) - steps, steps)) / steps[piece]
        column = np.append(left[piece] + share * across[piece], left[-1] + across[-1])
        row = np.append(top[piece] + share * down[piece], top[-1] + down[-1])
        if dash:
            walked = np.cumsum(np.append(0.0, np.hypot(np.diff(column), np.diff(row))))
            drawn = np.floor(walked / dash).astype(np.int64) % 2 == 0
            column, row = column[drawn], row[drawn]
        else:
            self.dots(i, j, ink)  # the last position before a gap, and one alone between two gaps
        return self.dots(column, row, ink)

    def fill(self, i: Array, upper: Array, lower: Array, ink: Ink, *, across: int = 2, down: int = 1) -> None:
        """Dither the room between two curves given at rising positions `i`, all (S,) float arrays in dots.

        Parameters
        ----------
        upper, lower : dot rows, in any order; NaN leaves the room open
        across, down : one dot in `across` is set in one row of `down`, shifted by half from each such row to the next
        """
        known = np.isfinite(i) & np.isfinite(upper) & np.isfinite(lower)
        if np.count_nonzero(known) < 2:
            return
        columns = np.arange(self.width, dtype=np.float64)
        high = np.interp(columns, i[known], np.minimum(upper, lower)[known], left=np.nan, right=np.nan)
        low = np.interp(columns, i[known], np.maximum(upper, lower)[known], left=np.nan, right=np.nan)
        rows = np.arange(self.height, dtype=np.float64)[:, None]
        number = np.arange(self.height)[:, None] // down
        grid = (np.arange(self.width)[None, :] + (across // 2) * number) % across == 0
        grid &= np.arange(self.height)[:, None] % down == 0
        with np.errstate(invalid="ignore"):
            inside = (rows >= high[None, :] - 0.5) & (rows <= low[None, :] + 0.5) & grid
        row, column = np.nonzero(inside)
        self._dots[row, column] = True
        self._ink[row // self.upright, column // self.across] = self._number(ink)

    def blocks(self, i: Array, j: Array, ink: Ink) -> None:
        """Set two by two dots at every position, so that a point stands out from a line."""
        if self.is_ascii:
            return self.dots(i, j, ink)
        left, top = np.floor(i), np.floor(j)
        for right, down in ((0, 0), (1, 0), (0, 1), (1, 1)):
            self.dots(left + right, top + down, ink)
        return None

    def glyphs(self, i: Array, j: Array, character: str, ink: Ink) -> None:
        """Put one character over the cell of every position."""
        known = np.isfinite(i) & np.isfinite(j)
        column = np.rint(i[known]).astype(np.int64) // self.across
        row = np.rint(j[known]).astype(np.int64) // self.upright
        inside = (column >= 0) & (column < self.columns) & (row >= 0) & (row < self.rows)
        self._text[row[inside], column[inside]] = ord(character)
        self._ink[row[inside], column[inside]] = self._number(ink)

    def write(self, column: int, row: int, text: str, ink: Ink) -> bool:
        """Write text over cells; return False, and write nothing, where it would leave the canvas or meet a text."""
        if not text or not 0 <= row < self.rows or column < 0 or column + len(text) > self.columns:
            return False
        around = self._text[row, max(0, column - 1) : column + len(text) + 1]
        if np.any(around):
            return False
        self._text[row, column : column + len(text)] = [ord(character) for character in text]
        self._ink[row, column : column + len(text)] = self._number(ink)
        return True

    def lines(self) -> list[list[tuple[str, str]]]:
        """Return every row as pieces of (text, rich style), neighbors of one style joined."""
        ink = self._ink
        if self.is_ascii:
            glyphs = np.array([ord(each.glyph) for each in self._inks], dtype=np.int32)
            codes = np.where(self._dots, glyphs[ink], ord(" "))
        else:
            cells = self._dots.reshape(self.rows, 4, self.columns, 2)
            bits = np.einsum("rdcs,ds->rc", cells, WEIGHTS)
            codes = np.where(bits > 0, BRAILLE + bits, ord(" "))
        codes = np.where(self._text > 0, self._text, codes)
        ink = np.where(codes == ord(" "), 0, ink)
        pages = []
        for row in range(self.rows):
            breaks = np.flatnonzero(np.diff(ink[row])) + 1
            text = "".join(map(chr, codes[row].tolist()))
            ends = [0, *breaks.tolist(), self.columns]
            pages.append([(text[a:b], self._inks[int(ink[row, a])].style) for a, b in pairwise(ends)])
        return pages

    def _number(self, ink: Ink) -> int:
        """Place of an ink in the palette; a new one is added."""
        try:
            return self._inks.index(ink)
        except ValueError:
            self._inks.append(ink)
            return len(self._inks) - 1
