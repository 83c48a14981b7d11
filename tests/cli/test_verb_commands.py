"""`isoflop optimize`, `optimum`, `predict`, `residuals`, `crossval`, `forecast`: thin, their statement on stderr."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., tuple[int, str, str]]
OVER = ("--over", "params IN [10M, 1T] LOG", "--over", "tokens IN [1B, 100T] LOG")


@pytest.fixture
def run(laws_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command_line: Run) -> Run:
    """Run the command line in this process on a lake with laws: exit code, stdout, stderr."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ISOFLOP_LAKE", str(shutil.copy(laws_file, tmp_path / "laws.duckdb")))

    return command_line


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "statement", "column"),
    [
        (
            ("optimize", "chin", *OVER, "--subject-to", "flops <= b", "--for-each", "b=1e21,1e22"),
            "OPTIMIZE chin\nOVER params IN [10M, 1T] LOG, tokens IN [1B, 100T] LOG\n"
            "SUBJECT TO flops <= b\nFOR EACH b IN [1e21, 1e22]\n",
            "optimum",
        ),
        (
            ("optimize", "chin", *OVER, "--minimize", "flops", "--subject-to", "loss <= 2.1", "--with", "level=0.9"),
            "OPTIMIZE chin MINIMIZE flops\nOVER params IN [10M, 1T] LOG, tokens IN [1B, 100T] LOG\n"
            "SUBJECT TO loss <= 2.1\nWITH (level = 0.9)\n",
            "optimum",
        ),
        (
            ("optimum", "params", "--by", "flops", "--minimize", "loss", "-w", "params < 12B", "--with", "seed=1"),
            "OPTIMUM OF params BY (flops) MINIMIZE loss\nFROM runs\nWHERE params < 12B\nWITH (seed = 1)\n",
            "status",
        ),
        (("predict", "chin", "--where", "params > 20B"), "PREDICT chin\nFROM runs\nWHERE params > 20B\n", "lower"),
        (("residuals", "chin"), "RESIDUALS chin\n", "residual"),
        (("residuals", "chin", "-w", "params > 20B"), "RESIDUALS chin\nFROM runs\nWHERE params > 20B\n", "residual"),
        (
            ("crossval", "chin", "--with", "resamples=0"),
            "CROSS VALIDATE chin\nFROM runs\nHOLDOUT LARGEST 20 PERCENT BY flops\nWITH (resamples = 0)\n",
            "mape",
        ),
        (
            ("crossval", "loss ~ power(params)", "--holdout", "KFOLD 3", "--with", "resamples=0"),
            "CROSS VALIDATE loss ~ power(params)\nFROM runs\nKFOLD 3\nWITH (resamples = 0)\n",
            "mape",
        ),
        (
            ("forecast", "chin", "params=70B", "tokens=20 * params"),
            "FORECAST chin TO params = 70B, tokens = 20 * params\n",
            "forecast_id",
        ),
    ],
)
def test_a_command_is_the_statement_that_it_prints(
    run: Run, arguments: tuple[str, ...], statement: str, column: str
) -> None:
    code, out, err = run(*arguments, "--json")
    assert code == 0 and err.startswith(statement), err
    rows = json.loads(out)
    assert rows and all(row[column] is not None for row in rows)
    if arguments[0] != "forecast":  # which has an id of its own each time
        assert json.loads(run("sql", statement, "--json")[1]) == rows


def test_extrapolate_takes_sizes(run: Run) -> None:
    code, out, err = run("extrapolate", "chin", "params=70B", "tokens=1.4T", "--json")
    (row,) = json.loads(out)
    assert code == 0 and (row["params"], row["tokens"]) == (70e9, 1.4e12) and "params = 70B" in err


def test_the_law_through_the_optima_is_saved(run: Run) -> None:
    code, out, err = run("optimum", "params", "--by", "flops", "-w", "params < 12B", "--name", "best_size", "--json")
    (row,) = json.loads(out)
    assert code == 0 and row["law"] == "best_size" and row["form"] == "optimal_params", err
    assert 0.3 < row["coefficients"]["a"] < 0.7  # the planted exponents are 0.34 and 0.28: 0.45
    assert json.loads(run("extrapolate", "best_size", "flops=1e21", "--json")[1])[0]["predicted_params"] > 1e8


def test_forecasts_are_listed_without_a_law(run: Run) -> None:
    assert run("forecast", "chin", "params=70B", "tokens=1.4T")[0] == 0
    code, out, _ = run("forecast", "--json")
    assert code == 0 and [row["law"] for row in json.loads(out)] == ["chin"]


def test_the_best_points_become_a_sweep(run: Run, tmp_path: Path) -> None:
    budget = ("--subject-to", "flops <= b", "--for-each", "b=1e18,1e19", "--sweep-file", "best.yaml")
    code, out, err = run("optimize", "chin", *OVER, *budget, "--json")
    text = (tmp_path / "best.yaml").read_text()
    assert code == 0 and "best.yaml: 2 runs" in err and text.count("width") == 2
    planned = {row["b"]: row["tokens"] for row in json.loads(out)}
    written = [int(tokens) for tokens in re.findall(r"tokens: (\d+),", text)]
    for (most, tokens), found in zip(planned.items(), written, strict=True):  # fewer, for attention costs FLOPs too
        assert 0.9 * tokens < found <= tokens and most in (1e18, 1e19)
    counted = json.loads(run("sweep", "best.yaml", "--dry-run", "--json")[1])
    assert [row["tokens"] for row in counted] == written
    assert all(0.99 * most < row["flops"] <= most for row, most in zip(counted, planned, strict=True))
    assert run("optimize", "chin", *OVER, *budget)[0] == 2  # a plan is not written over another


def test_conditions_of_commands_take_sizes(run: Run) -> None:
    assert [row["run_id"] for row in json.loads(run("runs", "-w", "params > 20B", "--json")[1])] == ["p37", "p38"]
    code, _, err = run("lake", "tag", "params > 20B", "--add", "large")
    assert (code, err) == (0, "2 runs\n")


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("predict", "chn"), 1, ("law 'chn' does not exist", "did you mean 'chin'")),
        (("forecast", "chin"), 2, ("a forecast is of some place", "params=70B")),
        (("forecast", "chin", "params"), 2, ("'params' is not KEY=VALUE",)),
        (("optimize", "chin"), 2, ("--over",)),
        (("optimize", "chin", *OVER, "--minimize", "loss", "--maximize", "loss"), 2, ("one formula is optimized",)),
        (("optimize", "chin", *OVER, "--like", "x.yaml"), 2, ("--sweep-file best.yaml",)),
        (("optimum", "params"), 2, ("--by",)),
        (("optimum", "params", "--by", "flops", "--replace"), 2, ("--replace needs --name",)),
        (("optimum", "loss", "--by", "flops", "--minimize", "a", "--maximize", "b"), 2, ("one column is to be",)),
        (("optimum", "params", "--by", "flop"), 1, ("'flop' is no column of runs", "did you mean 'flops'", "^")),
        (("crossval", "chin", "--holdout", "LARGST 2 BY flops"), 1, ("expected LARGEST", "^")),
    ],
)
def test_mistakes_have_one_clear_error(run: Run, arguments: tuple[str, ...], code: int, words: tuple[str, ...]) -> None:
    found, out, err = run(*arguments)
    assert found == code and out == "" and "Traceback" not in err
    for word in words:
        assert word in err
