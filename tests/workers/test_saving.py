"""Checkpoints: when they are due, what becomes of one that cannot be written or read, what is kept."""

from __future__ import annotations

import dataclasses
import errno
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from isoflop.lakehouse import Lakehouse, Spool
from isoflop.lakehouse.errors import FileError
from isoflop.lakehouse.maintenance import remove_checkpoints
from isoflop.workers import Outcome, Plrf, TrainOptions, Transformer, train
from isoflop.workers import checkpoint as checkpoints
from isoflop.workers.checkpoint import BrokenCheckpoint, load_arrays, load_tensors, save_arrays, save_tensors
from isoflop.workers.cluster.task import Stop
from isoflop.workers.families.experiment import Experiment
from isoflop.workers.saving import SLOWEST, Saver, Saving
from isoflop.workers.sweep import checked_sweeps
from isoflop.workers.sweep_file import parse_documents

RUN = Transformer.parse(
    {"corpus": {"kind": "markov", "vocabulary": 16}, "width": 16, "depth": 1, "sequence_length": 16, "steps": 12,
     "batch_size": 2, "validation_tokens": 0, "ema": 0.5}
)  # fmt: skip
FEATURES = Plrf.parse({"width": 4, "spectrum_exponent": 1, "target_exponent": 1, "steps": 40})
OPTIONS = TrainOptions(device="cpu", threads=1)


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[Lakehouse]:
    with Lakehouse(tmp_path / "runs.duckdb") as lake:
        yield lake


def trained(lake: Lakehouse, run: Experiment, **options: Any) -> Outcome:
    lake.record_runs([run.record()])
    [(run_id, attempt)] = lake.begin_attempts([run.record().run_id], "test").items()
    with Spool(lake.spool_folder, run_id, attempt) as spool:
        outcome = train(run, spool, options=dataclasses.replace(OPTIONS, **options))
    lake.drain()
    return outcome


def notes(lake: Lakehouse) -> list[str]:
    rows = lake.query("SELECT message FROM logs WHERE level = 'warning' ORDER BY logged_at").to_pylist()
    return [row["message"] for row in rows]


def asked_after(steps: int) -> Any:
    left = iter(range(steps - 1))
    return lambda: next(left, None) is None


@pytest.mark.parametrize("place", [0.01, 0.3, 0.6, 0.99])
def test_one_flipped_bit_is_noticed(tmp_path: Path, place: float) -> None:
    tensors, arrays = tmp_path / "a.pt", tmp_path / "b.npz"
    save_tensors(tensors, {"weights": torch.arange(1000.0), "step": 4})
    save_arrays(arrays, {"step": 5}, {"m": torch.arange(1000.0).numpy()})
    assert load_tensors(tensors) and load_arrays(arrays)
    for path in (tensors, arrays):
        content = bytearray(path.read_bytes())
        content[int(place * len(content))] ^= 1
        path.write_bytes(content)
    with pytest.raises(BrokenCheckpoint, match="checksum"):
        load_tensors(tensors)
    with pytest.raises(BrokenCheckpoint, match="checksum"):
        load_arrays(arrays)


def test_a_file_that_ends_too_early_or_of_another_layout_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.pt"
    save_tensors(path, {"step": 4})
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(BrokenCheckpoint, match="cut off"):
        load_tensors(path)
    with monkeypatch.context() as patched:
        patched.setattr(checkpoints, "LAYOUT", 1)
        save_tensors(path, {"step": 4})
    with pytest.raises(BrokenCheckpoint, match="another version"):
        load_tensors(path)


@pytest.mark.parametrize("run", [RUN, FEATURES])
def test_a_checkpoint_that_cannot_be_read_is_set_aside_with_a_note(
    lake: Lakehouse, tmp_path: Path, run: Experiment
) -> None:
    folder = tmp_path / "saved"
    trained(lake, run, checkpoint_folder=folder, stop=asked_after(3))
    [path] = folder.iterdir()
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    outcome = trained(lake, run, checkpoint_folder=folder)
    assert outcome.status == "finished"
    assert [each.name for each in folder.iterdir()] == [f"{path.name}.unreadable"]
    assert (folder / f"{path.name}.unreadable").read_bytes() == bytes(content)
    [told] = notes(lake)
    assert told.startswith("begins anew") and "some of its bytes have changed" in told and ".unreadable" in told
    resumed = lake.query("SELECT resumed_step FROM attempts ORDER BY attempt").to_pylist()
    assert [row["resumed_step"] for row in resumed] == [None, None]


