"""Event files that PyTorch and tensorboardX wrote, whole and damaged."""

from __future__ import annotations

import math
import struct
from pathlib import Path

import numpy as np
import pytest
from exchange_stores import STEPS, STORES, copied, curve, loss_at, runs_by_name, same

from isoflop.lakehouse import Lakehouse
from isoflop.lakehouse.exchange import import_path
from isoflop.lakehouse.exchange.binary.crc32c import crc32c, masked
from isoflop.lakehouse.exchange.binary.event_file import read_events


def single(value: float) -> float:
    """A value as a 32-bit float, which is what most writers keep."""
    return float(np.float32(value))


def test_every_writers_curve_is_exactly_what_it_wrote(lakehouse: Lakehouse) -> None:
    done = import_path(lakehouse, STORES / "tensorboard")
    assert (done.format, done.runs, done.added) == ("tensorboard", 4, 4)
    planted = [(step, single(loss_at(step, 2.0))) for step in STEPS]
    assert curve(lakehouse, "torch") == curve(lakehouse, "tensors") == planted
    assert curve(lakehouse, "torch", "validation_loss") == [(step, single(loss_at(step, 2.5))) for step in STEPS]
    assert curve(lakehouse, "tensors", "wide") == [(step, loss_at(step, 2.0)) for step in STEPS]
    at = lakehouse.query("SELECT seconds FROM curves WHERE name = 'torch' ORDER BY step").to_pylist()
    assert [row["seconds"] for row in at] == [(step - 1) / 2 for step in STEPS]


def test_hyperparameters_belong_to_the_run_above_their_folder(lakehouse: Lakehouse) -> None:
    import_path(lakehouse, STORES / "tensorboard")
    run = runs_by_name(lakehouse)["settings"]
    assert (run["width"], run["lr"], run["optimizer"], run["amp"]) == (64, 1e-3, "adam", 1)
    assert curve(lakehouse, "settings", "final") == [(0, 3.25)]


def test_a_resumed_run_goes_on_where_its_second_file_starts(lakehouse: Lakehouse) -> None:
    done = import_path(lakehouse, STORES / "tensorboard")
    assert same(curve(lakehouse, "diverged"), [(1, 9.0), (2, math.inf), (3, -math.inf), (4, math.nan)])
    assert "diverged: 1 point logged again by a later event file, which counts" in done.notes
    run = runs_by_name(lakehouse)["diverged"]
    assert (run["status"], run["reason"]) == ("failed", "diverged")


def test_importing_twice_or_from_elsewhere_adds_nothing(lakehouse: Lakehouse, tmp_path: Path) -> None:
    import_path(lakehouse, STORES / "tensorboard")
    assert import_path(lakehouse, STORES / "tensorboard").unchanged == 4
    moved = copied("tensorboard", tmp_path)
    assert import_path(lakehouse, moved / "torch").unchanged == 1


def test_a_copy_of_a_run_beside_it_counts_once(lakehouse: Lakehouse, tmp_path: Path) -> None:
    for folder in ("logs", "backup"):
        (tmp_path / folder).mkdir()
        copied("tensorboard", tmp_path / folder)
    done = import_path(lakehouse, tmp_path)
    assert (done.runs, done.points) == (4, 28 + 2)
    assert any(note.startswith("found in more than one place and taken once: ") for note in done.notes)


def test_a_truncated_file_is_read_up_to_its_end_and_says_so(lakehouse: Lakehouse, tmp_path: Path) -> None:
    (source,) = (STORES / "tensorboard" / "torch").iterdir()
    whole = source.read_bytes()
    path = tmp_path / source.name
    for size in range(0, len(whole), 5):
        path.write_bytes(whole[:size])
        events = read_events(path)
        points = sum(len(part[1]) for parts in events.scalars.values() for part in parts)
        assert points <= 10 and len(events.notes) <= 1, size
    path.write_bytes(whole[:-7])
    done = import_path(lakehouse, path)
    assert any("cut off or damaged at byte" in note for note in done.notes)


def test_a_flipped_bit_never_becomes_a_point(tmp_path: Path) -> None:
    (source,) = (STORES / "tensorboard" / "torch").iterdir()
    whole = source.read_bytes()
    path = tmp_path / source.name
    honest = {(tag, step, value) for tag, step, value in scalars(source)}
    for at in range(0, len(whole), 3):
        damaged = bytearray(whole)
        damaged[at] ^= 0x10
        path.write_bytes(bytes(damaged))
        assert set(scalars(path)) <= honest and read_events(path).notes, at


