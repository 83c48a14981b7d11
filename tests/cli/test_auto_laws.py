"""A saved law of several forms, `auto`, in pictures, in the terminal interface and in the lists of laws."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from tui_pilot import press, screen_text, show_law

import isoflop
from isoflop.cli.plot.figure import Band, Figure, Line
from isoflop.cli.plot.isoflop_figure import isoflop_figure
from isoflop.cli.plot.law_card import read_law
from isoflop.cli.plot.law_figure import law_figure
from isoflop.cli.tui.app import IsoflopApp
from isoflop.cli.tui.laws_view import LawsView
from isoflop.lakehouse import Lakehouse

COEFFICIENTS = {"auto1": "power_alpha", "auto2": "chinchilla_beta"}


@pytest.fixture(scope="module")
def auto_file(laws_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The lake of planted runs, with a law of one input and one of two that nobody chose the form of."""
    path = Path(shutil.copy(laws_file, tmp_path_factory.mktemp("auto") / "auto.duckdb"))
    with isoflop.open(path) as lake:
        seen = "FROM runs WHERE params < 1.2e10 WITH (resamples = 20)"
        lake.sql(f"CREATE LAW auto1 AS FIT loss ~ auto(flops) {seen}")
        lake.sql(f"CREATE LAW auto2 AS FIT loss ~ auto(params, tokens) {seen}")
    return path


@pytest.fixture
def lake(auto_file: Path, tmp_path: Path) -> Iterator[Lakehouse]:
    with isoflop.open(shutil.copy(auto_file, tmp_path / "auto.duckdb")) as opened:
        yield opened


def curve(figure: Figure) -> Line:
    return next(line for line in figure.of(Line) if not line.is_thin)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["auto1", "auto2"])
def test_its_picture_shows_what_it_predicts(lake: Lakehouse, name: str) -> None:
    figure = law_figure(lake, read_law(lake, name))
    drawn, (band,) = curve(figure), figure.of(Band)
    assert np.isfinite(drawn.y).all() and (band.lower < band.upper).all()
    answer = lake.sql(figure.statements[0]).records()
    predicted = [row["predicted_loss"] for row in answer]
    assert min(predicted) <= drawn.y.min() and drawn.y.max() <= max(predicted)


def test_its_picture_at_equal_compute_has_a_best_size_for_each_budget(lake: Lakehouse) -> None:
    figure = isoflop_figure(lake, read_law(lake, "auto2"))
    (best,) = [line for line in figure.of(Line) if line.label == "best size of a budget"]
    assert len(best.x) == 5 and (np.diff(best.x) > 0).all()


@pytest.mark.parametrize("name", ["auto1", "auto2"])
async def test_it_is_shown_in_the_terminal_interface(lake: Lakehouse, name: str) -> None:
    app = IsoflopApp(lake)
    async with app.run_test(size=(160, 60)) as pilot:
        await show_law(pilot, name)
        text = screen_text(app)
        assert f"{name} · loss" in text and "converged" in text and "auto" in text
        assert COEFFICIENTS[name] in text
        view = app.screen
        assert isinstance(view, LawsView) and f"EXTRAPOLATE {name} TO" in view.statement
        await press(pilot, "x")
        assert "error" not in screen_text(app).lower()


@pytest.mark.parametrize("name", ["auto1", "auto2"])
def test_commands_list_describe_and_draw_it(
    auto_file: Path, tmp_path: Path, command_line: Callable[..., tuple[int, str, str]], name: str
) -> None:
    code, out, err = command_line("laws", name, "--lake", str(auto_file), "--json")
    assert code == 0 and COEFFICIENTS[name] in {row["coefficient"] for row in json.loads(out)}
    assert "weighed_by" in err
    code, out, _ = command_line("laws", "--lake", str(auto_file), "--json")
    assert code == 0 and {row["name"]: row["form"] for row in json.loads(out)}[name] == "auto"
    for kind in ("law", "residuals"):
        picture = tmp_path / f"{kind}.svg"
        code, _, err = command_line("plot", name, "--kind", kind, "--out", str(picture), "--lake", str(auto_file))
        assert code == 0 and picture.stat().st_size > 1000, err
