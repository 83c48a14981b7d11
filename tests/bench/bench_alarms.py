"""How often a fit of clean rows says that something is wrong with them: every kind of note, counted.

    python -m tests.bench alarms                      the counts of 500 fits
    python -m tests.bench.bench_alarms --fits 50      of fewer

A world is a law with its published coefficients, 8 to 60 independent rows whose inputs spread over decades, noise of
.1 to 3 % of the value, and a table in which some have a seed, a family, a corpus, a batch size, a name or a number of
digits. Each is fitted by the statement `CREATE LAW … AS FIT … FROM …` on a lake, and the law asked for a forecast in
the middle of its rows. A note that names a fault of rows or fit is a false alarm, with one exception, which is
measured: where the rows do not determine the law (`is_weak`), the kinds in `TRUE_WHERE_WEAK` are true of the world.
"""

from __future__ import annotations

import argparse
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

import isoflop
from isoflop.lakehouse import Lakehouse
from isoflop.queries.fitting.slopes import STEP, relative_slopes
from isoflop.queries.laws import LAWS, Role
from isoflop.queries.laws.law import input_names
from tests.queries.planted_laws import PLANTED

Array = NDArray[np.float64]

FITS = 500
NAMES = ("power", "saturating_power", "chinchilla", "kaplan", "data_constrained")
NOISE = (0.001, 0.03)  # of the value [1], uniform in logarithms
ROWS = (8, 60)
SPARE = 2  # rows beyond the number of coefficients that every world has
LOOSE = 0.5  # standard error of what is no amplitude, in units of its value [1], from which rows do not determine it
SHARP = np.sqrt(np.pi / 2)  # standard error of an absolute deviation over that of squares [1]
# What a fit says of how it was made, and which of its numbers to read (`heavy_tails`): nothing is wrong with the rows.
NO_FAULT = frozenset(
    ("what_would_help", "intervals_widened", "intervals_hold", "small_sample", "no_forward_check", "heavy_tails")
)
TRUE_WHERE_WEAK = frozenset(
    ("dead_term", "not_identified", "ill_conditioned", "exponent_at_bound", "coefficient_at_bound", "rival_basin",
     "rare_basin", "unstable_basin", "failed_resamples", "singular", "not_known")
)  # fmt: skip


@dataclass(frozen=True)
class World:
    """One table of clean rows.

    Parameters
    ----------
    name : of the law
    table : inputs, target and what else the rows have
    is_weak : whether the rows determine the law so badly that notes on that are true
    noise : of the value [1]
    """

    name: str
    table: pa.Table
    is_weak: bool
    noise: float


def drawn(seed: int) -> World:
    """Return one world."""
    generator = np.random.default_rng([7, seed])
    name = NAMES[seed % len(NAMES)]
    law, plan = LAWS[name], PLANTED[name]
    truth = np.array(plan.coefficients)
    count = int(generator.integers(max(ROWS[0], len(truth) + SPARE), ROWS[1] + 1))
    noise = float(np.exp(generator.uniform(*np.log(NOISE))))
    inputs = np.ceil(plan.inputs(int(generator.integers(2**31)), count))
    values = law.predict(truth, inputs) * np.exp(noise * generator.standard_normal(count))
    if generator.random() < 0.3:  # as logs have them
        values = np.round(values, 4)
    columns = {**dict(zip(input_names(law), inputs.T, strict=True)), "loss": values}
    for column, made in _further(count, generator):
        if generator.random() < 0.5:
            columns[column] = made
    return World(name, pa.table(columns), is_weak(name, inputs, noise), noise)


def _further(count: int, generator: np.random.Generator) -> Iterator[tuple[str, object]]:
    """Columns that say nothing of the loss."""
    yield "seed", generator.integers(0, 3, count)
    yield "family", ["net"] * count
    yield "corpus", ["web"] * count
    yield "batch_size", generator.choice([64, 128, 256], count)
    yield "name", [f"run {position}" for position in range(count)]
    yield "run_id", [f"r{position:04d}" for position in range(count)]
    yield "validation_loss", 2 + 0.1 * generator.standard_normal(count)


