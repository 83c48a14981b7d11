"""An embedded Ray is nobody else's: it listens on loopback alone and asks for its token."""

from __future__ import annotations

import os
import re
import socket
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from isoflop.lakehouse.errors import RunFailed
from isoflop.workers.cluster import RaySession
from isoflop.workers.cluster.session import MODE, OLDEST_RAY, TOKEN, TOKEN_PATH, require_tokens

LISTENING = "0A"
ASK = """
import sys
from ray._raylet import GcsClient
try:
    GcsClient(address=sys.argv[1]).internal_kv_get(b"nothing", None, timeout=10)
except Exception as error:
    sys.exit(f"refused: {error}")
print("answered")
"""


def listening_sockets() -> dict[str, str]:
    """Every listening TCP socket of this machine: its inode and the address it listens on."""
    found = {}
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == LISTENING:
                found[fields[9]] = _address(fields[1].partition(":")[0])
    return found


def _address(digits: str) -> str:
    words = [int(digits[at : at + 8], 16) for at in range(0, len(digits), 8)]
    packed = struct.pack(f"={len(words)}I", *words)
    return socket.inet_ntop(socket.AF_INET if len(words) == 1 else socket.AF_INET6, packed)


def family_of(root: int) -> set[int]:
    """A process and all those below it."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
        except (OSError, ProcessLookupError):  # it has ended since
            continue
    found = {root}
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return found


def sockets_of(pid: int) -> set[str]:
    """The inodes of a process's sockets."""
    found = set()
    for link in Path(f"/proc/{pid}/fd").glob("*"):
        try:
            found |= set(re.findall(r"socket:\[(\d+)\]", os.readlink(link)))
        except OSError:
            continue
    return found


def is_loopback(address: str) -> bool:
    return address == "::1" or address.removeprefix("::ffff:").startswith("127.")


@pytest.mark.slow
@pytest.mark.cluster
def test_every_socket_of_an_embedded_cluster_listens_on_loopback(ray_session: RaySession) -> None:
    import ray

    @ray.remote
    def worker_pid() -> int:
        return os.getpid()

    worker = ray.get(worker_pid.remote())
    listening = listening_sockets()
    family = family_of(os.getpid())
    assert worker in family  # the workers are among those looked at
    found = {(pid, listening[inode]) for pid in family for inode in sockets_of(pid) & listening.keys()}
    assert len(found) >= 3  # Ray's own servers and the worker's
    assert [(pid, address) for pid, address in found if not is_loopback(address)] == []


@pytest.mark.cluster
def test_a_stranger_without_the_token_is_refused(ray_session: RaySession) -> None:
    import ray

    address = ray.get_runtime_context().gcs_address
    theirs = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    for stranger in ({MODE: "disabled"}, {MODE: "token", TOKEN: "0" * 64}):
        done = _ask(address, {**theirs, **stranger})
        assert done.returncode == 1 and "refused" in done.stderr and not done.stdout.strip(), done.stderr
    ours = {name: os.environ[name] for name in (TOKEN, TOKEN_PATH) if name in os.environ}
    friend = _ask(address, {**theirs, MODE: "token", **ours})
    assert friend.stdout.strip() == "answered", friend.stderr


def _ask(address: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", ASK, address]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240)


@pytest.mark.parametrize("version", ["2.50.0", "2.51.1", "1.13.0", "2.9.3"])
def test_a_ray_without_tokens_is_not_started(version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import ray

    monkeypatch.setattr(ray, "__version__", version)
    with pytest.raises(RunFailed, match=re.escape(f"Ray {version} asks for no token")) as refused:
        RaySession().start()
    assert "pip install 'ray[default]>=2.52'" in str(refused.value)


@pytest.mark.parametrize("version", ["2.52.0", "2.60.0", "3.0.0.dev0", "10.1"])
def test_a_ray_with_tokens_will_do(version: str) -> None:
    require_tokens(version)


def test_what_is_installed_with_isoflop_has_tokens() -> None:
    root = Path(__file__).parents[2]
    oldest = ".".join(map(str, OLDEST_RAY))
    for file in ("pyproject.toml", "docker/Dockerfile"):
        assert re.findall(r"ray\[default\]>=([\d.]+)", (root / file).read_text()) == [oldest], file
