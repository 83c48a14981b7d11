"""`make chaos`: 300 random moments over both catalogs, in sweeps and in ordinary habits; print what was left.

usage: python -m tests.chaos [--moments 300] [--sweeps 60] [--each 25] [--first-seed 0] [--only file|shared] [--keep]
       python -m tests.chaos --habits [--moments 300] …
       python -m tests.chaos --crowd

So many of the moments as `--sweeps` says break a sweep: experiments alternate between a lake in a file and a shared
one, and between Ray inside the sweep's driver and a cluster of two machines. The others are ordinary habits beside
training scripts, met by a lake of each kind at the same time; `--habits` makes all of them so. One moment of the first
shared lake is a minute in which PostgreSQL is killed and started again and again. A moment of a sweep takes about 15 s
on two idle cores, a habit about 5 s. `--crowd` lets 16 processes log 50 short runs each at once, on both kinds of lake.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from tests.chaos import crowds, reckoning
from tests.chaos.habits import Habits
from tests.chaos.sweeping import Figures, SweepChaos, password_environment
from tests.postgres import Postgres, missing

DISK = "size=512m"
KINDS = ("worker", "writer", "driver", "raylet", "catalog frozen", "catalog killed", "disk full")
LONG = 10  # moments of an experiment that has room for the minute without a catalog
COUNTS = ("submissions", "attempts", "runs", "acknowledged", "landed", "missing", "doubled")
Key = tuple[str, str]  # catalog, where Ray runs


def main() -> None:
    """Run the experiments and leave with 1 when one of them lost, doubled or left something."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos")
    parser.add_argument("--moments", type=int, default=300, help="in all")
    parser.add_argument("--sweeps", type=int, default=60, help="how many of them break a sweep")
    parser.add_argument("--habits", action="store_true", help="only ordinary habits, no sweeps")
    parser.add_argument("--crowd", action="store_true", help="measure many short runs at once instead")
    parser.add_argument("--each", type=int, default=25, help="moments in one experiment")
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--only", choices=("file", "shared"), help="one catalog")
    parser.add_argument("--keep", action="store_true", help="keep the folders of experiments that went wrong")
    chosen = parser.parse_args()
    chosen.sweeps = 0 if chosen.habits else min(chosen.sweeps, chosen.moments)
    catalogs = [chosen.only] if chosen.only else ["file", "shared"]
    if "shared" in catalogs and (reason := missing()) is not None:
        print(f"no shared lake: {reason}", flush=True)
        catalogs.remove("shared")
    if chosen.crowd:
        sys.exit(0 if all([crowd(catalog) for catalog in catalogs]) else 1)
    is_whole = live(catalogs, chosen) & sweep(catalogs, chosen)
    sys.exit(0 if catalogs and is_whole else 1)


def live(catalogs: list[str], chosen: argparse.Namespace) -> bool:
    """Have ordinary habits meet lakes, one of each catalog at a time; returns whether all was well."""
    wanted = chosen.moments - chosen.sweeps
    if not catalogs or wanted <= 0:
        return True
    starts = range(0, wanted, chosen.each)
    planned = [(chosen.first_seed + number, min(chosen.each, wanted - start)) for number, start in enumerate(starts)]
    stop = threading.Event()
    with ThreadPoolExecutor(len(catalogs)) as pool:
        running = {
            catalog: pool.submit(attack, catalog, planned[number :: len(catalogs)], stop, keeps=chosen.keep)
            for number, catalog in enumerate(catalogs)
        }
        try:
            found = {catalog: future.result() for catalog, future in running.items()}
        finally:
            stop.set()  # with Ctrl-C the moments that have begun are the last
    print_habits(found)
    return all(figures.is_whole for figures in found.values())


def attack(catalog: str, planned: list[tuple[int, int]], stop: threading.Event, *, keeps: bool) -> reckoning.Figures:
    """Have habits meet one lake after the other, each with a seed and a number of moments."""
    everything = reckoning.Figures()
    long = [seed for seed, moments in planned if moments >= LONG][:1]
    for seed, moments in planned:
        if stop.is_set():
            break
        with a_lake(catalog, keeps) as (address, folder, server, fill, keep):
            figures = Habits(
                address, folder, seed, moments=moments, server=server, fill=fill, has_minute=seed in long, stop=stop
            ).run()
            if not figures.is_whole:
                keep(figures.said)
        everything += figures
        print(f"{time.strftime('%H:%M:%S')} {catalog}, habits, seed {seed}: {figures}", flush=True)
    return everything


