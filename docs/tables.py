"""Makes docs/tables.md from the schema: the columns of each table, with type and unit as an empty lake has them."""

from __future__ import annotations

import duckdb

from isoflop.lakehouse.schema import migrate
from isoflop.lakehouse.schema.views import VIEWS
from isoflop.lakehouse.units import UNITS

HEAD = """# Tables

What a lake holds, as SQL, `isoflop sql` and any DuckDB client see it. What was not measured is NULL, never zero; times
are UTC. A type is DuckDB's, a unit in brackets.

This page is written by `python docs/build.py` from the schema.
"""
TABLES = {
    "runs": (
        "A run at its newest attempt; `run_id` is the key. Every setting of a config that is a number, a text or a "
        "boolean is a further column, also of names that are not here; nested ones are in `config`."
    ),
    "curves": "A point of a loss curve, later attempts in the place of earlier ones, with the columns of its run.",
    "metric_curves": "A point of the curve of any metric, later attempts in the place of earlier ones.",
    "metrics": "A value of any metric, of every attempt.",
    "finals": "The last and the best value of a metric in an attempt.",
    "attempts": "An attempt to train a run.",
    "logs": "A line that an attempt said.",
    "timings": "A timed phase of an attempt: quantiles over its repetitions.",
    "sweeps": "Runs that were planned together, and how many of them are where.",
    "predictions": "What a theory says of a run at a step.",
    "calibrations": "What a machine was measured to do by `isoflop calibrate`, by quantity, dtype and size.",
    "laws": "A version of a saved law; `name, version` is the key.",
    "forecasts": "A prediction that was kept before its run existed, and the run that answered it.",
}
COMMON = {
    "run_id": "identity of the run: a hash of family, config and seed; of imported runs that of their file",
    "attempt": "the how-manieth attempt at the run, from 1",
    "step": "what the curve counts: an optimizer step unless the family says otherwise",
    "metric": "name of what was logged",
    "seconds": "since the attempt started [s]",
    "code_version": "of the isoflop that wrote the row",
    "status": "`queued`, `running`, `finished`, `failed`, or `lost` when it has not spoken for ten minutes",
    "reason": "why it failed: `crash`, `diverged`, `interrupted`, …",
    "host": "the machine",
    "device": "the accelerator or processor",
    "hardware": "what is known of the machine",
    "started_at": "when the attempt began",
    "heartbeat_at": "when it last spoke",
    "finished_at": "when it ended",
    "loss": "the last training loss [nat/token for language models]",
    "validation_loss": "the last loss on held-out data, in the same unit",
    "irreducible_loss": "the entropy of the data, where it is known, in the same unit",
    "corpus_hash": "checksum of the training data",
    "step_seconds": "median time of a step [s]",
    "step_seconds_min": "time of the fastest step [s]",
    "contention": "share of the steps' wall time in which the training thread had no processor; NULL where its clock "
    "is not CPU time [1]",
    "host_load": "processors that other work kept busy meanwhile, on average; NULL where the system does not say [1]",
    "train_seconds": "time that was trained [s]",
    "compile_seconds": "time before the first step [s]",
    "peak_memory_bytes": "most memory of the device [byte]",
    "results": "further final values, by name",
    "error": "the exception in one line",
    "traceback": "where it was raised",
    "name": "as it was given; need not be unique",
    "family": "the kind of training",
    "source": "who wrote it: `worker`, `log`, or `import:…`",
    "seed": "of everything that is drawn",
    "tags": "words that were put on it",
    "config": "every setting, nested ones among them",
    "sweep_id": "the newest sweep that has the run",
    "params": "weights of the network [count]",
    "params_non_embedding": "the same without embeddings [count]",
    "tokens": "seen in the whole run, repeated ones each time [count]",
    "steps": "optimizer steps of the whole run [count]",
    "flops": "of the whole run [FLOP]",
    "memcpy_bytes": "moved by the whole run [byte]",
    "last_step": "the last step with a loss",
    "submitted_at": "when the run was first known",
    "point_attempt": "the attempt that logged the point",
    "level": "share that the interval is to cover [1]",
    "version": "counted from 1",
}
OWN = {
    "runs": {
        "width": "of a layer", "depth": "layers", "heads": "attention heads", "vocabulary": "tokens there are",
        "sequence_length": "of one sequence [tokens]", "batch_tokens": "of one step [tokens]",
        "learning_rate": "peak of the schedule", "parametrization": "how widths are scaled",
        "precision": "of the arithmetic",
        "unique_tokens": "different tokens that the run trains on [count]",
        "epochs": "how often it sees each, on average [1]",
        "corpus": "what was trained on", "attempt": "the newest one",
    },
    "curves": {
        "tokens": "up to this step; those logged, else in proportion to the steps [count]",
        "flops": "up to this step, likewise [FLOP]", "loss": "at this step [nat/token for language models]",
        "attempt": "the newest attempt of the run", "seconds": "since that attempt started [s]",
    },
    "metrics": {"value": "as it was logged; may be NaN or infinite"},
    "metric_curves": {"value": "as it was logged; may be NaN or infinite"},
    "finals": {
        "last": "value at the largest step", "last_step": "that step", "best": "the highest or lowest value, by what "
        "the metric's name or `isoflop lake metric` says is better", "best_step": "the step of it",
        "count": "values that were logged [count]",
    },
    "attempts": {
        "driver": "the process that began it", "resumed_step": "the step after which it went on; NULL for a fresh one",
        "loss": "the last training loss it reported [nat/token for language models]",
    },
    "logs": {"logged_at": "when", "level": "`info`, `warning`, `error`", "message": "the line"},
    "timings": {
        "phase": "what was timed", "count": "repetitions [count]", "p10": "a tenth took less [s]",
        "p50": "the median [s]", "p90": "nine tenths took less [s]", "total": "of all [s]", "lowest": "the fastest [s]",
    },
    "sweeps": {
        "created_at": "when it was planned", "runs": "runs it has [count]", "queued": "not begun yet [count]",
        "running": "[count]", "finished": "[count]", "failed": "[count]", "lost": "[count]",
        "spec": "the sweep file", "sweep_id": "identity of the sweep",
    },
    "predictions": {
        "theory": "its name", "version": "of the theory; it changes whenever its predictions do",
        "value": "expected value, in the metric's unit", "deviation": "standard deviation of one run about it",
    },
    "calibrations": {
        "threads": "of the processor that computed, or that kept a GPU busy", "measured_at": "when, in all rows of one",
        "quantity": "`copy`: an array copied; `matrix`: a product of square matrices; `launch`: a smallest kernel; "
        "`step`: an update of a small decoder", "dtype": "of the numbers; of a step its precision",
        "size": "copy: bytes; matrix: rows; launch: numbers; step: weights",
        "value": "of the fastest repetition, in `unit`", "typical": "of the median one, in `unit`",
        "unit": "byte/s (read and written), FLOP/s, or s", "repeats": "repetitions that were timed [count]",
        "flops": "of a step [FLOP]", "memcpy_bytes": "moved by a step [byte]", "depth": "layers of a step",
    },
    "laws": {
        "name": "of the law; upper and lower case are one", "form": "the built-in law, or the formula as typed",
        "formula": "over the inputs and coefficients", "target": "what it predicts",
        "inputs": "the columns it is a function of", "statement": "the statement that made it",
        "source": "the rows it was fitted to, as SQL", "options": "how it was fitted",
        "seed": "of starts and resamples",
        "comment": "COMMENT ON LAW", "coefficients": "each with estimate, standard error, interval [unit of the law]",
        "residual_scale": "scatter of a run about the law: of logarithms, or in the target's unit where `diagnosis` "
        "names one", "support": "smallest and largest value of each input among the rows [unit of the input]",
        "objective": "what the fit minimized, at its minimum", "rows": "that were fitted to [count]",
        "dropped": "that could not be used [count]", "data_hash": "checksum of the rows",
        "status": "`converged`, or why the coefficients are not to be used; `given` for those that were said",
        "notes": "what is to be known of the fit, `code: sentence` each",
        "diagnosis": "unit of the scatter, widening, …",
        "created_at": "when it was saved",
        "stale": "whether the rows had changed at the last look; NULL for unknown and for earlier versions",
    },
    "forecasts": {
        "forecast_id": "hash of what it says", "law": "the law that said it", "version": "of that law",
        "inputs": "the point, by input", "predicted": "[unit of the law's target]", 
        "lower": "lower end of the interval, likewise",
        "upper": "upper end, likewise", "made_at": "when it was kept",
        "run_id": "the run that answered it; NULL before",
        "observed": "what that run measured, likewise", "tolerance": "relative distance up to which a run is meant [1]",
        "inside": "whether the interval held the run", "error": "log of observed over predicted [1]",
        "coverage": "share of the law's scored intervals of this level that held theirs [1]",
    },
}  # fmt: skip


