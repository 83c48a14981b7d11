"""Quantities as users read them: `1.3B`, `1m15s`, `3.0 MiB`, and the units of our columns."""

from __future__ import annotations

import math
import re

MAGNITUDES = ((1e24, "Y"), (1e21, "Z"), (1e18, "E"), (1e15, "P"), (1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k"))

# Letters behind a number that a user writes; B and G both say 10^9 of parameters.
SIZES = {"k": 1e3, "m": 1e6, "b": 1e9, "g": 1e9, "t": 1e12, "p": 1e15}

UNITS = {
    "params": "count", "params_non_embedding": "count", "tokens": "count", "steps": "count", "flops": "FLOP",
    "memcpy_bytes": "byte", "unique_tokens": "count",
    "loss": "nat/token", "validation_loss": "nat/token", "irreducible_loss": "nat/token",
    "ema_validation_loss": "nat/token", "bits_per_byte": "bit/byte", "ema_bits_per_byte": "bit/byte",
    "step_seconds": "s", "step_seconds_min": "s", "train_seconds": "s",
    "compile_seconds": "s", "seconds": "s", "peak_memory_bytes": "byte",
}  # fmt: skip


_SIZE = re.compile(r"([-+]?(?:\d[\d_]*\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s?([kKmMbBgGtTpP]?)")


def read_size(text: str) -> float | None:
    """Return the number that a text says as people write them; None for one that says none.

    Example
    -------
    >>> read_size("7B"), read_size("1.4T"), read_size("1e9"), read_size("big")
    (7000000000.0, 1400000000000.0, 1000000000.0, None)
    """
    found = _SIZE.fullmatch(text.strip())
    if found is None:
        return None
    number, letter = found.groups()
    power = round(math.log10(SIZES[letter.lower()])) if letter else 0
    return float(f"{number}e{power}") if "e" not in number.lower() else float(number) * 10.0**power


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


def format_number(value: float | None) -> str:
    """Return a measured number with five significant digits, however large or small it is.

    Example
    -------
    >>> format_number(2.5), format_number(1.2345678e-7), format_number(None)
    ('2.5000', '1.2346e-07', '-')
    """
    return "-" if value is None else f"{value:#.5g}"


def format_seconds(value: float | None) -> str:
    """Return a duration in its usual unit.

    Example
    -------
    >>> format_seconds(0.0042), format_seconds(0), format_seconds(75), format_seconds(7300)
    ('4.2 ms', '0 s', '1m15s', '2h01m')
    """
    if value is None or not math.isfinite(value):
        return "-"
    if 0 < value < 1e-3:
        return f"{value * 1e6:.3g} µs"
    if 0 < value < 1:
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
