"""isoflop beside MLflow (SQLite), TensorBoard event files and plain DuckDB, in one run.

Prints for each: a call that logs five metrics of a step (median), points per CPU second from that call to
a closed store, bytes a point, and the CPU time of four questions (best of three): final loss and params of
the wide web runs, one curve, mean loss in buckets of 50 steps over all runs, best run of each dataset.
Peers that would take many minutes are given fewer runs, and the table says of how many points their
figures are. `make bench` installs the peers (extra `bench`); one that is missing is said to be.
"""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import os
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from isoflop.lakehouse import Lakehouse, RunRecord, Spool
from tests.bench.tracked_runs import METRICS, POINTS, STEPS, TrackedRun, tracked_runs

QUESTIONS = ("finals", "curve", "mean", "best")
REPEATS = 3


@dataclass
class Figures:
    """What was measured of one store."""

    name: str
    points: int = 0
    call: float = 0.0  # of logging one step [s]
    cpu: float = 0.0  # of logging everything [s]
    size: int = 0  # on disk [bytes]
    asked: dict[str, float] = field(default_factory=dict)  # question -> CPU time [s]
    answers: dict[str, Any] = field(default_factory=dict)

    def line(self) -> str:
        """Return a row of the table."""
        asked = "".join(f"{1e3 * self.asked[question]:>12,.1f}" for question in QUESTIONS)
        return (
            f"{self.name:34s}{self.points:>10,}{1e6 * self.call:>12,.1f}{self.points / self.cpu:>14,.0f}"
            f"{self.size / self.points:>13.1f}{asked}"
        )


HEADER = (
    f"{'':34s}{'points':>10s}{'log() [µs]':>12s}{'points/CPU s':>14s}{'bytes/point':>13s}"
    + "".join(f"{question:>12s}" for question in QUESTIONS)
    + "   [CPU ms]"
)


class Calls:
    """Times calls; what the clock itself costs is in it."""

    def __init__(self) -> None:
        self.durations: list[float] = []

    def timed(self, call: Callable[..., object], *given: Any, **named: Any) -> None:
        """Make a call and note how long it took."""
        before = time.perf_counter()
        call(*given, **named)
        self.durations.append(time.perf_counter() - before)

    def median(self) -> float:
        """Return the median duration [s]."""
        return statistics.median(self.durations)


def ask(figures: Figures, questions: dict[str, Callable[[], Any]]) -> None:
    """Note the CPU time of each question and its answer."""
    for name, question in questions.items():
        took = []
        for _ in range(REPEATS):
            before = time.process_time()
            figures.answers[name] = question()
            took.append(time.process_time() - before)
        figures.asked[name] = min(took)


