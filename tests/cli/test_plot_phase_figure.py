"""The plane of phases: with and without a lake, and with runs in it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from isoflop.cli.main import app
from isoflop.cli.plot.command import figure_of
from isoflop.cli.plot.figure import Line, PointMarks
from isoflop.cli.plot.phase_figure import LETTER, REACH, phase_figure
from isoflop.lakehouse import Lakehouse
from isoflop.lakehouse.errors import EmptySelection
from isoflop.queries.theory.phases import phase_of
from tests.lakes import open_here

PLACES = {"flat": (0.4, 0.3), "steep": (1.0, 1.7), "edge": (0.8, 0.8)}


@pytest.fixture(scope="module")
def placed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lakehouse]:
    """A lake with three runs of random features and one of something else."""
    with open_here(tmp_path_factory.mktemp("phases") / "lake.duckdb") as lake:
        for name, (alpha, beta) in PLACES.items():
            settings = {"width": 8, "spectrum_exponent": alpha, "target_exponent": beta}
            with lake.run("plrf", settings, name=name) as run:
                run.log(step=1, loss=1.0)
        with lake.run("other", {"width": 3}, name="other") as run:
            run.log(step=1, loss=1.0)
        yield lake


def test_each_phase_has_its_name_within_it() -> None:
    figure = phase_figure()
    names = {
        line.label: (float(line.x[0]) + LETTER * REACH[0] * len(line.label), float(line.y[0]))
        for line in figure.of(Line)
        if line.is_thin
    }
    assert set(names) == {"Ia", "Ib", "Ic", "II", "III", "IVa", "IVb", "no power law"}
    for name, place in names.items():
        phase = phase_of(*place)
        assert (phase.name if phase else "no power law") == name
    (boundary,) = [line for line in figure.of(Line) if not line.is_thin]
    assert np.isnan(boundary.x).sum() == 6 and not figure.of(PointMarks)


def test_runs_are_placed_in_it(placed: Lakehouse) -> None:
    figure = figure_of(placed, [], "phases", "true")
    (points,) = figure.of(PointMarks)
    assert set(zip(points.x.tolist(), points.y.tolist(), strict=True)) == set(PLACES.values())
    assert figure.y.high == pytest.approx(1.1 * 1.7)
    assert set(figure.notes) == {
        "1 of 4 runs are of other families", "flat: phase Ib", "steep: phase III", "edge: phase II and phase III",
    }  # fmt: skip
    assert placed.sql(figure.statement).table.num_rows == 3
    alone = figure_of(placed, ["flat"], "phases")
    assert alone.of(PointMarks)[0].label == "run" and alone.notes == ("flat: phase Ib",)
    with pytest.raises(EmptySelection, match="place among the phases"):
        figure_of(placed, ["other"], "phases")


def test_it_is_drawn_without_a_lake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ISOFLOP_LAKE", raising=False)
    shown = CliRunner().invoke(app, ["plot", "phases", "--width", "80", "--ascii"])
    assert shown.exit_code == 0 and "IVa" in shown.stdout and "no power law" in shown.stdout
    assert list(tmp_path.iterdir()) == []
    saved = CliRunner().invoke(app, ["plot", "phases", "--out", "phases.svg"])
    assert saved.exit_code == 0 and (tmp_path / "phases.svg").read_text().count("<svg") == 1


def test_a_run_that_is_called_so_is_drawn_as_a_run(placed: Lakehouse) -> None:
    with placed.run("other", {"width": 4}, name="phases") as run:
        run.log(step=1, loss=2.0)
    assert figure_of(placed, ["phases"]).title == "phases · loss"
