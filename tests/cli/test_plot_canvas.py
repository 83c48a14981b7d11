from __future__ import annotations

import numpy as np

from isoflop.cli.plot.canvas import Canvas, Ink

RED, BLUE = Ink("red", "r"), Ink("blue", "b")


def text_of(canvas: Canvas) -> list[str]:
    return ["".join(text for text, _ in row).rstrip() for row in canvas.lines()]


def test_every_dot_of_a_cell_has_its_own_bit() -> None:
    for column in range(2):
        for row in range(4):
            canvas = Canvas(1, 1)
            canvas.dots(np.array([float(column)]), np.array([float(row)]), RED)
            (only,) = text_of(canvas)
            assert bin(ord(only) - 0x2800).count("1") == 1
    full = Canvas(1, 1)
    full.dots(np.array([0.0, 1.0] * 4), np.array([0.0, 0, 1, 1, 2, 2, 3, 3]), RED)
    assert text_of(full) == ["⣿"]


def test_a_line_joins_its_ends_without_gaps() -> None:
    canvas = Canvas(4, 2)
    canvas.line(np.array([0.0, 7.0]), np.array([7.0, 0.0]), RED)
    assert text_of(canvas) == ["  ⡠⠊", "⡠⠊"]


def test_a_missing_position_interrupts_a_line() -> None:
    canvas = Canvas(5, 1)
    canvas.line(np.array([0.0, 2.0, np.nan, 6.0, 9.0]), np.array([0.0, 0.0, 0.0, 0.0, 0.0]), RED)
    assert text_of(canvas) == ["⠉⠁ ⠉⠉"]


def test_a_dashed_line_leaves_out_as_much_as_it_draws() -> None:
    canvas = Canvas(6, 1)
    canvas.line(np.array([0.0, 11.0]), np.array([0.0, 0.0]), RED, dash=4)
    assert text_of(canvas) == ["⠉⠉  ⠉⠉"]


def test_a_band_is_dithered_so_that_a_curve_stays_readable() -> None:
    canvas = Canvas(3, 1)
    canvas.fill(np.array([0.0, 5.0]), np.array([0.0, 0.0]), np.array([3.0, 3.0]), RED)
    assert text_of(canvas) == ["⢕⢕⢕"]
    canvas.line(np.array([0.0, 5.0]), np.array([1.0, 1.0]), BLUE)
    assert text_of(canvas) == ["⢗⢗⢗"]
    assert canvas.lines()[0] == [("⢗⢗⢗", "blue")]


def test_ascii_draws_one_glyph_a_cell() -> None:
    canvas = Canvas(4, 2, is_ascii=True)
    canvas.line(np.array([0.0, 3.0]), np.array([1.0, 0.0]), RED)
    canvas.blocks(np.array([3.0]), np.array([1.0]), BLUE)
    assert text_of(canvas) == ["  rr", "rr b"]


def test_neighbors_of_one_style_are_one_piece() -> None:
    canvas = Canvas(4, 1)
    canvas.blocks(np.array([0.0, 2.0]), np.array([0.0, 0.0]), RED)
    canvas.blocks(np.array([6.0]), np.array([0.0]), BLUE)
    assert [style for _, style in canvas.lines()[0]] == ["red", "", "blue"]


def test_positions_outside_and_missing_ones_draw_nothing() -> None:
    canvas = Canvas(2, 1)
    canvas.dots(np.array([-1.0, 99.0, np.nan, np.inf]), np.array([0.0, 0.0, 0.0, 0.0]), RED)
    canvas.glyphs(np.array([-5.0, np.nan]), np.array([0.0, 0.0]), "o", RED)
    assert text_of(canvas) == [""]


def test_text_is_not_written_over_text_or_over_the_border() -> None:
    canvas = Canvas(8, 1)
    assert canvas.write(1, 0, "abc", RED)
    assert not canvas.write(3, 0, "x", RED)
    assert not canvas.write(4, 0, "x", RED)
    assert not canvas.write(6, 0, "abc", RED)
    assert text_of(canvas) == [" abc"]


def test_a_far_away_end_does_not_take_forever() -> None:
    canvas = Canvas(10, 4)
    canvas.line(np.array([0.0, 1e12]), np.array([0.0, 1e12]), RED)
    assert len(text_of(canvas)) == 4
