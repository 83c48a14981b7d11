"""`%load_ext isoflop` in a real IPython: magics, variables as tables and parameters, answers as HTML."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from isoflop.lakehouse import Answer

pytest.importorskip("IPython", reason="IPython is not installed (pip install isoflop[test])")

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A notebook with the extension, in a folder of its own."""
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setenv("ISOFLOP_LAKE", str(tmp_path / "runs.duckdb"))
    from IPython.core.interactiveshell import InteractiveShell
    from traitlets.config import Config

    config = Config()
    config.HistoryManager.enabled = False
    opened = InteractiveShell(config=config)
    opened.run_line_magic("load_ext", "isoflop")
    yield opened
    opened.run_line_magic("unload_ext", "isoflop")


def run(shell: Any, cell: str) -> Any:
    """Run a cell as the notebook does; what it shows, or its error raised."""
    done = shell.run_cell(cell)
    if done.error_in_exec is not None:
        raise done.error_in_exec
    return done.result


def test_a_cell_and_a_line_share_a_session(shell: Any) -> None:
    run(
        shell, "%%isoflop\nCREATE TEMP TABLE sizes AS\nSELECT 1e6 * 2 ** range AS params FROM range(12);\nSELECT 1 AS x"
    )
    assert run(shell, "%isoflop SELECT count(*) AS n FROM sizes").records() == [{"n": 12}]
    assert run(shell, "%%isoflop\nBEGIN; CREATE TABLE t AS SELECT 1 AS x") is not None
    run(shell, "%isoflop ROLLBACK")
    with pytest.raises(Exception, match=r"^$"):
        run(shell, "%isoflop FROM t")


def test_answers_are_assigned(shell: Any) -> None:
    assert run(shell, "%%isoflop answer <<\nSELECT 42 AS x") is None
    assert isinstance(shell.user_ns["answer"], Answer) and shell.user_ns["answer"].records() == [{"x": 42}]
    run(shell, "%isoflop other << SELECT x << 1 AS y FROM answer")
    assert shell.user_ns["other"].records() == [{"y": 84}]
    assert run(shell, "%isoflop SELECT 1 << 3 AS y").records() == [{"y": 8}]


def test_tables_and_values_of_the_notebook_are_seen(shell: Any) -> None:
    import pandas as pd
    import polars as pl

    params = [1e6 * 2.0**k for k in range(12)]
    columns = {"params": params, "loss": [2 + 100 / value**0.3 for value in params]}
    shell.push({"arrow": pa.table(columns), "frame": pd.DataFrame(columns), "polar": pl.DataFrame(columns)})
    shell.push({"least": 3e6, "lazy": pl.LazyFrame(columns), "name": "it's"})
    for name in ("arrow", "frame", "polar", "lazy"):
        assert run(shell, f"%isoflop SELECT count(*) AS n FROM {name} WHERE params > $least").records() == [{"n": 10}]
    assert run(shell, "%isoflop SELECT $name AS name").records() == [{"name": "it's"}]
    run(shell, "%%isoflop fitted <<\nFIT loss ~ power(params) FROM frame WHERE params > $least WITH (resamples = 0)")
    assert shell.user_ns["fitted"].records()[0]["rows"] == 10


def test_errors_are_one_message_with_a_caret(shell: Any, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(Exception, match=r"^$"):
        run(shell, "%%isoflop\nSELECT 1;\nSELECT nope FROM runs")
    out, err = capsys.readouterr()
    assert "LINE 2: SELECT nope FROM runs\n               ^" in err and "Traceback" not in out + err
    with pytest.raises(Exception, match=r"^$"):
        run(shell, "%isoflop FIT loss ~ chinchila(params) FROM runs")
    assert "did you mean 'chinchilla'" in capsys.readouterr().err


def test_the_lake_is_named_and_opened_for_reading(
    shell: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(shell, f"%isoflop --lake {tmp_path}/other.duckdb CREATE TABLE t AS SELECT 7 AS x")
    assert run(shell, "%isoflop --read-only FROM t").records() == [{"x": 7}]
    with pytest.raises(Exception, match=r"^$"):
        run(shell, "%isoflop DROP TABLE t")
    assert "open for reading only" in capsys.readouterr().err
    run(shell, "%isoflop")
    assert "%isoflop --lake runs.duckdb" in capsys.readouterr().out


def test_an_answer_is_a_safe_table() -> None:
    table = pa.table({"law": ["<b>x</b>", None], "loss": [2.51234567, 3.0]})
    html = Answer(table, 'SELECT "<i>"', ("a < b",), {"loss": "nat/token"})._repr_html_()
    assert "&lt;b&gt;x&lt;/b&gt;" in html and "<b>" not in html and "<i>" not in html and "a &lt; b" in html
    assert "nat/token" in html and "2.51235" in html and "2 rows" in html
    assert html.count("text-align:right") == 3 and html.count("text-align:left") == 3
    long = Answer(pa.table({"x": list(range(100))}))._repr_html_()
    assert "100 rows, 40 shown" in long and long.count("<tr>") == 41


def test_importing_isoflop_imports_no_ipython() -> None:
    import subprocess
    import sys

    program = "import sys, isoflop, isoflop.cli.main, isoflop.lakehouse; print('IPython' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
