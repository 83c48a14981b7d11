"""Laws without runs behind them: listed, drawn as a curve alone, and asked in the Extrapolate view."""

from __future__ import annotations

import io
import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from tui_pilot import press, screen_text, show_law

from isoflop.cli.main import main
from isoflop.cli.plot.command import figure_of
from isoflop.cli.plot.figure import Band, Line, PointMarks
from isoflop.cli.plot.forecast_figure import forecast
from isoflop.cli.plot.law_card import read_law
from isoflop.cli.plot.law_path import default_targets
from isoflop.cli.tui.app import IsoflopApp
from isoflop.cli.tui.laws_view import LawsView
from isoflop.lakehouse import Lakehouse
from isoflop.lakehouse.errors import EmptySelection
from isoflop.queries.laws.atlas import ATLAS, PublishedLaw

NUMBERS = "WITH COEFFICIENTS (E = 1.69, A = 406.4, B = 410.7, alpha = 0.34, beta = 0.28)"
SURE = f"CREATE LAW sure AS chinchilla {NUMBERS} STANDARD ERRORS (E = 0.01) WITH (residual_scale = 0.01)"


@pytest.fixture
def lake(laws_lake: Lakehouse) -> Lakehouse:
    """The lake with laws of runs, and `paper`, `sure` and the noisy quadratic without any."""
    laws_lake.sql(f"CREATE LAW paper AS chinchilla {NUMBERS}")
    laws_lake.sql(SURE)
    laws_lake.sql("CREATE LAW quadratic AS published:li_2026")
    return laws_lake


def test_it_is_drawn_as_a_curve_without_points(lake: Lakehouse) -> None:
    figure = figure_of(lake, ["paper"])
    assert not figure.of(PointMarks) and not figure.of(Band) and figure.data_end is None
    (line,) = figure.of(Line)
    a, b = 0.34, 0.28
    scale = (a * 406.4 / (b * 410.7)) ** (1 / (a + b))
    params = scale * (1e21 / 6) ** (b / (a + b))
    best = 1.69 + 406.4 / params**a + 410.7 / (1e21 / 6 / params) ** b
    assert float(np.interp(np.log(1e21), np.log(line.x), line.y)) == pytest.approx(best, rel=0.01)
    assert any("no runs behind it" in note for note in figure.notes)
    for statement in figure.statements:
        assert len(lake.sql(statement))
    assert figure_of(lake, ["sure"]).of(Band)
    held_out = figure_of(lake, ["paper"], held_out="params > 1e9")
    assert len(held_out.of(PointMarks)) == 1
    assert figure_of(lake, ["paper"], to=1e24).of(Line)[0].x.max() == pytest.approx(1e24, rel=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("entry", ATLAS, ids=lambda entry: entry.name)
def test_every_published_law_has_a_picture(lake: Lakehouse, entry: PublishedLaw) -> None:
    lake.sql(f"CREATE LAW drawn AS published:{entry.name}")
    (line, *_) = figure_of(lake, ["drawn"]).of(Line)
    assert np.isfinite(line.y).mean() > 0.9


def test_pictures_of_runs_say_that_there_are_none(lake: Lakehouse) -> None:
    for kind in ("residuals", "isoflop"):
        with pytest.raises(EmptySelection, match="is of given coefficients"):
            figure_of(lake, ["paper"], kind)


def test_a_forecast_of_it_lies_behind_no_runs(lake: Lakehouse) -> None:
    law = read_law(lake, "sure")
    shown = forecast(lake, law, default_targets(law))
    assert shown.sentence(shown.farthest).endswith("no runs behind it")
    assert shown.figure.of(Band) and len(shown.figure.of(PointMarks)) == 1
    assert not forecast(lake, read_law(lake, "paper"), {"params": "1e9", "tokens": "2e10"}).figure.of(Band)


async def test_the_laws_view_shows_it_without_runs(lake: Lakehouse) -> None:
    app = IsoflopApp(lake)
    async with app.run_test(size=(140, 36)) as pilot:
        await show_law(pilot, "paper")
        text = screen_text(app)
        assert "paper · loss along the compute-optimal sizes" in text and "given" in text
        assert "data end here" not in text and "0 runs" not in text and "95% intervals" not in text
        view = app.screen
        assert isinstance(view, LawsView) and view.figure is not None and not view.figure.of(PointMarks)
        await press(pilot, "h")  # all runs are unseen
        assert view.figure is not None and view.figure.of(PointMarks)
        await press(pilot, "h")
        await show_law(pilot, "quadratic")
        assert "quadratic · loss" in screen_text(app)
        await show_law(pilot, "chin")
        assert "data end here" in screen_text(app)


async def test_the_extrapolate_view_asks_it(lake: Lakehouse) -> None:
    app = IsoflopApp(lake)
    async with app.run_test(size=(140, 36)) as pilot:
        await show_law(pilot, "paper")
        await press(pilot, "x")
        assert "no runs behind it" in screen_text(app)


def test_the_command_line_lists_and_asks_published_laws(
    laws_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    place = str(shutil.copy(laws_file, tmp_path / "laws.duckdb"))

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["isoflop", *arguments, "--lake", place])
        monkeypatch.setattr(sys, "stdin", io.StringIO(""))
        capfd.readouterr()
        with pytest.raises(SystemExit) as left:
            main()
        out, err = capfd.readouterr()
        return int(left.value.code or 0), out, err

    code, out, _ = run("laws", "--published", "--json")
    assert code == 0 and {row["law"] for row in json.loads(out)} == {entry.name for entry in ATLAS}
    code, out, err = run("laws", "published:besiroglu_2024", "--json")
    assert code == 0 and json.loads(out)[1]["estimate"] == 482.01 and "arXiv:2404.10102" in err
    code, out, _ = run("extrapolate", "published:hoffmann_2022", "params=7e10", "tokens=1.4e12", "--json")
    assert code == 0 and json.loads(out)[0]["predicted_loss"] == pytest.approx(1.9366, abs=1e-4)
    code, _, err = run("laws", "--published", "--forms")
    assert code == 2 and "exclude each other" in err
    code, _, err = run("laws", "chin", "--published")
    assert code == 2 and "leave the name out" in err
    code, _, err = run("import", "published:besiroglu_2024")
    assert code == 2 and "needs no import" in err and "EXTRAPOLATE published:besiroglu_2024" in err
    code, _, err = run("import", "published:nothing_like_it")
    assert code == 2 and "chinchilla_epoch" in err and "isoflop laws --published" in err
