"""A training script such as people write, in the ways they write one; it says in a file of its own what it has done.

usage: python user.py '{"address": …, "key": …, "way": …, "seconds": …, "at": …, "said": …}'

A line `upto N` says that the points below N of the run are on disk, `left` that its `with` block was left, `done` that
the script came to its end.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import isoflop

RATE = 200  # steps a second
OWN, INTO_PARENT = 100, 50  # points that a forked process logs into a run of its own, and into its parent's


class Said:
    """What the script tells the harness, on disk before the next line runs."""

    def __init__(self, path: str) -> None:
        self._file = open(path, "a")

    def line(self, *words: object) -> None:
        """Say a line."""
        self._file.write(" ".join(map(str, words)) + "\n")
        self._file.flush()
        os.fsync(self._file.fileno())


def train(lake: Any, spec: dict[str, Any], said: Said, **extra: Any) -> None:
    """Log a run of so many seconds, one metric, `RATE` steps a second."""
    with lake.run("habit", {"key": spec["key"], **spec.get("config", {})}, **extra) as run:
        began, step = time.monotonic(), 0
        while time.monotonic() - began < spec["seconds"]:
            run.log(step=step, loss=1.0 / (step + 1))
            step += 1
            if step % 50 == 0:
                run._spool.flush()
                said.line("upto", step)
            time.sleep(1 / RATE)
    said.line("upto", step)
    said.line("left")


def own_run(lake: Any, key: str) -> None:
    """Log a run of a forked process's own."""
    with lake.run("habit", {"key": key}) as run:
        for step in range(OWN):
            run.log(step=step, loss=1.0)


def main(spec: dict[str, Any]) -> None:
    """Do what the spec says."""
    said = Said(spec["said"])
    time.sleep(max(0.0, spec.get("at", 0.0) - time.time()))
    fork = multiprocessing.get_context("fork")
    match spec["way"]:
        case "plain":
            with isoflop.open(spec["address"]) as lake:
                train(lake, spec, said)
        case "unclosed":
            train(isoflop.open(spec["address"]), spec, said)
        case "asking":
            with isoflop.open(spec["address"]) as lake:
                train(lake, spec, said)
                rows = lake.query("SELECT status FROM runs WHERE key = ?", [spec["key"]]).to_pylist()
                assert rows == [{"status": "finished"}], rows
        case "many":
            with isoflop.open(spec["address"]) as lake:
                for number in range(spec["runs"]):
                    began = time.monotonic()
                    with lake.run("habit", {"key": f"{spec['key']}.{number}"}) as run:
                        run.log(step=0, loss=1.0)
                        ended = time.monotonic()
                    said.line("run", number, time.monotonic() - ended, ended - began)
        case "fork":
            with isoflop.open(spec["address"]) as lake, lake.run("habit", {"key": spec["key"]}) as run:
                for step in range(100):
                    run.log(step=step, loss=1.0)
                children = [fork.Process(target=own_run, args=(lake, f"{spec['key']}.{k}")) for k in range(2)]
                children.append(fork.Process(target=log_into, args=(run,)))
                for child in children:
                    child.start()
                pid = os.fork()
                if pid == 0:
                    sys.exit(0)
                for child in children:
                    child.join()
                os.waitpid(pid, 0)
                assert all(child.exitcode == 0 for child in children), [child.exitcode for child in children]
            said.line("left")
        case "pool":
            with isoflop.open(spec["address"]) as lake, ProcessPoolExecutor(2, mp_context=fork) as pool:
                list(pool.map(own_run, [lake] * 4, [f"{spec['key']}.{k}" for k in range(4)]))
    said.line("done")


def log_into(run: Any) -> None:
    """Log into the run of the process that was forked."""
    for step in range(100, 100 + INTO_PARENT):
        run.log(step=step, loss=1.0)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
