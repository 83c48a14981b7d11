"""`isoflop fit`, `extrapolate` and `laws`: thin spellings that show the statement they stand for."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from isoflop.cli.compare import compare_statement
from isoflop.cli.extrapolate import extrapolate_statement
from isoflop.cli.fit import as_assignment, as_source, fit_statement
from isoflop.lakehouse.errors import UsageError

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command_line: Run) -> Run:
    """Run the command line in this process, in a folder with a table of points: exit code, stdout, stderr."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ISOFLOP_LAKE", raising=False)
    lines = [f"{10 ** (6 + k / 4)},{2 + 100 / (10 ** (6 + k / 4)) ** 0.3},{k % 2}" for k in range(12)]
    (tmp_path / "points.csv").write_text("params,loss,half\n" + "\n".join(lines) + "\n")

    return command_line


def test_every_option_of_fit_becomes_a_clause() -> None:
    statement = fit_statement(
        "loss ~ E + A / params ^ a", "runs.csv", where="width > 64", parameters="E > 0, A > 0, a > 0",
        group_by="corpus", weight_by="tokens", name="my law", replace=True, options=["delta=1e-3", "seed=1"],
    )  # fmt: skip
    assert statement == (
        'CREATE OR REPLACE LAW "my law" AS\n'
        "FIT loss ~ E + A / params ^ a PARAMETERS (E > 0, A > 0, a > 0)\n"
        "FROM 'runs.csv'\n"
        "WHERE width > 64\n"
        "GROUP BY corpus\n"
        "WEIGHT BY tokens\n"
        "WITH (delta = 1e-3, seed = 1)"
    )


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("runs", "runs"),
        ("it's.parquet", "'it''s.parquet'"),
        ("'quoted.csv'", "'quoted.csv'"),
        ("read_csv('x.csv')", "read_csv('x.csv')"),
        ("FROM runs LIMIT 3;", "(FROM runs LIMIT 3)"),
        ("runs r JOIN laws l USING (name)", "runs r JOIN laws l USING (name)"),
    ],
)
def test_a_source_is_written_as_from_takes_it(source: str, expected: str) -> None:
    assert as_source(source) == expected


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("params=1e12", "params = 1e12"),
        ("params=1e11, 1e12", "params = [1e11, 1e12]"),
        ("params=[1e11, 1e12]", "params = [1e11, 1e12]"),
        ("x=greatest(1, 2)", "x = greatest(1, 2)"),
        ("x='a,b'", "x = 'a,b'"),
    ],
)
def test_a_target_is_an_assignment(given: str, expected: str) -> None:
    assert as_assignment(given, "TO") == expected


@pytest.mark.parametrize("given", ["params", "=1", "params="])
def test_a_target_without_a_value_is_refused(given: str) -> None:
    with pytest.raises(UsageError, match="not KEY=VALUE"):
        as_assignment(given, "TO")


def test_options_of_extrapolate() -> None:
    statement = extrapolate_statement("my law", ["params=1e12"], level=0.5, confidence=True)
    assert statement == "EXTRAPOLATE \"my law\" TO params = 1e12 WITH (level = 0.5, interval = 'confidence')"


def test_from_runs_to_a_forecast(run: Run) -> None:
    code, out, err = run(
        "fit", "loss ~ power(params)", "--from", "points.csv", "--name", "far", "--with", "resamples=20", "--json"
    )
    assert code == 0 and json.loads(out)[0]["law"] == "far"
    assert "CREATE LAW far AS\nFIT loss ~ power(params)\nFROM 'points.csv'\nWITH (resamples = 20)\n" in err
    code, out, err = run("extrapolate", "far", "params=1e11,1e12", "--json")
    assert [row["params"] for row in json.loads(out)] == [1e11, 1e12]
    assert "EXTRAPOLATE far TO params = [1e11, 1e12]\n" in err
    code, out, err = run("laws", "--json")
    assert [row["name"] for row in json.loads(out)] == ["far"]
    code, out, err = run("laws", "far")
    assert code == 0 and "alpha" in out and "std_error" in out


def test_groups_and_formulas(run: Run) -> None:
    out = run(
        "fit", "loss ~ A / params ^ a", "--parameters", "A > 0, a > 0", "--from", "points.csv", "--group-by", "half",
        "--where", "params < 1e9", "--with", "resamples=0", "--json",
    )[1]  # fmt: skip
    assert [row["half"] for row in json.loads(out)] == [0, 1]


def test_a_lake_without_laws_says_how_to_make_one(run: Run) -> None:
    assert run("laws")[0] == 3  # a command that reads makes no lake
    run("sql", "SHOW LAWS")
    code, _, err = run("laws")
    assert code == 0 and "isoflop fit" in err
    assert "chinchilla" in run("laws", "--forms")[1]


def test_the_forms_need_no_lake(run: Run, tmp_path: Path) -> None:
    assert "chinchilla" in run("laws", "--forms")[1] and not list(tmp_path.glob("*.duckdb*"))


