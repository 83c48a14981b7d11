"""`make chaos`: the long form, over both catalogs and a disk that fills up, with figures.

usage: python -m tests.chaos [--seconds 60] [--seeds 3] [--first-seed 0] [--ray]
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from tests.chaos.harness import Chaos, Figures
from tests.postgres import Postgres, missing


def main() -> None:
    """Run the experiments and leave with 1 when one of them lost, doubled or left something."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos")
    parser.add_argument("--seconds", type=float, default=60.0, help="of faults in each experiment")
    parser.add_argument("--seeds", type=int, default=3, help="experiments of each kind")
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--ray", action="store_true", help="also kill the workers of a real Ray")
    chosen = parser.parse_args()
    done = []
    for seed in range(chosen.first_seed, chosen.first_seed + chosen.seeds):
        for kind, experiment in (("file", with_file), ("full disk", with_full_disk), ("shared", with_shared)):
            print(f"{kind}: ", end="", flush=True)
            figures = experiment(seed, chosen.seconds)
            print("skipped" if figures is None else figures, flush=True)
            done.append(figures)
    if chosen.ray:
        from tests.chaos.with_ray import with_ray

        print("ray: ", end="", flush=True)
        figures = with_ray(chosen.first_seed, chosen.seconds)
        print(figures, flush=True)
        done.append(figures)
    sys.exit(0 if all(figures is None or figures.is_whole for figures in done) else 1)


def _steps(seconds: float) -> int:
    return int(1_000 * seconds)  # about half of it is lost to dead time


def with_file(seed: int, seconds: float) -> Figures | None:
    """Kill workers and the holder of a file."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        return Chaos(str(folder / "runs.duckdb"), folder, seed, steps=_steps(seconds)).run(seconds)


def with_full_disk(seed: int, seconds: float) -> Figures | None:
    """The same while the disk of the file fills up now and then; needs the right to mount."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        disk = folder / "disk"
        disk.mkdir()
        if subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=256m", "tmpfs", str(disk)], capture_output=True
        ).returncode:
            return None
        try:
            return Chaos(str(disk / "runs.duckdb"), folder, seed, steps=_steps(seconds), disk=filler(disk)).run(seconds)
        finally:
            subprocess.run(["umount", "-l", str(disk)], check=False)


def filler(disk: Path) -> Callable[[bool], None]:
    """Return what fills a disk to the last byte, or makes room again."""
    ballast = disk / "ballast"

    def fill(is_full: bool) -> None:
        if not is_full:
            ballast.unlink(missing_ok=True)
            return
        with open(ballast, "wb", buffering=0) as file:
            for size in (2**20, 4096):
                try:
                    while file.write(b"\0" * size) == size:
                        pass
                except OSError:
                    continue

    return fill


def with_shared(seed: int, seconds: float) -> Figures | None:
    """Kill workers, the committer and PostgreSQL itself, and freeze it."""
    if missing() is not None:
        return None
    os.environ["PGPASSWORD"] = Postgres.PASSWORD
    server = Postgres()
    try:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            address = server.address(folder / "data")
            return Chaos(address, folder, seed, steps=_steps(seconds), server=server).run(seconds)
    finally:
        server.close()


if __name__ == "__main__":
    main()
