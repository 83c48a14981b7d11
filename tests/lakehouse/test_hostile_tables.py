"""Tables that are made to hurt, packed, endless, deep or in another encoding: one error within seconds, or the rows."""

from __future__ import annotations

import gzip
import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from isoflop.lakehouse import Lakehouse
from isoflop.lakehouse.errors import FileError, IsoflopError, RecordError
from isoflop.lakehouse.exchange import import_path

DEEP = b"[" * 100_000 + b"]" * 100_000
LONGEST = 15.0  # seconds of work; each takes one or two on an idle machine
ROWS = "name,params,loss\na,1e6,3\nb,2e6,2.5\n"


def gzipped(name: str, part: bytes, times: int) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        with gzip.open(folder / name, "wb", compresslevel=1) as file:
            file.write(b"params,loss\n")
            for _ in range(times):
                file.write(part)
        return folder / name

    return make


def zstandard(name: str, part: bytes, times: int) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        with pa.CompressedOutputStream(pa.OSFile(str(folder / name), "wb"), "zstd") as file:
            for _ in range(times):
                file.write(part)
        return folder / name

    return make


def written(name: str, content: bytes) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        (folder / name).write_bytes(content)
        return folder / name

    return make


def endless_line(folder: Path) -> Path:
    with open(folder / "line.csv", "wb") as file:
        file.write(b"params,loss\n1e6," + b"2" * 2**16)  # text by its beginning, then a hole of a GiB
        file.seek(2**30)
        file.write(b"\n")
    return folder / "line.csv"


def endless_heading(folder: Path) -> Path:
    with open(folder / "heading.csv", "wb") as file:
        file.seek(2**30)
        file.write(b"\n")
    return folder / "heading.csv"


def lying_footer(folder: Path) -> Path:
    pq.write_table(pa.table({"params": [1e6], "loss": [3.0]}), folder / "x.parquet")
    content = bytearray((folder / "x.parquet").read_bytes())
    content[-8:-4] = (2**31 - 1).to_bytes(4, "little")
    (folder / "x.parquet").write_bytes(content)
    return folder / "x.parquet"


def folder_by_the_name_of_a_table(folder: Path) -> Path:
    (folder / "x.csv").mkdir()
    return folder / "x.csv"


def link_to_a_device(folder: Path) -> Path:
    os.symlink("/dev/zero", folder / "x.csv")
    return folder / "x.csv"


def link_in_a_circle(folder: Path) -> Path:
    os.symlink("x.csv", folder / "x.csv")
    return folder / "x.csv"


