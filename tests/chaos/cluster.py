"""A Ray of our own, as an administrator starts one: a head that trains nothing and a machine beside it that does."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.chaos.processes import below, killed, raylets

PATIENCE = 60.0  # seconds a head gets to listen


class RayCluster:
    """Two `ray start` on loopback with a folder, ports and a token of their own; never `ray stop`."""

    def __init__(self, environment: dict[str, str], cpus: int = 2) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="ray-chaos-", dir="/tmp"))  # short: sockets have short names
        token = self._folder / "token"
        token.write_text(secrets.token_hex(32))
        token.chmod(0o600)
        self.environment = {
            **environment, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token), "RAY_USAGE_STATS_ENABLED": "0",
        }  # fmt: skip
        self._port = _free_port()
        self.address = f"127.0.0.1:{self._port}"
        self._cpus = cpus
        self._log = open(self._folder / "ray.log", "ab")
        self._head: subprocess.Popen[bytes] | None = None
        self._machine: subprocess.Popen[bytes] | None = None
        self._seen: set[int] = set()
        self.keep_alive()

    def keep_alive(self) -> None:
        """Start again what has ended; a machine cannot outlive its head."""
        if self._head is None or self._head.poll() is not None:
            self._end(self._machine)
            self._end(self._head)
            self._head = self._start("--head", "--port", str(self._port), "--include-dashboard=false", cpus=0)
            self._wait_for_head()
            self._machine = None
        if self._machine is None or self._machine.poll() is not None:
            self._end(self._machine)
            self._machine = self._start("--address", self.address, cpus=self._cpus)
        self._seen |= self.below().keys()

    def below(self) -> dict[int, str]:
        """Return every process of the cluster with its command line."""
        running = [one for one in (self._head, self._machine) if one is not None]
        return {pid: title for one in running for pid, title in below(one.pid).items()}

    def roots(self) -> list[int]:
        """Return the processes under which the head's and the machine's own processes run."""
        return [one.pid for one in (self._head, self._machine) if one is not None]

    def raylets(self) -> list[int]:
        """Return the raylets of the head and of the machine."""
        return [pid for root in self.roots() for pid in raylets(root)]

    def close(self) -> None:
        """End what was started here, and nothing else."""
        self._seen |= self.below().keys()
        for one in (self._machine, self._head):
            self._end(one)
        for pid, title in {pid: _ours(pid, self._folder) for pid in self._seen}.items():
            if title:
                killed(pid)
        self._log.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _start(self, *arguments: str, cpus: int) -> subprocess.Popen[bytes]:
        command = [
            sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--num-cpus", str(cpus),
            "--temp-dir", str(self._folder / "ray"), "--object-store-memory", str(100 * 2**20),
            "--node-ip-address", "127.0.0.1", "--dashboard-agent-listen-port", str(_free_port()),
            "--min-worker-port", "0", "--max-worker-port", "0", *arguments,
        ]  # fmt: skip
        return subprocess.Popen(
            command, env=self.environment, stdout=self._log, stderr=self._log, cwd=self._folder, start_new_session=True
        )

    def _wait_for_head(self) -> None:
        assert self._head is not None
        until = time.monotonic() + PATIENCE
        while True:
            try:
                socket.create_connection(("127.0.0.1", self._port), timeout=1.0).close()
                return
            except OSError:
                assert self._head.poll() is None, "Ray's head did not start"
                assert time.monotonic() < until, "Ray's head does not listen"
                time.sleep(0.1)

    def _end(self, process: subprocess.Popen[bytes] | None) -> None:
        """End a `ray start` with everything below it."""
        if process is None:
            return
        mine = below(process.pid)
        self._seen |= mine.keys()
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)  # with --block Ray ends what it has started
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        for pid in mine:
            if _ours(pid, self._folder):
                killed(pid)


def _ours(pid: int, folder: Path) -> bool:
    """Return whether a process still is one of the cluster in `folder`; its number may be somebody else's by now."""
    try:
        return str(folder).encode() in Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def plain_environment() -> dict[str, str]:
    """Return the environment without what would point at another Ray or another lake."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "ISOFLOP_"))}
