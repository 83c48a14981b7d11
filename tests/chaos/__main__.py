"""`make chaos`: break a sweep at 200 random moments, over both catalogs, and print what was left.

usage: python -m tests.chaos [--moments 200] [--each 25] [--first-seed 0] [--only file|shared] [--keep]

Experiments alternate between a lake in a file and a shared one, and between Ray inside the sweep's
driver and a cluster of two machines. Takes about a minute for every four moments on two idle cores.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.chaos.sweeping import Figures, SweepChaos, password_environment
from tests.postgres import Postgres, missing

DISK = "size=512m"
KINDS = ("worker", "writer", "driver", "raylet", "catalog frozen", "catalog killed", "disk full")
COUNTS = ("submissions", "attempts", "runs", "acknowledged", "landed", "missing", "doubled")
Key = tuple[str, str]  # catalog, where Ray runs


def main() -> None:
    """Run the experiments and leave with 1 when one of them lost, doubled or left something."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos")
    parser.add_argument("--moments", type=int, default=200, help="in all")
    parser.add_argument("--each", type=int, default=25, help="moments in one experiment")
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--only", choices=("file", "shared"), help="one catalog")
    parser.add_argument("--keep", action="store_true", help="keep the folders of experiments that went wrong")
    chosen = parser.parse_args()
    catalogs = [chosen.only] if chosen.only else ["file", "shared"]
    if "shared" in catalogs and (reason := missing()) is not None:
        print(f"no shared lake: {reason}", flush=True)
        catalogs.remove("shared")
    found: dict[Key, Figures] = {}
    try:
        for number in range(-(-chosen.moments // chosen.each)) if catalogs else ():
            catalog = catalogs[number % len(catalogs)]
            ray = ("embedded", "cluster")[number // len(catalogs) % 2]
            moments = min(chosen.each, chosen.moments - number * chosen.each)
            figures = experiment(catalog, ray == "cluster", chosen.first_seed + number, moments, keeps=chosen.keep)
            found[catalog, ray] = found.get((catalog, ray), Figures()) + figures
            print(f"{time.strftime('%H:%M:%S')} {catalog}, {ray}: {figures}", flush=True)
    finally:
        print_table(found)
    sys.exit(0 if found and all(figures.is_whole for figures in found.values()) else 1)


def experiment(catalog: str, has_cluster: bool, seed: int, moments: int, *, keeps: bool = False) -> Figures:
    """Run one experiment on a disk and, where the lake is shared, a PostgreSQL of its own."""
    name = tempfile.mkdtemp(prefix="isoflop-chaos-")
    folder = Path(name)
    with small_disk(folder / "disk") as (disk, fill):
        server = None
        if catalog == "shared":
            password_environment()
            server = Postgres()
        try:
            address = str(disk / "runs.duckdb") if server is None else server.address(disk / "data")
            figures = SweepChaos(
                address, folder, seed, moments=moments, has_cluster=has_cluster, server=server, fill=fill
            ).run()
        finally:
            if server is not None:
                server.close()
    if keeps and not figures.is_whole:
        figures.said.append(f"  kept in {folder}")
    else:
        subprocess.run(["rm", "-rf", name], check=False)
    return figures


@contextmanager
def small_disk(path: Path) -> Iterator[tuple[Path, Callable[[bool], None] | None]]:
    """Make a small disk, and what fills it to the last byte or makes room again; None without the right to mount."""
    path.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", DISK, "tmpfs", str(path)], capture_output=True).returncode:
        yield path, None
        return
    ballast = path / "ballast"

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

    try:
        yield path, fill
    finally:
        subprocess.run(["umount", "-l", str(path)], check=False)


def print_table(found: dict[Key, Figures]) -> None:
    """Print a column for each catalog and kind of Ray, and one for all."""
    everything = sum(found.values(), Figures())
    columns = {**{f"{catalog}, {ray}": figures for (catalog, ray), figures in found.items()}, "all": everything}
    rows = [("moments", [sum(one.moments.values()) for one in columns.values()])]
    rows += [(f"  {kind}", [one.moments[kind] for one in columns.values()]) for kind in KINDS]
    rows += [(name, [getattr(one, name) for one in columns.values()]) for name in COUNTS]
    whole = [
        ("lake check clean", [f"{one.clean} of {one.experiments}" for one in columns.values()]),
        ("sweep completed", [f"{one.completed} of {one.experiments}" for one in columns.values()]),
        ("minutes", [f"{one.seconds / 60:.0f}" for one in columns.values()]),
    ]
    print(f"\n{'':18}" + "".join(f"{name:>18}" for name in columns))
    for label, cells in rows:
        print(f"{label:18}" + "".join(f"{cell:>18,}" for cell in cells))
    for label, texts in whole:
        print(f"{label:18}" + "".join(f"{text:>18}" for text in texts))


if __name__ == "__main__":
    main()