def sweep(catalogs: list[str], chosen: argparse.Namespace) -> bool:
    """Break sweeps; returns whether all was well."""
    found: dict[Key, Figures] = {}
    try:
        for number in range(-(-chosen.sweeps // chosen.each)) if catalogs else ():
            catalog = catalogs[number % len(catalogs)]
            ray = ("embedded", "cluster")[number // len(catalogs) % 2]
            moments = min(chosen.each, chosen.sweeps - number * chosen.each)
            figures = experiment(catalog, ray == "cluster", chosen.first_seed + number, moments, keeps=chosen.keep)
            found[catalog, ray] = found.get((catalog, ray), Figures()) + figures
            print(f"{time.strftime('%H:%M:%S')} {catalog}, {ray}: {figures}", flush=True)
    finally:
        if chosen.sweeps:
            print_table(found)
    return all(figures.is_whole for figures in found.values())


Lake = tuple[str, Path, Postgres | None, Callable[[bool], None] | None, Callable[[list[str]], None]]


@contextmanager
def a_lake(catalog: str, keeps: bool) -> Iterator[Lake]:
    """Give a lake on a disk and, where it is shared, a PostgreSQL of its own, and take both away after the block."""
    name = tempfile.mkdtemp(prefix="isoflop-chaos-")
    folder, kept = Path(name), []

    def keep(said: list[str]) -> None:
        if keeps:
            kept.append(folder)
            said.append(f"  kept in {folder}")

    with small_disk(folder / "disk") as (disk, fill):
        server = None
        if catalog == "shared":
            password_environment()
            server = Postgres()
        try:
            yield (
                str(disk / "runs.duckdb") if server is None else server.address(disk / "data"),
                folder,
                server,
                fill,
                keep,
            )
        finally:
            if server is not None:
                server.close()
    if not kept:
        subprocess.run(["rm", "-rf", name], check=False)


def crowd(catalog: str, processes: int = 16, runs: int = 50) -> bool:
    """Let many processes log short runs at once; print how long they waited, and return whether all is well."""
    with a_lake(catalog, False) as (address, folder, _, _, _):
        figures = crowds.measure(address, folder, processes, runs)
    print(f"{catalog}: {figures}", flush=True)
    return figures.is_well


def experiment(catalog: str, has_cluster: bool, seed: int, moments: int, *, keeps: bool = False) -> Figures:
    """Run one experiment on a disk and, where the lake is shared, a PostgreSQL of its own."""
    with a_lake(catalog, keeps) as (address, folder, server, fill, keep):
        figures = SweepChaos(
            address, folder, seed, moments=moments, has_cluster=has_cluster, server=server, fill=fill
        ).run()
        if not figures.is_whole:
            keep(figures.said)
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


def print_habits(found: dict[str, reckoning.Figures]) -> None:
    """Print a column for each catalog and one for all."""
    everything = sum(found.values(), reckoning.Figures())
    columns = {**found, "all": everything}.values()
    rows = [("moments", [sum(figures.moments.values()) for figures in columns])]
    rows += [(f"  {kind}", [figures.moments[kind] for figures in columns]) for kind in sorted(everything.moments)]
    rows += [("of these with another", [sum(figures.beside.values()) for figures in columns])]
    rows += [(f"  {kind}", [figures.beside[kind] for figures in columns]) for kind in sorted(everything.beside)]
    rows += [(name.replace("_", " "), [getattr(figures, name) for figures in columns]) for name in reckoning.COUNTED]
    print(f"\n{'':22}" + "".join(f"{name:>18}" for name in (*found, "all")))
    for label, cells in rows:
        print(f"{label:22}" + "".join(f"{cell:>18,}" for cell in cells))
    print(f"{'minutes':22}" + "".join(f"{figures.seconds / 60:>18.0f}" for figures in columns), flush=True)


if __name__ == "__main__":
    main()
