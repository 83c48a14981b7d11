"""The demo: whole, repeated, and killed at random moments."""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from isoflop.lakehouse import Lakehouse
from isoflop.lakehouse.maintenance import find_problems

COMMAND = [sys.executable, "-m", "isoflop", "demo"]
TABLE = (
    "SELECT run_id, family, source, status, reason, params, tokens, flops, memcpy_bytes, loss, validation_loss "
    "FROM runs ORDER BY run_id"
)


def run_demo(lake: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, "--lake", str(lake), *options], capture_output=True, text=True, timeout=900)


def final_table(lake: Path) -> list[dict[str, object]]:
    with Lakehouse(lake) as opened:
        assert len(find_problems(opened)) == 0
        rows: list[dict[str, object]] = opened.query(TABLE).to_pylist()
    return rows


def interrupted(lake: Path, how: signal.Signals, after: float, *options: str) -> int:
    """Start the demo, send `how` after so many seconds, and return its exit code."""
    process = subprocess.Popen(
        [*COMMAND, "--lake", str(lake), *options],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    try:
        return process.wait(timeout=after)
    except subprocess.TimeoutExpired:
        os.kill(process.pid, how)
        return process.wait(timeout=300)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """A demo that ran undisturbed."""
    lake = tmp_path_factory.mktemp("demo") / "demo.duckdb"
    return lake, run_demo(lake)


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """A quick demo that ran undisturbed."""
    lake = tmp_path_factory.mktemp("quick") / "demo.duckdb"
    return lake, run_demo(lake, "--quick")


@pytest.mark.slow
@pytest.mark.cluster
def test_a_quick_demo_trains_fits_and_extrapolates(quick: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    lake, done = quick
    assert done.returncode == 0, done.stderr
    with Lakehouse(lake) as opened:
        (counts,) = opened.query("""
            SELECT count(*) FILTER (source = 'worker') AS trained,
                   count(DISTINCT family) FILTER (source = 'worker') AS families,
                   count(*) FILTER (source = 'worker' AND status = 'finished' AND loss IS NOT NULL AND step_seconds > 0
                        AND flops > 0 AND memcpy_bytes > 0 AND params > 0 AND tokens > 0) AS whole,
                   count(*) FILTER (source LIKE 'import:%') AS published FROM runs""").to_pylist()
        assert counts["whole"] == counts["trained"] > 0
        assert counts["families"] == 2 and counts["published"] == 245
        (law,) = opened.query("SELECT * FROM laws WHERE name = 'published'").to_pylist()
        assert law["objective"] <= 1.01828e-3
    assert "EXTRAPOLATE published TO flops = 5.76e23" in done.stdout
    assert re.search(r"[\u2801-\u28ff]", done.stdout), "the plot is drawn"
    assert "What to type next" in done.stdout


@pytest.mark.long
@pytest.mark.cluster
def test_the_demo_trains_fits_and_extrapolates(whole: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    lake, done = whole
    assert done.returncode == 0, done.stderr
    with Lakehouse(lake) as opened:
        (counts,) = opened.query("""
            SELECT count(*) FILTER (source = 'worker') AS trained, count(DISTINCT run_id) AS ids, count(*) AS rows,
                   count(DISTINCT family) FILTER (source = 'worker') AS families,
                   count(*) FILTER (source = 'worker' AND status = 'finished' AND loss IS NOT NULL AND step_seconds > 0
                        AND flops > 0 AND memcpy_bytes > 0 AND params > 0 AND tokens > 0) AS whole,
                   count(*) FILTER (source LIKE 'import:%') AS published FROM runs""").to_pylist()
        assert counts["trained"] >= 40 and counts["whole"] == counts["trained"]
        assert counts["families"] == 2 and counts["published"] == 245 and counts["ids"] == counts["rows"]
        (law,) = opened.query("SELECT * FROM laws WHERE name = 'published'").to_pylist()
        found = {part["coefficient"]: part["estimate"] for part in law["coefficients"]}
        assert law["objective"] <= 1.01828e-3
        assert found["E"] == pytest.approx(1.8172, abs=5e-5)
        (called,) = opened.query("SELECT published(7e10, 1.4e12) AS loss").to_pylist()
        expected = found["E"] + found["A"] / 7e10 ** found["alpha"] + found["B"] / 1.4e12 ** found["beta"]
        assert called["loss"] == pytest.approx(expected, rel=1e-12)
    assert "EXTRAPOLATE published TO flops = 5.76e23" in done.stdout
    assert "coverage" in done.stdout and "lower" in done.stdout
    assert re.search(r"[\u2801-\u28ff]", done.stdout), "the plot is drawn"
    assert "What to type next" in done.stdout


@pytest.mark.slow
@pytest.mark.cluster
def test_with_nothing_left_to_train_it_is_quick_and_changes_nothing(
    quick: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    lake, _ = quick
    before = final_table(lake)
    began = time.monotonic()
    again = run_demo(lake, "--quick")
    assert again.returncode == 0, again.stderr
    assert time.monotonic() - began < 60
    assert final_table(lake) == before


def survive(lake: Path, moments: list[tuple[signal.Signals, float]], *options: str) -> list[int]:
    return [interrupted(lake, how, after, *options) for how, after in moments]


@pytest.mark.cluster
@pytest.mark.long  # a whole demo more, stopped at two moments
def test_a_quick_demo_killed_and_interrupted_ends_with_the_same_table(
    tmp_path: Path, quick: tuple[Path, subprocess.CompletedProcess[str]]
) -> None:
    undisturbed, disturbed = quick[0], tmp_path / "b.duckdb"
    chance = random.Random(4)
    moments = [(how, chance.uniform(4, 14)) for how in (signal.SIGINT, signal.SIGKILL)]
    codes = survive(disturbed, moments, "--quick")
    assert set(codes) <= {0, 130, -signal.SIGKILL}
    done = run_demo(disturbed, "--quick")
    assert done.returncode == 0, done.stderr
    assert final_table(disturbed) == final_table(undisturbed)


@pytest.mark.long
@pytest.mark.cluster
def test_the_demo_interrupted_five_times_each_way_ends_with_the_same_table(
    tmp_path: Path, whole: tuple[Path, subprocess.CompletedProcess[str]]
) -> None:
    lake = tmp_path / "demo.duckdb"
    chance = random.Random(11)
    moments = [(how, chance.uniform(3, 40)) for how in (signal.SIGINT, signal.SIGKILL) * 5]
    codes = survive(lake, moments)
    assert set(codes) <= {0, 130, -signal.SIGKILL}
    done = run_demo(lake)
    assert done.returncode == 0, done.stderr
    assert final_table(lake) == final_table(whole[0])
