"""Whether what was imported can be fitted to, and which columns could be meant where it cannot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from isoflop.lakehouse.errors import RecordError, nearest
from isoflop.lakehouse.exchange.landing import FoundRun, Landing
from isoflop.lakehouse.exchange.naming import counted, plain_name

# Parts of a column's name that make it likely to be one of ours.
PARTS = {
    "loss": ("loss", "nll", "ppl", "perplex", "entropy", "bpb", "bits"),
    "params": ("param", "size", "model"),
    "tokens": ("token", "data", "sample"),
}


class NothingUsable(RecordError):
    """Runs of which neither a loss nor a size is known.

    Parameters
    ----------
    mapping : our name -> the column that may be meant
    """

    def __init__(self, path: Path, columns: Sequence[str], mapping: Mapping[str, str]) -> None:
        self.mapping = dict(mapping)
        typed = ",".join(f"{ours}={_typed(theirs)}" for ours, theirs in mapping.items())
        listed = ", ".join(columns[:20]) + (", …" if len(columns) > 20 else "")
        super().__init__(
            f"{path}: no column is known as loss, params or tokens, so nothing could be fitted; it has {listed}",
            hint=f"isoflop import {path} --map {typed}" if mapping else "say which are: --map loss=…,params=…,tokens=…",
        )


def _typed(name: str) -> str:
    """Return a column's name as it is typed behind --map."""
    return name if name.replace("_", "a").isalnum() else f'"{name}"'


def check_usable(landing: Landing, path: Path, columns: Sequence[str], mapping: Mapping[str, str]) -> None:
    """Refuse an import of which nothing is known that laws are fitted to, unless the user has mapped columns.

    Raises
    ------
    NothingUsable : with the nearest columns, and the option to type
    """
    is_long = "metric" in columns and "value" in columns  # whose metrics have the names that users gave them
    if mapping or not landing.runs or (is_long and len(landing.points)):
        return
    metrics = {landing.points.metrics[code] for code in set(landing.points.metric.tolist())}
    if metrics & {"loss", "validation_loss"}:
        return
    for run in landing.runs:
        measured = (run.measured.get("loss"), run.measured.get("validation_loss"))
        if any(value is not None for value in (*measured, run.record.params, run.record.tokens)):
            return
    raise NothingUsable(path, columns, likely(columns))


def without_loss(landing: Landing, columns: Sequence[str]) -> list[str]:
    """Return a note where no run has a loss and a column may be it."""
    if any(run.measured.get(name) is not None for run in landing.runs for name in ("loss", "validation_loss")):
        if any(run.measured.get("loss") is not None for run in landing.runs):
            return []
        return ["no column is loss; fit validation_loss, or name it with --map loss=COLUMN"]
    near = likely([name for name in columns if name not in ("params", "tokens", "flops")]).get("loss")
    return [f"no run has a loss{'' if near is None else f'; --map loss={_typed(near)} takes {near!r}'}"]


def likely(columns: Sequence[str]) -> dict[str, str]:
    """Return, for each of loss, params and tokens, the column that may be it.

    Example
    -------
    >>> likely(["final_loss_nats", "model_params_M", "wandb_id"])
    {'loss': 'final_loss_nats', 'params': 'model_params_M'}
    """
    found: dict[str, str] = {}
    for ours, parts in PARTS.items():
        left = [name for name in columns if name not in found.values()]
        holds = [name for part in parts for name in left if part in name.lower()]
        near = nearest(ours, [plain_name(name) for name in left])
        by_plain = {plain_name(name): name for name in left}
        best = holds[0] if holds else by_plain.get(near or "")
        if best is not None:
            found[ours] = best
    return found


def with_flops(landing: Landing) -> Landing:
    """Return the landing with 6 * params * tokens as FLOPs where no run says any, and a note."""
    if any(run.record.flops is not None for run in landing.runs):
        return landing
    runs: list[FoundRun] = []
    count = 0
    for run in landing.runs:
        record = run.record
        is_given = run.origin is not None and run.origin.is_given  # such as an export, which comes back as it left
        if record.flops is None and record.params and record.tokens and not is_given:
            count += 1
            run = replace(run, record=replace(record, flops=6.0 * record.params * record.tokens))
        runs.append(run)
    notes = (f"flops is 6 * params * tokens in {counted(count, 'run')}; --map flops=… says otherwise",) if count else ()
    return replace(landing, runs=tuple(runs), notes=(*landing.notes, *notes))
