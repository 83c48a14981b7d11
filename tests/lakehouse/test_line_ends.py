"""Lines that end in LF and in CR LF are read; a CR of its own among them is one error that says where, and the cure."""

from __future__ import annotations

import subprocess
from pathlib import Path

import duckdb
import pytest

import isoflop
from isoflop.lakehouse.errors import FileError, IsoflopError
from isoflop.lakehouse.exchange import Replacing, import_path
from isoflop.lakehouse.exchange.table_file import load

HEAD, ROWS = b"name,params,tokens,loss", (b"a,1000000,2000000,3.1", b"b,2000000,2000000,3.0", b"c,3000000,2000000,2.9")


@pytest.mark.parametrize(
    ("ends", "line", "said"),
    [
        ((b"\r\n", b"\r\n", b"\r"), 3, "ends in CR, and the lines before it in CR LF"),
        ((b"\r", b"\r", b"\n"), 3, "ends in LF, and the lines before it in CR"),
        ((b"\n", b"\n", b"\r"), 3, "ends in CR, and the lines before it in LF"),
    ],
)
def test_mixed_ends_are_named_with_their_line_and_their_mending(
    tmp_path: Path, ends: tuple[bytes, ...], line: int, said: str
) -> None:
    path = tmp_path / "mixed.csv"
    path.write_bytes(b"".join(text + end for text, end in zip((HEAD, *ROWS), (*ends, ends[-1]), strict=True)))
    with isoflop.open(tmp_path / "lake.duckdb") as lake:
        with pytest.raises(FileError) as refused:
            import_path(lake, path)
        assert refused.value.message == f"{path}:{line}: {said}" and refused.value.hint is not None
        subprocess.run(refused.value.hint.partition(", and")[0], shell=True, check=True, cwd=tmp_path)
        assert import_path(lake, tmp_path / "clean.csv").runs == 3


@pytest.mark.parametrize(
    "ends", [(b"\n", b"\r\n", b"\r\n", b"\r\n"), (b"\r\n", b"\n", b"\n", b""), (b"\n", b"\n", b"\r\n", b"\n")]
)
def test_lines_that_end_in_lf_and_in_cr_lf_are_lines(tmp_path: Path, ends: tuple[bytes, ...]) -> None:
    texts = (HEAD + b",note", ROWS[0] + b",x", ROWS[1] + b',"p\r\nq"', ROWS[2] + b",z")
    (tmp_path / "runs.csv").write_bytes(b"".join(text + end for text, end in zip(texts, ends, strict=True)))
    with isoflop.open(tmp_path / "lake.duckdb") as lake:
        assert import_path(lake, tmp_path / "runs.csv").runs == 3
        found = lake.query("SELECT name, loss, note FROM runs ORDER BY name").to_pylist()
    assert [tuple(row.values()) for row in found] == [("a", 3.1, "x"), ("b", 3.0, "p\r\nq"), ("c", 2.9, "z")]


def test_what_else_is_wrong_with_such_a_file_is_what_is_said(tmp_path: Path) -> None:
    path = tmp_path / "runs.csv"
    path.write_bytes(HEAD + b"\n" + b"\r\n".join((*ROWS, b"caf\xe9,1e6,2e6,3.1")))
    with isoflop.open(tmp_path / "lake.duckdb") as lake, pytest.raises(FileError) as refused:
        import_path(lake, path)
    assert "ends in" not in refused.value.message and "iconv" in str(refused.value.hint)


def test_ends_that_differ_far_into_a_long_file_are_lines(tmp_path: Path) -> None:
    rows = b"".join(b"r%d,1000000,2000000,3.1\n" % k for k in range(40_000))
    (tmp_path / "runs.tsv").write_bytes((HEAD + b"\n" + rows + b"last,1e6,2e6,2.5\r\n").replace(b",", b"\t"))
    (tmp_path / "plain.tsv").write_bytes((HEAD + b"\n" + rows + b"last,1e6,2e6,2.5\n").replace(b",", b"\t"))
    with duckdb.connect() as con:
        load(con, tmp_path / "plain.tsv", {})
        plain = con.execute("FROM rows").fetchall()
        con.execute("DROP TABLE rows; DROP TABLE unread")
        load(con, tmp_path / "runs.tsv", {})
        assert con.execute("FROM rows").fetchall() == plain  # with the checksums that runs are known by


def test_ends_within_quotes_are_part_of_a_cell(tmp_path: Path) -> None:
    path = tmp_path / "notes.csv"
    path.write_bytes(HEAD + b',note\na,1e6,2e6,3.1,"x\r\ny"\nb,2e6,2e6,3.0,"p\nq"\n')
    with isoflop.open(tmp_path / "lake.duckdb") as lake:
        assert import_path(lake, path).runs == 2


def test_a_file_without_rows_removes_no_runs(tmp_path: Path) -> None:
    path = tmp_path / "runs.csv"
    path.write_bytes(b"\n".join((HEAD, *ROWS)))
    with isoflop.open(tmp_path / "lake.duckdb") as lake:
        import_path(lake, path)
        path.write_bytes(HEAD + b"\n")
        with pytest.raises(IsoflopError, match="no rows to import"):
            import_path(lake, path, replacing=Replacing(path))
        assert lake.query("SELECT count(*) AS n FROM runs").to_pylist() == [{"n": 3}]
