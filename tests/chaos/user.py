"""A training script such as people write, in the ways they write one; it says in a file of its own what it has done.

usage: python user.py '{"address": …, "key": …, "way": …, "seconds": …, "at": …, "said": …}'

A line `entered` says that it is in the `with` block of its run, `upto N` that the points below N are on disk, `leaving`
that it comes to the end of the block, `left TIME` that it has left it, `interrupted N` that Ctrl-C ended it after the
points below N, `done` that the script came to its end.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from typing import Any

RATE = 200  # steps a second
OWN, INTO_PARENT = 100, 50  # points that a forked process logs into a run of its own, and into its parent's
ENDS_WITHIN = 30.0  # seconds after its end in which a run is committed, whatever happens beside it
OWN_LOSS = 1.0  # what it logs


class Said:
    """What the script tells the harness, on disk before the next line runs."""

    def __init__(self, path: str) -> None:
        self._file = open(path, "a")

    def line(self, *words: object) -> None:
        """Say a line."""
        self._file.write(" ".join(map(str, words)) + "\n")
        self._file.flush()
        os.fsync(self._file.fileno())


def loss_at(step: int) -> float:
    """Return the loss that a script logs at a step."""
    return 1.0 / (step + 1)


def train(lake: Any, spec: dict[str, Any], said: Said) -> None:
    """Log a run of so many seconds, one metric, `RATE` steps a second."""
    step = 0
    try:
        with lake.run("habit", {"key": spec["key"], **spec.get("config", {})}) as run:
            said.line("entered")
            began = time.monotonic()
            while time.monotonic() - began < spec["seconds"]:
                run.log(step=step, loss=loss_at(step))
                step += 1
                if step % 50 == 0 and run._spool.flush():
                    said.line("upto", step)
                time.sleep(1 / RATE)
            said.line("leaving")
    except KeyboardInterrupt:
        said.line("interrupted", step)
        raise
    said.line("upto", step)
    said.line("left", time.time())


def own_run(lake: Any, key: str) -> None:
    """Log a run of a forked process's own."""
    with lake.run("habit", {"key": key}) as run:
        for step in range(OWN):
            run.log(step=step, loss=OWN_LOSS)


def log_into(run: Any) -> None:
    """Log into the run of the process that was forked."""
    for step in range(100, 100 + INTO_PARENT):
        run.log(step=step, loss=OWN_LOSS)


def forks(lake: Any, spec: dict[str, Any], said: Said) -> None:
    """Fork children that open runs of their own, one that logs into this run, and one that leaves inside the block."""
    fork = multiprocessing.get_context("fork")
    with lake.run("habit", {"key": spec["key"]}) as run:
        for step in range(100):
            run.log(step=step, loss=OWN_LOSS)
        pid = os.fork()
        if pid == 0:
            sys.exit(0)
        children = [fork.Process(target=own_run, args=(lake, f"{spec['key']}.{k}")) for k in range(2)]
        children.append(fork.Process(target=log_into, args=(run,)))
        for child in children:
            child.start()
        for child in children:
            child.join()
        _, status = os.waitpid(pid, 0)
        assert status == 0, status
        assert all(child.exitcode == 0 for child in children), [child.exitcode for child in children]
    said.line("left", time.time())


def many(lake: Any, spec: dict[str, Any], said: Said) -> None:
    """Log short runs, and say of each how long its end and its whole took [s]."""
    for number in range(spec["runs"]):
        began = time.monotonic()
        with lake.run("habit", {"key": f"{spec['key']}.{number}"}) as run:
            run.log(step=0, loss=OWN_LOSS)
            ended = time.monotonic()
        said.line("run", number, time.monotonic() - ended, ended - began)


def main(spec: dict[str, Any]) -> None:
    """Do what the spec says."""
    import isoflop

    said = Said(spec["said"])
    time.sleep(max(0.0, spec.get("at", 0.0) - time.time()))
    if spec["way"] == "unclosed":
        train(isoflop.open(spec["address"]), spec, said)
        said.line("done")
        return
    with isoflop.open(spec["address"]) as lake:
        match spec["way"]:
            case "plain":
                train(lake, spec, said)
            case "asking":
                train(lake, spec, said)
                # A run's end waits for its commit for some seconds only, and says so; then it comes a little later.
                until = time.monotonic() + ENDS_WITHIN
                while True:
                    rows = lake.query("SELECT status FROM runs WHERE key = ?", [spec["key"]]).to_pylist()
                    if rows == [{"status": "finished"}]:
                        break
                    assert time.monotonic() < until, rows
                    time.sleep(0.2)
            case "many":
                many(lake, spec, said)
            case "fork":
                forks(lake, spec, said)
            case "pool":
                with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("fork")) as pool:
                    list(pool.map(own_run, [lake] * 4, [f"{spec['key']}.{k}" for k in range(4)]))
                said.line("left", time.time())
    said.line("done")


if __name__ == "__main__":
    import json

    main(json.loads(sys.argv[1]))