def described(table: str, column: str) -> str:
    """Return what a column means.

    Raises
    ------
    KeyError : for a column that this page does not know yet
    """
    words = OWN.get(table, {}).get(column) or COMMON.get(column) or OWN["runs"].get(column)
    if words is None:
        raise KeyError(f"docs/tables.py does not say what {table}.{column} is")
    unit = UNITS.get(column)
    return words if unit is None or "[" in words else f"{words} [{unit}]"


def section(table: str, columns: list[tuple[str, str]]) -> str:
    """Return the part of the page on one table."""
    if table == "curves":  # its last columns are those of runs
        known = {"run_id", "step", "tokens", "flops", "seconds", "loss", "point_attempt"}
        columns = [(name, kind) for name, kind in columns if name in known]
    rows = [f"| `{name}` | {kind} | {described(table, name)} |" for name, kind in columns]
    return "\n".join(
        [f"## `{table}`", "", TABLES[table], "", "| column | type | what it is |", "| --- | --- | --- |", *rows]
    )


def page() -> str:
    """Return docs/tables.md."""
    with duckdb.connect() as con:
        migrate(con)
        found = con.execute(
            "SELECT table_name, column_name, data_type FROM duckdb_columns() "
            "WHERE schema_name = 'main' AND database_name = current_database() AND NOT internal ORDER BY column_index"
        ).fetchall()
    columns: dict[str, list[tuple[str, str]]] = {}
    for table, column, kind in found:
        columns.setdefault(table, []).append((column, kind))
    if missing := (set(columns) | VIEWS) - set(TABLES):
        raise KeyError(f"docs/tables.py does not say what {sorted(missing)} are")
    return "\n\n".join([HEAD.strip(), *(section(table, columns[table]) for table in TABLES)]) + "\n"
