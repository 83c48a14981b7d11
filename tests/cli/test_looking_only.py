"""Commands that only read: they make no lake, open what cannot be written, and ask before anything goes for good."""

from __future__ import annotations

import json
import os
import pty
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from isoflop.cli.main import main
from isoflop.cli.plot.command import figure_of
from isoflop.cli.plot.figure import PointMarks
from isoflop.lakehouse import Lakehouse

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(laws_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command_line: Run) -> Run:
    """Run the command line in this process, beside a lake called laws.duckdb: exit code, stdout, stderr."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ISOFLOP_LAKE", raising=False)
    shutil.copy(laws_file, tmp_path / "laws.duckdb")

    return command_line


READING = (
    ("runs",), ("laws",), ("status",), ("logs", "p01"), ("plot", "chin"), ("export", "runs", "--to", "x.csv"),
    ("fit", "loss ~ power(flops)"), ("compare", "chin", "size"), ("extrapolate", "chin", "params=1B", "tokens=1T"),
    ("design", "1", "chin", "params=1B", "tokens=1T", "--over", "params IN [1M, 2M]"), ("predict", "chin"),
    ("residuals", "chin"), ("crossval", "chin"), ("forecast",), ("optimize", "chin", "--over", "params IN [1M, 2M]"),
    ("lake", "check"), ("lake", "info"),
)  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("command", READING, ids=lambda command: " ".join(command[:2]))
@pytest.mark.parametrize("way", ["typed", "environment", "neither"])
def test_a_reading_command_makes_no_lake(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...], way: str
) -> None:
    name = {"typed": "lawz.duckdb", "environment": "lawz.duckdb", "neither": "isoflop.duckdb"}[way]
    if way == "environment":
        monkeypatch.setenv("ISOFLOP_LAKE", str(tmp_path / name))
    code, out, err = run(*command, *(["-l", name] if way == "typed" else []))
    assert code == 3 and out == "" and f"there is no lake at {tmp_path / name}" in err
    assert "laws.duckdb" in err.partition("Hint: ")[2] and ("$ISOFLOP_LAKE" in err) == (way == "environment")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["laws.duckdb"]


OVER = ("--over", "params IN [1M, 10T] LOG", "--over", "tokens IN [1M, 1000T] LOG", "--subject-to", "flops <= 1e22")
NEEDS_NO_LAKE = (
    ("extrapolate", "published:hoffmann_2022", "params=70B", "tokens=1.4T"),
    ("optimize", "published:hoffmann_2022_unrounded", *OVER),
    ("compare", "--gain", "published:hoffmann_2022", "published:besiroglu_2024", "--at", "1e21"),
    ("laws", "published:hoffmann_2022"), ("laws", "--forms"), ("plot", "published:hoffmann_2022"),
    ("sql", "SELECT law FROM (EXTRAPOLATE published:kaplan_2020_params TO params = 7B), (SHOW PUBLISHED LAWS)"),
    ("sql", "SELECT $x + 1", "-p", "x=2"), ("sql", "--read-only", "SHOW PUBLISHED LAWS"),
    ("fit", "loss ~ power(params)", "--from", "points.csv"),
    ("predict", "published:kaplan_2020_params", "--from", "points.csv"),
)  # fmt: skip


@pytest.mark.parametrize("command", NEEDS_NO_LAKE, ids=" ".join)
def test_what_needs_no_lake_is_answered_without_one_and_makes_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command_line: Run, command: tuple[str, ...]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ISOFLOP_LAKE", raising=False)
    rows = "\n".join(f"{10**k},{2 + 3 / k}" for k in range(5, 12))
    (tmp_path / "points.csv").write_text(f"params,loss\n{rows}\n")
    code, out, err = command_line(*command)
    assert code == 0 and out.strip() and "made a new lake" not in err, err
    assert [path.name for path in tmp_path.iterdir()] == ["points.csv"]


def test_what_needs_a_lake_still_says_that_there_is_none_or_makes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command_line: Run
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ISOFLOP_LAKE", raising=False)
    for command in (
        ("extrapolate", "chin", "params=7B"), ("laws",), ("compare", "published:hoffmann_2022", "chin"),
        ("extrapolate", "published:hoffmann_2022", "params=7B", "tokens=1T", "-l", "lawz.duckdb"),
    ):  # fmt: skip
        code, out, err = command_line(*command)
        assert code == 3 and out == "" and "there is no lake at" in err
    assert not list(tmp_path.iterdir())
    code, _, err = command_line("sql", "CREATE LAW paper AS published:hoffmann_2022")
    assert code == 0 and "made a new lake" in err and (tmp_path / "isoflop.duckdb").exists()


def test_a_fit_to_a_file_may_make_the_lake_that_keeps_it(run: Run, tmp_path: Path) -> None:
    rows = "\n".join(f"{10**k},{2 + 3 / k}" for k in range(5, 12))
    (tmp_path / "points.csv").write_text(f"params,loss\n{rows}\n")
    code, _, err = run("fit", "loss ~ power(params)", "--from", "points.csv", "--name", "p", "-l", "new.duckdb")
    assert code == 0 and "made a new lake" in err


def test_a_lake_that_cannot_be_written_is_read(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Who is root may write anything, so the answer of the system is what a user without rights would get.
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK)
    for command in (("laws",), ("runs", "-n", "1"), ("lake", "info"), ("lake", "check"), ("status",)):
        code, _, err = run(*command, "-l", "laws.duckdb")
        assert code == 0 and "open for reading only" in err, err
    code, _, err = run("fit", "loss ~ power(flops)", "--name", "p", "-l", "laws.duckdb")
    assert code == 1 and "CREATE LAW writes into it" in err


def test_runs_are_deleted_after_a_yes_only(run: Run) -> None:
    code, _, err = run("lake", "gc", "-w", "params > 20B", "-l", "laws.duckdb")
    assert code == 2 and "deletes 2 runs" in err and "--yes" in err
    assert "would remove 2 runs" in run("lake", "gc", "-w", "params > 20B", "-n", "-l", "laws.duckdb")[2]
    assert "removed 2 runs" in run("lake", "gc", "-w", "params > 20B", "--yes", "-l", "laws.duckdb")[2]
    assert "removed 0 runs" in run("lake", "gc", "-w", "params > 20B", "-l", "laws.duckdb")[2]  # nothing to ask about


@pytest.mark.parametrize(("answer", "code", "left"), [("n", 130, 38), ("y", 0, 36)])
def test_on_a_terminal_it_asks(laws_file: Path, tmp_path: Path, answer: str, code: int, left: int) -> None:
    lake = shutil.copy(laws_file, tmp_path / "laws.duckdb")
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "isoflop", "lake", "gc", "-w", "params > 20B", "-l", str(lake)],
        stdin=theirs, stdout=theirs, stderr=theirs,
    ) as process:  # fmt: skip
        os.close(theirs)
        said = b""
        while b"[y/N]" not in said:
            said += os.read(ours, 1000)
        os.write(ours, f"{answer}\n".encode())
        assert process.wait(60) == code
    os.close(ours)
    assert b"Delete 2 runs with 0 points for good?" in said
    with Lakehouse(str(lake)) as opened:
        assert opened.query("SELECT count(*) AS n FROM runs").to_pylist() == [{"n": left}]


def test_options_before_the_command_and_no_terminal(run: Run) -> None:
    code, _, err = run("--lake", "laws.duckdb", "runs")
    assert code == 2 and "--lake comes after the command: isoflop runs --lake" in err
    code, _, err = run("tui", "-l", "laws.duckdb")
    assert code == 2 and "needs a terminal" in err


def test_runs_that_the_law_has_seen_are_not_drawn_as_held_out(laws_lake: Lakehouse) -> None:
    def rings(condition: str) -> tuple[int, tuple[str, ...]]:
        figure = figure_of(laws_lake, ["chin"], held_out=condition)
        (marks,) = [mark for mark in figure.marks if isinstance(mark, PointMarks) and mark.is_hollow]
        return len(marks.x), figure.notes

    assert rings("params > 1.2e10") == (3, ())
    unseen, notes = rings("params > 2B")
    assert unseen == 3 and any("3 runs of --held-out left out: chin was fitted to them" in note for note in notes)
    assert rings("params < 1.2e10")[0] == 0


def test_a_metric_that_no_run_has_logged_is_a_word(curves_lake: Lakehouse) -> None:
    from isoflop.lakehouse.runs.metrics import directions

    assert directions(curves_lake, "los").notes == ("no run has logged 'los' yet; did you mean 'loss'?",)
    assert directions(curves_lake, "loss").notes == ()


def test_logs_as_data(
    curves_lake: Lakehouse, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (run_id,) = curves_lake.query("SELECT run_id FROM runs WHERE name = 'w64'")["run_id"].to_pylist()
    address = str(curves_lake.path)
    monkeypatch.setattr(sys, "argv", ["isoflop", "logs", run_id, "--json", "-l", address])
    with pytest.raises(SystemExit):
        main()
    (line,) = json.loads(capfd.readouterr().out)
    assert (line["attempt"], line["level"], line["message"]) == (1, "info", "width 64")
