"""`isoflop design`: a thin spelling of DESIGN whose sweep file `isoflop sweep` takes."""

from __future__ import annotations

import csv
import io
import sys
from pathlib import Path

import pytest

import isoflop
from isoflop.cli.main import main
from tests.queries.language.conftest import planted_points

OVER = ("--over", "params IN [2e5, 1e7] LOG", "--over", "tokens IN [1e7, 1e9] LOG")


def ask(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    monkeypatch.setattr(sys, "argv", ["isoflop", *arguments])
    with pytest.raises(SystemExit) as left:
        main()
    out, err = capfd.readouterr()
    return int(left.value.code or 0), out, err


def test_a_design_becomes_a_sweep_file_that_a_dry_run_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ISOFLOP_LAKE", str(tmp_path / "lake.duckdb"))
    with isoflop.open(tmp_path / "lake.duckdb") as lake:
        lake.write([("CREATE TABLE points AS FROM _points", None)], {"_points": planted_points()})
        lake.sql("CREATE LAW chin AS FIT loss ~ chinchilla(params, tokens) FROM points WITH (resamples = 50)")
    target = ("3", "chin", "params=1e9", "tokens=2e10")
    budget = ("--subject-to", "SUM(flops) <= 1e16", "--with", "seed=1")
    code, out, err = ask(monkeypatch, capfd, "design", *target, *OVER, *budget, "--sweep-file", "next.yaml", "--json")
    assert code == 0 and "DESIGN 3 RUNS FOR chin\nTO params = 1e9, tokens = 2e10\nOVER params IN" in err
    assert "next.yaml: 3 runs" in err and '"width_after"' in out
    code, out, err = ask(monkeypatch, capfd, "sweep", "next.yaml", "--dry-run", "--format", "csv")
    assert code == 0 and len(out.splitlines()) == 4 and "to train" in err
    assert sum(float(row["flops"]) for row in csv.DictReader(io.StringIO(out))) <= 1e16
    code, _, err = ask(monkeypatch, capfd, "design", *target, *OVER, *budget, "--sweep-file", "next.yaml")
    assert code == 2 and "next.yaml exists" in err
    code, _, err = ask(monkeypatch, capfd, "design", *target, *OVER, "--family", "plrf")
    assert code == 2 and "--family and --like are about a sweep file" in err


def test_the_sweep_file_of_an_optimum_keeps_to_its_budget(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ISOFLOP_LAKE", raising=False)
    each = ("--subject-to", "flops <= b", "--for-each", "b=1e19,1e20", "--sweep-file", "best.yaml")
    wide = ("--over", "params IN [1e6, 1e11] LOG", "--over", "tokens IN [1e8, 1e12] LOG")
    code, _, err = ask(monkeypatch, capfd, "optimize", "published:besiroglu_2024", *wide, *each)
    assert code == 0 and "fewer tokens than planned" in err
    code, out, _ = ask(monkeypatch, capfd, "sweep", "best.yaml", "--dry-run", "--format", "csv")
    flops = sorted(float(row["flops"]) for row in csv.DictReader(io.StringIO(out)))
    assert code == 0 and flops[0] <= 1e19 and flops[1] <= 1e20 and flops[0] > 0.99e19
