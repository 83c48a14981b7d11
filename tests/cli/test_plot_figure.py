from __future__ import annotations

import numpy as np
import pytest

from isoflop.cli.plot.figure import Axis, Band, Figure, Floor, Line, Mark, PointMarks, floats, split_at, tones

X, Y = Axis("params"), Axis("loss", "nat/token")


def figure_of(*marks: Mark, x: Axis = X, y: Axis = Y, **more: object) -> Figure:
    return Figure("a figure", x, y, marks, **more)  # type: ignore[arg-type]


def points(x: list[float], y: list[float]) -> PointMarks:
    return PointMarks(floats(x), floats(y), "runs")


def test_limits_hold_every_point_with_a_little_room() -> None:
    (low, high), (bottom, top) = figure_of(points([1e6, 1e9], [4.0, 2.0])).limits()
    assert 0.5e6 < low < 1e6 < 1e9 < high < 2e9
    assert 1.8 < bottom < 2.0 < 4.0 < top < 4.5


def test_the_floor_is_part_of_the_vertical_range() -> None:
    _, (bottom, _) = figure_of(points([1e6, 1e9], [4.0, 2.0]), Floor(1.2, "E")).limits()
    assert bottom < 1.2


def test_an_endless_band_does_not_flatten_the_curve() -> None:
    line = Line(floats([1e6, 1e9]), floats([4.0, 2.0]), "law")
    band = Band(line.x, floats([1e-9, 1e-9]), floats([1e9, np.inf]), "95%")
    _, (bottom, top) = figure_of(line, band).limits()
    assert 1.0 < bottom < 2.0
    assert 4.0 < top < 8.0


def test_what_a_logarithmic_axis_cannot_show_is_counted_and_said() -> None:
    figure = figure_of(points([1e6, 0.0, -1.0, 1e9], [4.0, 3.0, 3.0, np.nan]))
    assert figure.num_undrawn() == 3
    assert figure.remarks() == ("3 of 4 points cannot be drawn on these axes",)
    assert figure.on_axes(is_log_x=False).num_undrawn() == 1


@pytest.mark.parametrize("is_log", [True, False])
def test_a_single_point_still_has_an_axis_around_it(is_log: bool) -> None:
    (low, high), (bottom, top) = figure_of(points([5.0], [2.0])).on_axes(is_log_x=is_log, is_log_y=is_log).limits()
    assert low < 5.0 < high
    assert bottom < 2.0 < top


def test_a_figure_without_points_has_limits_too() -> None:
    (low, high), (bottom, top) = figure_of().limits()
    assert low < high
    assert bottom < top


def test_ends_set_by_a_person_win() -> None:
    figure = figure_of(points([1e6, 1e9], [4.0, 2.0])).within(1e7, 1e8)
    assert figure.limits()[0] == (1e7, 1e8)


def test_a_line_is_split_where_the_data_end() -> None:
    line = Line(floats([1.0, 2.0, 4.0]), floats([3.0, 2.0, 1.0]), "law")
    before, beyond = split_at(line, 3.0)
    assert before.x.tolist() == [1.0, 2.0, 3.0]
    assert beyond is not None and beyond.x.tolist() == [3.0, 4.0]
    assert before.y[-1] == beyond.y[0] == 1.5
    assert split_at(line, None) == (line, None)
    assert split_at(line, 9.0) == (line, None)


def test_statements_can_be_run_again_as_they_are() -> None:
    figure = figure_of(statements=("RESIDUALS chin", "SELECT 1;"))
    assert figure.statement == "RESIDUALS chin;\nSELECT 1;"


def test_points_come_in_groups_of_like_tone() -> None:
    group = PointMarks(floats([1, 2, 3, 4]), floats([1, 1, 1, 1]), "runs", tone=tones([1e6, 1e6, 1e7, 1e8]))
    assert [(number, members.x.tolist()) for number, members in group.by_tone(6)] == [(0, [1, 2]), (3, [3]), (5, [4])]
