"""The lock on a lake's file for as long as this process has it open.

DuckDB locks the file it opens with a POSIX lock, and such a lock belongs to a process and a file: it is
lost when the process closes *any* descriptor of that file, a second reading of it for example. A claim
keeps a descriptor of its own until DuckDB has let go, takes the lock again before every transaction, and
so either holds the file or knows that it does not. One file is claimed once, under whichever of its names.
"""

from __future__ import annotations

import errno
import fcntl
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from isoflop.lakehouse.errors import StoreError

TAKEN = (errno.EACCES, errno.EAGAIN)
DESCRIPTORS = Path("/proc/self/fd")

Key = tuple[int, int]  # device and inode

_claims: dict[Key, Claim] = {}
_guard = threading.Lock()


class ClaimLost(Exception):
    """Another process has opened the file, or the file was moved or exchanged."""


@dataclass
class Claim:
    """The lock of this process on one file.

    Parameters
    ----------
    path : the name under which the file was first opened here; whoever opens it again uses the same
    descriptor : of the file
    key : which file it is
    pid : of the process that has the lock; a process that is forked off has none
    count : how many stores of this process share it
    writing : what they take turns with
    """

    path: Path
    descriptor: int
    key: Key
    pid: int
    count: int = 1
    writing: threading.RLock = field(default_factory=threading.RLock)

    def renew(self) -> None:
        """Make sure of the lock.

        Raises
        ------
        ClaimLost : if another process has it, or the file no longer has its name
        """
        if not self.is_ours:
            raise ClaimLost("it was opened by the process that this one was forked from")
        if not _is_same(self.path, self.key):
            raise ClaimLost("its file was moved, removed or replaced while it was open")
        if not _lock(self.descriptor):
            raise ClaimLost("its file was opened by another process while this one had it open")

    def exchange(self, fresh: Path) -> int:
        """Put the file `fresh` in the claimed one's place, so that no process can open it before us.

        Returns
        -------
        The descriptor of the old file, to be closed when DuckDB has closed that file.

        Raises
        ------
        ClaimLost : if the file is not ours any more; it is as it was
        """
        with _guard:
            self.renew()
            descriptor = os.open(fresh, os.O_RDWR | os.O_CLOEXEC)
            try:
                if not _lock(descriptor):
                    raise ClaimLost(f"{fresh} was opened by another process")
                os.replace(fresh, self.path)
            except BaseException:
                os.close(descriptor)
                raise
            old, self.descriptor = self.descriptor, descriptor
            _claims.pop(self.key, None)
            self.key = _key(os.fstat(descriptor))
            _claims[self.key] = self
        _sync_folder(self.path.parent)
        return old

    @property
    def is_ours(self) -> bool:
        """Whether this is the process that took the lock, rather than one that was forked off from it."""
        return self.pid == os.getpid()

    @property
    def is_open(self) -> bool:
        """Whether this process has the file open beside the claim itself; True where that cannot be told."""
        return _is_open_besides(self.descriptor, self.key, unknown=True)

    def release(self) -> None:
        """Give the file up, after DuckDB has closed it.

        The descriptor stays while something else here has the file open: closing it would end that one's lock.
        """
        with _guard:
            self.count -= 1
            if self.count or not self.is_ours or _is_open_besides(self.descriptor, self.key, unknown=False):
                return
            _claims.pop(self.key, None)
            os.close(self.descriptor)


def claim(path: Path, make: Callable[[Path], None]) -> Claim | None:
    """Return the lock on a file, or None when another process has it.

    Parameters
    ----------
    path : the file
    make : makes it when it is missing

    Raises
    ------
    OSError : if it cannot be opened for writing
    """
    with _guard:
        while True:
            if not path.exists():
                make(path)
            known = _claims.get(_key(path.stat()))
            if known is not None and known.is_ours:
                known.count += 1
                return known
            descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
            if not _lock(descriptor):
                os.close(descriptor)
                return None
            key = _key(os.fstat(descriptor))
            if _is_same(path, key):
                _claims[key] = Claim(path, descriptor, key, os.getpid())
                return _claims[key]
            os.close(descriptor)  # it was exchanged between opening and locking


def _lock(descriptor: int) -> bool:
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in TAKEN:
            return False
        raise StoreError(
            f"the lake's file cannot be locked: {error.strerror}",
            hint="its file system has no locks; put the lake on a local disk, or share one through PostgreSQL",
        ) from error
    return True


def _key(about: os.stat_result) -> Key:
    return about.st_dev, about.st_ino


def _is_same(path: Path, key: Key) -> bool:
    try:
        return _key(path.stat()) == key
    except OSError:
        return False


def _is_open_besides(descriptor: int, key: Key, *, unknown: bool) -> bool:
    """Return whether this process has a file open through another descriptor; asking opens none."""
    if not DESCRIPTORS.is_dir():
        return unknown
    return any(name != str(descriptor) and _is_same(DESCRIPTORS / name, key) for name in os.listdir(DESCRIPTORS))


def _sync_folder(folder: Path) -> None:
    """Have the new name of a file on disk; where folders cannot be synced, that is left to the system."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(descriptor)
    except OSError:
        return
    finally:
        os.close(descriptor)
