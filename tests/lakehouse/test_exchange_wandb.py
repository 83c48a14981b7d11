"""Weights & Biases: run files that wandb wrote, run folders, histories and charts."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from exchange_stores import STEPS, STORES, curve, loss_at, runs_by_name, same

from isoflop.lakehouse import Lakehouse
from isoflop.lakehouse.errors import FileError
from isoflop.lakehouse.exchange import import_path
from isoflop.lakehouse.exchange.binary.wandb_file import BLOCK, PIECE, read_wandb

RUN_FILE = STORES / "wandb" / "offline-run-20231114_221320-smooth00" / "run-smooth00.wandb"
PLANTED = [(step, loss_at(step, 2.0)) for step in STEPS]


def test_offline_runs_come_in_whole(lakehouse: Lakehouse) -> None:
    done = import_path(lakehouse, STORES / "wandb")
    assert (done.format, done.runs, done.added) == ("wandb", 2, 2)
    assert curve(lakehouse, "smooth") == curve(lakehouse, "failed") == PLANTED
    assert same(curve(lakehouse, "smooth", "validation_loss"), [(70_001, math.nan)])
    assert curve(lakehouse, "smooth", "grad") == [(70_001, math.inf)]
    assert curve(lakehouse, "smooth", "low") == [(70_001, -math.inf)]
    at = lakehouse.query("SELECT seconds FROM curves WHERE name = 'smooth' ORDER BY step").to_pylist()
    assert all(0 <= row["seconds"] < 60 for row in at)
    assert any("run-killed00.wandb: no records" in note for note in done.notes)


def test_settings_tags_and_ends_come_along(lakehouse: Lakehouse) -> None:
    import_path(lakehouse, STORES / "wandb")
    runs = runs_by_name(lakehouse)
    smooth, failed = runs["smooth"], runs["failed"]
    assert (smooth["run_id"], smooth["family"], smooth["tags"]) == ("smooth00", "small-isoflop", ["web", "a b"])
    assert smooth["width"] == 128  # as the run last set it
    assert (smooth["optimizer.name"], smooth["optimizer.lr"], smooth["learning_rate"]) == ("adam", 1e-3, 1e-3)
    assert (smooth["status"], smooth["reason"], smooth["host"]) == ("finished", None, "fixture")
    assert (failed["status"], failed["reason"], failed["error"]) == ("failed", "crash", "exit code 1")
    assert json.loads(smooth["config"])["betas"] == [0.9, 0.95]


def test_importing_twice_adds_nothing(lakehouse: Lakehouse) -> None:
    import_path(lakehouse, STORES / "wandb")
    assert import_path(lakehouse, RUN_FILE).unchanged == 1


def test_a_file_cut_off_by_a_crash_is_read_up_to_there(lakehouse: Lakehouse, tmp_path: Path) -> None:
    whole = RUN_FILE.read_bytes()
    path = tmp_path / RUN_FILE.name
    for size in range(0, len(whole), 7):
        path.write_bytes(whole[:size])
        found = read_wandb(path)
        steps, values, _ = found.curves.get("train.loss", ([], [], []))
        assert list(zip(steps, values, strict=True)) == PLANTED[: len(steps)], size
    path.write_bytes(whole[: len(whole) // 2])
    done = import_path(lakehouse, path)
    run = runs_by_name(lakehouse)["smooth"]
    assert (run["status"], run["reason"]) == ("lost", "no end on record")
    assert any("cut off or damaged" in note for note in done.notes)


def test_a_flipped_bit_ends_the_reading(tmp_path: Path) -> None:
    whole = bytearray(RUN_FILE.read_bytes())
    whole[len(whole) // 2] ^= 0x04
    path = tmp_path / RUN_FILE.name
    path.write_bytes(bytes(whole))
    found = read_wandb(path)
    assert found.notes and found.exit_code is None


def framed(records: list[bytes]) -> bytes:
    """Lay records out as a LevelDB log does, across its blocks."""
    import zlib

    out = bytearray(b":W&B\xe1\xbe\x00")
    for data in records:
        start = True
        while start or data:
            room = BLOCK - len(out) % BLOCK
            if room < PIECE.size:
                out += bytes(room)
                continue
            piece, data = data[: room - PIECE.size], data[room - PIECE.size :]
            kind = (2 if data else 1) if start else (3 if data else 4)
            out += PIECE.pack(zlib.crc32(piece, zlib.crc32(bytes([kind]))), len(piece), kind) + piece
            start = False
    return bytes(out)


def test_records_across_blocks_are_put_together(tmp_path: Path) -> None:
    import struct

    def sized(number: int, content: bytes) -> bytes:
        key, length = number << 3 | 2, len(content)
        head = bytes([key]) if key < 0x80 else bytes([key & 0x7F | 0x80, key >> 7])
        size = bytearray()
        while length >= 0x80:
            size.append(length & 0x7F | 0x80)
            length >>= 7
        return head + bytes(size) + bytes([length]) + content

    run = sized(17, sized(1, b"abcd1234") + sized(3, b"p"))
    texts = ["x" * 40_000, "y" * (BLOCK * 3)]
    rows = []
    for step, text in enumerate(texts, start=1):
        items = [(b"_step", str(step)), (b"loss", str(1 / step)), (b"text", json.dumps(text))]
        rows.append(sized(2, b"".join(sized(1, sized(2, key) + sized(16, told.encode())) for key, told in items)))
    path = tmp_path / "run-abcd1234.wandb"
    path.write_bytes(framed([run, *rows, sized(18, struct.pack("BB", 8, 0))]))
    found = read_wandb(path)
    assert (found.run_id, found.exit_code, found.notes) == ("abcd1234", 0, [])
    assert found.curves["loss"][:2] == ([1, 2], [1.0, 0.5])


def test_a_resumed_run_and_a_copy_of_it_are_one_run(lakehouse: Lakehouse, tmp_path: Path) -> None:
    for number, folder in enumerate(("offline-run-1-smooth00", "offline-run-2-smooth00")):
        (tmp_path / folder).mkdir()
        whole = RUN_FILE.read_bytes()
        (tmp_path / folder / RUN_FILE.name).write_bytes(whole if number else whole[: len(whole) // 2])
    done = import_path(lakehouse, tmp_path)
    assert (done.runs, done.added) == (1, 1) and curve(lakehouse, "smooth") == PLANTED
    assert runs_by_name(lakehouse)["smooth"]["status"] == "finished"


def test_an_exported_history_is_one_run(lakehouse: Lakehouse, tmp_path: Path) -> None:
    csv = tmp_path / "history.csv"
    csv.write_text("_step,_runtime,train/loss,note\n1,0.5,4.0,a\n2,1.0,NaN,b\n3,1.5,,c\n")
    done = import_path(lakehouse, csv)
    assert (done.format, done.runs, done.points) == ("wandb", 1, 2)
    assert same(curve(lakehouse, "history"), [(1, 4.0), (2, math.nan)])
    lines = tmp_path / "scan.jsonl"
    lines.write_text('{"_step": 1, "eval": {"loss": 3.5}, "loss": 4}\n{"_step": 2, "loss": Infinity}\n')
    import_path(lakehouse, lines)
    assert curve(lakehouse, "scan") == [(1, 4.0), (2, math.inf)]
    assert curve(lakehouse, "scan", "validation_loss") == [(1, 3.5)]
    broken = tmp_path / "broken.csv"
    broken.write_text("_step,loss\n1,2\nlater,3\n")
    with pytest.raises(FileError, match=r"broken.csv:3: a history needs a number in '_step'"):
        import_path(lakehouse, broken)
    lines.write_text('{"_step": 1, "loss": 4}\n{"_step": 2, "lo')
    with pytest.raises(FileError, match=r"scan.jsonl:2: not a line of JSON"):
        import_path(lakehouse, lines)


def test_a_charts_csv_is_a_metric_of_many_runs(lakehouse: Lakehouse, tmp_path: Path) -> None:
    chart = tmp_path / "chart.csv"
    chart.write_text(
        '"Step","wide - a - train/loss","wide - a - train/loss__MIN","wide - a - train/loss__MAX","b - train/loss"\n'
        '"1","4.0","4.0","4.0",""\n"2","3.0","3.0","3.0","5.0"\n'
    )
    import_path(lakehouse, chart)
    assert curve(lakehouse, "wide - a") == [(1, 4.0), (2, 3.0)] and curve(lakehouse, "b") == [(2, 5.0)]


def test_a_run_folder_without_its_file_gives_its_last_values(lakehouse: Lakehouse, tmp_path: Path) -> None:
    files = tmp_path / "run-20231114_221320-abcd1234" / "files"
    files.mkdir(parents=True)
    (files / "config.yaml").write_text("_wandb:\n  value: {}\nwidth:\n  desc: null\n  value: 64\n")
    (files / "wandb-summary.json").write_text('{"train/loss": 2.5, "_step": 9, "_runtime": 3.5}')
    done = import_path(lakehouse, tmp_path)
    (row,) = lakehouse.query("SELECT run_id, width, loss FROM runs").to_pylist()
    assert row == {"run_id": "abcd1234", "width": 64, "loss": 2.5} and any("no curves" in note for note in done.notes)
