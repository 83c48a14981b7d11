"""Start Ray inside this process, or join a cluster, and leave it as it was found.

Whoever reaches a port of Ray can have it run code. An embedded cluster therefore listens on loopback
alone, and asks for a token: a random one that lives in the environment of this process and its children
and nowhere else. Ray has tokens from `OLDEST_RAY` on; an older one is not started.
A cluster that was started elsewhere decides itself; the token then comes from RAY_AUTH_TOKEN,
RAY_AUTH_TOKEN_PATH or `~/.ray/auth_token`, and the mode is stated here because Ray's own default
differs between its versions.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import re
import secrets
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

from isoflop.lakehouse.errors import RunFailed, UsageError
from isoflop.workers.cluster.capacity import Node

MODE, TOKEN, TOKEN_PATH = "RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"
LOOPBACK_SWITCH = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"  # off, Ray takes the loopback address for that of the machine
OLDEST_RAY = (2, 52)  # from which a cluster can ask for a token
LOCAL = "local"
CONNECT_SECONDS = 10.0  # that a cluster's head may take to answer


def has_token() -> bool:
    """Return whether Ray would find an authentication token on this machine."""
    return bool(os.environ.get(TOKEN) or os.environ.get(TOKEN_PATH)) or (Path.home() / ".ray" / "auth_token").exists()


def state_authentication(*, starts_cluster: bool) -> None:
    """Set Ray's authentication mode where the environment leaves it open.

    Call it before Ray is imported: Ray reads the mode once. A process that has imported Ray already
    is left alone.
    """
    if "ray" in sys.modules or MODE in os.environ:
        return
    if not starts_cluster:
        os.environ[MODE] = "token" if has_token() else "disabled"
        return
    os.environ[MODE] = "token"
    if not has_token():
        os.environ[TOKEN] = secrets.token_hex(32)  # else Ray would write one into the home folder


def require_tokens(version: str) -> None:
    """Make sure that a Ray knows authentication.

    Raises
    ------
    RunFailed : if it is older than `OLDEST_RAY`
    """
    found = tuple(int(part) for part in re.findall(r"\d+", version)[:2])
    if found < OLDEST_RAY:
        oldest = ".".join(map(str, OLDEST_RAY))
        raise RunFailed(
            f"Ray {version} asks for no token, so anyone who reaches its ports could run code here; {oldest} or "
            "newer is needed",
            hint=f"pip install 'ray[default]>={oldest}'",
        )


class RaySession:
    """Ray, started when first needed.

    Parameters
    ----------
    address : None starts Ray inside this process, except in a job of a Ray cluster (RAY_ADDRESS is
        set there), which it joins; `auto` or `host:6379` joins that cluster

    A process that has Ray running already, for example a notebook, shares it and keeps it.
    """

    def __init__(self, address: str | None = None) -> None:
        if address is not None and address.startswith(("http://", "https://")):
            raise UsageError(
                f"'{address}' is a job server, which takes whole sweeps",
                hint=f"isoflop submit FILE --address {address}",
            )
        if address is not None and address.startswith("ray://"):
            raise UsageError(
                f"'{address}' is a Ray client address, from which the lake cannot be written",
                hint="run on a machine of the cluster with --address auto, or use isoflop submit",
            )
        self.address = address or os.environ.get("RAY_ADDRESS") or LOCAL
        self._is_ours = False

    @property
    def is_embedded(self) -> bool:
        """Whether Ray lives and dies with this process."""
        return self.address == LOCAL

    @property
    def is_started(self) -> bool:
        """Whether this session has started or joined Ray already."""
        return self._is_ours

    def start(self) -> None:
        """Start or join Ray; starting twice is starting once.

        Raises
        ------
        RunFailed : if Ray does not start, or the cluster does not answer
        """
        state_authentication(starts_cluster=self.is_embedded)
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is reported to anybody
        # A task without a GPU sees those there are, and is told to train on the CPU.
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        import ray

        require_tokens(ray.__version__)
        if ray.is_initialized():
            return
        try:
            _refuse_unreachable(self.address)
            with _on_loopback() if self.is_embedded else contextlib.nullcontext():
                ray.init(
                    address=self.address,
                    include_dashboard=False if self.is_embedded else None,
                    log_to_driver=False,
                    configure_logging=False,
                )
        except Exception as error:  # Ray raises plain ones too, for example when a slow machine keeps it waiting
            reason = " ".join(str(error).split("\n\n")[0].split())
            what = "Ray did not start" if self.is_embedded else f"the Ray cluster at '{self.address}' does not answer"
            raise RunFailed(f"{what}: {reason}", hint=_hint(self.is_embedded)) from error
        if self.is_embedded:
            _refuse_network()
        self._is_ours = True
        _silence_worker_logs()

    def nodes(self) -> list[Node]:
        """Return the machines that are alive."""
        import ray

        return [
            Node(node["NodeID"], node["NodeManagerHostname"], dict(node["Resources"]))
            for node in ray.nodes()  # type: ignore[no-untyped-call]
            if node["Alive"]
        ]

    def home(self) -> str:
        """Return the node this process runs on."""
        import ray

        return str(ray.get_runtime_context().get_node_id())

    def close(self) -> None:
        """Leave Ray; an embedded cluster ends, another goes on."""
        if not self._is_ours:
            return
        import ray

        ray.shutdown()
        self._is_ours = False

    def __enter__(self) -> RaySession:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@contextlib.contextmanager
def _on_loopback() -> Iterator[None]:
    """Have a cluster that is started within the block listen on loopback alone."""
    from ray._private import ray_constants

    before = os.environ.get(LOOPBACK_SWITCH), ray_constants.ENABLE_RAY_CLUSTER
    os.environ[LOOPBACK_SWITCH] = "0"  # for Ray's processes; for this one it is read when Ray is imported
    ray_constants.ENABLE_RAY_CLUSTER = False
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = before[1]
        if before[0] is None:
            del os.environ[LOOPBACK_SWITCH]
        else:
            os.environ[LOOPBACK_SWITCH] = before[0]


def _refuse_network() -> None:
    """Make sure that the cluster just started is on loopback: the switch for that is Ray's own, not its interface."""
    import ray

    host = ray.get_runtime_context().gcs_address.rpartition(":")[0].strip("[]")
    if not ipaddress.ip_address(host).is_loopback:
        ray.shutdown()
        raise RunFailed(
            f"Ray {ray.__version__} listens on the network at {host}, where an embedded cluster has no business",
            hint="report it with Ray's version; until then start Ray yourself and give --address",
        )


def _refuse_unreachable(address: str) -> None:
    """Make sure that a cluster listens at a cluster's address: Ray itself would try for many minutes."""
    from ray._private.services import canonicalize_bootstrap_address

    found = canonicalize_bootstrap_address(address)  # `auto` is what was started last on this machine
    if found is not None:
        host, _, port = found.rpartition(":")
        socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_SECONDS).close()


def _silence_worker_logs() -> None:
    """Keep Ray from printing on stdout that a worker died; the sweep says so itself."""
    from ray._private import worker

    if hasattr(worker, "_worker_logs_enabled"):  # private, and nothing breaks without it
        worker._worker_logs_enabled = False


def _hint(is_embedded: bool) -> str:
    if is_embedded:
        return "the session's logs are in /tmp/ray/session_latest/logs"
    return "check the address, and that RAY_AUTH_MODE and the token are those of the cluster"
