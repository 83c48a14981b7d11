"""Runs of a packed experiment: one program, one spool a run, each run's share of the time."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from isoflop.lakehouse.runs.provenance import host_name
from isoflop.workers.checkpoint import load_arrays, save_arrays
from isoflop.workers.host_load import HostLoad, note_neighbors
from isoflop.workers.outcome import Outcome, TrainOptions
from isoflop.workers.saving import Saver, opened, tensor_bytes
from isoflop.workers.timing import summarize, without_processor

if TYPE_CHECKING:
    from isoflop.lakehouse.ingest.spool import Spool
    from isoflop.workers.devices import Device
    from isoflop.workers.families.packed import Measured, PackedExperiment

POINTS_PER_DECADE = 30  # of steps, where a program is measured and logged
STEPS_BETWEEN_QUESTIONS = 4096  # at most, between two looks at the clock and at `stop`
DIVERGED_FACTOR = 1e4  # times the loss before the first step


def log_steps(num_steps: int) -> list[int]:
    """Return steps 1 to `num_steps`, all of the first ones and then 30 a decade.

    Example
    -------
    >>> log_steps(20)[-5:]
    [15, 16, 17, 18, 20]
    """
    num_points = int(np.ceil(POINTS_PER_DECADE * np.log10(max(num_steps, 1)))) + 1
    spaced = np.round(10.0 ** (np.arange(num_points) / POINTS_PER_DECADE)).astype(np.int64)
    return sorted({*(int(step) for step in spaced if step < num_steps), num_steps})


def train_program(
    families: Sequence[PackedExperiment], spools: Sequence[Spool], options: TrainOptions
) -> list[Outcome]:
    """Train runs with one pack key and say how each ended; see `isoflop.workers.train`.

    Runs that continue from checkpoints at different steps advance in groups of one step each.
    """
    device = families[0].device(options)
    packs: dict[int, list[_PackedRun]] = {}
    runs = [_PackedRun(family, spool, options, device) for family, spool in zip(families, spools, strict=True)]
    for run in runs:
        packs.setdefault(run.step, []).append(run)
    outcomes: dict[str, Outcome] = {}
    for pack in packs.values():
        outcomes.update(_Pack(pack, options, device).train())
    return [outcomes[run.run_id] for run in runs]


class _PackedRun:
    """One run of a pack: where it stands and where it writes."""

    def __init__(self, family: PackedExperiment, spool: Spool, options: TrainOptions, device: Device) -> None:
        self.family, self.spool = family, spool
        self.run_id = family.record().run_id
        self.path: Path | None = options.checkpoint_folder / f"{self.run_id}.npz" if options.checkpoint_folder else None
        self.saved = opened(self.path, load_arrays, spool)
        self.saver = Saver(options.saving, int(self.saved["step"]) if self.saved else 0)
        self.step = int(self.saved["step"]) if self.saved else 0
        self.seconds = float(self.saved["seconds"]) if self.saved else 0.0
        self.is_diverged = False
        resumed_step = self.step if self.saved else None
        spool.started(host=host_name(), device=device.name, hardware=device.hardware(), resumed_step=resumed_step)


class _Pack:
    """Runs that stand at the same step."""

    def __init__(self, runs: Sequence[_PackedRun], options: TrainOptions, device: Device) -> None:
        self.runs, self.options, self.device = runs, options, device
        device.reset_peak_memory()
        began = device.seconds()
        self.program = type(runs[0].family).program([run.family for run in runs], device)
        self.setup_seconds = (device.seconds() - began) / len(runs)
        self.limits = _limits(self.program.measure())  # (R,) for each metric that is watched
        self.peak_memory_bytes: float | None = None
        self.load: float | None = None
        self.contention: float | None = None
        self.step_seconds: list[float] = []  # a run's share of one step, block by block
        self.cpu_seconds = self.wall_seconds = 0.0  # of all blocks
        if runs[0].step:
            self.program.restore(runs[0].step, [run.saved for run in runs if run.saved is not None])

    def train(self) -> dict[str, Outcome]:
        """Go to the last step, or until every run has diverged or a stop is asked for, and record every run."""
        load = HostLoad()
        is_stopped = self._steps()
        self.load = load.processors()
        counts_cpu = self.device.counts_cpu_time()
        self.contention = without_processor(self.cpu_seconds, self.wall_seconds) if counts_cpu else None
        self.peak_memory_bytes = self.device.peak_memory_bytes()
        return {
            run.run_id: self._record(number, "diverged" if run.is_diverged else "stopped" if is_stopped else None)
            for number, run in enumerate(self.runs)
        }

    def _steps(self) -> bool:
        """Take every step that is left; return whether a stop was asked for."""
        num_steps = self.runs[0].family.length
        first = self.runs[0].step
        for before, mark in pairwise([first, *(step for step in log_steps(num_steps) if step > first)]):
            for block in _blocks(mark - before):
                self._advance(block)
                if self.runs[0].step == mark:
                    self._log(self.program.measure())
                is_stopped = self.options.stop is not None and self.runs[0].step < num_steps and self.options.stop()
                self._checkpoint(is_stopped=is_stopped)
                if is_stopped:
                    return True
            if all(run.is_diverged for run in self.runs):
                break
        return False

    def _advance(self, num_steps: int) -> None:
        began, wall = self.device.seconds(), time.perf_counter()
        self.program.advance(num_steps)
        seconds = self.device.seconds() - began
        self.cpu_seconds += seconds
        self.wall_seconds += time.perf_counter() - wall
        share = seconds / len(self.runs)
        self.step_seconds.append(share / num_steps)
        for run in self.runs:
            run.step += num_steps
            run.seconds += share

    def _log(self, measured: Measured) -> None:
        for number, run in enumerate(self.runs):
            if not run.is_diverged:
                values = {name: float(column[number]) for name, column in measured.items()}
                defined = {name: value for name, value in values.items() if value == value or name in self.limits}
                run.spool.log(run.step, seconds=run.seconds, **defined)
                run.is_diverged = any(not values[name] <= most[number] for name, most in self.limits.items())  # NaN too

    def _checkpoint(self, *, is_stopped: bool) -> None:
        """Save every run whose checkpoint is due, or all of them before an end."""
        for number, run in enumerate(self.runs):
            if run.path and not run.is_diverged and (is_stopped or run.saver.is_due(run.step)):
                run.spool.flush()
                self._save(run, run.path, self.program.state(number))

    def _save(self, run: _PackedRun, path: Path, state: Mapping[str, NDArray[Any]]) -> None:
        values = {"step": run.step, "seconds": run.seconds}
        run.saver.write(run.step, run.spool, path, tensor_bytes(state), lambda: save_arrays(path, values, state))

    def _record(self, number: int, reason: str | None) -> Outcome:
        run = self.runs[number]
        losses = self.program.measure().get("loss") if reason is None else None
        loss = None if losses is None else float(losses[number])
        status = "finished" if reason is None else "failed"
        if self.step_seconds:
            steps = summarize(self.step_seconds)
            run.spool.timing("step", **{**asdict(steps), "count": run.step, "total": run.seconds})
        note_neighbors(run.spool, self.contention, self.load, self.wall_seconds)
        run.spool.ended(
            status,
            reason,
            loss=loss,
            step_seconds=run.seconds / run.step if run.step else None,
            step_seconds_min=min(self.step_seconds, default=None),
            contention=self.contention,
            host_load=self.load,
            train_seconds=run.seconds,
            peak_memory_bytes=self.peak_memory_bytes,
            setup_seconds=self.setup_seconds,
            packed_runs=len(self.runs),
            **self.program.results(number),
        )
        if run.path and reason != "stopped":
            run.path.unlink(missing_ok=True)
        return Outcome(run_id=run.run_id, status=status, reason=reason, loss=loss, seconds=run.seconds)


def _limits(initial: Measured) -> dict[str, NDArray[np.float64]]:
    """Return how far each metric may grow: the loss from what it is at first; without one, all stay finite."""
    if "loss" in initial:
        return {"loss": DIVERGED_FACTOR * initial["loss"]}
    return {name: np.full(len(column), np.finfo(np.float64).max) for name, column in initial.items()}


def _blocks(num_steps: int) -> list[int]:
    """Cut a stretch of steps so that a checkpoint or a stop comes soon."""
    whole, rest = divmod(num_steps, STEPS_BETWEEN_QUESTIONS)
    return [STEPS_BETWEEN_QUESTIONS] * whole + ([rest] if rest else [])
