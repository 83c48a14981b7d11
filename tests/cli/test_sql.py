"""`isoflop sql`: statements from an argument, a file or a pipe, answers on stdout."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from isoflop.cli.main import main

Run = Callable[..., tuple[int, str, str]]
POINTS = (
    "CREATE TABLE points AS "
    "SELECT 10.0 ** (6 + i / 4) AS params, 2 + 100 / params ** 0.3 AS loss, 'a|b' AS name FROM range(12) t(i)"
)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    """Run the command line in this process, in an empty folder: exit code, stdout, stderr."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ISOFLOP_LAKE", raising=False)

    def run(*arguments: str, text: str = "") -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["isoflop", *arguments])
        monkeypatch.setattr(sys, "stdin", io.StringIO(text))
        capfd.readouterr()
        with pytest.raises(SystemExit) as left:
            main()
        out, err = capfd.readouterr()
        return int(left.value.code or 0), out, err

    return run


def test_an_answer_goes_to_stdout_and_the_rest_to_stderr(run: Run) -> None:
    code, out, err = run("sql", "SELECT count(*) AS x FROM runs")
    assert code == 0 and "x" in out and "made a new lake" in err and "made a new lake" not in out


def test_a_law_called_in_plain_sql_says_what_is_wrong_with_it_in_every_format(run: Run) -> None:
    run("sql", "CREATE TABLE noise AS SELECT i % 20 + 1 AS params, 2 + ((i * 7) % 11) / 22 AS loss FROM range(40) t(i)")
    run("sql", "CREATE LAW deaf AS FIT loss ~ power(params) FROM noise WITH (resamples = 0)")
    said = "law 'deaf': the law explains 0% of how loss varies"
    code, out, err = run("sql", "SELECT deaf(params) AS y FROM noise LIMIT 1", "--json")
    assert code == 0 and said in err and said not in out and len(json.loads(out)) == 1
    code, out, err = run("sql", "SELECT deaf(params) AS y FROM noise LIMIT 1")
    assert code == 0 and said in " ".join(err.split())
    code, out, err = run("shell", text="SELECT deaf(params) AS y FROM noise LIMIT 1;\n")
    assert code == 0 and said in " ".join(err.split())


def test_a_statement_of_the_language(run: Run) -> None:
    run("sql", POINTS)
    code, out, err = run("sql", "CREATE LAW far AS FIT loss ~ power(params) FROM points WITH (resamples = 5)")
    assert code == 0 and "law 'far' saved" in err and "converged" in out
    code, out, err = run("sql", "EXTRAPOLATE far TO params = 1e12", "--json")
    assert json.loads(out)[0]["predicted_loss"] == pytest.approx(2 + 100 / 1e12**0.3, rel=1e-4)
    assert "beyond the largest params" in err


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ("csv", "params,name\n1000000.0,a|b\n"),
        ("markdown", "| params | name |\n| --- | --- |\n| 1e+06 | a\\|b |\n"),
        ("json", '[\n  {\n    "params": 1000000.0,\n    "name": "a|b"\n  }\n]\n'),
    ],
)
def test_formats(run: Run, form: str, expected: str) -> None:
    run("sql", POINTS)
    assert run("sql", "SELECT params, name FROM points LIMIT 1", "--format", form)[1] == expected


def test_arrow_on_stdout_is_a_stream(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "isoflop", "sql", "SELECT 42 AS x", "-f", "arrow"],
        cwd=tmp_path,
        capture_output=True,
        check=True,
    )
    assert pa.ipc.open_stream(done.stdout).read_all().to_pylist() == [{"x": 42}]


def test_statements_come_from_a_file_or_a_pipe(run: Run, tmp_path: Path) -> None:
    (tmp_path / "questions.sql").write_text("-- größe\nSELECT 1;\nSELECT 2 AS größe;\n", encoding="utf-8")
    assert json.loads(run("sql", "--file", "questions.sql", "--json")[1]) == [{"größe": 2}]
    assert json.loads(run("sql", "--json", text="SELECT 3 AS x")[1]) == [{"x": 3}]
    assert json.loads(run("sql", "-", "--json", text="SELECT 4 AS x")[1]) == [{"x": 4}]


def test_parameters_are_numbers_where_they_read_as_numbers(run: Run) -> None:
    out = run("sql", "SELECT $a + 1 AS a, $b AS b", "-p", "a=1.5", "-p", "$b=x=y", "--json")[1]
    assert json.loads(out) == [{"a": 2.5, "b": "x=y"}]


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("sql", "SELEC 1"), 1, ("Parser Error", "LINE 1: SELEC 1", "^")),
        (("sql", "SELECT nope FROM (SHOW LAWS)"), 1, ("Binder Error", "               ^^^^")),
        (("sql", "FIT loss ~ chinchila(params) FROM runs"), 1, ("'chinchila' does not exist", "Hint: did you mean")),
        (("sql", "SELECT 1", "--file", "x.sql"), 2, ("not both",)),
        (("sql", "--file", "missing.sql"), 2, ("missing.sql cannot be read",)),
        (("sql", "SELECT 1", "--format", "xml"), 2, ("no format 'xml'",)),
        (("sql", "SELECT 1", "--param", "novalue"), 2, ("--param novalue has no value",)),
        (("sql", "SELECT 1", "--lake", "missing/x.duckdb"), 3, ("does not exist",)),
        (("sql", "SELECT 1", "--lake", "."), 2, ("folder",)),
    ],
)
def test_errors_go_to_stderr_with_their_exit_code(
    run: Run, arguments: tuple[str, ...], code: int, words: tuple[str, ...]
) -> None:
    found, out, err = run(*arguments)
    assert found == code and out == "" and "Traceback" not in err
    for word in words:
        assert word in err


def test_nothing_to_ask_on_a_terminal_is_a_usage_error(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(io, "StringIO", Terminal)
    code, _, err = run("sql")
    assert code == 2 and "nothing to ask" in err
