"""Where an axis is marked, and how the numbers on it are written."""

from __future__ import annotations

import math
from typing import NamedTuple

SUFFIXES = ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k"))
MANTISSAS = ((1.0,), (1.0, 3.0), (1.0, 2.0, 5.0))
SMALLEST_PLAIN = 1e-4  # below which `0.00002` is harder to read than `2e-5`
NICE_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)


class Tick(NamedTuple):
    """A marked place: its value on the axis and its label."""

    value: float
    label: str


def write_number(value: float, notation: str = "short", digits: int = 3) -> str:
    """Return a number as an axis prints it.

    Parameters
    ----------
    value : the number
    notation : `short` uses k, M, B, T between a thousand and 1e15; `power` writes 1e9 from 100,000 on
    digits : significant digits kept

    Example
    -------
    >>> [write_number(v) for v in (0.002, 2.5, 1500, 7e9, 1e21)]
    ['0.002', '2.5', '1.5k', '7B', '1e21']
    >>> write_number(3e9, "power")
    '3e9'
    """
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    rounded = float(f"{value:.{digits - 1}e}")
    if notation == "short" and 1e3 <= abs(rounded) < 1e15:
        unit, suffix = next((unit, suffix) for unit, suffix in SUFFIXES if abs(rounded) >= unit)
        return f"{float(f'{rounded / unit:.12g}'):g}{suffix}"
    if 1e-3 <= abs(rounded) < 1e5:
        return f"{rounded:.12g}"
    mantissa, power = f"{value:.{digits - 1}e}".split("e")
    mantissa = mantissa.rstrip("0").rstrip(".") if "." in mantissa else mantissa
    return f"{mantissa}e{int(power)}"


def ticks(low: float, high: float, *, is_log: bool, most: int, notation: str = "short") -> list[Tick]:
    """Return the marked places of an axis, from low to high.

    Parameters
    ----------
    low, high : ends of the axis; both positive when it is logarithmic
    most : largest number of marks there is room for
    notation : as in `write_number`

    Example
    -------
    >>> [tick.label for tick in ticks(1e6, 1e12, is_log=True, most=4)]
    ['1M', '100M', '10B', '1T']
    >>> [tick.label for tick in ticks(1.7, 5.1, is_log=True, most=6)]
    ['2', '3', '4', '5']
    >>> [tick.label for tick in ticks(2e-4, 5e-3, is_log=True, most=5)]
    ['0.0002', '0.0005', '0.001', '0.002', '0.005']
    """
    most = max(2, most)
    values = _decades(low, high, most) if is_log else None
    values = _even(low, high, most) if values is None else values
    digits = _digits(values)
    labels = [write_number(value, notation, digits=digits) for value in values]
    are_powers = ["e-" in label for label, value in zip(labels, values, strict=True) if value]
    if any(are_powers) and not all(are_powers):
        labels = [_small(value, digits, is_plain=_are_plain(values)) for value in values]
    return [Tick(value, label) for value, label in zip(values, labels, strict=True)]


def _are_plain(values: list[float]) -> bool:
    """Return whether the numbers of an axis that goes below a thousandth are short enough without powers of ten."""
    return min(abs(value) for value in values if value) >= SMALLEST_PLAIN


def _small(value: float, digits: int, *, is_plain: bool) -> str:
    """Return a number of an axis that goes below a thousandth, in the one way in which all of them are written."""
    if value == 0:
        return "0"
    if is_plain:
        return f"{float(f'{value:.{digits - 1}e}'):.12f}".rstrip("0").rstrip(".")
    mantissa, power = f"{value:.{digits - 1}e}".split("e")
    mantissa = mantissa.rstrip("0").rstrip(".") if "." in mantissa else mantissa
    return f"{mantissa}e{int(power)}" if int(power) else mantissa


def _decades(low: float, high: float, most: int) -> list[float] | None:
    """Marks at powers of ten, with simple multiples where there is room; None when fewer than three would fit."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    whole = [power for power in range(first, last + 1) if low <= 10.0**power <= high]
    if len(whole) > most:
        stride = math.ceil(len(whole) / most)
        return [10.0**power for power in whole if (power - whole[0]) % stride == 0]
    best: list[float] | None = [10.0**power for power in whole] if len(whole) >= 3 else None
    for mantissas in MANTISSAS[1:]:
        values = [
            m * 10.0**power for power in range(first, last + 1) for m in mantissas if low <= m * 10.0**power <= high
        ]
        if len(values) <= most and len(values) >= 3 and last - first > 1:
            best = values
    return best


def _even(low: float, high: float, most: int) -> list[float]:
    """Marks at equal distances, at round numbers."""
    rough = (high - low) / most
    scale = 10.0 ** math.floor(math.log10(rough))
    step = next(nice * scale for nice in NICE_STEPS if nice * scale >= rough * (1 - 1e-9))
    first = math.ceil(low / step - 1e-9)
    count = math.floor(high / step + 1e-9) - first + 1
    return [0.0 if first + k == 0 else float(f"{(first + k) * step:.12g}") for k in range(max(count, 0))]


def _digits(values: list[float]) -> int:
    """Digits needed so that no two labels read the same."""
    for digits in (3, 4, 5, 6):
        if len({f"{value:.{digits}g}" for value in values}) == len(values):
            return digits
    return 7
