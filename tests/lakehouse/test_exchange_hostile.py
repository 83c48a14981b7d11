"""Files that are made to hurt cost themselves alone: an error or a note, soon, and every other value comes in."""

from __future__ import annotations

import json
import os
import struct
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from exchange_stores import copied, curve, runs_by_name
from test_exchange_tensorboard import event, record, scalar

from isoflop.lakehouse import Lakehouse
from isoflop.lakehouse.errors import FileError, RecordError
from isoflop.lakehouse.exchange import import_path
from isoflop.lakehouse.exchange.guarded import is_deep_json

DEEP = "[" * 100_000 + "]" * 100_000
LONGEST = 20.0  # seconds; each of these takes a few tenths on an idle machine


@pytest.fixture(autouse=True)
def _within_seconds() -> Iterator[None]:
    began = time.process_time()
    yield
    assert time.process_time() - began < LONGEST


def bomb() -> str:
    lines = ["a0: &a0 [x,x,x,x,x,x,x,x,x,x]"]
    lines += [f"a{k}: &a{k} [{','.join([f'*a{k - 1}'] * 10)}]" for k in range(1, 10)]
    return "\n".join(lines) + "\n"


def trial(folder: Path, *reports: str) -> Path:
    folder.mkdir(parents=True)
    (folder / "params.json").write_text('{"width": 64}')
    (folder / "result.json").write_text("\n".join(reports) + "\n")
    return folder


def test_reports_without_a_step_and_endless_ones_are_left_out(lakehouse: Lakehouse, tmp_path: Path) -> None:
    good = [json.dumps({"training_iteration": step, "loss": 1 / step}) for step in (1, 2)]
    big = json.dumps({"training_iteration": 3, "loss": 0.5, "huge": 10**400, "time_total_s": "soon"})
    trial(tmp_path / "t", good[0], '{"training_iteration": "x", "loss": 9}', '{"a":' + DEEP + "}", good[1], big)
    done = import_path(lakehouse, tmp_path, format="ray-tune")
    assert curve(lakehouse, "t") == [(1, 1.0), (2, 0.5), (3, 0.5)]
    assert any("'training_iteration' is 'x', no step" in note for note in done.notes)
    assert any("line 3 of result.json is nested too deep" in note for note in done.notes)


def test_steps_beyond_64_bits_are_left_out(lakehouse: Lakehouse, tmp_path: Path) -> None:
    store = copied("mlruns", tmp_path)
    (path,) = (path for path in store.rglob("metrics/loss") if path.read_text().count("\n") == 4)
    path.write_text(f"1700000000500 3.5 1\n1700000001000 2.5 {10**23}\n1700000002000 1.5 8\n")
    done = import_path(lakehouse, store)
    assert curve(lakehouse, "diverged") == [(1, 3.5), (8, 1.5)]
    assert any("beyond 64 bits, left out" in note for note in done.notes)
    history = tmp_path / "history.csv"
    history.write_text("_step,loss\n1,2\n1e23,3\n")
    with pytest.raises(FileError, match=r"history.csv:3: a history needs a number in '_step'"):
        import_path(lakehouse, history)


def test_endless_nesting_in_a_summary_or_a_table(lakehouse: Lakehouse, tmp_path: Path) -> None:
    folder = tmp_path / "run-20231114_221320-abcd1234"
    folder.mkdir()
    (folder / "wandb-summary.json").write_text('{"a":' + DEEP + "}")
    (folder / "history.jsonl").write_text('{"_step": 1, "loss": 2.5}\n')
    done = import_path(lakehouse, tmp_path)
    assert curve(lakehouse, "run-20231114_221320-abcd1234") == [(1, 2.5)]
    assert any("nested more than" in note for note in done.notes)
    (tmp_path / "deep.jsonl").write_text(DEEP + "\n")
    with pytest.raises(FileError, match="nested more than 100 deep"):
        import_path(lakehouse, tmp_path / "deep.jsonl")


def test_brackets_within_text_are_no_nesting(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    text = "[" * 500 + '"' + "\\" + "{" * 500
    path.write_text((json.dumps({"note": text, "loss": 2.5}) + "\n") * 3)
    assert not is_deep_json(path)
    path.write_text(json.dumps({"note": text}) + "\n" + "[" * 101 + "]" * 101)
    assert is_deep_json(path)


def test_an_event_file_of_nonsense_is_left_out_and_the_others_come_in(lakehouse: Lakehouse, tmp_path: Path) -> None:
    store = copied("tensorboard", tmp_path)
    (store / "bad").mkdir()
    bad = store / "bad" / "events.out.tfevents.1.x"
    bad.write_bytes(b"\xff" * 1_500_000)
    with pytest.raises(RecordError, match=r"no runs in it[\s\S]*not an event file"):
        import_path(lakehouse, store / "bad")
    done = import_path(lakehouse, store)
    assert (done.runs, any("not an event file, left out" in note for note in done.notes)) == (4, True)
    bad.write_bytes(record(b"\xff" * 60_000) + record(event(b"\x10\x05", scalar(b"loss", 1.0))))
    done = import_path(lakehouse, store / "bad")
    assert curve(lakehouse, "bad") == [(5, 1.0)]
    assert any("not one that TensorBoard writes" in note for note in done.notes)
    length = struct.pack("<Q", 1_500_000)  # so long a record that its checksum is not looked at
    bad.write_bytes(length + record(length)[-4:] + b"\xff" * 1_500_004)
    assert any("not one that TensorBoard writes" in note for note in import_path(lakehouse, store / "bad").notes)


def test_aliases_that_multiply_are_not_followed(lakehouse: Lakehouse, tmp_path: Path) -> None:
    store = copied("mlruns", tmp_path)
    (meta,) = (path for path in store.glob("*/meta.yaml"))
    meta.write_text(bomb() + "name: *a9\n")
    assert import_path(lakehouse, store).runs == 4
    events = copied("tensorboard", tmp_path) / "torch"
    (events / "hparams.yaml").write_text(bomb())
    done = import_path(lakehouse, events)
    assert any("once its aliases are followed" in note for note in done.notes) and "torch" in runs_by_name(lakehouse)


def test_a_table_of_countless_columns_is_refused(lakehouse: Lakehouse, tmp_path: Path) -> None:
    path = tmp_path / "wide.csv"
    path.write_text(",".join(f"c{k}" for k in range(100_000)) + "\n" + ",".join(["1"] * 100_000) + "\n")
    with pytest.raises(FileError, match="100,000 columns, more than the"):
        import_path(lakehouse, path)


def test_a_pipe_by_the_name_of_a_log_is_not_waited_for(lakehouse: Lakehouse, tmp_path: Path) -> None:
    store = copied("tensorboard", tmp_path)
    for name in ("events.out.tfevents.1.x", "hparams.yaml", "meta.yaml", "result.json", "run-a.wandb", "mlflow.db"):
        os.mkfifo(store / "torch" / name)
    imported: list[int] = []
    asking = threading.Thread(
        target=lambda: imported.append(import_path(lakehouse, store, format="tensorboard").runs), daemon=True
    )
    asking.start()
    asking.join(60)
    assert imported == [4]
    os.mkfifo(tmp_path / "x.csv")
    with pytest.raises(FileError):
        import_path(lakehouse, tmp_path / "x.csv")
