from __future__ import annotations

from pathlib import Path

import pytest
from textual.widgets import DataTable
from tui_pilot import press, screen_text, settle, show_law

from isoflop.cli.plot.figure import Band, PointMarks
from isoflop.cli.tui.app import IsoflopApp
from isoflop.cli.tui.extrapolate_view import ExtrapolateView, TargetInput
from isoflop.cli.tui.laws_view import LawsView
from isoflop.lakehouse import Lakehouse

WIDE, SMALL = (140, 36), (80, 24)


def laws_view(app: IsoflopApp) -> LawsView:
    assert isinstance(app.screen, LawsView)
    return app.screen


def extrapolate_view(app: IsoflopApp) -> ExtrapolateView:
    assert isinstance(app.screen, ExtrapolateView)
    return app.screen


async def test_a_law_is_shown_with_list_picture_coefficients_and_residuals(laws_lake: Lakehouse) -> None:
    app = IsoflopApp(laws_lake)
    async with app.run_test(size=WIDE) as pilot:
        await show_law(pilot, "chin")
        text = screen_text(app)
        assert "chin · loss along the compute-optimal sizes" in text
        assert "chinchilla" in text and "data end here" in text
        assert "95% intervals" in text and "converged" in text and "alpha" in text
        assert "law 2 of 2 · 95% band" in text
        assert "EXTRAPOLATE chin TO" in laws_view(app).statement


async def test_the_list_has_room_for_thousands_of_rows(laws_lake: Lakehouse) -> None:
    laws_lake.sql(
        "CREATE TABLE many AS SELECT 1e6 + 1e4 * i AS params, 2 + (1e6 + 1e4 * i) ** -0.1 AS loss FROM range(2001) t(i)"
    )
    laws_lake.sql("CREATE LAW wide AS FIT loss ~ power(params) FROM many WITH (resamples = 0)")
    app = IsoflopApp(laws_lake)
    async with app.run_test(size=WIDE) as pilot:
        await show_law(pilot, "wide")
        assert " 2,001 " in screen_text(app)


async def test_help_shows_what_stands_in_brackets(laws_lake: Lakehouse) -> None:
    app = IsoflopApp(laws_lake)
    async with app.run_test(size=WIDE) as pilot:
        await show_law(pilot, "chin")
        await press(pilot, "x", "question_mark")
        assert "each is a SQL value or a [list]" in " ".join(screen_text(app).replace("│", " ").split())


async def test_choosing_another_law_changes_the_picture(laws_lake: Lakehouse) -> None:
    app = IsoflopApp(laws_lake)
    async with app.run_test(size=WIDE) as pilot:
        await press(pilot, "2")
        assert "size · loss over params" in screen_text(app)
        await press(pilot, "j")
        assert laws_view(app).chosen == laws_view(app).laws[1]
        await show_law(pilot, "chin")
        assert "chin · loss along" in screen_text(app)
        await press(pilot, "k")
        assert laws_view(app).chosen == laws_view(app).laws[0]


async def test_the_band_steps_through_its_levels(laws_lake: Lakehouse) -> None:
    app = IsoflopApp(laws_lake)
    async with app.run_test(size=WIDE) as pilot:
        await press(pilot, "2")
        widths = {}
        for level in ("95%", "50%", "80%"):
            assert f"{level} band" in screen_text(app)
            (band,) = laws_view(app).figure.of(Band)  # type: ignore[union-attr]
            widths[level] = float((band.upper - band.lower).mean())
            await press(pilot, "b")
        assert widths["50%"] < widths["80%"] < widths["95%"]
        assert "no band" in screen_text(app)
        assert laws_view(app).figure.of(Band) == []  # type: ignore[union-attr]


async def test_unseen_runs_appear_as_rings(laws_lake: Lakehouse) -> None:
    app = IsoflopApp(laws_lake)
    async with app.run_test(size=WIDE) as pilot:
        await press(pilot, "2", "h")
        assert [points.x.size for points in laws_view(app).figure.of(PointMarks) if points.is_hollow] == [3]  # type: ignore[union-attr]
        assert "○ held out" in screen_text(app)


