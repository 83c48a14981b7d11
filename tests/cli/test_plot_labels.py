"""Names beside lines: near their ends, in their order, all of them there and none over another."""

from __future__ import annotations

import re
from pathlib import Path

import matplotlib
import numpy as np
import pytest

from isoflop.cli.plot.command import figure_of
from isoflop.cli.plot.figure import Axis, Figure, Line
from isoflop.cli.plot.image import SETTINGS, compose
from isoflop.cli.plot.labels import beside, spread
from isoflop.cli.plot.law_card import read_law
from isoflop.cli.plot.terminal import draw
from isoflop.lakehouse import Lakehouse

NAMES = ("10M", "22M", "49M", "100M", "210M", "500M")


def close_lines() -> Figure:
    """Six thin lines whose ends lie within a hair of each other, in the middle of the picture."""
    x = np.geomspace(1e18, 1e20, 30)
    lines = [Line(x, 3 + 2 * (x / 1e18) ** -0.3 - 0.01 * k, name, k / 5, is_thin=True) for k, name in enumerate(NAMES)]
    law = Line(np.geomspace(1e18, 1e22, 40), 2 + 3 * np.geomspace(1, 1e4, 40) ** -0.2, "law")
    return Figure("law", Axis("training compute", "FLOP", notation="power"), Axis("loss"), (*lines, law), data_end=1e20)


@pytest.mark.parametrize("seed", range(20))
def test_places_are_kept_apart_in_order_and_inside(seed: int) -> None:
    generator = np.random.default_rng(seed)
    places = generator.uniform(0, 1, generator.integers(1, 12)) ** 3
    found = spread(places.tolist(), 0.06, 0.0, 1.0)
    order = np.argsort(places, kind="stable")
    assert (np.diff(np.array(found)[order]) >= 0.06 - 1e-9).all()
    assert min(found) >= -1e-9 and max(found) <= 1 + 1e-9
    apart = np.linspace(0.05, 0.95, 8)[generator.permutation(8)].tolist()
    assert spread(apart, 0.06, 0.0, 1.0) == pytest.approx(apart)


def test_names_that_stand_in_other_columns_do_not_move_each_other() -> None:
    assert beside([0.5, 0.52, 0.9, 0.1], 0.07) == [[3], [0, 1], [2]]


@pytest.mark.parametrize(("width", "height"), [(60, 16), (100, 32), (140, 40)])
@pytest.mark.parametrize("is_ascii", [False, True])
def test_every_line_has_its_name_whole_in_the_terminal(width: int, height: int, is_ascii: bool) -> None:
    rows = draw(close_lines(), width, height, is_ascii=is_ascii).plain.splitlines()
    places = [
        next((k for k, row in enumerate(rows) if re.search(rf"(?<!\d){name}(?!\w)", row)), None) for name in NAMES
    ]
    assert None not in places and places == sorted(set(places)), places  # one below the other, as the lines are


def test_every_line_has_its_name_in_a_picture(tmp_path: Path) -> None:
    with matplotlib.rc_context(SETTINGS):
        sheet = compose(close_lines(), width=8, height=4.8)
        sheet.canvas.draw()
        (axes,) = sheet.axes
        texts = [text for text in axes.texts if text.get_text() in NAMES]
        boxes = [text.get_window_extent() for text in texts]
    assert [text.get_text() for text in texts] == list(NAMES)
    assert all(not one.overlaps(other) for k, one in enumerate(boxes) for other in boxes[:k])


def test_a_law_of_optima_is_drawn_through_its_cells(laws_lake: Lakehouse) -> None:
    rows = ", ".join(
        f"({size}, {tokens}, {rate * 2.0**k}, {2 + 0.1 * k * k})"
        for size, rate in ((1e7, 6e-3), (3e7, 4.3e-3), (1e8, 3e-3), (3e8, 2.2e-3))
        for tokens in (2e9, 5e9, 8e9)
        for k in range(-3, 4)
    )
    laws_lake.sql(f"CREATE TABLE rates AS FROM (VALUES {rows}) t(params, tokens, learning_rate, loss)")
    laws_lake.sql(
        "CREATE LAW best_lr AS OPTIMUM OF learning_rate BY (params, tokens) MINIMIZE loss FROM rates "
        "WITH (resamples = 100)"
    )
    law = read_law(laws_lake, "best_lr")
    assert law.is_of_cells and law.row_word == "cells" and not read_law(laws_lake, "chin").is_of_cells
    figure = figure_of(laws_lake, ["best_lr"])
    (points,) = [mark for mark in figure.marks if mark.label == "cells"]
    (line,) = [mark for mark in figure.of(Line) if mark.label == "best_lr"]
    along = np.interp(np.log(points.x), np.log(line.x), np.log(line.y))  # type: ignore[union-attr]
    assert np.abs(along - np.log(points.y)).max() < np.log(2)  # type: ignore[union-attr]
    assert "sizes of the cells" in figure.title
    assert "usual sizes" in figure_of(laws_lake, ["published:step_law_2025_learning_rate"]).title
