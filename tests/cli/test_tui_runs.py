from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from textual.widgets import DataTable
from tui_pilot import filter_by, press, screen_text, settle

import isoflop
from isoflop.cli.plot.sparkline import sparkline
from isoflop.cli.tui.app import IsoflopApp
from isoflop.cli.tui.board import MOST_ROWS, read_board, status_word
from isoflop.cli.tui.plot_widget import Plot
from isoflop.cli.tui.run_view import RunView
from isoflop.cli.tui.runs_view import RunsView
from isoflop.lakehouse import Lakehouse

WIDE, SMALL = (110, 32), (80, 24)


def view_of(app: IsoflopApp) -> RunsView:
    assert isinstance(app.screen, RunsView)
    return app.screen


async def test_runs_are_listed_newest_first_with_status_in_words(curves_lake: Lakehouse) -> None:
    app = IsoflopApp(curves_lake)
    async with app.run_test(size=WIDE) as pilot:
        await settle(pilot)
        lines = screen_text(app).splitlines()
        assert "status" in lines[1] and "params" in lines[1]
        assert lines[2].split()[:2] == ["crashed", "w512"]
        assert lines[5].split()[:2] == ["done", "w64"]
        assert "█" in lines[5] and "640k" in lines[5]
        assert "4 runs · by newest" in screen_text(app)


@pytest.mark.parametrize("size", [WIDE, SMALL])
async def test_the_keys_that_work_stand_in_the_last_line(curves_lake: Lakehouse, size: tuple[int, int]) -> None:
    app = IsoflopApp(curves_lake)
    async with app.run_test(size=size) as pilot:
        await settle(pilot)
        last = screen_text(app).splitlines()[-1]
        assert "Enter Curve" in last and "/ Filter" in last
        assert last.endswith("? Keys  q Quit")


async def test_a_filter_is_a_condition_in_sql(curves_lake: Lakehouse) -> None:
    app = IsoflopApp(curves_lake)
    async with app.run_test(size=WIDE) as pilot:
        await filter_by(pilot, "width < 200 AND loss > 2.25")
        assert app.screen.query_one(DataTable).row_count == 2
        assert "WHERE width < 200 AND loss > 2.25" in view_of(app).statement
        assert "2 runs" in screen_text(app)


async def test_a_wrong_filter_shows_the_error_with_its_caret_and_nothing_breaks(curves_lake: Lakehouse) -> None:
    app = IsoflopApp(curves_lake)
    async with app.run_test(size=WIDE) as pilot:
        await filter_by(pilot, "widht > 3")
        text = screen_text(app)
        assert 'Referenced column "widht" not found' in text
        assert "^" in text
        await filter_by(pilot, "")
        assert "widht" not in screen_text(app)
        assert app.screen.query_one(DataTable).row_count == 4


async def test_a_filter_that_nothing_satisfies_says_so(curves_lake: Lakehouse) -> None:
    app = IsoflopApp(curves_lake)
    async with app.run_test(size=WIDE) as pilot:
        await filter_by(pilot, "width > 9999")
        assert "No run satisfies the filter" in screen_text(app)


async def test_escape_leaves_the_filter_as_it_was(curves_lake: Lakehouse) -> None:
    app = IsoflopApp(curves_lake)
    async with app.run_test(size=WIDE) as pilot:
        await press(pilot, "slash", *"width", "escape")
        assert view_of(app).condition == ""
        assert isinstance(app.focused, DataTable)


async def test_keys_typed_into_the_filter_do_not_act(curves_lake: Lakehouse) -> None:
    app = IsoflopApp(curves_lake)
    async with app.run_test(size=WIDE) as pilot:
        await press(pilot, "slash", *"q2fsy")
        assert app.is_running and app.current_mode == "runs"


async def test_sorting_steps_through_the_orders(curves_lake: Lakehouse) -> None:
    app = IsoflopApp(curves_lake)
    async with app.run_test(size=WIDE) as pilot:
        await press(pilot, "s")
        assert "by loss" in screen_text(app)
        assert "ORDER BY loss" in view_of(app).statement
        assert screen_text(app).splitlines()[2].split()[1] == "w512"


async def test_enter_opens_the_curve_and_escape_comes_back(curves_lake: Lakehouse) -> None:
    app = IsoflopApp(curves_lake)
    async with app.run_test(size=WIDE) as pilot:
        await press(pilot, "down", "enter")
        assert isinstance(app.screen, RunView)
        text = screen_text(app)
        assert "w256 · loss" in text and "width" in text and "learning rate" in text
        assert "FROM curves" in app.screen.statement
        await press(pilot, "escape")
        assert isinstance(app.screen, RunsView)
        assert app.screen.query_one(DataTable).cursor_row == 1