MANY = json.dumps({f"c{key}": key for key in range(200_000)}).encode()
REFUSED: dict[str, tuple[Callable[[Path], Path], str]] = {
    "a bomb of one line": (gzipped("x.csv.gz", b"0" * 2**24, 20), "x.csv.gz:2: a line of more than"),
    "a bomb of rows": (gzipped("x.csv.gz", b"1e6,2\n" * 2**20, 60), "times its size when unpacked"),
    "a bomb of blanks": (zstandard("x.jsonl.zst", b" " * 2**24, 20), "a line of more than"),
    "a bomb of an array": (zstandard("x.json.zst", b" " * 2**24, 20), "times its size when unpacked"),
    "deep, packed": (zstandard("x.jsonl.zst", DEEP, 1), "nested more than 100 deep"),
    "deep, gzipped": (gzipped("x.json.gz", DEEP, 1), "nested more than 100 deep"),
    "deep objects": (written("x.json", b'{"a":' * 100_000 + b"1" + b"}" * 100_000), "nested more than 100 deep"),
    "countless keys": (written("x.jsonl", MANY + b"\n"), "more fields than the 4,096 columns"),
    "countless keys of one object": (written("x.json", MANY), "more fields than the 4,096 columns"),
    "an endless line": (endless_line, "line.csv:2: a line of more than"),
    "an endless heading": (endless_heading, "UTF-16 or no text at all"),
    "a lying footer": (lying_footer, "Footer length error"),
    "cut off": (written("x.csv.gz", gzip.compress(ROWS.encode() * 1000)[:-40]), "cannot be read as gzip"),
    "no gzip": (written("x.csv.gz", b"params,loss\n1e6,2\n"), "cannot be read as gzip"),
    "UTF-16": (written("x.csv", ROWS.encode("utf-16")), "iconv -f UTF-16 -t UTF-8"),
    "UTF-16 without its mark": (written("x.csv", ROWS.encode("utf-16-le")), "iconv -f UTF-16 -t UTF-8"),
    "UTF-16 JSON": (written("x.json", '[{"params": 1e6, "loss": 3}]'.encode("utf-16")), "iconv -f UTF-16"),
    "Latin-1": (written("x.csv", ROWS.replace("a", "ä").encode("latin-1")), "iconv -f LATIN1 -t UTF-8"),
    "a byte of zero": (written("x.csv", b"params,loss\n1e6,3\0\n2e6,2\n"), "not a number"),
    "only a heading": (written("x.csv", b"params,loss\n"), "no rows to import"),
    "nothing": (written("x.csv", b""), "no rows to import"),
    "nothing, packed": (written("x.jsonl.zst", b""), "no rows to import"),
    "a folder": (folder_by_the_name_of_a_table, "holds no runs that are known here"),
    "a device": (link_to_a_device, "holds no runs that are known here"),
    "a circle of links": (link_in_a_circle, "no such file"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", REFUSED)
def test_it_is_refused_with_one_error_within_seconds(name: str, lakehouse: Lakehouse, tmp_path: Path) -> None:
    make, message = REFUSED[name]
    (tmp_path / "files").mkdir()
    path = make(tmp_path / "files")
    began = time.process_time()
    with pytest.raises((FileError, RecordError)) as caught:
        import_path(lakehouse, path)
    assert time.process_time() - began < LONGEST
    assert isinstance(caught.value, IsoflopError) and message in str(caught.value)
    assert lakehouse.query("SELECT count(*) AS n FROM runs").to_pylist() == [{"n": 0}]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("bom.csv", ROWS.encode("utf-8-sig")),
        ("windows.csv", ROWS.replace("\n", "\r\n").encode()),
        ("macintosh.csv", ROWS.replace("\n", "\r").encode()),
        ("no_last_end.csv", ROWS.rstrip("\n").encode()),
        ("blank_lines.csv", ROWS.replace("\nb", "\n\nb").encode() + b"\n\n"),
        ("bom.json", json.dumps([{"params": 1e6, "loss": 3}, {"params": 2e6, "loss": 2.5}]).encode("utf-8-sig")),
        ("packed.csv.gz", gzip.compress(ROWS.encode())),
    ],
)
def test_what_is_only_unusual_comes_in(name: str, content: bytes, lakehouse: Lakehouse, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    import_path(lakehouse, tmp_path / name)
    rows = lakehouse.query("SELECT params, loss FROM runs ORDER BY params").to_pylist()
    assert rows == [{"params": 1e6, "loss": 3.0}, {"params": 2e6, "loss": 2.5}]


def test_a_history_with_a_byte_order_mark_is_one(lakehouse: Lakehouse, tmp_path: Path) -> None:
    (tmp_path / "history.csv").write_bytes("_step,loss\n1,3\n2,2.5\n".encode("utf-8-sig"))
    assert import_path(lakehouse, tmp_path / "history.csv").points == 2


def test_links_in_a_circle_beside_a_lake_and_in_a_folder_are_passed_by(tmp_path: Path) -> None:
    folder = tmp_path / "runs"
    folder.mkdir()
    for link, target in (("self", "."), ("a.csv", "b"), ("b", "a.csv"), ("me.csv", "me.csv")):
        os.symlink(target, folder / link)
    os.symlink("circle", tmp_path / "circle")
    (folder / "x.csv").write_text(ROWS)
    with Lakehouse(tmp_path / "x.duckdb") as lake:
        assert import_path(lake, folder).added == 2


def test_one_cell_that_is_no_number_does_not_lose_a_column_of_a_known_name(tmp_path: Path) -> None:
    rows = [f"r{n},{7 + n}M,{'1.2 billion' if n == 4 else f'{1 + n}.2B'},{3 - n / 20}" for n in range(10)]
    (tmp_path / "sweep.csv").write_text("run,Model size,Train tokens,loss\n" + "\n".join(rows) + "\n")
    with (
        Lakehouse(tmp_path / "lake.duckdb") as lake,
        pytest.raises(RecordError, match=r"row 5: tokens is '1\.2 billion'"),
    ):
        import_path(lake, tmp_path / "sweep.csv")


def test_a_heading_with_a_unit_is_known_where_one_cell_has_a_thousands_separator(tmp_path: Path) -> None:
    (tmp_path / "sweep.csv").write_text('Params (M),Tokens (B),loss\n70,1.4,3.2\n"1,400",3,2.9\n')
    with Lakehouse(tmp_path / "lake.duckdb") as lake:
        import_path(lake, tmp_path / "sweep.csv")
        rows = lake.query("SELECT params, tokens, loss FROM runs ORDER BY params").to_pylist()
    assert [tuple(row.values()) for row in rows] == [(7e7, 1.4e9, 3.2), (1.4e9, 3e9, 2.9)]
