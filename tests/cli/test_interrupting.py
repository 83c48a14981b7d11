"""Ctrl-C in real terminals and processes: what runs stops, what was typed at goes on, nothing is half done."""

from __future__ import annotations

import contextlib
import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from isoflop.lakehouse import Lakehouse
from isoflop.lakehouse.maintenance import find_problems
from tests.keepers import endpoint_of
from tests.lakehouse.test_session import held

FOREVER = "SELECT sum(i * j % 7) FROM range(1000000000) t(i), range(1000) u(j)"
FIT_FOREVER = "FIT loss ~ chinchilla(params, tokens) FROM points WITH (resamples = 100000)"
POINTS = (
    "CREATE TABLE points AS SELECT 1e6 * 2 ** (i % 9) AS params, 1e8 * 2 ** (i // 9) AS tokens, "
    "1.7 + 400 / params ** 0.34 + 410 / tokens ** 0.28 + 0.01 * sin(i * 17.0) AS loss FROM range(90) t(i)"
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A lake with points to fit."""
    with Lakehouse(tmp_path / "runs.duckdb") as lake:
        lake.query(POINTS)
    return tmp_path / "runs.duckdb"


def environment(path: Path) -> dict[str, str]:
    own = {"ISOFLOP_LAKE": str(path), "XDG_STATE_HOME": str(path.parent), "TERM": "xterm", "PROMPT_TOOLKIT_NO_CPR": "1"}
    return {**os.environ, **own, "OMP_NUM_THREADS": "1"}


def interrupted(path: Path, statement: str) -> tuple[int, str, str, float]:
    """Ask in a process of its own, press Ctrl-C once it is busy: exit code, output, errors, CPU seconds after that."""
    asked = subprocess.Popen(
        [sys.executable, "-m", "isoflop", "sql", statement], env=environment(path), text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    until, used = time.monotonic() + 300, 0.0
    while used < 4.0 and time.monotonic() < until:  # starting takes about two
        time.sleep(0.1)
        used = cpu_seconds(asked.pid)
    asked.send_signal(signal.SIGINT)
    before = cpu_seconds(asked.pid)
    after = before
    while asked.poll() is None:
        with contextlib.suppress(OSError, IndexError):
            after = cpu_seconds(asked.pid)
        time.sleep(0.02)
    out, err = asked.communicate()
    return asked.returncode, out, err, after - before


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@pytest.mark.long
@pytest.mark.parametrize("statement", [FOREVER, FIT_FOREVER])
def test_a_statement_on_the_command_line_ends_with_130(path: Path, statement: str) -> None:
    code, out, err, seconds = interrupted(path, statement)
    assert (code, out, err) == (130, "", "interrupted\n")
    print(f"{seconds:.2f} CPU seconds after Ctrl-C")
    with Lakehouse(path) as lake:
        assert find_problems(lake).records() == []
        assert lake.query("SELECT count(*) AS n FROM points").to_pylist() == [{"n": 90}]


@pytest.mark.long
def test_a_statement_at_the_keeper_stops_there_too(path: Path) -> None:
    with held(path):
        pid = endpoint_of(path).pid
        asked = subprocess.Popen(
            [sys.executable, "-m", "isoflop", "sql", FOREVER], env=environment(path), text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        before, until = cpu_seconds(pid), time.monotonic() + 300
        while cpu_seconds(pid) - before < 1.0 and time.monotonic() < until:
            time.sleep(0.1)
        asked.send_signal(signal.SIGINT)
        out, err = asked.communicate(timeout=300)
        assert (asked.returncode, out, err) == (130, "", "interrupted\n")
        time.sleep(0.5)
        idle = cpu_seconds(pid)
        time.sleep(1.0)
        assert cpu_seconds(pid) - idle < 0.5  # it does not run on
        with Lakehouse(path) as lake:
            assert not lake.is_owner and lake.query("SELECT 1 AS x").to_pylist() == [{"x": 1}]


class Terminal:
    """A person at a terminal."""

    def __init__(self, path: Path, *arguments: str) -> None:
        self.pid, self._file = pty.fork()
        if self.pid == 0:
            os.execve(sys.executable, [sys.executable, "-m", "isoflop", "shell", *arguments], environment(path))
        self.seen = ""

    def type(self, text: str) -> None:
        os.write(self._file, text.encode())

    def wait_for(self, text: str, seconds: float = 300.0) -> None:
        """Read until a text is on the screen."""
        until = time.monotonic() + seconds
        while text not in self.seen:
            assert time.monotonic() < until, self.seen
            if select.select([self._file], [], [], 0.2)[0]:
                self.seen += os.read(self._file, 65536).decode(errors="replace")
        self.seen = self.seen[self.seen.index(text) + len(text) :]

    def leave(self) -> int:
        self.type(".quit\r")
        with contextlib.suppress(OSError):
            while os.read(self._file, 65536):
                pass
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


@contextlib.contextmanager
def terminal(path: Path, *arguments: str) -> Iterator[Terminal]:
    opened = Terminal(path, *arguments)
    try:
        yield opened
    finally:
        with contextlib.suppress(OSError, ChildProcessError):
            os.kill(opened.pid, signal.SIGKILL)
            os.waitpid(opened.pid, 0)


@pytest.mark.parametrize("is_held", [False, pytest.param(True, marks=pytest.mark.long)])
def test_control_c_in_the_shell_stops_the_statement_only(path: Path, is_held: bool) -> None:
    with contextlib.ExitStack() as stack:
        if is_held:
            stack.enter_context(held(path))
        shell = stack.enter_context(terminal(path))
        shell.wait_for("isoflop>")
        shell.type("CREATE TEMP TABLE t AS SELECT 41 + 1 AS x;\r")
        shell.wait_for("1 row in")
        for statement in (FOREVER, FIT_FOREVER):
            shell.type(f"{statement};\r")
            shell.wait_for("Ctrl-C stops it")  # the line of progress
            shell.type("\x03")
            shell.wait_for("interrupted")
        shell.type("SELECT 'still here ' || x AS said FROM t;\r")
        shell.wait_for("still here 42")
        assert shell.leave() == 0
