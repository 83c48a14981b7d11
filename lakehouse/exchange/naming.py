"""From other stores' words to ours: settings that are text, nested settings, and what users call a loss.

`loss`, `validation_loss`, `tokens` and `flops` are what laws are fitted to, so the names under which
trainers usually log them are known here. A name is taken only in runs that have nothing under ours,
and an import says which it took; `--map` decides otherwise.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from isoflop.lakehouse.exchange.landing import FoundRun, Landing
from isoflop.lakehouse.models.counts import COUNTS
from isoflop.lakehouse.runs.records import RunRecord
from isoflop.lakehouse.schema.views import RESERVED

INTEGER = re.compile(r"[+-]?(0|[1-9][0-9]{0,17})")
FLOAT = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?|[+-]?(inf|infinity)|nan", re.IGNORECASE)
WORDS: dict[str, bool | None] = {"true": True, "false": False, "none": None, "null": None, "": None}

# Ours -> what others call it, compared in lower case with '.', '_', '-' and ' ' read as '/'.
METRIC_NAMES = {
    "loss": (
        "train/loss",
        "training/loss",
        "loss/train",
        "loss/training",
        "train/loss/step",
        "train/epoch/loss",
        "epoch/loss",
        "train/crossentropyloss",
        "train/cross/entropy/loss",
        "train/ce/loss",
        "train/lm/loss",
    ),
    "validation_loss": (
        "validation/loss",
        "val/loss",
        "valid/loss",
        "eval/loss",
        "loss/val",
        "loss/valid",
        "loss/validation",
        "loss/eval",
        "validation/epoch/loss",
        "val/epoch/loss",
        "lm/loss/validation",
    ),
    "tokens": (
        "num/tokens",
        "tokens/seen",
        "seen/tokens",
        "tokens/so/far",
        "tokens/processed",
        "processed/tokens",
        "consumed/tokens",
        "tokens/consumed",
        "train/tokens",
        "num/input/tokens/seen",
        "train/num/input/tokens/seen",
    ),
    "flops": ("total/flos", "total/flops", "train/total/flos", "train/flops"),
}
SETTING_NAMES = {
    "params": ("num/params", "n/params", "num/parameters", "n/parameters", "total/params", "model/num/parameters"),
    "learning_rate": (
        "lr",
        "optimizer/lr",
        "optimizer/learning/rate",
        "max/lr",
        "peak/lr",
        "base/lr",
        "peak/learning/rate",
        "max/learning/rate",
    ),
    "width": ("hidden/size", "d/model", "n/embd", "model/width"),
    "depth": ("num/hidden/layers", "n/layer", "n/layers", "num/layers", "model/depth"),
    "heads": ("num/attention/heads", "n/head", "n/heads", "num/heads"),
    "vocabulary": ("vocab/size",),
    "sequence_length": ("seq/len", "seq/length", "max/seq/len", "block/size", "context/length"),
}
# The same for columns of tables, where one under our own name comes first. A perplexity becomes a loss, its logarithm.
TABLE_NAMES = {
    "params": (
        *SETTING_NAMES["params"], "parameters", "parameter", "n", "model/size", "model/params", "parameter/count",
    ),
    "tokens": (
        "total/tokens", "train/tokens", "training/tokens", "n/tokens", "d", "d/tokens", *METRIC_NAMES["tokens"],
    ),
    "flops": (
        "compute", "c", "flop", "training/flops", "training/flop", "total/flop", "train/flop", "training/compute",
        "compute/(flop)", "compute/(flops)", "training/compute/(flop)", "training/compute/(flops)",
        *METRIC_NAMES["flops"],
    ),
    "loss": (
        "final/loss", "final/train/loss", "lm/loss", "nll", "cross/entropy", "ce/loss", "losses",
        *METRIC_NAMES["loss"], "l",
    ),
    "validation_loss": (
        *METRIC_NAMES["validation_loss"], "test/loss", "dev/loss", "loss/test", "final/val/loss",
        "final/validation/loss", "final/eval/loss", "final/test/loss",
    ),
    "perplexity": ("perplexity", "ppl", "final/perplexity", "final/ppl", "train/ppl", "train/perplexity"),
    "step": ("/step", "global/step", "trainer/global/step", "train/global/step"),
    "seconds": ("/runtime", "relative/time/(process)", "elapsed/seconds", "time/total/s"),
    "name": ("run/name", "run", "display/name", "experiment/name", "exp/name", "id", "run/id"),
    "status": ("state", "run/state"),
}  # fmt: skip
# How others call the ends that a run can have; a status in other words is a setting.
STATUS_WORDS = {
    **dict.fromkeys(("finished", "completed", "complete", "done", "success", "succeeded", "ok"), ("finished", None)),
    **dict.fromkeys(("failed", "failure", "crashed", "crash", "error", "errored"), ("failed", "crash")),
    **dict.fromkeys(
        ("killed", "canceled", "cancelled", "aborted", "interrupted", "stopped"), ("failed", "interrupted")
    ),
    **dict.fromkeys(("oom", "out of memory"), ("failed", "out_of_memory")),
    **dict.fromkeys(("diverged", "nan"), ("failed", "diverged")),
    **dict.fromkeys(("preempted", "preempting", "lost", "timeout", "timed out"), ("lost", None)),
    **dict.fromkeys(("running", "pending", "queued"), ("running", None)),
}


def plain_name(name: str) -> str:
    """Return a name as it is compared with the known ones.

    Example
    -------
    >>> plain_name("Train.Loss"), plain_name("num_input_tokens_seen")
    ('train/loss', 'num/input/tokens/seen')
    """
    return re.sub(r"[._\- /]+", "/", name.strip().lower())


OURS_BY_NAME = {other: ours for ours, others in METRIC_NAMES.items() for other in (plain_name(ours), *others)}


def our_metric(name: str) -> str:
    """Return what we call a metric: `eval_loss` is our `validation_loss`; unknown names stay.

    Example
    -------
    >>> our_metric("eval_loss"), our_metric("grad_norm")
    ('validation_loss', 'grad_norm')
    """
    return OURS_BY_NAME.get(plain_name(name), name)


def setting(text: str) -> bool | int | float | str | None:
    """Return what a setting written as text says: a number, a truth, nothing, or the text.

    Example
    -------
    >>> [setting(text) for text in ("64", "1e-3", "True", "None", "adam", "007")]
    [64, 0.001, True, None, 'adam', '007']
    """
    word = text.strip()
    if word.lower() in WORDS:
        return WORDS[word.lower()]
    if INTEGER.fullmatch(word):
        return int(word)
    if FLOAT.fullmatch(word) and not (word[0] == "0" and word[1:].isdigit()):
        return float(word)
    return text


def flat(nested: Mapping[str, Any], separator: str, prefix: str = "") -> dict[str, Any]:
    """Return nested settings as one level, names joined by `separator`.

    Example
    -------
    >>> flat({"optimizer": {"lr": 0.1}, "width": 64}, ".")
    {'optimizer.lr': 0.1, 'width': 64}
    """
    found: dict[str, Any] = {}
    for name, value in nested.items():
        if isinstance(value, Mapping) and value:
            found |= flat(value, separator, f"{prefix}{name}{separator}")
        else:
            found[f"{prefix}{name}"] = value
    return found


def record_of(
    run_id: str,
    settings: Mapping[str, Any],
    *,
    family: str,
    name: str | None = None,
    tags: Iterable[str] = (),
) -> RunRecord:
    """Return the record of a run found elsewhere: counts and seed by name, everything else as settings."""
    by_plain = {plain_name(other): value for other, value in settings.items() if _is_number(value)}
    rest = {key.replace('"', "'"): value for key, value in settings.items() if value is not None}
    for ours, others in SETTING_NAMES.items():
        if not _is_number(rest.get(ours)):
            taken = next((by_plain[other] for other in others if other in by_plain), None)
            if taken is not None and ours not in rest:
                rest[ours] = taken
    counts = {key: rest.pop(key) for key in COUNTS if _is_number(rest.get(key)) and math.isfinite(rest[key])}
    if "steps" in counts:
        counts["steps"] = int(counts["steps"])
    seed = rest.pop("seed") if isinstance(rest.get("seed"), int) and not isinstance(rest["seed"], bool) else 0
    extra = {
        key: value if isinstance(value, bool | int | float | str) else _plain(value) for key, value in rest.items()
    }
    return RunRecord(family=family, name=name, seed=seed, tags=tuple(tags), extra=extra, given_id=run_id, **counts)


def with_our_names(landing: Landing, decided: Collection[str] = ()) -> Landing:
    """Return the landing with the usual names of a loss and its axes taken as ours, and notes that say so.

    `decided` are those of our names that the user has given a meaning; they stay as they are.
    """
    points, notes = landing.points, list(landing.notes)
    present = {plain_name(metric): metric for metric in reversed(points.metrics)}
    for ours, others in METRIC_NAMES.items():
        for other in () if ours in decided else others:
            if (theirs := present.get(other)) is not None and theirs != ours:
                points, count = points.renamed(ours, theirs)
                if count:
                    runs = "" if count == len(landing.runs) else f" in {count} of {len(landing.runs)} runs"
                    notes.append(f"took '{theirs}'{runs} as {ours}; --map {ours}=NAME takes another")
    return replace(landing, points=points, notes=tuple(notes))


def kept_in_config(runs: Sequence[FoundRun]) -> list[str]:
    """Return a note on settings whose names are the lake's own, so that they are no columns of `runs`."""
    taken = sorted({name for run in runs for name in run.record.extra if name.lower() in RESERVED})
    names = ", ".join(repr(name) for name in taken)
    return [f"{names}: a name that the lake has for itself, kept in config only; --map gives another"] if taken else []


def counted(count: int, noun: str) -> str:
    """Return a count with its noun.

    Example
    -------
    >>> counted(1, "run"), counted(245, "run")
    ('1 run', '245 runs')
    """
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def missing_losses(landing: Landing) -> list[str]:
    """Return a note when runs have no loss, with the metrics that could be one."""
    without: list[FoundRun] = [run for run in landing.runs if run.measured.get("loss") is None]
    if not without:
        return []
    used = sorted({landing.points.metrics[code] for code in set(landing.points.metric.tolist())} - {"loss"})
    named = f"; name one with --map loss=METRIC, the metrics are {', '.join(used[:12])}" if used else ""
    more = ", …" if len(used) > 12 else ""
    return [f"no loss in {len(without)} of {counted(len(landing.runs), 'run')}{named}{more}"]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _plain(value: Any) -> Any:
    """Return a value that JSON has."""
    match value:
        case bool() | int() | float() | str() | None:
            return value
        case Mapping():
            return {str(key): _plain(item) for key, item in value.items()}
        case list() | tuple():
            return [_plain(item) for item in value]
        case _:
            return str(value)