def is_weak(name: str, inputs: Array, noise: float) -> bool:
    """Return whether the standard error of a planted coefficient, by its information, is about as large as it is."""
    law, truth = LAWS[name], np.array(PLANTED[name].coefficients)
    slopes = relative_slopes(law, truth, inputs) / STEP  # (K, R) of logarithms over logarithms
    information = slopes @ slopes.T / (SHARP * noise) ** 2
    with np.errstate(all="ignore"):
        errors = np.sqrt(np.diag(np.linalg.pinv(information, rcond=1e-14, hermitian=True)))
    is_size = np.array([coefficient.role is Role.AMPLITUDE for coefficient in law.coefficients])  # moves with exponents
    return bool((errors[~is_size] > LOOSE).any())


def notes_of(lake: Lakehouse, world: World, options: str = "") -> list[tuple[str, str]]:
    """Return the kind and the message of every note on one world; what has no kind has its first words for one."""
    law = LAWS[world.name]
    lake.write([("CREATE OR REPLACE TABLE rows AS FROM _rows", None)], {"_rows": world.table})
    names = input_names(law)
    form = f"{world.name}({', '.join(names)})"
    answer = lake.sql(f"CREATE OR REPLACE LAW w AS FIT loss ~ {form} FROM rows{' WITH ' * bool(options)}{options}")
    (record,) = answer.records()
    kinds = {message: kind for kind, _, message in (note.partition(": ") for note in record["notes"])}
    if record["status"] != "converged":
        kinds[f"the fit is {record['status']}"] = record["status"]
    at = {name: float(np.exp(np.mean(np.log(world.table[name].to_numpy())))) for name in names}
    asked = lake.sql(f"EXTRAPOLATE w TO {', '.join(f'{name} = {value!r}' for name, value in at.items())}")
    for said in (*answer.notes, *asked.notes):
        bare = said.removeprefix("law 'w': ")
        if bare not in kinds and "saved;" not in said and not bare.startswith(tuple(kinds)):
            kinds[bare] = said.partition(":")[0] if said.startswith("not_known") else " ".join(said.split()[:6])
    return [(kind, message) for message, kind in kinds.items()]


def bench(fits: int = FITS, first: int = 0, options: str = "") -> None:
    """Print how often each kind of note was said of clean worlds, and every false alarm as it comes.

    Parameters
    ----------
    fits, first : number of worlds, and of the first one
    options : the WITH list of the fits, in parentheses; none for the usual fit
    """
    said: Counter[str] = Counter()
    false: Counter[str] = Counter()
    weak = 0
    with tempfile.TemporaryDirectory() as folder, isoflop.open(Path(folder) / "alarms.duckdb") as lake:
        for seed in range(first, first + fits):
            world = drawn(seed)
            weak += world.is_weak
            for kind, message in notes_of(lake, world, options):
                said[kind] += 1
                if kind in NO_FAULT or (world.is_weak and kind in TRUE_WHERE_WEAK):
                    continue
                false[kind] += 1
                about = f"{seed} {world.name}, {len(world.table)} rows, noise {world.noise:.2%}"
                print(f"false: {kind} ({about}): {message}", flush=True)
    print(f"\n{fits} clean fits, {weak} of rows that do not determine the law")
    print(f"{'note':32}{'said':>8}{'false':>8}")
    for kind, count in sorted(said.items()):
        print(f"{kind:32}{count:8d}{false[kind]:8d}")
    print(f"{'all':32}{sum(said.values()):8d}{sum(false.values()):8d}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fits", type=int, default=FITS, help="number of worlds")
    parser.add_argument("--first", type=int, default=0, help="number of the first one")
    parser.add_argument("--options", default="", help="WITH list of the fits, such as '(resamples = 200)'")
    given = parser.parse_args()
    bench(given.fits, given.first, given.options)
