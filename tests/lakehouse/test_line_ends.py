"""A table whose lines end in different ways is one error that says where, and how to mend it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

import isoflop
from isoflop.lakehouse.errors import FileError, IsoflopError
from isoflop.lakehouse.exchange import Replacing, import_path

HEAD, ROWS = b"name,params,tokens,loss", (b"a,1000000,2000000,3.1", b"b,2000000,2000000,3.0", b"c,3000000,2000000,2.9")


@pytest.mark.parametrize(
    ("ends", "line", "said"),
    [
        ((b"\r\n", b"\n", b"\r\n"), 2, "ends in LF, and the lines before it in CR LF"),
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
