"""What a run needs from a machine, and how a sweep file writes time and memory."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

_UNITS = {
    "s": 1,
    "sec": 1,
    "second": 1,
    "m": 60,
    "min": 60,
    "minute": 60,
    "h": 3600,
    "hour": 3600,
    "d": 86400,
    "day": 86400,
}
_BYTES = {
    "b": 1,
    "kb": 10**3,
    "mb": 10**6,
    "gb": 10**9,
    "tb": 10**12,
    "kib": 2**10,
    "mib": 2**20,
    "gib": 2**30,
    "tib": 2**40,
}


def seconds_of(text: object) -> float:
    """Return a duration in seconds.

    Raises
    ------
    ValueError : if it has no unit or is not longer than nothing

    Example
    -------
    >>> seconds_of("20 min"), seconds_of("1h 30m"), seconds_of("45 seconds")
    (1200.0, 5400.0, 45.0)
    """
    parts = re.findall(r"(\d+(?:\.\d+)?)\s*([a-z]+)", text) if isinstance(text, str) else []
    rest = re.sub(r"(\d+(?:\.\d+)?)\s*([a-z]+)|\s", "", text) if isinstance(text, str) else "?"
    units = [_UNITS.get(unit) or _UNITS.get(unit.removesuffix("s")) for _, unit in parts]
    if not parts or rest or None in units:
        raise ValueError("expected a duration with a unit, for example 20 min, 90 s or 1h 30m")
    total = sum(float(number) * (unit or 0) for (number, _), unit in zip(parts, units, strict=True))
    if total <= 0:
        raise ValueError("expected a duration longer than nothing")
    return float(total)


def bytes_of(text: str) -> int | None:
    """Return an amount of memory in bytes, or None when the text is not one.

    Example
    -------
    >>> bytes_of("4 GiB"), bytes_of("500MB"), bytes_of("width * 2")
    (4294967296, 500000000, None)
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([a-zA-Z]+)\s*", text)
    unit = _BYTES.get(match.group(2).lower()) if match else None
    return None if match is None or unit is None else int(float(match.group(1)) * unit)


@dataclass(frozen=True)
class Resources:
    """What one process of a sweep needs from a machine.

    Parameters
    ----------
    cpus : cores, and threads of the run
    gpus : accelerators; a part of one shares it with others; None means one where the cluster has any
    memory : bytes to reserve; None reserves nothing
    """

    cpus: float = 1.0
    gpus: float | None = None
    memory: int | None = None

    def doubled(self) -> Resources:
        """Return the same with twice the memory, for a run that ran out of it."""
        return self if self.memory is None else replace(self, memory=2 * self.memory)

    def __str__(self) -> str:
        gpus = "" if not self.gpus else f", {self.gpus:g} GPUs"
        memory = "" if self.memory is None else f", {self.memory / 2**30:.3g} GiB"
        return f"{self.cpus:g} CPUs{gpus}{memory}"
