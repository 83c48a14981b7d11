"""`isoflop calibrate`, and a dry run that foretells by it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from isoflop.cli.main import main
from isoflop.lakehouse import Lakehouse
from isoflop.lakehouse.runs.provenance import host_name

SWEEP = """\
name: small
family: transformer
corpus: {kind: markov, vocabulary: 64}
grid: {width: [32, 64], depth: 2, sequence_length: 32, batch_size: 4, validation_tokens: 0, steps: 1000}
"""
FEATURES = """\
name: features
family: plrf
grid: {width: 8, spectrum_exponent: 1.0, target_exponent: 0.8, tokens: 100}
"""


def isoflop(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    """Run the command line in this process and return its exit code."""
    monkeypatch.setattr(sys, "argv", ["isoflop", *words])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


def planted(lake: Lakehouse, host: str, price: float, measured_at: str) -> None:
    """Keep a calibration of steps that cost 1 ms and a price for each FLOP."""
    lake.write(
        [
            (
                "INSERT INTO store.calibrations BY NAME SELECT ? AS host, 'cpu' AS device, 1 AS threads, "
                "?::TIMESTAMP AS measured_at, 'step' AS quantity, 'float32' AS dtype, 1e6 * power(3, i) AS flops, "
                "1e6 * power(2, (3 * i) % 7) AS memcpy_bytes, 1 + i % 3 AS depth, 0.001 + ? * flops AS value "
                "FROM range(8) r(i)",
                [host, measured_at, price],
            )
        ]
    )


@pytest.mark.slow
def test_a_calibration_measures_keeps_and_prints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sweep.yaml").write_text(SWEEP)
    assert isoflop(monkeypatch, "calibrate", "--device", "cpu", "--seconds", "6", "--json") == 0
    rows = json.loads(capsys.readouterr().out)
    quantities = {row["quantity"] for row in rows}
    assert quantities == {"launch", "copy", "matrix", "step"}
    assert all(row["value"] > 0 and row["repeats"] >= 3 for row in rows)
    for row in rows:  # the fastest is the shortest time, or the highest rate
        assert row["value"] <= row["typical"] if row["unit"] == "s" else row["value"] >= row["typical"]
    with Lakehouse("isoflop.duckdb") as lake:
        [kept] = lake.query("SELECT count(*) AS n, any_value(host) AS host FROM calibrations").to_pylist()
        said = "SELECT comment FROM duckdb_tables() WHERE table_name = 'calibrations' AND schema_name = 'store'"
        [table] = lake.query(said).to_pylist()
    assert kept == {"n": len(rows), "host": host_name()} and "a row for each quantity" in table["comment"]
    assert isoflop(monkeypatch, "sweep", "sweep.yaml", "--dry-run", "--json") == 0
    out, err = capsys.readouterr()
    assert all(row["seconds"] > 0 for row in json.loads(out))
    assert "times by the calibration of" in err and "on this machine, cpu, 1 thread" in err


def test_a_dry_run_takes_the_newest_calibration_of_this_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sweep.yaml").write_text(SWEEP)
    with Lakehouse("isoflop.duckdb") as lake:
        planted(lake, "elsewhere", 1e-7, "2026-03-01 00:00:00")
        planted(lake, host_name(), 1e-8, "2026-01-01 00:00:00")
        planted(lake, host_name(), 1e-9, "2026-02-01 00:00:00")
    assert isoflop(monkeypatch, "sweep", "sweep.yaml", "--dry-run", "--json") == 0
    out, err = capsys.readouterr()
    for row in json.loads(out):
        assert row["seconds"] == pytest.approx(1000 * 0.001 + 1e-9 * row["flops"], rel=0.01)
    assert "times by the calibration of 2026-02-01 00:00 on this machine" in err
    assert "about" in err and "if one run trains at a time" in err


def test_without_a_law_or_a_calibration_of_this_machine_no_time_is_made_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sweep.yaml").write_text(SWEEP)
    (tmp_path / "features.yaml").write_text(FEATURES)
    with Lakehouse("isoflop.duckdb") as lake:
        planted(lake, "elsewhere", 1e-7, "2026-03-01 00:00:00")
    assert isoflop(monkeypatch, "sweep", "sweep.yaml", "--dry-run", "--json") == 0
    out, err = capsys.readouterr()
    assert [row["seconds"] for row in json.loads(out)] == [None, None]
    assert "no estimate of the time" in err and "isoflop calibrate" in err and "if one run trains" not in err
    with Lakehouse("isoflop.duckdb") as lake:
        planted(lake, host_name(), 1e-8, "2026-01-01 00:00:00")
    assert isoflop(monkeypatch, "sweep", "features.yaml", "--dry-run", "--json") == 0
    out, err = capsys.readouterr()
    assert [row["seconds"] for row in json.loads(out)] == [None]
    assert "says nothing of runs of their family or precision" in err


def test_a_law_of_another_machine_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sweep.yaml").write_text(SWEEP)
    law = "FIT value ~ step_time(flops, memcpy_bytes, depth) FROM calibrations WHERE host = "
    with Lakehouse("isoflop.duckdb") as lake:
        planted(lake, "elsewhere", 1e-7, "2026-03-01 00:00:00")
        planted(lake, host_name(), 1e-9, "2026-02-01 00:00:00")
    assert isoflop(monkeypatch, "sql", f"CREATE LAW ours AS {law} '{host_name()}'") == 0
    assert isoflop(monkeypatch, "sql", f"CREATE LAW theirs AS {law} 'elsewhere'") == 0
    capsys.readouterr()
    assert isoflop(monkeypatch, "sweep", "sweep.yaml", "--dry-run", "--json") == 0
    out, err = capsys.readouterr()
    for row in json.loads(out):
        assert row["seconds"] == pytest.approx(1000 * 0.001 + 1e-9 * row["flops"], rel=0.01)
    assert "times by the law 'ours' of this lake" in err
