"""Send a sweep to a Ray cluster as a job, and follow it.

A job is the command `python -m isoflop sweep FILE --lake LAKE` run on the cluster's head, with the
sweep file in its working directory, which is the file's whole folder where the sweep runs a command of
the user's. Nothing else is special about it: `ray job submit --working-dir DIR -- isoflop sweep FILE
--lake LAKE` does the same.
"""

from __future__ import annotations

import os
import shlex
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from isoflop.lakehouse.backends.catalog import ENVIRONMENT
from isoflop.lakehouse.errors import RunFailed, UsageError
from isoflop.workers.cluster.session import require_tokens, state_authentication
from isoflop.workers.sweep import load_sweeps

POLL_SECONDS = 1.0  # between looks at a job
LEFT_HERE = ("*.duckdb", "*.duckdb.*", ".git", ".venv", "__pycache__")  # of a script's folder: lakes are no code
FAILED_EXIT = 4  # exit status of a sweep with failed runs


@dataclass(frozen=True)
class SweepJob:
    """A sweep that runs as a job of a cluster."""

    job_id: str
    address: str
    _client: Any = field(repr=False)

    def status(self) -> str:
        """Return PENDING, RUNNING, STOPPED, SUCCEEDED or FAILED."""
        return str(self._client.get_job_status(self.job_id).value)

    def output(self) -> Iterator[str]:
        """Yield what the job prints, as it comes, until it is over."""
        printed = 0
        while True:
            is_over = self._client.get_job_status(self.job_id).is_terminal()
            text: str = self._client.get_job_logs(self.job_id)
            if len(text) > printed:
                yield text[printed:]
                printed = len(text)
            if is_over:
                return
            time.sleep(POLL_SECONDS)

    def exit_code(self) -> int:
        """Return the exit code of a job that is over, 4 where the cluster does not know it."""
        if self.status() == "SUCCEEDED":
            return 0
        code = self._client.get_job_info(self.job_id).driver_exit_code
        return FAILED_EXIT if code is None or code <= 0 else int(code)


def submit_sweep(
    file: Path | str,
    *,
    address: str | None = None,
    lake: str | None = None,
    settings: Sequence[str] = (),
    fail_fast: bool = False,
    ships_code: bool = False,
) -> SweepJob:
    """Send a sweep file to a cluster and return its job.

    Parameters
    ----------
    file : sweep file on this machine; it is read and checked here first
    address : job server, `http://head:8265`; RAY_API_SERVER_ADDRESS or RAY_ADDRESS when None
    lake : absolute path of the lake on the head; the head's own ISOFLOP_LAKE when None
    settings, fail_fast : passed on to `isoflop sweep`
    ships_code : send this package along as well

    Raises
    ------
    FileError : if the sweep file is wrong
    UsageError : if no address is given, or the lake's path is relative
    RunFailed : if the job server does not answer or refuses
    """
    path = Path(file)
    sweeps = load_sweeps(path, settings)
    for sweep in sweeps:
        sweep.expand()
    where = address or os.environ.get("RAY_API_SERVER_ADDRESS") or os.environ.get("RAY_ADDRESS")
    if not where or not where.startswith(("http://", "https://")):
        raise UsageError("no job server is named", hint="--address http://head:8265, or set RAY_API_SERVER_ADDRESS")
    lake = lake or os.environ.get(ENVIRONMENT)
    if lake is not None and not lake.startswith("/"):
        raise UsageError(
            f"the lake '{lake}' is a relative path, which the job's own folder would take away when it ends",
            hint="give the path on the cluster's head, for example --lake /data/runs.duckdb",
        )
    command = entrypoint(path.name, lake=lake, settings=settings, fail_fast=fail_fast)
    state_authentication(starts_cluster=False)
    if any(sweep.family.open_settings for sweep in sweeps):  # the script lies beside the file
        return _submit(where, command, _runtime_environment(str(path.absolute().parent), ships_code))
    with tempfile.TemporaryDirectory(prefix="isoflop-") as folder:
        shutil.copy(path, folder)
        return _submit(where, command, _runtime_environment(folder, ships_code))


def entrypoint(file: str, *, lake: str | None, settings: Sequence[str] = (), fail_fast: bool = False) -> str:
    """Return the command of the job.

    Example
    -------
    >>> entrypoint("sweep.yaml", lake="/data/runs.duckdb", settings=["grid.width=[64, 128]"])
    "python -m isoflop sweep sweep.yaml --lake /data/runs.duckdb --set 'grid.width=[64, 128]'"
    """
    words = ["python", "-m", "isoflop", "sweep", file]
    words += ["--lake", lake] if lake else []
    words += [word for setting in settings for word in ("--set", setting)]
    words += ["--fail-fast"] if fail_fast else []
    return shlex.join(words)


def _runtime_environment(folder: str, ships_code: bool) -> dict[str, Any]:
    environment: dict[str, Any] = {"working_dir": folder, "excludes": list(LEFT_HERE)}
    if ships_code:
        environment["py_modules"] = [str(Path(__file__).parents[2])]
    return environment


def _submit(address: str, command: str, environment: dict[str, Any]) -> SweepJob:
    import logging

    import ray
    from ray.dashboard.modules import dashboard_sdk
    from ray.exceptions import RayError
    from ray.job_submission import JobSubmissionClient

    require_tokens(ray.__version__)
    logging.getLogger(dashboard_sdk.__name__).setLevel(logging.WARNING)  # the upload of one small file is no news
    try:
        client = JobSubmissionClient(address)
        job_id = client.submit_job(entrypoint=command, runtime_env=environment)
    except (ConnectionError, RuntimeError, RayError) as error:
        reason = " ".join(str(error).split("\n\n")[0].split())
        raise RunFailed(
            f"the job server at {address} did not take the sweep: {reason}",
            hint="check the address; RAY_AUTH_MODE and RAY_AUTH_TOKEN (or RAY_AUTH_TOKEN_PATH) must be the cluster's",
        ) from error
    return SweepJob(str(job_id), address, client)