async def test_a_crashed_run_shows_its_error_and_its_log(curves_lake: Lakehouse) -> None:
    app = IsoflopApp(curves_lake)
    async with app.run_test(size=WIDE) as pilot:
        await press(pilot, "enter")
        text = screen_text(app)
        assert "MemoryError: no room for width" in text
        assert "info: width 512" in text


async def test_the_axis_of_a_curve_steps_through_tokens_compute_and_time(curves_lake: Lakehouse) -> None:
    app = IsoflopApp(curves_lake)
    async with app.run_test(size=WIDE) as pilot:
        await press(pilot, "enter", "x")
        figure = app.screen.query_one(Plot).figure
        assert figure is not None and figure.x.label == "tokens"
        await press(pilot, "x")
        assert "training compute [FLOP]" in screen_text(app)
        await press(pilot, "x", "x")
        figure = app.screen.query_one(Plot).figure
        assert figure is not None and figure.x.label == "step"


async def test_logarithmic_axes_are_turned_off_and_on(curves_lake: Lakehouse) -> None:
    app = IsoflopApp(curves_lake)
    async with app.run_test(size=WIDE) as pilot:
        await press(pilot, "enter", "l", "L")
        figure = app.screen.query_one(Plot).figure
        assert figure is not None and not figure.x.is_log and not figure.y.is_log
        await press(pilot, "l")
        assert app.screen.query_one(Plot).figure.x.is_log  # type: ignore[union-attr]


async def test_a_plot_is_zoomed_panned_and_reset(curves_lake: Lakehouse) -> None:
    app = IsoflopApp(curves_lake)
    async with app.run_test(size=WIDE) as pilot:
        await press(pilot, "enter", "tab")
        plot = app.screen.query_one(Plot)
        plot.focus()
        assert plot.figure is not None
        whole = plot.figure.limits()[0]
        await press(pilot, "plus")
        zoomed = plot.figure.limits()[0]
        assert whole[0] < zoomed[0] < zoomed[1] < whole[1]
        await press(pilot, "right")
        assert plot.figure.limits()[0][1] > zoomed[1]
        await press(pilot, "0")
        assert plot.figure.limits()[0] == whole


async def test_facts_take_the_place_of_the_curve_on_a_small_screen(curves_lake: Lakehouse) -> None:
    app = IsoflopApp(curves_lake)
    async with app.run_test(size=SMALL) as pilot:
        await press(pilot, "enter")
        assert "step seconds" not in screen_text(app)
        await press(pilot, "i")
        assert "train seconds" in screen_text(app)


