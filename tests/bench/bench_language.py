"""What the language costs over plain DuckDB, in CPU milliseconds a statement.

Each plain statement is asked of DuckDB's own cursor and of `lake.sql`, in turn, and the least of many times counts.
A statement with a verb in it is asked beside the same statement over a table of the verb's rows, so that what remains
is the language: reading the clause, binding it, composing the text around it.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import isoflop
from isoflop.lakehouse import Lakehouse

MANY_LAWS = 200
LONGEST_SHOW = 50.0  # wall milliseconds [ms] of SHOW LAWS with so many laws
BUDGET = 2.0  # CPU milliseconds [ms] over plain DuckDB
TIMES = 300

PLAIN = {
    "SELECT 1": "SELECT 1",
    "board of 10,000 runs": "SELECT id, params, loss FROM points WHERE params > 1e8 ORDER BY loss LIMIT 20",
    "a column called fit": "SELECT count(*) AS fit, corpus AS law FROM points WHERE (id > 3) GROUP BY law ORDER BY fit",
    "200 lines that name verbs": "SELECT " + ",\n".join(f"(id + {k}) AS fit_{k}, 'FIT' AS f{k}" for k in range(200))
    + " FROM points LIMIT 1",
}  # fmt: skip
WITH_VERBS = {  # what -> (with a verb, the same over a table of its rows)
    "FROM (SHOW LAWS)": ("SELECT name FROM (SHOW LAWS) WHERE rows > 3", "SELECT name FROM shown WHERE rows > 3"),
    "FROM (EXTRAPOLATE …)": (
        "SELECT params, lower FROM (EXTRAPOLATE chin TO params = [1e9, 1e10], tokens = 20 * params) ORDER BY params",
        "SELECT params, lower FROM ahead ORDER BY params",
    ),
}


def fill(lake: Lakehouse) -> None:
    """Make the tables and the law that the statements name."""
    lake.query(
        "CREATE TABLE points AS SELECT i AS id, ['web', 'books'][1 + i % 2] AS corpus, "
        "10.0 ** (6 + i % 50 / 10) AS params, 10.0 ** (9 + i // 50 / 100) AS tokens, "
        "1.7 + 400 / params ** 0.34 + 410 / tokens ** 0.28 AS loss "
        "FROM range(10000) t(i)"
    )
    lake.sql("CREATE LAW chin AS FIT loss ~ chinchilla(params, tokens) FROM points WITH (resamples = 20)")
    lake.sql("CREATE TABLE shown AS SHOW LAWS")
    lake.sql("CREATE TABLE ahead AS EXTRAPOLATE chin TO params = [1e9, 1e10], tokens = 20 * params")


def least(first: Callable[[], object], second: Callable[[], object], times: int = TIMES) -> tuple[float, float]:
    """Return the least CPU milliseconds of two calls, made in turn."""
    best = [float("inf"), float("inf")]
    for _ in range(times):
        for position, call in enumerate((first, second)):
            began = time.process_time()
            call()
            best[position] = min(best[position], time.process_time() - began)
    return best[0] * 1e3, best[1] * 1e3


def report(what: str, plain: float, through: float, *, is_budgeted: bool) -> None:
    """Print one line."""
    budget = f"(budget +{BUDGET:g})" if is_budgeted else ""
    more, ratio = through - plain, through / plain
    print(f"{what:28s}{plain:8.2f} ms plain {through:8.2f} ms here   +{more:5.2f}  x{ratio:5.2f} {budget}")


def show_many() -> float:
    """Return the least wall milliseconds of SHOW LAWS in a lake of many laws, each fitted to rows of one table."""
    with tempfile.TemporaryDirectory() as name, isoflop.open(Path(name) / "many.duckdb") as lake:
        fill(lake)
        lake.query(
            "INSERT INTO store.laws BY NAME "
            f"SELECT l.* REPLACE ('law' || k AS name) FROM store.laws l, range(1, {MANY_LAWS}) r(k)"
        )
        best = float("inf")
        for _ in range(20):
            began = time.perf_counter()
            assert len(lake.sql("SHOW LAWS")) == MANY_LAWS
            best = min(best, time.perf_counter() - began)
    return best * 1e3


def bench() -> None:
    """Print the cost of each statement, plain and through the language."""
    with tempfile.TemporaryDirectory() as name, isoflop.open(Path(name) / "bench.duckdb") as lake:
        fill(lake)
        for what, text in PLAIN.items():
            report(what, *least(lambda text=text: lake.query(text), lambda text=text: lake.sql(text)), is_budgeted=True)
        for what, (verb, table) in WITH_VERBS.items():
            report(
                what, *least(lambda table=table: lake.query(table), lambda verb=verb: lake.sql(verb)), is_budgeted=False
            )
    print(f"SHOW LAWS of {MANY_LAWS} laws{show_many():25.1f} ms (at most {LONGEST_SHOW:g})")


if __name__ == "__main__":
    bench()
