from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from isoflop.cli.plot import plot
from isoflop.cli.plot.answer_figure import answer_figure
from isoflop.cli.plot.figure import Line, PointMarks
from isoflop.lakehouse import Lakehouse
from isoflop.lakehouse.errors import EmptySelection, UsageError


@pytest.fixture
def laws_path(laws_file: Path, tmp_path: Path) -> str:
    return str(shutil.copy(laws_file, tmp_path / "laws.duckdb"))


@pytest.fixture
def curves_path(curves_file: Path, tmp_path: Path) -> str:
    return str(shutil.copy(curves_file, tmp_path / "curves.duckdb"))


def printed(capsys: pytest.CaptureFixture[str], *names: str, **options: Any) -> str:
    plot(list(names), **options)
    return capsys.readouterr().out


def test_a_law_is_printed_as_text(laws_path: str, capsys: pytest.CaptureFixture[str]) -> None:
    page = printed(capsys, "chin", lake=laws_path, width=80, height=24)
    lines = page.splitlines()
    assert lines[0] == "chin · loss along the compute-optimal sizes"
    assert len(lines) == 24 and max(map(len, lines)) <= 80
    assert "\x1b" not in page


def test_ascii_is_ascii(laws_path: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert printed(capsys, "chin", lake=laws_path, ascii=True, level=0).isascii()


@pytest.mark.parametrize(
    ("kind", "words"),
    [("residuals", "chin · residuals"), ("isoflop", "chin · loss at equal compute"), ("law", "chin · loss along")],
)
def test_a_law_has_several_views(laws_path: str, capsys: pytest.CaptureFixture[str], kind: str, words: str) -> None:
    assert words in printed(capsys, "chin", kind=kind, lake=laws_path)


def test_runs_are_drawn_by_name_and_by_condition(curves_path: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert "w64 · loss" in printed(capsys, "w64", lake=curves_path, x="flops")
    assert "loss of 3 runs" in printed(capsys, where="width < 500", lake=curves_path)


def test_runs_of_a_condition_are_compared_at_equal_compute(laws_path: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert "loss at equal compute" in printed(capsys, where="params < 1.2e10", kind="isoflop", lake=laws_path)


@pytest.mark.parametrize("suffix", ["svg", "png", "pdf"])
def test_a_picture_is_written_and_its_name_said(
    laws_path: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], suffix: str
) -> None:
    path = tmp_path / f"law.{suffix}"
    plot(["chin"], lake=laws_path, to=1e24, held_out="params > 1.2e10", out=path)
    assert path.stat().st_size > 4000
    said = capsys.readouterr()
    assert said.out == "" and f"wrote {path}" in said.err


@pytest.mark.parametrize(
    ("names", "options", "message"),
    [
        ([], {}, "nothing to plot"),
        (["chim"], {}, "did you mean 'chin'"),
        (["chin"], {"kind": "isoflops"}, "did you mean 'isoflop'"),
        (["chin"], {"where": "true"}, "chosen twice"),
        (["chin", "size"], {"kind": "law"}, "shows one law"),
        (["chin", "size"], {}, "plot draws one law at a time, and was given laws 'chin', 'size'"),
        (["chin"], {"x": "width"}, "cannot be drawn over 'width'"),
        (["chin"], {"level": 95}, "between 0 and 1"),
    ],
)
def test_wrong_questions_are_usage_errors(
    laws_path: str, names: list[str], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        plot(names, lake=laws_path, **options)


def test_a_condition_that_nothing_satisfies_is_an_empty_selection(curves_path: str) -> None:
    with pytest.raises(EmptySelection, match="no run satisfies"):
        plot([], where="width > 9999", lake=curves_path)


def test_importing_the_commands_loads_no_heavy_library() -> None:
    check = (
        "import sys, isoflop.cli.plot, isoflop.cli.tui\n"
        "heavy = {'matplotlib', 'textual', 'numpy', 'duckdb', 'pyarrow', 'torch', 'ray', 'rich.table'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_printing_to_the_terminal_loads_no_matplotlib(laws_path: str) -> None:
    check = (
        "import sys\nfrom isoflop.cli.plot import plot\n"
        f"plot(['chin'], lake={laws_path!r})\n"
        "print([name for name in ('matplotlib', 'textual', 'torch') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_an_answer_is_drawn_with_groups_predictions_and_interval(
    command_line: Callable[..., tuple[int, str, str]], curves_file: Path, tmp_path: Path
) -> None:
    lake = str(curves_file)
    statement = "SELECT step, loss, loss * 1.1 AS predicted, run_id AS run FROM curves"
    code, out, err = command_line("plot", "--lake", lake, "--sql", statement, "--ascii")
    assert code == 0 and out.startswith("loss over step"), err
    picture = tmp_path / "answer.svg"
    code, _, err = command_line("plot", "--lake", lake, "--sql", statement, "--out", str(picture))
    assert code == 0 and "<svg" in picture.read_text(encoding="utf-8"), err
    code, _, err = command_line("plot", "--lake", lake, "--sql", "SELECT 'a' AS word, 1 AS only")
    assert code != 0 and "the answer has 1 column of numbers and 1 rows" in err
    code, _, err = command_line("plot", "w64", "--lake", lake, "--sql", statement)
    assert code == 2 and "--sql says all that is drawn" in err


def test_groups_have_colors_of_their_own_and_many_are_drawn_alike(curves_lake: Lakehouse) -> None:
    asked = "SELECT i % {n} AS a, i AS b, 0.9 * i AS predicted, 'g' || (i % {n}) AS name FROM range(60) t(i) ORDER BY i"
    figure = answer_figure(curves_lake, curves_lake.sql(asked.format(n=12)))
    points, lines = figure.of(PointMarks), figure.of(Line)
    assert len(points) == len(lines) == 12 and not figure.notes
    assert [mark.label for mark in points] == [f"g{number}" for number in range(12)]
    assert len({mark.tone for mark in points}) == 12 and [mark.tone for mark in lines] == [mark.tone for mark in points]
    many = answer_figure(curves_lake, curves_lake.sql(asked.format(n=15)))
    (drawn,) = many.of(PointMarks)
    assert drawn.x.size == 60 and drawn.tone is None and "15 groups in one color" in many.notes[0]
    runs = answer_figure(curves_lake, curves_lake.sql("SELECT name, params, loss FROM runs, range(20) t(i)"))
    assert runs.of(PointMarks) and sum(mark.x.size for mark in runs.of(PointMarks)) == 80
    curves = answer_figure(
        curves_lake, curves_lake.sql("SELECT i // 2 AS x, i AS y, 'g' || (i % 2) AS n FROM range(40) t(i)")
    )
    assert len(curves.of(Line)) == 2 and not curves.of(PointMarks)