async def test_an_empty_lake_says_what_to_type_next(
    lakehouse: Lakehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    app = IsoflopApp(lakehouse)
    async with app.run_test(size=SMALL) as pilot:
        await settle(pilot)
        text = screen_text(app)
        assert "No runs yet" in text and "isoflop sweep FILE" in text
        await press(pilot, "2")
        assert "No laws yet" in screen_text(app) and "CREATE LAW" in screen_text(app)
        await press(pilot, "3")
        assert "No laws yet" in screen_text(app)
        await press(pilot, "b", "l", "x", "y", "e", "1", "enter")
        assert "No runs yet" in screen_text(app)


async def test_a_view_follows_runs_that_are_logged_meanwhile(lakehouse: Lakehouse) -> None:
    app = IsoflopApp(lakehouse)
    async with app.run_test(size=WIDE) as pilot:
        await settle(pilot)
        with lakehouse.run("mine", {"width": 8}, name="live", steps=40) as run:
            for step in range(1, 21):
                run.log(step=step, loss=5 / step)
            run._spool.flush()  # type: ignore[union-attr]
            lakehouse.drain()
            app.screen.reload()  # type: ignore[attr-defined]
            await settle(pilot)
            assert ["running", "live"] == screen_text(app).splitlines()[2].split()[:2]
            assert "50%" in screen_text(app)
        await pilot.pause(1.2)
        await settle(pilot)
        assert "done" in screen_text(app).splitlines()[2]


TRAINING_ELSEWHERE = """
import sys, time
import isoflop
counts = {"name": "elsewhere", "steps": 1000}
with isoflop.open(sys.argv[1]) as lake, lake.hold(), lake.run("mine", {"width": 9}, **counts) as run:
    print("holding", flush=True)
    for step in range(1, 1001):
        run.log(step=step, loss=5 / step)
        time.sleep(0.005)
"""


async def test_runs_of_another_process_that_holds_the_lake_are_followed(tmp_path: Path) -> None:
    path = str(tmp_path / "shared.duckdb")
    training = subprocess.Popen([sys.executable, "-c", TRAINING_ELSEWHERE, path], stdout=subprocess.PIPE, text=True)
    try:
        assert training.stdout is not None and training.stdout.readline() == "holding\n"
        with isoflop.open(path) as lake:
            assert not lake.is_owner
            app = IsoflopApp(lake)
            async with app.run_test(size=WIDE) as pilot:
                seen = set()
                for _ in range(60):
                    await settle(pilot)
                    row = screen_text(app).splitlines()[2].split()
                    if row[:2] == ["running", "elsewhere"] and "%" in screen_text(app):
                        seen.add(next(word for word in row if word.endswith("%")))
                    if len(seen) > 1:
                        break
                    await pilot.pause(0.25)
                assert len(seen) > 1, screen_text(app)
    finally:
        training.kill()
        training.wait()
        if training.stdout is not None:
            training.stdout.close()


async def test_following_is_turned_off_and_on(curves_lake: Lakehouse) -> None:
    app = IsoflopApp(curves_lake)
    async with app.run_test(size=WIDE) as pilot:
        await settle(pilot)
        assert "● following" in screen_text(app)
        await press(pilot, "f")
        assert "● following" not in screen_text(app)


async def test_the_statement_is_copied_through_the_terminal(curves_lake: Lakehouse) -> None:
    app = IsoflopApp(curves_lake)
    async with app.run_test(size=WIDE) as pilot:
        await settle(pilot)
        await press(pilot, "y")
        assert app.clipboard == view_of(app).statement
        assert curves_lake.sql(app.clipboard).table.num_rows == 4


async def test_a_curve_is_exported_as_svg(
    curves_lake: Lakehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    app = IsoflopApp(curves_lake)
    async with app.run_test(size=WIDE) as pilot:
        await press(pilot, "enter", "e")
        assert (tmp_path / "w512-loss.svg").read_text().startswith("<?xml")


async def test_help_lists_every_key_and_the_palette_every_command(curves_lake: Lakehouse) -> None:
    app = IsoflopApp(curves_lake)
    async with app.run_test(size=WIDE) as pilot:
        await press(pilot, "question_mark")
        text = screen_text(app)
        assert "Every view" in text and "copy the statement" in text and "all commands" in text
        await press(pilot, "escape", "colon")
        await pilot.pause(0.3)
        assert "Sort" in screen_text(app)


async def test_escape_cancels_a_question(curves_lake: Lakehouse) -> None:
    app = IsoflopApp(curves_lake)
    async with app.run_test(size=WIDE) as pilot:
        await settle(pilot)
        view = view_of(app)
        view.action_follow()
        view.ask(
            "reload", lambda lake: lake.query("SELECT max(sin(a.range * b.range)) FROM range(4000) a, range(5000) b")
        )
        await pilot.press("escape")
        await pilot.pause()
        assert "canceled" in screen_text(app)
        await settle(pilot)
        assert app.screen.query_one(DataTable).row_count == 4


async def test_quitting_needs_no_confirmation(curves_lake: Lakehouse) -> None:
    app = IsoflopApp(curves_lake)
    async with app.run_test(size=SMALL) as pilot:
        await settle(pilot)
        await pilot.press("q")
    assert not app.is_running


def test_only_curves_that_grew_are_read_again(curves_lake: Lakehouse) -> None:
    board = read_board(curves_lake)
    marked = {key: (1.0,) for key in board.curves}
    assert read_board(curves_lake, known=marked).curves == marked


def test_a_long_board_is_cut_and_says_of_how_many(lakehouse: Lakehouse) -> None:
    lakehouse.write(
        [(f"INSERT INTO store.runs (run_id, family) SELECT 'r' || range, 'many' FROM range({MOST_ROWS + 7})", None)]
    )
    board = read_board(lakehouse, "family = 'many'")
    assert (len(board.rows), board.total) == (MOST_ROWS, MOST_ROWS + 7)


@pytest.mark.parametrize(
    ("status", "reason", "word"),
    [("queued", None, "queued"), ("failed", "diverged", "diverged"), ("failed", None, "failed"), ("lost", "x", "lost"),
     ("failed", "preempted", "preempted")],
)  # fmt: skip
def test_status_is_one_or_two_words(status: str, reason: str | None, word: str) -> None:
    assert status_word(status, reason) == word


def test_a_sparkline_has_a_character_for_every_value() -> None:
    assert sparkline([]) == ""
    assert sparkline([2.0, 2.0]) == "▁▁"
    assert sparkline([float("nan"), None, 3.0]) == "  ▁"
    assert sparkline([-1.0, 0.0, 1.0], is_ascii=True).isascii()
