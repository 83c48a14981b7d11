from __future__ import annotations

import io

import numpy as np
import pytest
from plot_samples import curve_sample, law_sample
from rich.console import Console
from syrupy.assertion import SnapshotAssertion

from isoflop.cli.plot.figure import Axis, Figure, PointMarks, floats
from isoflop.cli.plot.terminal import draw, is_plain_terminal


@pytest.mark.parametrize(("width", "height"), [(100, 28), (80, 24), (48, 14)])
def test_a_law_is_drawn_as_expected(width: int, height: int, snapshot: SnapshotAssertion) -> None:
    assert draw(law_sample(), width, height).plain == snapshot


def test_a_law_is_drawn_in_ascii_as_expected(snapshot: SnapshotAssertion) -> None:
    page = draw(law_sample(), 80, 24, is_ascii=True).plain
    assert page.isascii()
    assert page == snapshot


def test_curves_on_linear_axes_are_drawn_as_expected(snapshot: SnapshotAssertion) -> None:
    assert draw(curve_sample(), 80, 20).plain == snapshot


@pytest.mark.parametrize(("width", "height"), [(100, 28), (20, 6), (33, 9), (200, 60)])
@pytest.mark.parametrize("is_ascii", [True, False])
def test_a_page_has_exactly_the_size_asked_for(width: int, height: int, is_ascii: bool) -> None:
    page = draw(law_sample(), width, height, is_ascii=is_ascii)
    assert len(page.rows) == height
    assert max(len("".join(text for text, _ in row)) for row in page.rows) <= width


def test_a_low_page_gives_up_its_title_before_its_plot() -> None:
    assert "chin" in draw(law_sample(), 80, 12).plain.splitlines()[0]
    assert "chin" not in draw(law_sample(), 80, 10).plain


def test_shape_tells_apart_what_color_tells_apart() -> None:
    page = draw(law_sample(), 80, 24, is_ascii=True).plain
    assert {"*", "o", "-", ":", "|", "_"} <= set(page)
    assert "data end here" in page
    assert "E = 1.8" in page


def test_rich_output_keeps_the_text_and_adds_only_color() -> None:
    page = draw(law_sample(), 80, 24)
    stream = io.StringIO()
    Console(file=stream, width=80, no_color=True, force_terminal=False).print(page.text, soft_wrap=True)
    assert [line.rstrip() for line in stream.getvalue().splitlines()] == page.plain.splitlines()


def test_a_figure_with_nothing_to_draw_is_an_empty_plot() -> None:
    figure = Figure("nothing", Axis("params"), Axis("loss"), (PointMarks(floats([np.nan]), floats([1.0]), "runs"),))
    assert "1 of 1 points cannot be drawn" in draw(figure, 80, 20).plain


@pytest.mark.parametrize(
    ("language", "expected"),
    [("C.UTF-8", False), ("en_GB.utf8", False), ("C", True), ("de_DE.ISO-8859-1", True), ("en_GB", True)],
)
def test_only_a_utf8_locale_gets_braille(monkeypatch: pytest.MonkeyPatch, language: str, expected: bool) -> None:
    monkeypatch.setenv("LC_ALL", language)
    assert is_plain_terminal() is expected
