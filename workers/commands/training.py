"""One run of a command: start it, take down what it says, end it when asked, and say how it ended."""

from __future__ import annotations

import contextlib
import json
import math
import os
import shlex
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from isoflop.lakehouse import joined
from isoflop.lakehouse.models.counts import COUNTS
from isoflop.lakehouse.runlog import COLUMNS, EVERYTHING_EARLIER
from isoflop.lakehouse.runs.provenance import host_name
from isoflop.lakehouse.runs.records import canonical_json
from isoflop.workers.checkpoint import replacing
from isoflop.workers.commands.process import CommandProcess
from isoflop.workers.commands.saying import GrowingFile, MetricsFile, Point, object_in, point_of
from isoflop.workers.commands.words import command_words, filled
from isoflop.workers.devices import Processor, processor_name
from isoflop.workers.outcome import Outcome, TrainOptions

if TYPE_CHECKING:
    from isoflop.lakehouse.ingest.spool import Spool
    from isoflop.workers.families.command import Command

LOOK_SECONDS = 1.0  # between looks at files and at whether to stop, while the command prints nothing
GRACE_SECONDS = 15.0  # from SIGTERM to SIGKILL; the driver gives a worker 30 s to stop
ERROR_LINES = 20  # of stderr, kept as the error of a run that failed
TOTALS = ("tokens", "flops")  # counts that a lake reads off their points; the others are said once
LAST = ("loss", "validation_loss")  # metrics whose last value is the run's
OUT_OF_MEMORY = ("OutOfMemoryError", "MemoryError", "can't allocate memory", "CUDA out of memory")


@dataclass
class _Said:
    """What a script has said so far that its end needs.

    Parameters
    ----------
    step : the last; None before the first
    last : values of the metrics that become the run's
    counts, results : of the run, by name
    errors : last lines of stderr
    failure : what the script itself says of its failure
    """

    step: int | None = None
    last: dict[str, float] = field(default_factory=dict)
    counts: dict[str, float] = field(default_factory=dict)
    results: dict[str, Any] = field(default_factory=dict)
    errors: deque[str] = field(default_factory=lambda: deque(maxlen=ERROR_LINES))
    failure: dict[str, Any] = field(default_factory=dict)


def train_command(family: Command, spool: Spool, options: TrainOptions) -> Outcome:
    """Run a command as one attempt of its run and return how it ended; see `isoflop.workers.train`."""
    return _CommandRun(family, spool, options).train()