@pytest.mark.parametrize(
    ("arguments", "code", "word"),
    [
        (("fit", "loss ~ power(parms)", "--from", "points.csv"), 1, "^^^^^"),
        (("fit", "loss ~ power(params)", "--replace"), 2, "--replace needs --name"),
        (("fit", "loss ~ power(params)", "--with", "delta"), 2, "'delta' is not KEY=VALUE"),
        (("extrapolate", "far", "params=1"), 1, "law 'far' does not exist"),
        (("laws", "far"), 1, "law 'far' does not exist"),
        (("laws", "far", "--forms"), 2, "leave the name out"),
        (("extrapolate", "far"), 2, "Missing argument"),
    ],
)
def test_errors_show_the_statement_and_the_caret(run: Run, arguments: tuple[str, ...], code: int, word: str) -> None:
    run("sql", "SHOW LAWS")  # which makes the lake
    found, out, err = run(*arguments)
    assert (found, out) == (code, "") and word in err and "Traceback" not in err


def test_every_option_of_compare_becomes_a_clause(run: Run) -> None:
    statement = compare_statement(
        ["loss ~ chinchilla(n, d)"], "runs.csv", approaches=True, where="n > 1", group_by="corpus", at="1e21",
        options=["budgets=1e19,1e20", "tolerance=0.2"],
    )  # fmt: skip
    assert statement == (
        "COMPARE APPROACHES (loss ~ chinchilla(n, d))\nFROM 'runs.csv'\nWHERE n > 1\nGROUP BY corpus\n"
        "AT flops = 1e21\nWITH (budgets = [1e19, 1e20], tolerance = 0.2)"
    )
    laws = compare_statement(["chin", "loss ~ power(x)"], "runs", holdout="LARGEST 2 BY x")
    assert laws == "COMPARE chin, (loss ~ power(x))\nFROM runs\nHOLDOUT LARGEST 2 BY x"
    forms = ("loss ~ power(params)", "loss ~ plain_power(params)")
    code, out, err = run("compare", *forms, "--from", "points.csv", "--json")
    assert code == 0 and [row["rank"] for row in json.loads(out)] == [1, 2] and "COMPARE (loss ~ power" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "there is nothing to compare"),
        (["chin", "--at", "1e21"], "--at belongs to --approaches"),
        (["--approaches", "--holdout", "KFOLD 3"], "leave --holdout out"),
        (["--approaches", "chin"], "takes one formula at most"),
    ],
)
def test_compare_says_what_does_not_go_together(run: Run, arguments: list[str], message: str) -> None:
    code, _, err = run("compare", *arguments)
    assert code == 2 and message in err


def test_an_average_is_spelled_by_its_laws(run: Run) -> None:
    for name, form in (("one", "power(params)"), ("two", "plain_power(params)")):
        run("fit", f"loss ~ {form}", "--from", "points.csv", "--name", name, "--with", "resamples=20")
    code, out, err = run("extrapolate", "one", "params=1e10", "--average-with", "two", "--json")
    assert code == 0 and len(json.loads(out)) == 1 and "EXTRAPOLATE AVERAGE OF one, two TO params = 1e10" in err


@pytest.mark.parametrize("form", ["table", "lines", "markdown"])
def test_people_see_each_coefficient_with_its_interval(run: Run, form: str) -> None:
    code, out, _ = run("fit", "loss ~ power(params)", "--from", "points.csv", "--name", "size", "--with", "seed=3")
    shown = run("sql", "FIT loss ~ power(params) FROM 'points.csv' WITH (seed = 3)", "--format", form)[1]
    told = run("sql", "SELECT * EXCLUDE (unit, stale) FROM (DESCRIBE LAW size)", "--json")[1]
    coefficients = json.loads(told)
    assert code == 0 and [row["coefficient"] for row in coefficients] == ["E", "A", "alpha"]
    for text in (out, shown):
        for row in coefficients:
            (line,) = [line for line in text.splitlines() if line.strip("| ").startswith(f"{row['coefficient']} ")]
            numbers = [f"{row[key]:.6g}" for key in ("estimate", "std_error", "lower", "upper", "level")]
            assert line.replace("|", " ").split() == [row["coefficient"], *numbers, "false"]


def test_programs_get_the_rows_of_a_fit_and_nothing_beside_them(run: Run) -> None:
    fit = "FIT loss ~ power(params) FROM 'points.csv'"
    (row,) = json.loads(run("sql", fit, "--json")[1])
    assert "std_error" not in row and set(row["coefficients"]) == {"E", "A", "alpha"}
    assert len(run("sql", fit, "--format", "csv")[1].splitlines()) == 2
    for others in (f"SELECT status FROM ({fit})", f"{fit} WITH (resamples = 0)", f"{fit}; SELECT 1"):
        assert "std_error" not in run("sql", others)[1]
