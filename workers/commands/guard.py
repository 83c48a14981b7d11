"""Runs a command and ends all that it started: when it is told to, and when the worker that started it is gone.

    python -I -S guard.py STATUS GRACE WORD...

The worker holds the other end of this process's standard input, so its death, by SIGKILL too, is an end of file here.
Every descendant of the command is looked after, also one in a session of its own: they become this process's children
when their parents end. They get SIGTERM, and SIGKILL after GRACE seconds. What outlives the command is ended with it.

The guard detaches itself: Ray kills the children of a worker that it ends, and these are no children of it. It needs
nothing but the standard library, and writes lines of JSON to the file descriptor STATUS: {"error": …} or {"exit": …}.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

POLL_SECONDS = 0.05  # between looks at processes that were asked to end
REST_SECONDS = 2.0  # for what a command leaves behind when it ends by itself
ADOPT = 36  # PR_SET_CHILD_SUBREAPER of prctl(2): descendants whose parents end become children of this process


def main(arguments: list[str]) -> None:
    """Run the command of the arguments and say how it ended."""
    status, grace, words = int(arguments[0]), float(arguments[1]), arguments[2:]
    if os.fork():
        os._exit(0)
    with contextlib.suppress(OSError, AttributeError):  # where there is no such call, the command's group is ended
        ctypes.CDLL(None).prctl(ADOPT, 1, 0, 0, 0)
    os.set_inheritable(status, False)
    try:
        command = subprocess.Popen(words, stdin=subprocess.DEVNULL, start_new_session=True)
    except OSError as error:
        _tell(status, error=f"{words[0]}: {error.strerror}")
        return
    for stream in (1, 2):  # these are the command's: their end says that nobody writes to them any more
        os.close(stream)
    ending = threading.Event()
    threading.Thread(target=_end_when_told, args=(command.pid, grace, ending), daemon=True).start()
    code = _waited_for(command)
    end_all(command.pid, grace if ending.is_set() else REST_SECONDS)
    _tell(status, exit=code)


def _tell(status: int, **said: object) -> None:
    with contextlib.suppress(OSError):  # nobody is left to hear it
        os.write(status, json.dumps(said).encode() + b"\n")


def _end_when_told(pid: int, grace: float, ending: threading.Event) -> None:
    """Wait for a word from the worker, or for its end, and end the command."""
    with contextlib.suppress(OSError):
        os.read(0, 1)
    ending.set()
    end_all(pid, grace)


def _waited_for(command: subprocess.Popen[bytes]) -> int:
    """Wait for the command, and bury every adopted process that ends meanwhile."""
    while True:
        pid, status = os.waitpid(-1, 0)
        if pid == command.pid:
            command.returncode = os.waitstatus_to_exitcode(status)
            return command.returncode


def end_all(group: int, grace: float) -> None:
    """End every process below this one, and those of the group: SIGTERM first, SIGKILL after `grace` seconds."""
    asked: set[int] = set()
    until = time.monotonic() + grace
    while living := set(descendants(os.getpid())):
        is_over = time.monotonic() > until
        for pid in living if is_over else living - asked:
            _send(pid, signal.SIGKILL if is_over else signal.SIGTERM)
        asked |= living
        time.sleep(POLL_SECONDS)
    if not os.path.isdir("/proc/self"):
        with contextlib.suppress(OSError):
            os.killpg(group, signal.SIGTERM)
            time.sleep(grace)
            os.killpg(group, signal.SIGKILL)


def _send(pid: int, number: int) -> None:
    with contextlib.suppress(OSError):
        os.kill(pid, number)


def descendants(root: int) -> Iterator[int]:
    """Yield the living processes below a process, as /proc has them; none where there is no /proc."""
    parents: dict[int, int] = {}
    with contextlib.suppress(OSError):
        for name in os.listdir("/proc"):
            if name.isdigit():
                with contextlib.suppress(OSError, IndexError, ValueError), open(f"/proc/{name}/stat", "rb") as file:
                    fields = file.read().rpartition(b")")[2].split()
                    if fields[0] not in (b"Z", b"X"):  # it has ended and waits to be buried
                        parents[int(name)] = int(fields[1])
    for pid in parents:
        above, seen = parents[pid], {pid}
        while above in parents and above != root and above not in seen:
            seen.add(above)
            above = parents[above]
        if above == root:
            yield pid


if __name__ == "__main__":
    main(sys.argv[1:])
