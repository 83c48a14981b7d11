"""How long a frame takes: a law drawn at 108 by 28 cells, and a whole screen of the interface.

Prints the median and the slowest of 200 redraws of the figure, in Braille and in ASCII, of 50 redraws of the plot
widget with a fresh figure, and of 20 refreshes of a board of 300 runs with curves, all in milliseconds.
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from isoflop.cli.plot.figure import Axis, Band, Figure, Floor, Line, PointMarks, ToneScale, tones
from isoflop.cli.plot.terminal import draw
from isoflop.lakehouse import Lakehouse, RunRecord, Spool

FRAME_BUDGET = 30.0  # [ms]
BOARD_BUDGET = 100.0  # [ms]


def law_figure() -> Figure:
    """A law with 240 runs, six size lines, a band and a floor."""
    compute = np.geomspace(1e18, 1e24, 96)
    loss = 1.8 + 4.2e3 / compute**0.19
    random = np.random.default_rng(0)
    runs = np.sort(10 ** random.uniform(18, 21.5, 240))
    observed = (1.8 + 4.2e3 / runs**0.19) * np.exp(random.normal(0, 0.02, 240))
    sizes = [Line(compute[:40], loss[:40] * (1.02 + 0.03 * n), f"{n}B", n / 5, is_thin=True) for n in range(6)]
    marks = (
        PointMarks(runs, observed, "runs", tone=tones(runs)), *sizes, Band(compute, loss * 0.97, loss * 1.03, "95%"),
        Line(compute, loss, "chin"), Floor(1.8, "E = 1.8"),
    )  # fmt: skip
    x = Axis("training compute", "FLOP", notation="power")
    return Figure("chin", x, Axis("loss", "nat/token"), marks, data_end=10**21.5, scale=ToneScale("params", 1e7, 1e10))


def timed(repeats: int, act: Callable[[], object]) -> list[float]:
    """Milliseconds of each repetition."""
    durations = []
    for _ in range(repeats):
        before = time.perf_counter()
        act()
        durations.append(1e3 * (time.perf_counter() - before))
    return durations


def report(what: str, durations: list[float], budget: float) -> None:
    """Print one row."""
    print(f"{what:<38}{statistics.median(durations):8.2f} ms median{max(durations):8.2f} slowest  (budget {budget:g})")


async def widget_frames(lake: Lakehouse, figure: Figure) -> list[float]:
    """Milliseconds to draw every line of the plot widget anew."""
    from isoflop.cli.tui.app import IsoflopApp
    from isoflop.cli.tui.laws_view import LawsView
    from isoflop.cli.tui.plot_widget import Plot

    app = IsoflopApp(lake)
    async with app.run_test(size=(110, 32)) as pilot:
        await app.switch_mode("laws")
        await pilot.pause()
        assert isinstance(app.screen, LawsView)
        plot = Plot()
        await app.screen.mount(plot)
        await pilot.pause()

        def frame() -> None:
            plot.show(figure)
            for line in range(max(28, plot.size.height)):
                plot.render_line(line)

        return timed(50, frame)


def filled_lake(path: Path) -> Lakehouse:
    """A lake of 300 runs with 200 points each."""
    lake = Lakehouse(path)
    records = [RunRecord(family="f", config={"i": i}, params=1e6 + i, tokens=1e7, steps=200) for i in range(300)]
    lake.record_runs(records)
    lake.begin_attempts([record.run_id for record in records], "bench")
    for record in records:
        with Spool(lake.spool_folder, record.run_id, 1) as spool:
            for step in range(200):
                spool.log(step, loss=2.0 + 1.0 / (step + 1))
            spool.ended("finished", loss=2.0)
    lake.drain()
    return lake


def bench() -> None:
    """Time the frames and print the table."""
    from isoflop.cli.tui.board import read_board

    figure = law_figure()
    report("law, 108 x 28, Braille", timed(200, lambda: draw(figure, 108, 28)), FRAME_BUDGET)
    report("law, 108 x 28, ASCII", timed(200, lambda: draw(figure, 108, 28, is_ascii=True)), FRAME_BUDGET)
    report("law, 200 x 60, Braille", timed(100, lambda: draw(figure, 200, 60)), FRAME_BUDGET)
    with tempfile.TemporaryDirectory() as name, filled_lake(Path(name) / "x.duckdb") as lake:
        report("plot widget, fresh figure", asyncio.run(widget_frames(lake, figure)), FRAME_BUDGET)
        report("board of 300 runs, all curves read", timed(20, lambda: read_board(lake)), BOARD_BUDGET)
        board = read_board(lake)
        report("board of 300 runs, nothing grew", timed(20, lambda: read_board(lake, known=board.curves)), BOARD_BUDGET)


if __name__ == "__main__":
    bench()
