"""A command as a worker sees it: started under a guard, read line by line, told to stop."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO

from isoflop.workers.commands import guard

LONGEST_LINE = 2**20  # bytes of a line that is waited for; one without an end must not fill the memory

OnLine = Callable[[str, str], None]


class CommandProcess:
    """A running command.

    Parameters
    ----------
    words : program and arguments; no shell reads them
    folder : that it runs in
    environment : all of its variables
    on_line : called with `stdout` or `stderr` and each line, from a thread for each of the two
    grace_seconds : between SIGTERM and SIGKILL when it is stopped [s]
    """

    def __init__(
        self,
        words: Sequence[str],
        *,
        folder: Path,
        environment: Mapping[str, str],
        on_line: OnLine,
        grace_seconds: float,
    ) -> None:
        self.exit_code: int | None = None  # negative for the signal that ended it
        self.error: str | None = None  # why it could not be started
        self._on_line = on_line
        self._news = threading.Event()
        self._is_over = threading.Event()
        status, for_guard = os.pipe()
        command = [sys.executable, "-I", "-S", guard.__file__, str(for_guard), str(grace_seconds), *words]
        try:
            self._guard = subprocess.Popen(
                command, cwd=folder, env=dict(environment), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                stderr=subprocess.PIPE, pass_fds=(for_guard,), start_new_session=True,
            )  # fmt: skip
        finally:
            os.close(for_guard)
        pipes = {"stdout": self._guard.stdout, "stderr": self._guard.stderr}
        self._readers = [
            threading.Thread(target=self._read, args=(name, pipe), daemon=True) for name, pipe in pipes.items()
        ]
        self._ending = threading.Thread(target=self._wait, args=(status,), daemon=True)
        for thread in (*self._readers, self._ending):
            thread.start()
        self._guard.wait()  # it has forked the process that stays

    def wait(self, seconds: float) -> bool:
        """Wait for a line, for the end, or for so long; return whether the command and all it started have ended."""
        self._news.wait(seconds)
        self._news.clear()
        return self._is_over.is_set()

    def stop(self) -> None:
        """Ask the command to end; it is made to when its grace is over."""
        with contextlib.suppress(OSError):
            if self._guard.stdin is not None:
                self._guard.stdin.close()

    def close(self) -> None:
        """End the command if it still runs, and wait until everything it said is read."""
        self.stop()
        self._ending.join()

    def __enter__(self) -> CommandProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _wait(self, status: int) -> None:
        """Take the guard's last word, when everything that the command wrote is read."""
        with open(status, "rb") as file:
            said = file.read()  # to its end, which is the end of the guard
        for reader in self._readers:
            reader.join()
        try:
            word = json.loads(said)
        except ValueError:
            word = {"error": "the process that guarded it was ended"}
        self.exit_code, self.error = word.get("exit"), word.get("error")
        self.stop()  # closes the pipe to the guard
        self._is_over.set()
        self._news.set()

    def _read(self, name: str, pipe: IO[bytes] | None) -> None:
        assert pipe is not None
        with pipe:
            while line := pipe.readline(LONGEST_LINE):
                # A progress bar writes over its own line: what is left of it at the end is what it says.
                text = line.decode("utf-8", "replace").rstrip("\r\n").rpartition("\r")[2]
                if text.strip():
                    self._on_line(name, text)
                    self._news.set()
