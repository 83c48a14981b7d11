"""Finding the keeper of a lake, and starting one where there is none.

Whoever starts a keeper takes the keeper's lock first and hands it over, so that of many processes which begin at
the same moment one starts a keeper and the others wait for it. The keeper is no one's child: it outlives who
started it, and no one has to wait for it in the end.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from isoflop.lakehouse.address import Address, FileAddress
from isoflop.lakehouse.backends.catalog import check_place, refuse_unwritable
from isoflop.lakehouse.errors import StoreError
from isoflop.lakehouse.rpc.client import SAY_AFTER, LakeClient
from isoflop.lakehouse.rpc.endpoint import endpoint_file, lock_file
from isoflop.lakehouse.saying import say

START_SECONDS = 60.0  # a keeper listens after about half a second; on a machine that thrashes it takes longer
LOOK_EVERY = 0.02  # seconds
# Double fork by the shell: the keeper gets the first process as its parent. `exec` leaves no shell behind.
LAUNCH = 'exec "$@" </dev/null >>"$LOG" 2>&1 &'


class NoKeeper(StoreError):
    """A keeper cannot be started, or does not come to listen."""


def log_file(spool_folder: Path) -> Path:
    """Return where a keeper writes what it has to say while it runs; it goes with the keeper."""
    return spool_folder / "keeper.log"


def find_keeper(place: Address, spool_folder: Path) -> LakeClient | None:
    """Return a client of the process that keeps a lake, or None."""
    return LakeClient.find(place.path, endpoint_file(spool_folder))


def keeper_of(place: Address, spool_folder: Path, patience: float = START_SECONDS) -> LakeClient:
    """Return a client of the keeper of a lake; one is started when there is none.

    Raises
    ------
    NoKeeper : if there is none after `patience` seconds
    """
    until, said_at = time.monotonic() + patience, time.monotonic() + SAY_AFTER
    while True:
        client = find_keeper(place, spool_folder)
        if client is not None:
            return client
        start_keeper(place, spool_folder)
        if time.monotonic() > until:
            raise NoKeeper(
                f"no process that keeps {place} has come to answer within {patience:.0f} s",
                hint=f"what it said is in {log_file(spool_folder)}; what is logged waits in {spool_folder}",
            )
        if time.monotonic() > said_at:
            said_at = until
            say(f"waiting for a process to open {place}")
        time.sleep(LOOK_EVERY)


def start_keeper(place: Address, spool_folder: Path) -> bool:
    """Start a keeper unless one lives or starts already; returns at once with whether one was started.

    Raises
    ------
    StoreError : if the lake cannot be there, the spool cannot be made, or no process can be started
    """
    if isinstance(place, FileAddress):
        check_place(place.path)
        refuse_unwritable(place.path)
    try:
        with _taken(spool_folder) as lock:
            if lock is None:
                return False
            command = [sys.executable, "-P", "-m", "isoflop.lakehouse.rpc.keeper", str(place), str(lock)]
            subprocess.run(
                ["/bin/sh", "-c", LAUNCH, "isoflop-keeper", *command],
                env=_environment(spool_folder), pass_fds=(lock,), start_new_session=True, check=True,
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                cwd=spool_folder,  # where no file of a user's lies, which a statement could mean by its bare name
            )  # fmt: skip
            return True
    except (OSError, subprocess.SubprocessError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise NoKeeper(f"no process can be started that keeps {place}: {reason}") from error


_taking: set[int] = set()  # locks on their way to a keeper, for a process that is forked off in this moment


@contextlib.contextmanager
def _taken(spool_folder: Path) -> Iterator[int | None]:
    """Take the keeper's lock for the block, as a descriptor to pass on; None when another process has it."""
    spool_folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(lock_file(spool_folder), os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o600)
    _taking.add(descriptor)
    try:
        # A keeper that ends takes the file away; a lock on what was taken away keeps no one out.
        is_ours = try_lock(descriptor) and _is_there(descriptor, lock_file(spool_folder))
        yield descriptor if is_ours else None
    finally:
        _taking.discard(descriptor)
        os.close(descriptor)


def _is_there(descriptor: int, file: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(file))
    except OSError:
        return False


def try_lock(descriptor: int) -> bool:
    """Take the lock of an open file, which all who inherit the descriptor then have; False when another has it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            return False
        if error.errno in (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS):
            return True  # a file system without locks: then the lake's own file decides
        raise
    return True


def _environment(spool_folder: Path) -> dict[str, str]:
    """Return the environment of a keeper: it finds this isoflop, and nothing of the folder that the caller works in."""
    here = str(Path(__file__).absolute().parents[3])  # the folder in which `isoflop` lies, links not followed
    given = os.environ.get("PYTHONPATH")
    return {
        **os.environ,
        "PYTHONPATH": f"{here}{os.pathsep}{given}" if given else here,
        "LOG": str(log_file(spool_folder)),
    }


def _after_fork() -> None:
    for descriptor in tuple(_taking):
        with contextlib.suppress(OSError):
            os.close(descriptor)
    _taking.clear()


os.register_at_fork(after_in_child=_after_fork)