@pytest.mark.parametrize("run", [RUN, FEATURES])
def test_a_full_disk_does_not_end_the_run(
    lake: Lakehouse, tmp_path: Path, run: Experiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    plain = trained(lake, run)
    monkeypatch.setattr(checkpoints, "_seal", full)
    folder = tmp_path / "saved"
    outcome = trained(lake, run, checkpoint_folder=folder, saving=Saving(steps=1))
    assert (outcome.status, outcome.loss) == ("finished", plain.loss)
    [told] = notes(lake)
    assert "checkpoint not written" in told and "No space left on device" in told
    assert "needed" in told and "free" in told
    assert list(folder.iterdir()) == []


def test_failures_make_checkpoints_rarer_and_the_next_that_works_says_so(tmp_path: Path) -> None:
    def fail() -> None:
        raise RuntimeError("unexpected pos 3155200\nvs 3155092")

    with Spool(tmp_path, "run", 1) as spool:
        saver, step, waits = Saver(Saving(steps=10), 0), 0, []
        for _ in range(8):
            began = step
            while not saver.is_due(step):
                step += 1
            waits.append(step - began)
            assert not saver.write(step, spool, tmp_path / "a.pt", 1000.0, fail)
        assert waits == [10, 20, 40, 80, 160, 320, 640, 640] and max(waits) == 10 * SLOWEST
        assert saver.write(step, spool, tmp_path / "a.pt", 1000.0, lambda: None)
        assert not saver.is_due(step + 9) and saver.is_due(step + 10)
        said = [str(event["message"]) for event in spool._events]
    assert len(said) == 2 and "unexpected pos 3155200 (" in said[0] and said[1] == "checkpoints can be written again"


def test_checkpoints_come_after_so_many_steps_and_not_larger_than_allowed(lake: Lakehouse, tmp_path: Path) -> None:
    folder = tmp_path / "saved"
    trained(lake, RUN, checkpoint_folder=folder, saving=Saving(steps=5))
    [made] = lake.query("SELECT count FROM timings WHERE phase = 'checkpoint'").to_pylist()
    assert made["count"] == 2
    trained(lake, RUN, checkpoint_folder=folder, saving=Saving(steps=1, most_bytes=1000), stop=asked_after(5))
    [told] = notes(lake)
    assert told.startswith("no checkpoint: it takes") and "checkpoint.at_most is" in told
    assert not list(folder.iterdir())


def test_final_weights_are_kept_and_can_be_loaded(lake: Lakehouse, tmp_path: Path) -> None:
    folder = tmp_path / "weights"
    trained(lake, RUN, checkpoint_folder=tmp_path / "saved", saving=Saving(weights_folder=folder))
    [path] = folder.iterdir()
    [row] = lake.query("SELECT results->>'weights_file' AS file FROM runs").to_pylist()
    assert row["file"] == str(path)
    content = load_tensors(path)
    assert content is not None and content["step"] == 12 and set(content) == {"layout", "model", "average", "step"}
    from isoflop.workers.devices import Cpu

    model = RUN.build(Cpu(), torch.Generator())
    model.load_state_dict(content["model"])
    assert sum(weight.numel() for weight in model.parameters()) > (RUN.counts().params or 0)  # and the gains


def test_a_machine_that_is_taken_away_says_so_first() -> None:
    stop = Stop(None)
    before = signal.getsignal(signal.SIGTERM)
    with stop.on_interrupt():
        assert not stop()
        signal.raise_signal(signal.SIGTERM)
        assert stop() and stop.reason == "preempted"
    assert signal.getsignal(signal.SIGTERM) is before


def test_checkpoints_of_runs_that_do_not_train_are_removed(lake: Lakehouse, tmp_path: Path) -> None:
    folder = tmp_path / "saved"
    for run in (RUN, FEATURES):
        trained(lake, run, checkpoint_folder=folder, stop=asked_after(3))
    (folder / "unknownrun12.pt.unreadable").write_bytes(b"x" * 7)
    would = remove_checkpoints(lake, folder, dry_run=True)
    assert (would.runs, would.files, would.running) == (3, 3, 0) and len(list(folder.iterdir())) == 3
    done = remove_checkpoints(lake, folder, "family = 'plrf'")
    assert (done.runs, done.files) == (1, 1) and done.bytes > 0
    lake.begin_attempts([RUN.record().run_id], "test")
    with Spool(lake.spool_folder, RUN.record().run_id, 2) as spool:
        spool.started(host="here", device="cpu")
    done = remove_checkpoints(lake, folder)
    assert (done.files, done.bytes, done.running) == (1, 7, 1)
    assert [path.name for path in folder.iterdir()] == [f"{RUN.record().run_id}.pt"]


SWEEP = """\
name: small
family: {family}
grid: {{{grid}}}
checkpoint: {checkpoint}
"""
DECODER = "width: 16, depth: 1, steps: 3"
SOLVABLE = "width: 8, spectrum_exponent: 1.0, target_exponent: 0.8, tokens: 100"


def saving(checkpoint: str, family: str = "transformer", grid: str = DECODER) -> Saving:
    text = SWEEP.format(checkpoint=checkpoint, family=family, grid=grid)
    [sweep] = checked_sweeps(parse_documents(text, "sweep.yaml"))
    return sweep.saving(Path("weights"))


def test_a_sweep_file_says_how_often_and_what() -> None:
    assert saving("{every: 5 min}") == Saving(seconds=300.0)
    assert saving("{every: 1000 steps, at_most: 2 GiB}") == Saving(steps=1000, most_bytes=2**31)
    assert saving("{keep_final: true}") == Saving(weights_folder=Path("weights"))
    assert saving("{every: 1 h}", "plrf", SOLVABLE) == Saving(seconds=3600.0)


@pytest.mark.parametrize(
    ("checkpoint", "family", "grid", "said"),
    [
        ("{every: 5}", "transformer", DECODER, "'checkpoint.every' is 5: expected a duration"),
        ("{every: 0 steps}", "transformer", DECODER, "expected at least 1 step"),
        ("{at_most: 12}", "transformer", DECODER, "'checkpoint.at_most' is 12: expected an amount"),
        ("{evry: 5 min}", "transformer", DECODER, "unknown key 'evry'"),
        ("{keep_final: true}", "plrf", SOLVABLE, "a run of 'plrf' has no weights to keep"),
        ("{every: 5 min}", "command", "x: 1", "a run of 'command' writes checkpoints of its own"),
    ],
)
def test_what_cannot_be_saved_is_refused_at_its_line(checkpoint: str, family: str, grid: str, said: str) -> None:
    with pytest.raises(FileError, match=said) as refused:
        saving(checkpoint, family, grid)
    assert "sweep.yaml:4" in str(refused.value)
