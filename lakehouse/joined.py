"""A run that somebody else has begun: a sweep started this script, and keeps what it logs.

The worker that starts a command names a file in its environment. What the script logs is a line of JSON in it, which
the worker reads while the script runs: no lake is opened here, and no second run is made. A line says one of

    {"kind": "point", "step": 3, "seconds": 0.2, "values": {"loss": 2.5}}
    {"kind": "note", "message": "…", "level": "info"}
    {"kind": "summary", "values": {"params": 49152}}
    {"kind": "failed", "reason": "crash", "error": "…", "traceback": "…"}
"""

from __future__ import annotations

import json
import os
import time
import traceback
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from isoflop.lakehouse.errors import RecordError
from isoflop.lakehouse.ingest.encoding import plain

RUN = "ISOFLOP_RUN"  # file that takes the lines
RUN_ID, ATTEMPT = "ISOFLOP_RUN_ID", "ISOFLOP_ATTEMPT"
CONFIG = "ISOFLOP_CONFIG"  # JSON file of all settings
OUTPUT = "ISOFLOP_OUTPUT"  # folder of the run's own
SEED = "ISOFLOP_SEED"
SECONDS = "ISOFLOP_SECONDS"  # that earlier attempts took [s]


class JoinedRun:
    """The attempt that a sweep has begun for this process; has what a `RunLog` has.

    Parameters
    ----------
    environment : of the process, with the variables named above

    Raises
    ------
    RecordError : if the worker's files are gone, as they are after its run
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.run_id = environment[RUN_ID]
        self.attempt = int(environment[ATTEMPT])
        self.seed = int(environment[SEED])
        self.output = Path(environment[OUTPUT])
        self._started = time.perf_counter() - float(environment[SECONDS])
        try:
            self.config: dict[str, Any] = json.loads(Path(environment[CONFIG]).read_text(encoding="utf-8"))
            # Lines of several processes do not mix: each is one write at the end of the file.
            self._file = os.open(environment[RUN], os.O_WRONLY | os.O_APPEND)
        except OSError as error:
            hint = f"it is over; unset {RUN} to record a run of this process's own"
            raise RecordError(f"run {self.run_id} cannot be joined: {error}", hint=hint) from error

    def log(self, *, step: int, seconds: float | None = None, **metrics: float) -> None:
        """Record metric values at a step, as `RunLog.log` does; `seconds` counts on from earlier attempts."""
        at = round(time.perf_counter() - self._started, 6) if seconds is None else seconds  # digits below are noise
        self._say(kind="point", step=step, seconds=at, values=metrics)

    def note(self, message: str, level: str = "info") -> None:
        """Add a line to the run's log."""
        self._say(kind="note", message=message, level=level)

    def summary(self, **values: object) -> None:
        """Set final values, as `RunLog.summary` does: params, tokens, flops, loss, …, or your own."""
        self._say(kind="summary", values=values)

    def _say(self, **said: object) -> None:
        os.write(self._file, json.dumps(plain(said)).encode() + b"\n")

    def __enter__(self) -> JoinedRun:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Say why the run failed, where it does; that it ends, and how, is the process's to say."""
        if error is None or (isinstance(error, SystemExit) and error.code in (None, 0)):
            return
        reason = "interrupted" if isinstance(error, KeyboardInterrupt) else "crash"
        text = "".join(traceback.format_exception(kind, error, trace))
        self._say(kind="failed", reason=reason, error=f"{type(error).__name__}: {plain(error)}", traceback=text)


_joined: dict[str, JoinedRun] = {}  # by the name of their file: of this process there is one


def joined_run() -> JoinedRun | None:
    """Return the run that this process was started for, None where no sweep has started it."""
    path = os.environ.get(RUN)
    if path is None:
        return None
    if path not in _joined:
        _joined[path] = JoinedRun(os.environ)
    return _joined[path]