def scalars(path: Path) -> list[tuple[str, int, float]]:
    events = read_events(path)
    return [
        (tag, int(step), float(value))
        for tag in events.scalars
        for step, value in zip(*events.columns(tag)[1:], strict=True)
    ]


def record(data: bytes) -> bytes:
    """Frame an event as a TFRecord."""

    def checksum(content: bytes) -> bytes:
        array = np.frombuffer(content, dtype=np.uint8)
        return struct.pack("<I", int(masked(crc32c(array, np.array([0]), np.array([len(content)])))[0]))

    length = struct.pack("<Q", len(data))
    return length + checksum(length) + data + checksum(data)


def event(step: bytes, *values: bytes) -> bytes:
    summary = b"".join(b"\x0a" + bytes([len(value)]) + value for value in values)
    return b"\x09" + struct.pack("<d", 1.7e9) + step + b"\x2a" + bytes([len(summary)]) + summary


def scalar(tag: bytes, value: float) -> bytes:
    return b"\x0a" + bytes([len(tag)]) + tag + b"\x15" + struct.pack("<f", value)


def test_layouts_are_told_apart_whatever_their_length(tmp_path: Path) -> None:
    path = tmp_path / "events.out.tfevents.1.h"
    tensor_int = b"\x0a\x03int\x42\x06\x08\x09\x12\x00\x50\x07"  # dtype int64, shape of a scalar, int64_val 7
    path.write_bytes(
        record(b"\x09" + struct.pack("<d", 1.7e9) + b"\x1a\x0dbrain.Event:2")
        + record(event(b"\x10\x05", scalar(b"aa", 1.0)))
        + record(event(b"\x10\x06", scalar(b"bb", 2.0)))
        + record(event(b"", scalar(b"aaaa", 3.0)))  # as long as those above, at step 0
        + record(event(b"\x10\x81\x01", scalar(b"a", 4.0)))  # as long again, the step takes two bytes
        + record(event(b"\x10\x07", scalar(b"aa", 5.0), scalar(b"bb", 6.0)))
        + record(event(b"\x10\x08", tensor_int))
        + record(event(b"\x10\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", scalar(b"aa", 7.0)))  # step -1
        + record(b"\xff\xff\xff not an event")
    )
    assert sorted(scalars(path)) == [
        ("a", 129, 4.0), ("aa", -1, 7.0), ("aa", 5, 1.0), ("aa", 7, 5.0), ("aaaa", 0, 3.0), ("bb", 6, 2.0),
        ("bb", 7, 6.0), ("int", 8, 7.0),
    ]  # fmt: skip
    assert len(read_events(path).notes) == 1


def test_train_and_validation_folders_are_one_run(lakehouse: Lakehouse, tmp_path: Path) -> None:
    store = copied("tensorboard", tmp_path)
    (tmp_path / "logs").mkdir()
    (store / "settings" / "hparams").rename(tmp_path / "unused")
    (store / "tensors").rename(tmp_path / "logs" / "train")
    (store / "settings").rename(tmp_path / "logs" / "validation")
    import_path(lakehouse, tmp_path / "logs")
    assert list(runs_by_name(lakehouse)) == ["logs"]
    assert curve(lakehouse, "logs") == [(step, single(loss_at(step, 2.0))) for step in STEPS]
    assert curve(lakehouse, "logs", "validation_loss") == [(step, single(loss_at(step, 3.0))) for step in STEPS]


def test_settings_beside_the_events_are_taken(lakehouse: Lakehouse, tmp_path: Path) -> None:
    store = copied("tensorboard", tmp_path) / "torch"
    (store / "hparams.yaml").write_text("width: 256\noptimizer:\n  name: sgd\nseed: 3\n")
    import_path(lakehouse, store)
    run = runs_by_name(lakehouse)["torch"]
    assert (run["width"], run["optimizer.name"], run["seed"]) == (256, "sgd", 3)


def test_an_empty_event_file_is_a_run_without_points_or_none(lakehouse: Lakehouse, tmp_path: Path) -> None:
    (tmp_path / "events.out.tfevents.1.h").write_bytes(b"")
    done = import_path(lakehouse, tmp_path)
    assert (done.runs, done.points) == (1, 0) and any("no loss in 1 of 1 run" in note for note in done.notes)


@pytest.mark.parametrize(("data", "expected"), [(b"", 0), (b"123456789", 0xE3069283), (b"\0" * 32, 0x8A9136AA)])
def test_checksums_are_those_of_the_standard(data: bytes, expected: int) -> None:
    array = np.frombuffer(b"xx" + data + b"yyy", dtype=np.uint8)
    assert int(crc32c(array, np.array([2]), np.array([len(data)]))[0]) == expected
