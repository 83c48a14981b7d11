"""The fault harness with the workers in a real Ray: its worker processes are killed, the driver goes on."""

from __future__ import annotations

import os
import signal
import tempfile
import time
from pathlib import Path
from typing import Any, cast

from tests.chaos.harness import Chaos, Figures


class RayProcess:
    """A Ray task that looks like a child process to the harness."""

    def __init__(self, reference: Any, pid_file: Path) -> None:
        self._reference, self._pid_file = reference, pid_file

    @property
    def pid(self) -> int:
        """The process that runs the task; waits until it does."""
        until = time.monotonic() + 60
        while not self._pid_file.exists():
            if self.poll() is not None or time.monotonic() > until:
                return -1
            time.sleep(0.02)
        return int(self._pid_file.read_text())

    def poll(self) -> int | None:
        """Return 0 or 1 when the task has ended, None while it runs."""
        import ray

        ready, _ = ray.wait([self._reference], timeout=0)
        if not ready:
            return None
        try:
            ray.get(self._reference)
        except Exception:
            return 1
        return 0

    def kill(self) -> None:
        """End the task's process."""
        if self.poll() is None and self.pid > 0:
            os.kill(self.pid, signal.SIGKILL)

    def wait(self) -> None:
        """Wait until Ray knows that the task has ended."""
        import ray

        ray.wait([self._reference], timeout=30)


class RayChaos(Chaos):
    """`Chaos` whose workers are Ray tasks; the holder stays a process."""

    def _start(self, program: str, *arguments: str) -> Any:
        if program != "worker.py":
            return super()._start(program, *arguments)
        import ray

        pid_file = self.folder / f"{arguments[1]}.{arguments[2]}.pid"

        def task(pid_file: str, arguments: tuple[str, ...]) -> None:
            from tests.chaos.worker import log_one

            Path(f"{pid_file}.partial").write_text(str(os.getpid()))
            os.replace(f"{pid_file}.partial", pid_file)
            folder, run_id, attempt, start, steps, acknowledged, rate = arguments
            log_one(folder, run_id, int(attempt), int(start), int(steps), acknowledged, int(rate))

        remote = cast(Any, ray.remote(max_retries=0, num_cpus=0.1)(task))
        return RayProcess(remote.remote(str(pid_file), arguments), pid_file)

    def _kill(self, process: Any, what: str) -> None:
        if process.pid > 0:
            super()._kill(process, what)


def with_ray(seed: int, seconds: float) -> Figures:
    """Kill Ray's worker processes and the holder of a file."""
    import ray

    ray.init(
        address="local", num_cpus=2, include_dashboard=False, log_to_driver=False,
        runtime_env={"env_vars": {"PYTHONPATH": os.getcwd()}},
    )  # fmt: skip
    try:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            return RayChaos(str(folder / "runs.duckdb"), folder, seed, steps=int(1_000 * seconds)).run(seconds)
    finally:
        ray.shutdown()
