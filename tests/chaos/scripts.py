"""The processes beside a lake: training scripts that nobody restarts, commands, and keepers."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable
from pathlib import Path

from tests.chaos.processes import commands
from tests.chaos.reckoning import Figures, Script

USER = Path(__file__).with_name("user.py")
LIMIT = 30.0  # seconds after its due time at which a process counts as one that waits for ever
BEGINNING = 15.0  # seconds a script gets to come into its `with` block before something happens to it
LEAVING = 10.0  # seconds keepers get to end after the last script


class Scripts:
    """What runs beside one lake.

    Parameters
    ----------
    address : of the lake
    folder : for what the scripts say, and for their temporary files
    figures : counts what hung and what died
    """

    def __init__(self, address: str, folder: Path, figures: Figures) -> None:
        self.address, self._folder, self._figures = address, folder, figures
        self.started: list[Script] = []
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self._messages = open(folder / "messages.txt", "ab")
        self._temporary = folder / "tmp"
        self._temporary.mkdir()
        self._environment = {**os.environ, "OMP_NUM_THREADS": "1", "TMPDIR": str(self._temporary)}

    def start(
        self, *, way: str = "plain", seconds: float = 0.0, at: float = 0.0, address: str | None = None, **config: object
    ) -> Script:
        """Start a training script.

        Parameters
        ----------
        way : how it trains, see `user.py`
        seconds : for how long
        at : when it begins, by the clock of the day; 0 for at once
        address : of the lake, when it is another one or called by another name
        config : further config keys of its run
        """
        number = next(self._numbers)
        key, said, place = f"k{number}", self._folder / f"said{number}.txt", address or self.address
        spec = {
            "address": place, "key": key, "way": way, "seconds": seconds, "at": at, "said": str(said), "config": config,
        }  # fmt: skip
        # With the fault handler SIGABRT makes a script that hangs say where it stands.
        process = self.launched([sys.executable, "-X", "faulthandler", str(USER), json.dumps(spec)])
        due = time.monotonic() + seconds + max(0.0, at - time.time())
        script = Script(process, place, key, said, due, way=way)
        self.started.append(script)
        return script

    def launched(self, command: list[str]) -> subprocess.Popen[bytes]:
        """Start any other process beside the lake."""
        return subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=self._messages, stderr=self._messages, env=self._environment,
            start_new_session=True, cwd=self._folder,
        )  # fmt: skip

    def command(self, *words: str, may_refuse: bool = False) -> None:
        """Run a command of isoflop; it has to answer, and in time."""
        text = f"`isoflop {' '.join(words)}`"
        try:
            done = subprocess.run(
                [sys.executable, "-m", "isoflop", *words, "--lake", self.address], stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE, timeout=LIMIT, cwd=self._folder, text=True, env=self._environment,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            self.complain("hung", f"{text} did not end (load {os.getloadavg()[0]:.1f})")
            return
        is_refusal = may_refuse and done.returncode == 3 and "Traceback" not in done.stderr
        if done.returncode and not is_refusal:
            self.complain("dead", f"{text}: {done.returncode} {done.stderr.strip()[-300:]}")

    def entered(self, scripts: Iterable[Script]) -> None:
        """Wait until scripts are in their `with` blocks, or have ended, or for a while."""
        until, waiting = time.monotonic() + BEGINNING, list(scripts)
        while waiting and time.monotonic() < until:
            waiting = [script for script in waiting if script.process.poll() is None and not script.has_said("entered")]
            time.sleep(0.02)

    def send(self, script: Script, number: signal.Signals) -> None:
        """Send a signal to a script that runs still."""
        if script.process.poll() is None:
            script.signals.append(number.name)
            script.process.send_signal(number)

    def wait(self) -> None:
        """Wait for every script; one that does not end in time is one that waits for ever."""
        for script in self.started:
            if script.process.poll() is None:
                try:
                    script.process.wait(max(0.1, script.due + LIMIT - time.monotonic()))
                except subprocess.TimeoutExpired:
                    self._give_up(script)
            if script.process.returncode and not script.signals:
                script.signals.append(f"exit {script.process.returncode}")
                self.complain("dead", f"{script.way} {script.key} died with {script.process.returncode}")

    def _give_up(self, script: Script) -> None:
        load = os.getloadavg()[0]
        self.complain("hung", f"{script.way} {script.key} did not end (load {load:.1f}); where it stood is in messages")
        script.signals.append("given up")
        script.process.send_signal(signal.SIGABRT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            script.process.wait(2.0)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(script.process.pid, signal.SIGKILL)  # with the children that it forked
        script.process.wait()

    def complain(self, what: str, text: str) -> None:
        """Count something that must not be and say it."""
        with self._lock:
            setattr(self._figures, what, getattr(self._figures, what) + 1)
            self._figures.said.append(f"  {text}")

    def left_over(self) -> list[str]:
        """Return what is still there of keepers, when they have had time to end."""
        until = time.monotonic() + LEAVING
        while (found := self._keepers_and_sockets()) and time.monotonic() < until:
            time.sleep(0.2)
        return found

    def _keepers_and_sockets(self) -> list[str]:
        keepers = [
            f"keeper {pid}" for pid, title in commands().items()
            if "isoflop.lakehouse.rpc.keeper" in title and str(self._folder) in title
        ]  # fmt: skip
        return [*keepers, *(f"socket {path.name}" for path in self._temporary.glob("isoflop-*"))]

    def messages(self, count: int = 25) -> list[str]:
        """Return the last lines that the processes have written."""
        text = (self._folder / "messages.txt").read_text(errors="replace")
        return [f"  messages: {line}" for line in text.splitlines()[-count:]]

    def close(self) -> None:
        """End what still runs, and nothing else."""
        for script in self.started:
            if script.process.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(script.process.pid, signal.SIGKILL)
                script.process.wait()
        self._messages.close()
