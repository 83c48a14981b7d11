from __future__ import annotations

import pytest

from isoflop.cli.plot import run_figures
from isoflop.cli.plot.figure import Line
from isoflop.cli.plot.run_figures import curves_figure, find_runs, select_runs
from isoflop.lakehouse import Lakehouse
from isoflop.lakehouse.errors import EmptySelection, UsageError
from isoflop.lakehouse.sql.quoting import literal


def test_a_run_is_found_by_name_by_id_and_by_the_beginning_of_its_id(curves_lake: Lakehouse) -> None:
    (by_name,) = find_runs(curves_lake, ["w64"])
    assert find_runs(curves_lake, [by_name.run_id]) == [by_name]
    assert find_runs(curves_lake, [by_name.run_id[:9]]) == [by_name]
    assert find_runs(curves_lake, ["w64", by_name.run_id]) == [by_name]


def test_an_unknown_run_is_an_error_with_the_nearest_name(curves_lake: Lakehouse) -> None:
    with pytest.raises(UsageError, match="did you mean 'w64'"):
        find_runs(curves_lake, ["w65"])
    with pytest.raises(UsageError, match="begins the id of more than one run"):
        find_runs(curves_lake, [""])


@pytest.mark.parametrize("x", ["step", "tokens", "flops", "seconds"])
def test_a_curve_is_drawn_over_steps_tokens_compute_and_time(curves_lake: Lakehouse, x: str) -> None:
    figure = curves_figure(curves_lake, find_runs(curves_lake, ["w64"]), x=x)
    (line,) = figure.of(Line)
    assert line.x.size == 100
    assert line.y[0] == pytest.approx(1.7 + 3 + 10 / 64)
    assert line.x[-1] == pytest.approx({"step": 100, "tokens": 1e6, "flops": 64 * 6e10, "seconds": 10}[x])
    assert curves_lake.sql(figure.statement.rstrip(";")).table.num_rows == 100


def test_several_curves_carry_their_names_and_the_color_of_their_size(curves_lake: Lakehouse) -> None:
    figure = curves_figure(curves_lake, find_runs(curves_lake, ["w256", "w64", "w128"]))
    assert [(line.label, line.tone) for line in figure.of(Line)] == [("w256", 1.0), ("w64", 0.0), ("w128", 0.5)]
    assert figure.scale is not None and (figure.scale.low, figure.scale.high) == (64e4, 256e4)


def test_runs_are_chosen_by_a_condition_lowest_loss_first(curves_lake: Lakehouse) -> None:
    assert [run.label for run in select_runs(curves_lake, "width > 64 -- not the smallest")] == ["w512", "w256", "w128"]
    with pytest.raises(EmptySelection, match="no run satisfies width > 9999"):
        select_runs(curves_lake, "width > 9999")


def test_points_left_out_are_said(curves_lake: Lakehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_figures, "MOST_POINTS", 60)
    figure = curves_figure(curves_lake, find_runs(curves_lake, ["w64"]))
    assert figure.notes == ("50 of 100 points, one in 2",)
    assert figure.of(Line)[0].x.size == 50


def test_curves_left_out_are_said(curves_lake: Lakehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_figures, "MOST_CURVES", 2)
    figure = curves_figure(curves_lake, select_runs(curves_lake, "true"))
    assert figure.notes == ("2 of 4 curves",)


def test_a_run_without_a_loss_has_no_curve(lakehouse: Lakehouse) -> None:
    with lakehouse.run("mine", {"width": 1}, name="silent"):
        pass
    with pytest.raises(EmptySelection, match="no loss has been logged"):
        curves_figure(lakehouse, find_runs(lakehouse, ["silent"]))


def test_an_unknown_axis_is_refused(curves_lake: Lakehouse) -> None:
    with pytest.raises(UsageError, match="did you mean 'tokens'"):
        curves_figure(curves_lake, find_runs(curves_lake, ["w64"]), x="token")


def test_quotes_in_names_stay_inside_the_string() -> None:
    assert literal("o'neil'; DROP TABLE x") == "'o''neil''; DROP TABLE x'"
