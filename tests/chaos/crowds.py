"""Many processes that log short runs at the same time: whether all is there, and how long each waited for it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from isoflop.lakehouse import Lakehouse
from tests.chaos.scripts import USER

LIMIT = 600.0  # seconds
LONGEST_WAIT = 10.0  # seconds that the end of a run may wait


@dataclass
class Crowd:
    """What came of it: runs stored of those logged, waits at the ends of runs [s], seconds of each process."""

    expected: int
    stored: int
    died: int
    waits: list[float]
    seconds: list[float]

    @property
    def is_well(self) -> bool:
        """Whether all is there, nobody waited for long, and the slowest took at most twice as long as the fastest."""
        is_there = self.stored == self.expected and not self.died
        return is_there and max(self.waits) <= LONGEST_WAIT and max(self.seconds) <= 2 * min(self.seconds)

    def __str__(self) -> str:
        waits = sorted(self.waits)
        return (
            f"{self.stored} of {self.expected} runs, {self.died} processes died; the end of a run waited "
            f"{waits[len(waits) // 2]:.2f} s (median), {waits[-1]:.2f} s at most; processes took "
            f"{min(self.seconds):.1f} to {max(self.seconds):.1f} s"
        )


def measure(address: str, folder: Path, processes: int, runs: int) -> Crowd:
    """Let `processes` scripts log `runs` short runs each, all at once."""
    with Lakehouse(address):
        pass
    at = time.time() + 3 + processes / 2  # all have started by then
    started = []
    for number in range(processes):
        spec = {
            "address": address, "key": f"c{number}", "way": "many", "runs": runs, "seconds": 0, "at": at,
            "said": str(folder / f"said{number}.txt"),
        }  # fmt: skip
        command = [sys.executable, str(USER), json.dumps(spec)]
        with open(folder / "messages.txt", "ab") as messages:
            started.append(
                subprocess.Popen(command, stdout=messages, stderr=messages, env={**os.environ, "OMP_NUM_THREADS": "1"})
            )
    seconds, until = {}, time.monotonic() + LIMIT
    while len(seconds) < processes and time.monotonic() < until:
        for number, process in enumerate(started):
            if number not in seconds and process.poll() is not None:
                seconds[number] = time.time() - at
        time.sleep(0.05)
    for process in started:
        process.kill()
        process.wait()
    waits = []
    for number in range(processes):
        lines = (folder / f"said{number}.txt").read_text().splitlines()
        waits += [float(words[2]) for line in lines if (words := line.split())[0] == "run"]
    with Lakehouse(address) as lake:
        stored = lake.query("SELECT count(*) AS n FROM runs WHERE status = 'finished'")["n"][0].as_py()
    died = sum(process.returncode != 0 for process in started)
    return Crowd(processes * runs, int(stored), died, waits or [LIMIT], list(seconds.values()) or [LIMIT])
