"""Quantities as people write them: `20 min`, `4 GiB`, `1.3B`, and the units of our columns."""

from __future__ import annotations

import math
import re

from isoflop.lakehouse.errors import UsageError

SECONDS = {
    "ms": 1e-3,
    "s": 1.0,
    "sec": 1.0,
    "min": 60.0,
    "m": 60.0,
    "h": 3600.0,
    "hour": 3600.0,
    "d": 86400.0,
    "day": 86400.0,
}
BYTES = {
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
MAGNITUDES = ((1e24, "Y"), (1e21, "Z"), (1e18, "E"), (1e15, "P"), (1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k"))

UNITS = {
    "params": "count", "params_non_embedding": "count", "tokens": "count", "steps": "count", "flops": "FLOP",
    "memcpy_bytes": "byte", "loss": "nat/token", "validation_loss": "nat/token", "irreducible_loss": "nat/token",
    "step_seconds": "s", "train_seconds": "s", "compile_seconds": "s", "seconds": "s", "peak_memory_bytes": "byte",
}  # fmt: skip

_QUANTITY = re.compile(r"\s*([0-9.]+(?:[eE][+-]?[0-9]+)?)\s*([A-Za-z]*)\s*")


def _parse(text: str | float, table: dict[str, float], bare: str, what: str) -> float:
    if isinstance(text, int | float):
        return float(text)
    found = _QUANTITY.fullmatch(text)
    unit = found.group(2).lower() if found else ""
    unit = unit if unit in table or not unit.endswith("s") else unit[:-1]
    if not found or (unit or bare) not in table:
        raise UsageError(f"'{text}' is not {what}; write a number and one of {', '.join(table)}")
    return float(found.group(1)) * table[unit or bare]


def parse_seconds(text: str | float) -> float:
    """Return a duration in seconds; a bare number is seconds.

    Example
    -------
    >>> parse_seconds("20 min")
    1200.0
    """
    return _parse(text, SECONDS, "s", "a duration")


def parse_bytes(text: str | float) -> float:
    """Return a size in bytes; a bare number is bytes.

    Example
    -------
    >>> parse_bytes("4 GiB")
    4294967296.0
    """
    return _parse(text, {k: float(v) for k, v in BYTES.items()}, "b", "a size")


def format_count(value: float | None) -> str:
    """Return a count with three digits and a magnitude.

    Example
    -------
    >>> format_count(1.3e9), format_count(512), format_count(None)
    ('1.3B', '512', '-')
    """
    if value is None or not math.isfinite(value):
        return "-" if value is None else str(value)
    if abs(value) >= 1e27:
        return f"{value:.3g}"
    for size, letter in MAGNITUDES:
        if abs(value) >= size:
            return f"{value / size:.3g}{letter}"
    return f"{value:.3g}"


def format_seconds(value: float | None) -> str:
    """Return a duration in the unit people would say it in.

    Example
    -------
    >>> format_seconds(0.0042), format_seconds(75), format_seconds(7300)
    ('4.2 ms', '1m15s', '2h01m')
    """
    if value is None or not math.isfinite(value):
        return "-"
    if value < 1e-3:
        return f"{value * 1e6:.3g} µs"
    if value < 1:
        return f"{value * 1e3:.3g} ms"
    if value < 60:
        return f"{value:.3g} s"
    if value < 3600:
        return f"{int(value // 60)}m{int(value % 60):02d}s"
    if value < 86400 * 2:
        return f"{int(value // 3600)}h{int(value % 3600 // 60):02d}m"
    return f"{value / 86400:.1f} d"


def format_bytes(value: float | None) -> str:
    """Return a size in binary units.

    Example
    -------
    >>> format_bytes(3 * 2**20)
    '3.0 MiB'
    """
    if value is None or not math.isfinite(value):
        return "-"
    for name, size in (("TiB", 2**40), ("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if value >= size:
            return f"{value / size:.1f} {name}"
    return f"{value:.0f} B"
