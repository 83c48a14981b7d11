"""The whole life of a law, in a file and in a shared catalog: made, asked, forecast with, scored, refitted, dropped."""

from __future__ import annotations

import subprocess
import sys

import duckdb
import numpy as np
import pytest

import isoflop
from isoflop.lakehouse import Lakehouse
from isoflop.lakehouse.errors import StatementError


def land(lake: Lakehouse, width: int, loss: float | None = None) -> None:
    """Record a finished run of `width`, near the planted curve unless a loss is given."""
    params = 12.0 * width**2
    with lake.run("net", {"width": width}, params=params) as run:
        run.log(step=1, loss=loss or 1.5 + 40 / params**0.4 + 0.001 * (width % 3))
    lake.drain()


@pytest.mark.slow
def test_a_law_lives_alike_in_both_catalogs(address: str) -> None:
    with isoflop.open(address) as lake:
        for width in (16, 24, 33, 48, 64, 97, 128, 200):
            land(lake, width)
        fit = "FIT loss ~ power(params) FROM runs WITH (resamples = 20, forward = false)"
        lake.sql(f"CREATE LAW size AS {fit}")
        (row,) = lake.sql("EXTRAPOLATE size TO params = 1e9").records()
        expected = [pytest.approx(row[name], rel=1e-9) for name in ("predicted_loss", "lower", "upper")]
        functions = "SELECT size(1e9) AS y, size_lower(1e9) AS low, size_upper(1e9) AS high"
        assert list(lake.sql(functions).rows()[0]) == expected
        lake.sql("COMMENT ON LAW size IS 'by width'")
        assert [(row["name"], row["comment"], row["stale"]) for row in lake.sql("SHOW LAWS").records()] == [
            ("size", "by width", False)
        ]
        assert len(lake.sql("DESCRIBE LAW size")) == 3
        assert lake.sql("REFIT LAW size").records()[0]["bit_equal"] is True
        lake.query("CREATE MACRO mine_upper(x) AS x")
        with pytest.raises(StatementError, match="'mine_upper', a bound of the law as an SQL function, is a macro"):
            lake.sql(f"CREATE LAW mine AS {fit}")

        kept = lake.sql("FORECAST size TO params = [12 * 256 ** 2, 12 * 300 ** 2, 12 * 512 ** 2]").records()
        land(lake, 256, loss=kept[0]["predicted_loss"])
        land(lake, 300, loss=9.0)
        scored = lake.sql("SELECT * FROM forecasts WHERE run_id IS NOT NULL ORDER BY observed").records()
        assert [(row["inside"], row["coverage"]) for row in scored] == [(True, 0.5), (False, 0.5)]
        assert [row["error"] for row in scored] == [0.0, pytest.approx(np.log(9.0 / kept[1]["predicted_loss"]))]
        shown = lake.sql("SHOW FORECASTS LIKE 'size'")
        assert len(shown) == 3 and shown.notes == ()
        assert shown.columns[-3:] == ["inside", "error", "coverage"]
        assert lake.sql("SHOW LAWS").records()[0]["stale"] is True
        assert any("law 'size' is stale" in note for note in lake.sql("EXTRAPOLATE size TO params = 1e9").notes)

        lake.sql("ALTER LAW size RENAME TO extent")
        assert lake.sql("SELECT count(*) FROM forecasts WHERE law = 'extent'").rows() == [(3,)]
        again = lake.sql("REFIT LAW extent").records()[0]
        assert (again["version"], again["rows"], again["rows_changed"]) == (2, 10, True)
        (row,) = lake.sql("EXTRAPOLATE extent TO params = 1e9").records()
    program = (
        "import sys, isoflop\n"
        "with isoflop.open(sys.argv[1]) as lake:\n"
        "    print(lake.sql('SELECT extent_lower(1e9)').rows()[0][0])\n"
    )
    done = subprocess.run([sys.executable, "-c", program, address], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) == pytest.approx(row["lower"], rel=1e-9)
    with isoflop.open(address) as lake:
        lake.sql("DROP LAW extent")
        for function in ("size(1)", "extent(1)", "extent_lower(1)", "extent_upper(1)"):
            with pytest.raises(duckdb.CatalogException):
                lake.query(f"SELECT {function}")
        assert len(lake.sql("SHOW LAWS")) == 0 and len(lake.sql("SHOW FORECASTS")) == 3
        assert lake.query("SELECT mine_upper(4) AS x").to_pylist() == [{"x": 4}]


@pytest.mark.slow
def test_a_copy_of_a_lake_has_its_laws_with_their_functions(
    address: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    copy = tmp_path_factory.mktemp("copies") / "copy.duckdb"
    with isoflop.open(address) as lake:
        for width in (16, 24, 33, 48):
            land(lake, width)
        lake.sql("CREATE LAW size AS FIT loss ~ power(params) FROM runs WITH (resamples = 20, forward = false)")
        ask = "SELECT size(1e9), size_lower(1e9), size_upper(1e9)"
        expected = lake.sql(ask).rows()
        lake.snapshot(copy)
    with isoflop.open(copy) as lake:
        assert lake.sql(ask).rows() == expected
        assert lake.sql("REFIT LAW size").records()[0]["bit_equal"] is True
