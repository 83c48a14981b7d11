"""How often 95 % intervals of coefficients hold the planted ones where rows are not independent.

    python -m tests.bench dependence                           the table
    python -m tests.bench.bench_dependence --draws 40 --write  the table of docs/intervals.md

Each world is fitted by `FIT loss ~ … FROM …` as it stands, and with `bootstrap = 'case'`, which resamples rows one by
one. `found` is the share of draws in which the rows were seen to be dependent.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

import isoflop
from isoflop.lakehouse import Lakehouse
from isoflop.queries.laws import CHINCHILLA, POWER
from tests.bench.bench_calibration import write_parts
from tests.queries.planted_laws import PLANTED

Array = NDArray[np.float64]

DRAWS, RESAMPLES = 20, 200
OWN, NOISE = 0.01, 0.003  # what a group has of its own, and each row [1]
TRUTH = np.array(PLANTED["power"].coefficients)
BOTH = np.array(PLANTED["chinchilla"].coefficients)


def independent(generator: np.random.Generator) -> pa.Table:
    """16 sizes with 4 seeds each, every run on its own."""
    return _sizes(16, 4, lambda size, seed: np.zeros(len(size)), generator)


def sizes(generator: np.random.Generator) -> pa.Table:
    """16 sizes with 4 seeds each, of which each size has something of its own."""
    own = OWN * generator.standard_normal(16)
    return _sizes(16, 4, lambda size, seed: own[size], generator)


def seeds(generator: np.random.Generator) -> pa.Table:
    """6 sizes with 20 seeds each, of which each seed has something of its own at every size."""
    own = OWN * generator.standard_normal(20)
    return _sizes(6, 20, lambda size, seed: own[seed], generator)


def curve(generator: np.random.Generator) -> pa.Table:
    """One curve of 200 points, whose noise is an autoregression that remembers 0.8 of the point before."""
    step = np.geomspace(1e6, 1e10, 200).round()
    loss = POWER.predict(TRUTH, step[:, None]) * np.exp(0.5 * OWN * _remembering(0.8, 200, generator))
    return pa.table({"step": step, "loss": loss})


def points(generator: np.random.Generator) -> pa.Table:
    """20 runs of 30 points, each an autoregression that remembers 0.9 of the point before."""
    size = np.repeat(np.exp(generator.uniform(*np.log((5e7, 2e10)), 20)).round(), 30)
    tokens = np.tile(np.geomspace(1e9, 3e11, 30).round(), 20)
    noise = np.concatenate([_remembering(0.9, 30, generator) for _ in range(20)])
    loss = CHINCHILLA.predict(BOTH, np.column_stack([size, tokens])) * np.exp(0.5 * OWN * noise)
    return pa.table({"run_id": np.repeat(np.arange(20), 30), "params": size, "tokens": tokens, "loss": loss})


World = Callable[[np.random.Generator], pa.Table]
WORLDS: Mapping[str, tuple[World, str, Array]] = {
    "independent rows": (independent, "power(params)", TRUTH),
    "sizes, 4 seeds each": (sizes, "power(params)", TRUTH),
    "seeds, at 6 sizes each": (seeds, "power(params)", TRUTH),
    "one curve of 200 points": (curve, "power(step)", TRUTH),
    "20 runs of 30 points": (points, "chinchilla(params, tokens)", BOTH),
}


def _sizes(
    num_sizes: int, num_seeds: int, luck: Callable[[Array, Array], Array], generator: np.random.Generator
) -> pa.Table:
    size, seed = (axis.ravel() for axis in np.meshgrid(np.arange(num_sizes), np.arange(num_seeds), indexing="ij"))
    params = np.geomspace(1e6, 1e10, num_sizes).round()[size]
    noise = luck(size, seed) + NOISE * generator.standard_normal(len(size))
    loss = POWER.predict(TRUTH, params[:, None]) * np.exp(noise)
    return pa.table({"params": params, "seed": seed, "loss": loss})


def _remembering(share: float, count: int, generator: np.random.Generator) -> Array:
    """An autoregression (count,) of unit spread."""
    found = generator.standard_normal(count)
    for point in range(1, count):
        found[point] = share * found[point - 1] + np.sqrt(1 - share**2) * found[point]
    return found


def held(lake: Lakehouse, form: str, truth: Array, further: str = "") -> tuple[Array, bool]:
    """Return which coefficients (K,) lie in their intervals, and whether the rows were seen to be dependent."""
    options = f"resamples = {RESAMPLES}, forward = false, intervals = 'percentile'{further}"
    (row,) = lake.sql(f"FIT loss ~ {form} FROM rows WITH ({options})").records()
    lower, upper = (np.array([*row[end].values()], dtype=np.float64) for end in ("lower", "upper"))
    seen = any(note.startswith(("rows_together", "serial_blocks")) for note in row["notes"])
    return (lower <= truth) & (truth <= upper), seen


def bench(draws: int = DRAWS, write: bool = False) -> None:
    """Print the table; with `write`, put it into docs/intervals.md."""
    lines = ["| rows | draws | found | one by one | as found | ± |", "| --- | --- | --- | --- | --- | --- |"]
    print("\n".join(lines))
    with tempfile.TemporaryDirectory() as folder, isoflop.open(Path(folder) / "dependence.duckdb") as lake:
        for name, (world, form, truth) in WORLDS.items():
            alone, together, seen = [], [], 0
            for seed in range(draws):
                table = world(np.random.default_rng([11, seed]))
                lake.write([("CREATE OR REPLACE TABLE rows AS FROM _rows", None)], {"_rows": table})
                alone.append(held(lake, form, truth, ", bootstrap = 'case'")[0])
                inside, is_seen = held(lake, form, truth)
                together.append(inside)
                seen += is_seen
            spread = float(np.std(np.mean(together, axis=1), ddof=1) / np.sqrt(draws))
            lines.append(
                f"| {name} | {draws} | {seen / draws:.0%} | {np.mean(alone):.1%} | {np.mean(together):.1%} "
                f"| {spread:.1%} |"
            )
            print(lines[-1], flush=True)
    if write:
        write_parts({"dependence": lines})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=DRAWS, help="of each world")
    parser.add_argument("--write", action="store_true", help="write docs/intervals.md")
    given = parser.parse_args()
    bench(given.draws, given.write)
