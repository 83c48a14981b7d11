from __future__ import annotations

import numpy as np
import pytest
from plot_samples import PLANTED, planted_loss

from isoflop.cli.plot.figure import Band, Figure, Floor, Line, PointMarks
from isoflop.cli.plot.forecast_figure import distance, forecast
from isoflop.cli.plot.isoflop_figure import isoflop_figure
from isoflop.cli.plot.law_card import read_law, read_laws
from isoflop.cli.plot.law_figure import law_figure, residual_figure
from isoflop.cli.plot.law_path import default_targets
from isoflop.lakehouse import Lakehouse
from isoflop.lakehouse.errors import EmptySelection, IsoflopError, UsageError


def the_line(figure: Figure, label: str) -> Line:
    (line,) = [line for line in figure.of(Line) if line.label == label]
    return line


def best_loss(flops: float) -> float:
    """The lowest planted loss of a budget, over a fine grid of sizes [nat/token]."""
    return min(planted_loss(params, flops / (6 * params)) for params in np.geomspace(1e5, 1e13, 4000))


def test_a_law_is_read_with_its_coefficients_and_support(laws_lake: Lakehouse) -> None:
    law = read_law(laws_lake, "chin")
    assert [each.name for each in law.coefficients] == ["E", "A", "B", "alpha", "beta"]
    assert law.is_converged and law.inputs == ("params", "tokens") and law.target == "loss"
    assert law.rows == 35
    assert law.support["params"][0] == pytest.approx(10**7.4, rel=1e-5)
    assert law.floor is not None and law.floor.estimate == pytest.approx(PLANTED["E"], abs=0.15)
    assert {law.name for law in read_laws(laws_lake)} == {"chin", "size"}


def test_an_unknown_law_is_an_error_with_the_nearest_name(laws_lake: Lakehouse) -> None:
    with pytest.raises(UsageError, match="did you mean 'chin'"):
        read_law(laws_lake, "chim")


def test_a_law_of_two_inputs_is_drawn_along_its_best_sizes(laws_lake: Lakehouse) -> None:
    figure = law_figure(laws_lake, read_law(laws_lake, "chin"))
    line = the_line(figure, "chin")
    for flops in (1e18, 1e20, 1e21):
        drawn = float(np.interp(np.log(flops), np.log(line.x), line.y))
        assert drawn == pytest.approx(best_loss(flops), rel=0.01)
    assert figure.data_end == pytest.approx(1e20, rel=1e-4)
    assert line.x[-1] == pytest.approx(30 * 1e20, rel=1e-3)


def test_the_interval_holds_the_curve_and_widens_beyond_the_data(laws_lake: Lakehouse) -> None:
    figure = law_figure(laws_lake, read_law(laws_lake, "chin"))
    (band,) = figure.of(Band)
    line = the_line(figure, "chin")
    assert np.all(band.lower <= line.y) and np.all(line.y <= band.upper)
    width = np.log(band.upper / band.lower)
    assert width[-1] > np.interp(1e19, line.x, width)


def test_runs_sizes_and_the_floor_are_in_the_picture(laws_lake: Lakehouse) -> None:
    figure = law_figure(laws_lake, read_law(laws_lake, "chin"))
    (runs,) = figure.of(PointMarks)
    assert runs.x.size == 35
    assert len([line for line in figure.of(Line) if line.is_thin]) == 6
    assert len(figure.of(Floor)) == 1
    assert figure.scale is not None and figure.scale.name == "params"


def test_every_statement_of_a_picture_can_be_asked_again(laws_lake: Lakehouse) -> None:
    figure = law_figure(laws_lake, read_law(laws_lake, "chin"), held_out="params > 1.2e10")
    assert len(figure.statements) == 4
    for statement in figure.statements:
        assert len(laws_lake.sql(statement)) > 0
    assert len(laws_lake.sql(figure.statement)) == 3


def test_unseen_runs_are_rings(laws_lake: Lakehouse) -> None:
    figure = law_figure(laws_lake, read_law(laws_lake, "chin"), held_out="params > 1.2e10")
    (unseen,) = [points for points in figure.of(PointMarks) if points.is_hollow]
    assert unseen.x.size == 3


def test_a_law_is_drawn_over_one_input_with_the_others_as_in_the_runs(laws_lake: Lakehouse) -> None:
    figure = law_figure(laws_lake, read_law(laws_lake, "chin"), x="params", to=1e11, level=None)
    assert figure.x.label == "params"
    assert figure.title == "chin · loss over params, tokens as in the runs"
    assert the_line(figure, "chin").x[-1] == pytest.approx(1e11, rel=1e-3)
    assert figure.of(Band) == []