def size_of(folder: Path) -> int:
    """Return the bytes of all files in a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def isoflop(folder: Path, runs: Sequence[TrackedRun]) -> list[Figures]:
    """Log through a spool; ask for the views. A second line after `isoflop lake compact`."""
    figures = Figures("isoflop", len(runs) * POINTS)
    path, calls = folder / "runs.duckdb", Calls()
    with Spool(folder / "timed", "timed", 1) as spool:
        for step, (seconds, metrics) in enumerate(runs[0].steps):
            calls.timed(spool.log, step, seconds, **metrics)
    figures.call = calls.median()
    began = time.process_time()
    with Lakehouse(path) as lake:
        records = [
            RunRecord(
                family="bench", config={"width": run.width, "dataset": run.dataset, "number": run.number},
                params=run.params, steps=STEPS,
            )
            for run in runs
        ]  # fmt: skip
        lake.record_runs(records)
        for record, run in zip(records, runs, strict=True):
            with Spool(lake.spool_folder, record.run_id, 1) as spool:
                for step, (seconds, metrics) in enumerate(run.steps):
                    spool.log(step, seconds, **metrics)
                spool.ended("finished", loss=run.values["loss"][-1])
        lake.drain()
    figures.cpu = time.process_time() - began
    found = [figures, Figures("isoflop, compacted", figures.points, figures.call, figures.cpu)]
    for one in found:
        with Lakehouse(path) as lake:
            if one is not figures:
                lake.compact()
            one.size = path.stat().st_size

            def rows(statement: str, *parameters: Any, lake: Lakehouse = lake) -> list[tuple[Any, ...]]:
                return [tuple(row.values()) for row in lake.query(statement, parameters or None).to_pylist()]

            ask(
                one,
                {
                    "finals": lambda rows=rows: rows(
                        "SELECT run_id, loss, params FROM runs WHERE dataset = 'web' AND width >= 128 ORDER BY loss"
                    ),
                    "curve": lambda rows=rows: rows(
                        "SELECT step, loss FROM curves WHERE run_id = ? ORDER BY step", records[7].run_id
                    ),
                    "mean": lambda rows=rows: rows("SELECT step // 50, avg(loss) FROM curves GROUP BY 1 ORDER BY 1"),
                    "best": lambda rows=rows: rows(
                        "SELECT r.dataset, min(f.best) FROM runs r JOIN finals f USING (run_id) "
                        "WHERE f.metric = 'val_loss' GROUP BY ALL ORDER BY 1"
                    ),
                },
            )
    return found


def plain_duckdb(folder: Path, runs: Sequence[TrackedRun]) -> list[Figures]:
    """Keep a buffer in Python, insert it as Arrow after each run: what one would write in an afternoon."""
    import duckdb
    import pyarrow as pa

    figures, calls, began = (
        Figures("plain DuckDB, a buffer in Python", len(runs) * POINTS),
        Calls(),
        time.process_time(),
    )
    con = duckdb.connect(str(folder / "plain.duckdb"))
    con.execute("CREATE TABLE runs (run BIGINT, width BIGINT, dataset VARCHAR, params DOUBLE)")
    con.execute("CREATE TABLE metrics (run BIGINT, metric VARCHAR, step BIGINT, value DOUBLE, seconds DOUBLE)")
    for run in runs:
        con.execute("INSERT INTO runs VALUES (?, ?, ?, ?)", [run.number, run.width, run.dataset, run.params])
        buffer: list[tuple[int, float, dict[str, float]]] = []
        for step, (seconds, metrics) in enumerate(run.steps):
            if run is runs[0]:
                calls.timed(buffer.append, (step, seconds, metrics))
            else:
                buffer.append((step, seconds, metrics))
        rows = [(name, step, value, at) for step, at, found in buffer for name, value in found.items()]
        columns = [pa.array(column) for column in zip(*rows, strict=True)]
        points = pa.table(dict(zip(("metric", "step", "value", "seconds"), columns, strict=True)))
        con.register("_points", points)
        con.execute(
            "INSERT INTO metrics SELECT ?, metric, step, value, seconds FROM _points ORDER BY metric, step",
            [run.number],
        )
    con.close()
    figures.call, figures.cpu, figures.size = calls.median(), time.process_time() - began, size_of(folder)
    with contextlib.closing(duckdb.connect(str(folder / "plain.duckdb"))) as con:
        finals = (
            "SELECT run, arg_max(value, step) AS loss, any_value(params) FROM metrics JOIN runs USING (run) "
            "WHERE metric = 'loss' AND dataset = 'web' AND width >= 128 GROUP BY run ORDER BY loss"
        )
        curve = "SELECT step, value FROM metrics WHERE run = 7 AND metric = 'loss' ORDER BY step"
        mean = "SELECT step // 50, avg(value) FROM metrics WHERE metric = 'loss' GROUP BY 1 ORDER BY 1"
        best = (
            "SELECT dataset, min(value) FROM metrics JOIN runs USING (run) "
            "WHERE metric = 'val_loss' GROUP BY 1 ORDER BY 1"
        )
        statements = dict(zip(QUESTIONS, (finals, curve, mean, best), strict=True))
        ask(figures, {name: lambda text=text: con.execute(text).fetchall() for name, text in statements.items()})
    return [figures]


def tensorboard(folder: Path, runs: Sequence[TrackedRun]) -> list[Figures]:
    """Write event files with torch's writer; read them as TensorBoard does. Params ride in the folder's name."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from torch.utils.tensorboard import SummaryWriter

    figures, calls, began = Figures("TensorBoard event files", len(runs) * POINTS), Calls(), time.process_time()
    folders = {run.number: folder / f"{run.number}-{run.dataset}-{run.width}-{run.params:.0f}" for run in runs}
    for run in runs:
        writer = SummaryWriter(str(folders[run.number]))

        def log(step: int, metrics: dict[str, float], writer: Any = writer) -> None:
            for name, value in metrics.items():
                writer.add_scalar(name, value, step)

        for step, (_, metrics) in enumerate(run.steps):
            if run is runs[0]:
                calls.timed(log, step, metrics)
            else:
                log(step, metrics)
        writer.close()
    figures.call, figures.cpu, figures.size = calls.median(), time.process_time() - began, size_of(folder)

    def scalars(run: TrackedRun, metric: str) -> list[tuple[int, float]]:
        reader = EventAccumulator(str(folders[run.number]), size_guidance={"scalars": 0})
        reader.Reload()
        return [(event.step, event.value) for event in reader.Scalars(metric)]

    ask(figures, by_hand(runs, scalars))
    return [figures]


