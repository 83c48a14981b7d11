"""What was acknowledged, seen from outside: a batch is, from the moment its file lies whole in the spool."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from isoflop.lakehouse.ingest.encoding import SUFFIX
from isoflop.lakehouse.ingest.writer import read_batch

LOOK_EVERY = 0.01  # seconds; a file that comes and is committed between two looks is not counted as acknowledged

Point = tuple[str, int, str, int]  # run_id, attempt, metric, step


class Witness:
    """Keeps a copy of every file that appears in a spool, while the `with` block runs."""

    def __init__(self, spool: Path, copies: Path) -> None:
        self._spool, self._copies = spool, copies
        self._seen: set[str] = set()
        self.newest = 0.0  # when the last file appeared, on the monotonic clock
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Witness:
        self._copies.mkdir()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def points(self) -> Iterator[tuple[Point, float]]:
        """Yield every acknowledged point with its value."""
        for path in sorted(self._copies.iterdir()):
            batch = read_batch(path)
            assert batch.attempt is not None, path
            for row in batch.points.select(["metric", "step", "value"]).to_pylist():
                yield (batch.run_id, batch.attempt, row["metric"], row["step"]), row["value"]

    def _watch(self) -> None:
        while not self._stop.wait(LOOK_EVERY):
            with contextlib.suppress(OSError):
                for path in self._spool.iterdir():
                    if path.name.endswith(SUFFIX) and path.name not in self._seen:
                        with contextlib.suppress(FileNotFoundError):  # committed and removed meanwhile
                            content = path.read_bytes()
                            (self._copies / path.name).write_bytes(content)
                            self._seen.add(path.name)
                            self.newest = time.monotonic()
