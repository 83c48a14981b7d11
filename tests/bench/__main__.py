"""Run every benchmark, one after another: `make bench`, or `python -m tests.bench fitting` for one."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path


def main() -> None:
    """Import each `bench_*.py` beside this file and call its `bench()`."""
    wanted = sys.argv[1:]
    for path in sorted(Path(__file__).parent.glob("bench_*.py")):
        name = path.stem.removeprefix("bench_")
        if not wanted or name in wanted:
            print(f"\n== {name}")
            importlib.import_module(f"tests.bench.{path.stem}").bench()


if __name__ == "__main__":
    main()