def mlflow(folder: Path, runs: Sequence[TrackedRun]) -> list[Figures]:
    """Log with the client into SQLite, a step a call in the first run and a run's 1,000 points a call in the others."""
    os.environ.update(MLFLOW_DISABLE_TELEMETRY="true", DO_NOT_TRACK="true")
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Param

    logging.getLogger("mlflow").setLevel(logging.ERROR)
    logging.getLogger("alembic").setLevel(logging.ERROR)
    client = MlflowClient(f"sqlite:///{folder}/mlflow.db")
    experiment = client.create_experiment("bench")
    figures, calls, began = Figures("MLflow, SQLite", len(runs) * POINTS), Calls(), time.process_time()
    ids = {}
    for run in runs:
        ids[run.number] = run_id = client.create_run(experiment).info.run_id
        settings = {"width": run.width, "dataset": run.dataset, "params": run.params}
        client.log_batch(run_id, params=[Param(name, str(value)) for name, value in settings.items()])
        points = [
            Metric(name, value, int(at * 1e3), step)
            for step, (at, metrics) in enumerate(run.steps)
            for name, value in metrics.items()
        ]
        alone = 100 * len(METRICS) if run is runs[0] else 0
        for start in range(0, alone, len(METRICS)):
            calls.timed(client.log_batch, run_id, metrics=points[start : start + len(METRICS)])
        for start in range(alone, len(points), 1_000):
            client.log_batch(run_id, metrics=points[start : start + 1_000])
    figures.call, figures.cpu, figures.size = calls.median(), time.process_time() - began, size_of(folder)

    def history(run: TrackedRun, metric: str) -> list[tuple[int, float]]:
        return [(point.step, point.value) for point in client.get_metric_history(ids[run.number], metric)]

    def finals() -> list[Any]:
        # Params are text here: only equality can be asked of the store.
        found = client.search_runs([experiment], "params.dataset = 'web'", max_results=50_000)
        wide = [run for run in found if int(run.data.params["width"]) >= 128]
        return sorted((run.data.metrics["loss"], float(run.data.params["params"])) for run in wide)

    ask(figures, {**by_hand(runs, history), "finals": finals})
    return [figures]


def by_hand(
    runs: Sequence[TrackedRun], curve: Callable[[TrackedRun, str], list[tuple[int, float]]]
) -> dict[str, Callable[[], Any]]:
    """Return the questions as a loop over curves: what is left where a store cannot be asked them."""

    def finals() -> list[Any]:
        chosen = [run for run in runs if run.dataset == "web" and run.width >= 128]
        return sorted((curve(run, "loss")[-1][1], run.params) for run in chosen)

    def mean() -> list[Any]:
        sums: dict[int, list[float]] = defaultdict(lambda: [0.0, 0.0])
        for run in runs:
            for step, value in curve(run, "loss"):
                sums[step // 50][0] += value
                sums[step // 50][1] += 1
        return [(bucket, total / count) for bucket, (total, count) in sorted(sums.items())]

    def best() -> list[Any]:
        lowest: dict[str, float] = {}
        for run in runs:
            value = min(value for _, value in curve(run, "val_loss"))
            lowest[run.dataset] = min(value, lowest.get(run.dataset, value))
        return sorted(lowest.items())

    return {"finals": finals, "curve": lambda: curve(runs[7], "loss"), "mean": mean, "best": best}


def same(one: Any, other: Any) -> bool:
    """Return whether two answers hold the same numbers, to single precision."""
    return len(one) == len(other) and all(
        abs(float(a[-1]) - float(b[-1])) <= 1e-5 * abs(float(b[-1])) for a, b in zip(one, other, strict=True)
    )


PEERS = (  # what keeps the points, the packages it needs, how many runs it is given
    (isoflop, (), 200),
    (plain_duckdb, (), 200),
    (tensorboard, ("tensorboard",), 20),
    (mlflow, ("mlflow", "sqlalchemy", "alembic"), 20),
)


def bench() -> None:
    """Print the table."""
    everything = tracked_runs(200)
    print(HEADER)
    expected: dict[tuple[int, str], Any] = {}
    for peer, packages, count in PEERS:
        missing = [name for name in packages if importlib.util.find_spec(name) is None]
        if missing:
            print(f"{peer.__name__:34s} not installed: {', '.join(missing)} (pip install -e '.[exchange-test]')")
            continue
        with tempfile.TemporaryDirectory() as folder:
            for figures in peer(Path(folder), everything[:count]):
                print(figures.line(), flush=True)
                for question in ("curve", "mean", "best"):
                    answer = expected.setdefault((count, question), figures.answers[question])
                    if not same(figures.answers[question], answer):
                        print(f"  its answer to '{question}' differs from that of the first")


if __name__ == "__main__":
    bench()