async def test_residuals_are_hidden_and_shown(laws_lake: Lakehouse) -> None:
    app = IsoflopApp(laws_lake)
    async with app.run_test(size=WIDE) as pilot:
        await press(pilot, "2")
        assert app.screen.query_one("#residuals").display
        await press(pilot, "r")
        assert not app.screen.query_one("#residuals").display


async def test_a_small_screen_keeps_the_picture_and_has_the_rest_on_a_key(laws_lake: Lakehouse) -> None:
    app = IsoflopApp(laws_lake)
    async with app.run_test(size=SMALL) as pilot:
        await press(pilot, "2")
        text = screen_text(app)
        assert "size · loss over params" in text and "95% intervals" not in text
        assert max(len(line) for line in text.splitlines()) <= 80
        await press(pilot, "i")
        assert "95% intervals" in screen_text(app)


async def test_a_picture_is_exported_and_its_statement_copied(
    laws_lake: Lakehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    app = IsoflopApp(laws_lake)
    async with app.run_test(size=WIDE) as pilot:
        await press(pilot, "2", "e", "y")
        assert (tmp_path / "size-loss-over-params.svg").exists()
        assert len(laws_lake.sql(app.clipboard)) > 0


async def test_a_law_that_lands_meanwhile_appears(laws_lake: Lakehouse) -> None:
    app = IsoflopApp(laws_lake)
    async with app.run_test(size=WIDE) as pilot:
        await press(pilot, "2")
        laws_lake.sql("CREATE LAW more AS FIT loss ~ power(tokens) FROM runs WITH (resamples = 20)")
        laws_view(app).reload()
        await settle(pilot)
        assert app.screen.query_one("#list", DataTable).row_count == 3


async def test_a_forecast_is_made_for_the_law_chosen_before(laws_lake: Lakehouse) -> None:
    app = IsoflopApp(laws_lake)
    async with app.run_test(size=WIDE) as pilot:
        await show_law(pilot, "chin")
        await press(pilot, "x")
        text = screen_text(app)
        assert "EXTRAPOLATE chin TO" in text and "× beyond the data" in text
        assert [entry.column for entry in extrapolate_view(app).query(TargetInput)] == ["params", "tokens"]
        assert "○ forecast" in text


async def test_targets_are_sql_and_answer_on_enter(laws_lake: Lakehouse) -> None:
    app = IsoflopApp(laws_lake)
    async with app.run_test(size=WIDE) as pilot:
        await press(pilot, "3", "enter")
        entry = next(iter(extrapolate_view(app).query(TargetInput)))
        entry.value = "[1e11, 10 * 1e11]"
        await press(pilot, "enter")
        text = screen_text(app)
        assert "params 100B" in text and "params 1T" in text
        assert extrapolate_view(app).statement.startswith("EXTRAPOLATE size TO params = [1e11, 10 * 1e11] WITH")


async def test_a_wrong_target_shows_the_error_and_can_be_corrected(laws_lake: Lakehouse) -> None:
    app = IsoflopApp(laws_lake)
    async with app.run_test(size=WIDE) as pilot:
        await press(pilot, "3", "enter")
        entry = next(iter(extrapolate_view(app).query(TargetInput)))
        entry.value = "1e11 * parms"
        await press(pilot, "enter")
        assert "parms" in screen_text(app) and "^" in screen_text(app)
        entry.value = "1e11"
        await press(pilot, "enter", "enter")
        assert "params 100B" in screen_text(app)


async def test_brackets_choose_another_law_and_its_inputs(laws_lake: Lakehouse) -> None:
    app = IsoflopApp(laws_lake)
    async with app.run_test(size=WIDE) as pilot:
        await press(pilot, "3", "right_square_bracket")
        assert [entry.column for entry in extrapolate_view(app).query(TargetInput)] == ["params", "tokens"]


async def test_a_forecast_fits_on_a_small_screen(laws_lake: Lakehouse) -> None:
    app = IsoflopApp(laws_lake)
    async with app.run_test(size=SMALL) as pilot:
        await press(pilot, "3", "b")
        text = screen_text(app)
        assert "50% interval" in text and "data end here" in text
        assert text.splitlines()[-1].endswith("? Keys  q Quit")