class _CommandRun:
    """One attempt."""

    def __init__(self, family: Command, spool: Spool, options: TrainOptions) -> None:
        self.family, self.spool, self.options = family, spool, options
        self.run_id = family.record().run_id
        self.folder = options.folder if options.folder is not None and options.folder.is_dir() else Path.cwd()
        self.marker = options.checkpoint_folder / f"{self.run_id}.json" if options.checkpoint_folder else None
        self.said, self.lock = _Said(), threading.Lock()
        self.is_again = (spool.attempt or 1) > 1
        self.began = time.perf_counter()
        self.seconds_before = 0.0
        if self.is_again and self.marker is not None and self.marker.is_file():
            earlier = json.loads(self.marker.read_text())
            self.seconds_before, self.said.last = earlier["seconds"], earlier["last"]

    def train(self) -> Outcome:
        """Run the command and record it."""
        hardware = {"name": processor_name(), "threads": self.options.threads}
        self.spool.started(
            host=host_name(), device=self._device(), hardware=hardware,
            resumed_step=EVERYTHING_EARLIER if self.is_again else None,
        )  # fmt: skip
        with tempfile.TemporaryDirectory(prefix="isoflop-run-") as own:
            output = self._output(Path(own))
            settings = {**self.family.chosen, "seed": self.family.seed}
            config = Path(own) / "config.json"
            config.write_text(canonical_json(settings), encoding="utf-8")
            values = {**settings, "config": str(config), "output": str(output)}
            lines = GrowingFile(Path(own) / "said.jsonl")
            lines.path.touch()
            metrics = self._metrics_file(output, values)
            with CommandProcess(
                self._words(values), folder=self.folder, environment=self._environment(config, output, lines.path),
                on_line=self._take_line, grace_seconds=GRACE_SECONDS,
            ) as process:  # fmt: skip
                is_stopped = self._watch(process, lines, metrics)
            self._take_files(lines, metrics, is_last=True)
            if metrics is not None:
                self._judge(metrics)
            with contextlib.suppress(OSError):
                output.rmdir()  # stays when there is something in it
        return self._end(process, is_stopped)

    def _device(self) -> str:
        """Return what the script may compute on; what it does compute on it alone knows."""
        has_gpu = self.options.device != "cpu" and bool(os.environ.get("CUDA_VISIBLE_DEVICES"))
        return "cuda" if has_gpu else Processor.name

    # What the command is given

    def _words(self, values: Mapping[str, object]) -> list[str]:
        if self.family.command is not None:
            return command_words(self.family.command, values)
        assert self.family.entry is not None
        return [sys.executable, "-m", "isoflop.workers.commands.entry", self.family.entry]

    def _output(self, own: Path) -> Path:
        """Return the folder of the run, which attempts share and which stays."""
        beside = self.options.checkpoint_folder
        folder = self.options.output_folder or (beside.with_suffix(".outputs") if beside else own / "outputs")
        output = folder.absolute() / self.run_id
        output.mkdir(parents=True, exist_ok=True)
        return output

    def _metrics_file(self, output: Path, values: Mapping[str, object]) -> MetricsFile | None:
        if self.family.metrics_file is None:
            return None
        return MetricsFile(output / filled(self.family.metrics_file, values), from_end=self.is_again)

    def _environment(self, config: Path, output: Path, lines: Path) -> dict[str, str]:
        package = str(Path(joined.__file__).parents[2])  # where this isoflop is, for an entry
        known = os.environ.get("PYTHONPATH", "")
        changes = {
            joined.RUN: str(lines),
            joined.RUN_ID: self.run_id,
            joined.ATTEMPT: str(self.spool.attempt or 1),
            joined.CONFIG: str(config),
            joined.OUTPUT: str(output),
            joined.SEED: str(self.family.seed),
            joined.SECONDS: str(self.seconds_before),
            # A machine that has no `python` has the one that runs here.
            "PATH": os.pathsep.join(filter(None, [os.environ.get("PATH", ""), str(Path(sys.executable).parent)])),
            "PYTHONUNBUFFERED": "1",  # lines come when they are printed
        }
        if self.family.entry is not None:
            changes["PYTHONPATH"] = os.pathsep.join(part for part in (package, known) if part)
        if self.options.threads is not None:
            changes["OMP_NUM_THREADS"] = str(self.options.threads)
        if self.options.device == "cpu":
            changes["CUDA_VISIBLE_DEVICES"] = ""  # those that Ray gave to a run are in it already
        return {**os.environ, **changes}

    # While it runs

    def _watch(self, process: CommandProcess, lines: GrowingFile, metrics: MetricsFile | None) -> bool:
        """Take down what is said until the command has ended; return whether it was asked to."""
        is_stopped = False
        looked = saved = time.monotonic()
        while not process.wait(LOOK_SECONDS):
            if not is_stopped and self.options.stop is not None and self.options.stop():
                is_stopped = True
                process.stop()
            now = time.monotonic()
            if now - looked >= LOOK_SECONDS:
                looked = now
                self._take_files(lines, metrics)
            if now - saved >= self.options.saving.seconds:
                saved = now
                self._save()
        return is_stopped

    def _take_files(self, lines: GrowingFile, metrics: MetricsFile | None, *, is_last: bool = False) -> None:
        for line in lines.lines(is_last=is_last):
            found = object_in(line)
            if found is not None:
                self._take_word(found)
        self._take_points(metrics.points(is_last=is_last) if metrics is not None else ())

    def _take_line(self, stream: str, text: str) -> None:
        """Take a line of the output: a point on stdout, else a line of the run's log."""
        found = object_in(text) if stream == "stdout" else None
        point = None if found is None else point_of(found)
        if point is not None:
            self._take_points([point])
            return
        if stream == "stderr":
            self.said.errors.append(text)
        self.spool.note(text, "info" if stream == "stdout" else "warning")

    def _take_word(self, word: Mapping[str, Any]) -> None:
        """Take what `isoflop.run()` says in the script."""
        match word.get("kind"):
            case "point":
                values = {name: value for name, value in word["values"].items()}
                if isinstance(word["step"], int):
                    self._take_points([(word["step"], word["seconds"], values)])
                else:
                    self.spool.log(word["step"], word["seconds"], **values)  # it says what is wrong
            case "note":
                self.spool.note(str(word["message"]), str(word["level"]))
            case "summary":
                for name, value in word["values"].items():
                    (self.said.counts if name in COLUMNS else self.said.results)[name] = value
            case "failed":
                self.said.failure = {name: word.get(name) for name in ("reason", "error", "traceback")}

    def _take_points(self, points: Iterable[Point]) -> None:
        with self.lock:  # the threads that read stdout and the files
            self._log(points)

    def _log(self, points: Iterable[Point]) -> None:
        for step, seconds, values in points:
            if self.is_again and self.said.step is None:
                self.spool.resumed(step - 1)  # what earlier attempts said from here on is said again
            self.said.step = step if self.said.step is None else max(step, self.said.step)
            once = {name: values.pop(name) for name in COUNTS if name in values and name not in TOTALS}
            self.said.counts |= once
            self.said.last |= {name: float(values[name]) for name in LAST if _is_number(values.get(name))}
            at = self.seconds_before + time.perf_counter() - self.began if seconds is None else seconds
            self.spool.log(step, round(at, 6), **values)  # digits below the microsecond are noise

    def _save(self) -> None:
        """Keep what another attempt cannot know: how long this one took, and the last losses."""
        if self.marker is not None:
            seconds = self.seconds_before + time.perf_counter() - self.began
            content = {"seconds": seconds, "step": self.said.step, "last": self.said.last}
            with replacing(self.marker) as partial:
                partial.write_text(json.dumps(content))

    # How it ended

    def _judge(self, metrics: MetricsFile) -> None:
        """Say what was wrong with the file of metrics, for which a run is no failure."""
        if not metrics.was_there:
            self.spool.note(f"no metrics file: {metrics.path} was not written", "warning")
        elif metrics.passed_over:
            said = f"lines without a step: {metrics.passed_over} of {metrics.path.name} have no step, or no number"
            self.spool.note(said, "warning")

    def _end(self, process: CommandProcess, is_stopped: bool) -> Outcome:
        """Record the end of the attempt."""
        status, reason, error = self._verdict(process, is_stopped)
        seconds = self.seconds_before + time.perf_counter() - self.began
        if status == "finished" and "loss" not in {**self.said.last, **self.said.counts}:
            self.spool.note("no loss: the script has logged none", "warning")
        if status != "finished" and reason != "diverged":
            self._save()
        elif self.marker is not None:
            self.marker.unlink(missing_ok=True)
        measured = {"train_seconds": seconds, **self.said.last, **self.said.counts}
        traceback = self.said.failure.get("traceback") if status == "failed" else None
        self.spool.ended(
            status, reason, error=error, traceback=traceback, exit_code=process.exit_code,
            **measured, results=self.said.results,
        )  # fmt: skip
        loss = measured.get("loss") if status == "finished" else None
        return Outcome(run_id=self.run_id, status=status, reason=reason, loss=loss, seconds=seconds, error=error)

    def _verdict(self, process: CommandProcess, is_stopped: bool) -> tuple[str, str | None, str | None]:
        """Return status, reason and error of the attempt."""
        loss = self.said.last.get("loss")
        if is_stopped:
            return "failed", "stopped", None
        if process.error is not None:
            return "failed", "crash", f"the command could not be run: {process.error}"
        if loss is not None and not math.isfinite(loss):
            return "failed", "diverged", f"the last loss is {loss}"
        if process.exit_code == 0:
            return "finished", None, None
        text = "\n".join(self.said.errors)
        is_memory = any(word in text for word in OUT_OF_MEMORY)
        own = self.said.failure.get("error")
        return (
            "failed", "out_of_memory" if is_memory else "crash",
            own or _error(process.exit_code or 0, list(self.said.errors)) + self._other_python(text),
        )  # fmt: skip

    def _other_python(self, text: str) -> str:
        """Return which Python a script ran under that misses a module, where it is not the one that runs here."""
        program = shlex.split(self.family.command or "")[:1]
        if "ModuleNotFoundError" not in text or not program or not program[0].startswith("python"):
            return ""
        found = shutil.which(program[0])
        if found is None or Path(found).parent == Path(sys.executable).parent:
            return ""
        return f"\n'{program[0]}' is {found}; activate the environment of the script, or write {sys.executable}"


def _error(code: int, lines: Sequence[str]) -> str:
    """Return what ended a command, in its first line with the last of stderr, which says most; then all of them.

    Example
    -------
    >>> _error(1, ["Traceback", "ValueError: no"])
    'exit code 1: ValueError: no\\nTraceback\\nValueError: no'
    """
    first = ": ".join([_exit(code), *lines[-1:]])
    return "\n".join([first, *lines]) if len(lines) > 1 else first


def _exit(code: int) -> str:
    """Return an exit code in words.

    Example
    -------
    >>> _exit(2), _exit(-9)
    ('exit code 2', 'ended by SIGKILL')
    """
    if code >= 0:
        return f"exit code {code}"
    with contextlib.suppress(ValueError):
        return f"ended by {signal.Signals(-code).name}"
    return f"ended by signal {-code}"


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
