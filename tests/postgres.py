"""A real PostgreSQL of the tests' own: on loopback, in a folder that goes away, never as root."""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

INSTALL = "apt-get install -y --no-install-recommends postgresql"


def missing() -> str | None:
    """Return why no shared lake can be tested here, or None when one can."""
    if programs() is None:
        return f"PostgreSQL is not installed ({INSTALL})"
    if os.getuid() == 0 and unprivileged() is None:
        return "PostgreSQL does not run as root and there is no user postgres or nobody"
    import duckdb

    for name in ("ducklake", "postgres_scanner"):
        spec = find_spec(f"duckdb_extension_{name}")
        places = [Path(place) for place in (spec.submodule_search_locations or ())] if spec else []
        if not any((place / "extensions" / f"v{duckdb.__version__}").is_dir() for place in places):
            return f"DuckDB's extension {name} for {duckdb.__version__} is not installed (pip install -e '.[lake]')"
    return None


def programs() -> Path | None:
    """Return the folder of PostgreSQL's programs: on the path, or the newest of Debian's."""
    for name in sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: -float(path.parent.name)):
        if (name / "initdb").exists():
            return name
    found = shutil.which("initdb")
    return Path(found).resolve().parent if found else None


def unprivileged() -> str | None:
    """Return the user under which root runs the server."""
    for name in ("postgres", "nobody"):
        try:
            pwd.getpwnam(name)
        except KeyError:
            continue
        return name
    return None


class Postgres:
    """A server that is started, frozen, killed and started again; its port stays."""

    USER = "isoflop"
    PASSWORD = "a word of the tests"

    def __init__(self) -> None:
        place = programs()
        assert place is not None
        self._programs = place
        self._folder = Path(tempfile.mkdtemp(prefix="isoflop-postgres-"))
        self._as = unprivileged() if os.getuid() == 0 else None
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        secret = self._folder / "secret"
        secret.write_text(self.PASSWORD)
        if self._as:
            owner = pwd.getpwnam(self._as)
            for path in (self._folder, secret):
                os.chown(path, owner.pw_uid, owner.pw_gid)
        self._run(
            "initdb", "-D", str(self._data), "-U", self.USER, "--no-sync", "-A", "scram-sha-256", f"--pwfile={secret}"
        )
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def _data(self) -> Path:
        return self._folder / "data"

    def start(self) -> None:
        """Start the server and wait until it answers."""
        self._process = subprocess.Popen(
            self._command(
                "postgres", "-D", str(self._data), "-p", str(self.port), "-k", str(self._folder),
                "-c", "listen_addresses=127.0.0.1", "-c", "fsync=off",  # a killed server needs no disk to remember
            ),
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/", start_new_session=True,
        )  # fmt: skip
        until = time.monotonic() + 300
        while self._asked("SELECT 1").returncode:
            assert self._process.poll() is None, "PostgreSQL did not start"
            assert time.monotonic() < until, "PostgreSQL does not answer"
            time.sleep(0.05)

    def stop(self, *, hard: bool = False) -> None:
        """End the server: at once and uncleanly when `hard`."""
        assert self._process is not None
        if hard:
            os.killpg(self._process.pid, signal.SIGKILL)
        else:
            self._run("pg_ctl", "-D", str(self._data), "stop", "-m", "fast", "-w")
        self._process.wait(30)

    def freeze(self) -> None:
        """Stop every process of the server where it stands."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let the server go on."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: int) -> None:
        assert self._process is not None
        parent = self._process.pid
        os.kill(parent, number)
        for pid in Path(f"/proc/{parent}/task/{parent}/children").read_text().split():
            with suppress(ProcessLookupError):  # a backend may end between the list and the signal
                os.kill(int(pid), number)

    def new_database(self) -> str:
        """Make an empty database and return its name."""
        name = f"lake_{secrets.token_hex(4)}"
        made = self._asked(f"CREATE DATABASE {name}")
        assert made.returncode == 0, made.stderr
        return name

    def address(self, data: Path, database: str | None = None) -> str:
        """Return the address of a lake in a new database with its data in `data`."""
        return f"postgresql://{self.USER}@127.0.0.1:{self.port}/{database or self.new_database()}?data={data}"

    def dump(self, database: str) -> bytes:
        """Return everything that a database holds, as text."""
        where = ["-h", "127.0.0.1", "-p", str(self.port), "-U", self.USER, database]
        environment = {**os.environ, "PGPASSWORD": self.PASSWORD}
        return subprocess.run(
            [str(self._programs / "pg_dump"), *where], check=True, capture_output=True, env=environment
        ).stdout

    def close(self) -> None:
        """End the server and remove its folder."""
        if self._process is not None and self._process.poll() is None:
            self.thaw()
            self.stop(hard=True)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _asked(self, sql: str) -> subprocess.CompletedProcess[bytes]:
        where = ["-h", "127.0.0.1", "-p", str(self.port), "-U", self.USER, "-d", "postgres", "-c", sql]
        return subprocess.run(
            [str(self._programs / "psql"), *where], capture_output=True, env={**os.environ, "PGPASSWORD": self.PASSWORD}
        )

    def _command(self, program: str, *arguments: str) -> list[str]:
        whole = [str(self._programs / program), *arguments]
        if self._as is None:
            return whole
        return ["setpriv", f"--reuid={self._as}", f"--regid={self._group()}", "--clear-groups", *whole]

    def _group(self) -> int:
        assert self._as is not None
        return pwd.getpwnam(self._as).pw_gid

    def _run(self, program: str, *arguments: str) -> None:
        command: Sequence[str] = self._command(program, *arguments)
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/")
