"""Whether what was imported can be fitted to, and which columns could be meant where it cannot."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from isoflop.lakehouse.errors import RecordError, nearest
from isoflop.lakehouse.exchange.headings import AS_IT_IS, RATIO, Of, read_heading
from isoflop.lakehouse.exchange.landing import FoundRun, Landing
from isoflop.lakehouse.exchange.naming import counted, plain_name
from isoflop.lakehouse.exchange.values import NOUNS
from isoflop.lakehouse.models.counts import COUNTS
from isoflop.lakehouse.sql.quoting import quoted
from isoflop.lakehouse.units import read_size

# Parts of a column's name that make it likely to be one of ours.
PARTS = {
    "loss": ("loss", "nll", "ppl", "perplex", "entropy", "bpb", "bits", "objective", "value"),
    "params": ("param", "weights", "size", "model"),
    "tokens": ("token", "data", "sample"),
}
# Words of columns that say a size, and of those whose size is not the model's.
SIZES = frozenset(("param", "params", "parameter", "parameters", "size", "sizes", "weights", "nparams"))
OTHER_SIZES = frozenset(
    ("batch", "vocab", "vocabulary", "hidden", "context", "ctx", "block", "sequence", "seq", "step", "window", "data",
     "dataset", "corpus", "file", "head", "patch", "image", "population", "world", "group", "sample")
)  # fmt: skip


class NothingUsable(RecordError):
    """Runs of which neither a loss nor a size is known.

    Parameters
    ----------
    mapping : our name -> the column that may be meant
    """

    def __init__(self, path: Path, columns: Sequence[str], mapping: Mapping[str, str]) -> None:
        self.mapping = dict(mapping)
        listed = ", ".join(columns[:20]) + (", …" if len(columns) > 20 else "")
        super().__init__(
            f"{path}: no column is known as loss, params or tokens, so nothing could be fitted; it has {listed}",
            hint="; ".join(
                (
                    *in_bytes(columns),
                    command(path, mapping) if mapping else "say which are: --map loss=…,params=…,tokens=…",
                )
            ),
        )


def command(path: Path, mapping: Mapping[str, str]) -> str:
    """Return the import of a path with this mapping as it is typed into a shell.

    Example
    -------
    >>> command(Path("my runs.csv"), {"loss": "bpb * ln(2)", "params": "N"})
    "isoflop import 'my runs.csv' --map 'loss=bpb * ln(2),params=N'"
    """
    pairs = ",".join(f"{ours}={theirs}" for ours, theirs in mapping.items())
    return f"isoflop import {shlex.quote(str(path))} --map {shlex.quote(pairs)}"


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
    raise NothingUsable(path, columns, likely(_of_numbers(landing, columns)))


def without_loss(landing: Landing, path: Path, columns: Sequence[str]) -> list[str]:
    """Return a note where no run has a loss and a column may be it."""
    if any(run.measured.get(name) is not None for run in landing.runs for name in ("loss", "validation_loss")):
        if any(run.measured.get("loss") is not None for run in landing.runs):
            return []
        return ["no column is loss; fit validation_loss, or name it with --map loss=COLUMN"]
    near = likely([name for name in columns if name not in ("params", "tokens", "flops")], ("loss",)).get("loss")
    return [f"no run has a loss{'' if near is None else f'; perhaps: {command(path, dict(loss=near))}'}"]


def without_sizes(landing: Landing, path: Path, columns: Sequence[str]) -> list[str]:
    """Return a note where no run says its params, or its tokens, and a column may be them."""
    if not any(run.measured.get(name) is not None for run in landing.runs for name in ("loss", "validation_loss")):
        return []
    missing = [name for name in ("params", "tokens") if all(getattr(run.record, name) is None for run in landing.runs)]
    near = {
        ours: theirs
        for ours, theirs in likely(_of_numbers(landing, columns), missing).items()
        if ours in plain_name(theirs) or (ours == "params" and SIZES & set(re.findall(r"[a-z]+", theirs.lower())))
    }
    what = f"no run has {' or '.join(missing)}"
    if near:
        return [f"{what}; perhaps: {command(path, near)}"]
    return [f"{what}; {said}" for said in in_bytes(columns)] if "params" in missing else []


def in_bytes(columns: Sequence[str]) -> list[str]:
    """Return a sentence on a column that says how many bytes a model has, of which its params are not known.

    Example
    -------
    >>> in_bytes(["model size (MB)", "memory (GB)"])
    ["'model size (MB)' is in bytes, which are no params: --map params=… divides it by the bytes of each"]
    """
    found = [name for name in columns if any(part in name.lower() for part in PARTS["params"]) and _is_in_bytes(name)]
    return [
        f"'{name}' is in bytes, which are no params: --map params=… divides it by the bytes of each" for name in found
    ]


def _is_in_bytes(column: str) -> bool:
    heading = read_heading(column)
    return heading is not None and heading.of is Of.BYTES


def _of_numbers(landing: Landing, columns: Sequence[str]) -> list[str]:
    """Return the columns without those that are settings of text which says no number."""
    text = {
        name
        for run in landing.runs
        for name, value in run.record.extra.items()
        if isinstance(value, str)
        and read_size(re.sub(rf"\s*({NOUNS})$", "", value.replace(",", ""), flags=re.I)) is None
    }
    return [name for name in columns if name not in text]


def likely(columns: Sequence[str], wanted: Sequence[str] = tuple(PARTS)) -> dict[str, str]:
    """Return, for each of loss, params and tokens, the column that may be it, in our unit where its name has another.

    Example
    -------
    >>> likely(["log10(loss)", "params_b"])
    {'loss': '10 ** "log10(loss)"', 'params': 'params_b * 1e9'}
    >>> likely(["final_loss_nats", "weights_M", "wandb_id"])
    {'loss': 'final_loss_nats', 'params': 'weights_M * 1e6'}
    >>> likely(["val_bpb", "seen tokens"])
    {'loss': 'val_bpb * ln(2)', 'tokens': 'seen tokens'}
    """
    found: dict[str, str] = {}
    taken: set[str] = set()
    for ours in wanted:
        left = [name for name in columns if name not in taken and _can_be(ours, name)]
        ratio = next((name for name in columns if RATIO.fullmatch(plain_name(name))), None)
        if ours == "tokens" and ratio is not None and "params" in found:
            found[ours] = f"{_cell(ratio)} * params"
            continue
        holds = [name for part in PARTS[ours] for name in left if part in name.lower()]
        near = nearest(ours, [plain_name(name) for name in left])
        by_plain = {plain_name(name): name for name in left}
        best = holds[0] if holds else by_plain.get(near or "")
        if best is not None:
            taken.add(best)
            found[ours] = _in_our_unit(ours, best)
    return found


def _can_be(ours: str, column: str) -> bool:
    """Return whether a column's name leaves it open that it is ours: no ratio, no bytes, no logarithm of any base."""
    heading = read_heading(column)
    words = set(re.findall(r"[a-z]+", column.lower()))
    if RATIO.fullmatch(plain_name(column)) or (ours == "params" and OTHER_SIZES & words):
        return False
    return heading is None or heading.can_be(ours) or (heading.of is Of.COUNT and ours not in COUNTS)


def _cell(column: str) -> str:
    return column if column.replace("_", "a").isalnum() and not column[0].isdigit() else quoted(column)


def _in_our_unit(ours: str, column: str) -> str:
    """Return what --map makes of a column: a loss in bits becomes one in nats, millions become ones."""
    cell, lower = _cell(column), column.lower()
    heading = read_heading(column)
    if heading is None and ours in COUNTS:  # `params_b`, which is not taken for it unasked
        heading = read_heading(re.sub(r"_([kmbt])$", lambda found: found[0].upper(), column))
    if heading is not None and heading.can_be(ours) and heading.made != AS_IT_IS:
        return heading.made.format(cell)
    if ours == "loss":
        if re.search(r"bpb|bpc|bits", lower):
            return f"{cell} * ln(2)"
        if re.search(r"ppl|perplex", lower):
            return f"ln({cell})"
    return column if re.fullmatch(r"[\w ./()-]+", column) else cell


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