def test_a_law_of_one_input_needs_no_choice(laws_lake: Lakehouse) -> None:
    figure = law_figure(laws_lake, read_law(laws_lake, "size"))
    assert figure.title == "size · loss over params"
    assert not any(line.is_thin for line in figure.of(Line))


def test_an_axis_the_law_does_not_have_is_refused(laws_lake: Lakehouse) -> None:
    with pytest.raises(UsageError, match="did you mean 'params'"):
        law_figure(laws_lake, read_law(laws_lake, "chin"), x="parms")
    with pytest.raises(UsageError, match="cannot be drawn over 'flops'"):
        law_figure(laws_lake, read_law(laws_lake, "size"), x="flops")


def test_a_law_without_its_macro_follows_the_runs(laws_lake: Lakehouse) -> None:
    laws_lake.query("DROP MACRO IF EXISTS chin")
    figure = law_figure(laws_lake, read_law(laws_lake, "chin"))
    assert figure.title == "chin · loss along the sizes of the runs"


def test_residuals_lie_around_zero(laws_lake: Lakehouse) -> None:
    figure = residual_figure(laws_lake, read_law(laws_lake, "chin"))
    (points,) = figure.of(PointMarks)
    assert points.y.size == 35
    assert abs(float(points.y.mean())) < 0.003
    assert figure.y.low == -(figure.y.high or 0)


@pytest.mark.parametrize("has_law", [True, False])
def test_runs_of_one_budget_are_compared_by_size(laws_lake: Lakehouse, has_law: bool) -> None:
    law = read_law(laws_lake, "chin") if has_law else None
    figure = isoflop_figure(laws_lake, law, condition="params < 1.2e10")
    assert len([line for line in figure.of(Line) if line.is_thin]) == 5
    best = the_line(figure, "best size of a budget")
    assert np.all(np.diff(best.x) > 0) and np.all(np.diff(best.y) < 0)
    assert "35 of 35 runs share one" in figure.notes[0] and "5 budgets" in figure.notes[0]


def test_an_isoflop_view_needs_params_tokens_and_a_budget(laws_lake: Lakehouse) -> None:
    with pytest.raises(UsageError, match="no isoFLOP view"):
        isoflop_figure(laws_lake, read_law(laws_lake, "size"))
    with pytest.raises(EmptySelection, match="no budget has four runs"):
        isoflop_figure(laws_lake, condition="params > 1.2e10")


def test_a_forecast_says_how_far_beyond_the_data_it_goes(laws_lake: Lakehouse) -> None:
    law = read_law(laws_lake, "chin")
    answer = forecast(laws_lake, law, {"params": "1e11", "tokens": "20 * params"})
    (row,) = answer.rows
    assert row["predicted_loss"] == pytest.approx(planted_loss(1e11, 2e12), rel=0.03)
    assert distance(row) == pytest.approx(
        max(1e11 / law.support["params"][1], 2e12 / law.support["tokens"][1]), rel=1e-3
    )
    assert "× beyond the data" in answer.sentence(row)
    (ring,) = [points for points in answer.figure.of(PointMarks) if points.is_hollow]
    assert ring.x[0] == pytest.approx(6 * 1e11 * 2e12)
    line = the_line(answer.figure, "chin")
    drawn = float(np.interp(np.log(ring.x[0]), np.log(line.x), line.y))
    assert drawn == pytest.approx(row["predicted_loss"], rel=1e-3)


def test_a_list_of_targets_gives_a_forecast_for_each(laws_lake: Lakehouse) -> None:
    answer = forecast(laws_lake, read_law(laws_lake, "size"), {"params": "[1e10, 1e11]"})
    assert len(answer.rows) == 2
    assert answer.farthest["params"] == 1e11


def test_targets_start_ten_times_beyond_the_largest_run(laws_lake: Lakehouse) -> None:
    law = read_law(laws_lake, "chin")
    targets = default_targets(law)
    assert float(targets["params"]) == pytest.approx(10 * law.support["params"][1], rel=0.05)
    assert targets["tokens"].endswith("* params")


def test_a_target_that_cannot_be_read_is_an_error_of_the_statement(laws_lake: Lakehouse) -> None:
    with pytest.raises(IsoflopError):
        forecast(laws_lake, read_law(laws_lake, "size"), {"params": "1e10 +"})
