"""Lakes with something to look at: a few runs with curves, and planted runs with laws fitted to them."""

from __future__ import annotations

import io
import math
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from plot_samples import planted_loss

import isoflop
from isoflop.cli.main import main
from isoflop.lakehouse import Lakehouse
from tests.lakes import open_here


@pytest.fixture
def command_line(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """Run the command line in this process, with nobody to ask: exit code, stdout, stderr."""

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["isoflop", *arguments])
        monkeypatch.setattr(sys, "stdin", io.StringIO(""))
        capfd.readouterr()
        with pytest.raises(SystemExit) as left:
            main()
        out, err = capfd.readouterr()
        return int(left.value.code or 0), out, err

    return run


@pytest.fixture(scope="session")
def curves_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lake of four runs of our own training code; the last one crashed."""
    path = tmp_path_factory.mktemp("curves") / "curves.duckdb"
    with isoflop.open(path) as lake, lake.hold():
        for width in (64, 128, 256, 512):
            counts = {"params": 1e4 * width, "tokens": 1e6, "steps": 100, "flops": 6e10 * width}
            try:
                with lake.run("mine", {"width": width, "learning_rate": 1e-3}, name=f"w{width}", **counts) as run:
                    for step in range(1, 101):
                        run.log(step=step, seconds=0.1 * step, loss=1.7 + 3 * step**-0.4 + 10 / width)
                    run.note(f"width {width}")
                    if width == 512:
                        raise MemoryError("no room for width 512")
            except MemoryError:
                pass
    return path


@pytest.fixture
def curves_lake(curves_file: Path, tmp_path: Path) -> Iterator[Lakehouse]:
    """A copy of the lake of four runs, open."""
    with open_here(shutil.copy(curves_file, tmp_path / "curves.duckdb")) as lake:
        yield lake


@pytest.fixture(scope="session")
def laws_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lake of 35 planted runs at five budgets, and two laws fitted to them; three larger runs are in no fit."""
    folder = tmp_path_factory.mktemp("laws")
    noise = np.random.default_rng(0).normal(0, 0.004, 38)
    rows = ["run_id,name,params,tokens,flops,loss"]
    for budget in range(5):
        for size in range(7):
            flops, params = 10 ** (18 + 0.5 * budget), 10 ** (7.4 + 0.25 * budget + 0.2 * size)
            rows.append(_row(len(rows), params, flops / (6 * params), noise))
    for size in range(3):
        rows.append(_row(len(rows), 10 ** (10.2 + 0.2 * size), 1e11, noise))
    table = folder / "planted.csv"
    table.write_text("\n".join(rows) + "\n")
    with isoflop.open(folder / "laws.duckdb") as lake:
        from isoflop.lakehouse.exchange import import_table

        import_table(lake, table, family="planted")
        seen = "FROM runs WHERE params < 1.2e10 WITH (resamples = 50)"
        lake.sql(f"CREATE LAW chin AS FIT loss ~ chinchilla(params, tokens) {seen}")
        lake.sql(f"CREATE LAW size AS FIT loss ~ power(params) {seen}")
    return folder / "laws.duckdb"


def _row(number: int, params: float, tokens: float, noise: np.ndarray) -> str:
    loss = planted_loss(params, tokens) * math.exp(noise[number - 1])
    return f"p{number:02},p{number:02},{params:.6g},{tokens:.6g},{6 * params * tokens:.6g},{loss:.6f}"


@pytest.fixture
def laws_lake(laws_file: Path, tmp_path: Path) -> Iterator[Lakehouse]:
    """A copy of the lake with laws, open."""
    with open_here(shutil.copy(laws_file, tmp_path / "laws.duckdb")) as lake:
        yield lake
