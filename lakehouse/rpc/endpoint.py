"""Where the keeper of a lake listens: a file beside the spool, and a private Unix socket.

The file says the socket's place, a token and the keeper's process. It is made under a name that cannot be guessed,
readable by its owner alone, and renamed into place; a file that another user owns is not believed. The socket
lies in a folder of its own that no other user can enter.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import stat
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from isoflop.lakehouse.errors import StoreError
from isoflop.lakehouse.runs.provenance import host_name

LONGEST_SOCKET = 100  # bytes of a socket's path that every system takes


@dataclass(frozen=True)
class Endpoint:
    """Where a keeper listens.

    Parameters
    ----------
    socket : path of its Unix socket
    token : what a caller says first
    pid : its process
    """

    socket: str
    token: str
    pid: int


class KeeperGone(StoreError):
    """The process that keeps the lake went away before it answered."""

    def __init__(self, path: Path, pid: int) -> None:
        message = f"process {pid}, which keeps {path}, has gone before it answered"
        super().__init__(message, hint="run the command again")


class KeeperSilent(StoreError):
    """The process that keeps the lake is there but gives no sign of life."""

    def __init__(self, path: Path, pid: int, seconds: float) -> None:
        super().__init__(
            f"process {pid}, which keeps {path}, has not answered within {max(1.0, seconds):.0f} s",
            hint=f"it may be stopped: kill -CONT {pid} lets it go on, kill -KILL {pid} lets another one replace it",
        )


def endpoint_file(spool_folder: Path) -> Path:
    """Return the file in which the keeper of this machine says where it listens."""
    return spool_folder / f"keeper.{host_name()}.json"


def lock_file(spool_folder: Path) -> Path:
    """Return the file whose lock the keeper of this machine has, from before it starts until it ends."""
    return spool_folder / f"keeper.{host_name()}.lock"


def socket_folder() -> Path:
    """Make a folder that only this user can enter, with a name short enough for a socket in it."""
    folder = tempfile.mkdtemp(prefix="isoflop-")
    if len(os.fsencode(folder)) > LONGEST_SOCKET:
        os.rmdir(folder)
        folder = tempfile.mkdtemp(prefix="isoflop-", dir="/tmp")
    return Path(folder)


def publish(endpoint: Endpoint, file: Path) -> None:
    """Write where a keeper listens, for its own user only.

    Raises
    ------
    OSError : if the file cannot be written
    """
    partial = file.with_name(f"{file.name}.{secrets.token_hex(8)}.partial")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0), 0o600)
    try:
        with os.fdopen(descriptor, "w") as opened:
            json.dump(asdict(endpoint), opened)
        os.replace(partial, file)
    except BaseException:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        raise


def read_endpoint(file: Path) -> Endpoint | None:
    """Return where a keeper says that it listens; None when no process of this user says so."""
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK | getattr(os, "O_NOFOLLOW", 0))
        with os.fdopen(descriptor) as opened:
            about = os.fstat(opened.fileno())
            if about.st_uid != os.geteuid() or not stat.S_ISREG(about.st_mode):
                return None
            known = json.loads(opened.read(4096))
        return Endpoint(str(known["socket"]), str(known["token"]), int(known["pid"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def withdraw(file: Path, endpoint: Endpoint) -> None:
    """Take away where a keeper listened, unless another one has written its own place there, and its socket."""
    if read_endpoint(file) == endpoint:
        with contextlib.suppress(OSError):
            file.unlink()
    folder = Path(endpoint.socket).parent
    if folder.name.startswith("isoflop-"):
        shutil.rmtree(folder, ignore_errors=True)
