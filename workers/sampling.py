"""Points of a sweep that are drawn rather than listed: `sample: {learning_rate: log_uniform(1e-4, 1e-1)}`.

The same file draws the same points everywhere and for ever, whatever version of a package is installed: the Sobol
sequence is the unscrambled one of Joe and Kuo 2008 (doi:10.1137/070709359), shifted digit by digit, which keeps how
evenly it lies (L'Ecuyer and Lemieux 2002, doi:10.1007/0-306-48102-2_20). Of `sobol` and `random`, more points begin
with those of fewer, so that a sweep may grow.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from isoflop.lakehouse.errors import did_you_mean
from isoflop.workers.sweep_file import Document, parse_documents

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

DIGITS = 6  # significant, of a drawn number: more would tie a run's identity to the last bit of a logarithm
BITS = 30  # binary digits of a point of the Sobol sequence, more than DIGITS show
MOST_SAMPLES = 1_000_000  # as many as a grid may have rows
CALL = re.compile(r"\s*([A-Za-z_]\w*)\s*\((.*)\)\s*", re.DOTALL)

Draw = Callable[[float], Any]  # from a number in [0, 1) to a value


@dataclass(frozen=True)
class _Kind:
    """A distribution: what its arguments are, and how they become a draw."""

    arguments: str
    example: str
    draw: Callable[[Sequence[Any]], Draw]


def _uniform(arguments: Sequence[Any]) -> Draw:
    low, high = _bounds(arguments)
    return lambda share: _rounded(low + (high - low) * share)


def _log_uniform(arguments: Sequence[Any]) -> Draw:
    low, high = _bounds(arguments, above=0)
    return lambda share: _rounded(low * (high / low) ** share)


def _integer(arguments: Sequence[Any]) -> Draw:
    low, high = _whole_bounds(arguments)
    return lambda share: min(high, low + math.floor((high - low + 1) * share))


def _log_integer(arguments: Sequence[Any]) -> Draw:
    low, high = _whole_bounds(arguments, above=0)
    return lambda share: min(high, math.floor(low * ((high + 1) / low) ** share))


def _choice(arguments: Sequence[Any]) -> Draw:
    if not arguments:
        raise ValueError("has nothing to choose from")
    return lambda share: arguments[math.floor(len(arguments) * share)]


KINDS = {
    "uniform": _Kind("LOW, HIGH", "uniform(0, 0.5)", _uniform),
    "log_uniform": _Kind("LOW, HIGH", "log_uniform(1e-4, 1e-1)", _log_uniform),
    "integer": _Kind("LOW, HIGH", "integer(2, 12)", _integer),
    "log_integer": _Kind("LOW, HIGH", "log_integer(16, 1024)", _log_integer),
    "choice": _Kind("VALUE, …", "choice(64, 128)", _choice),
}


def sampled(
    document: Document, distributions: Mapping[str, str], number: int, method: str, seed: int
) -> tuple[dict[str, Any], ...]:
    """Return the points of a sweep that samples.

    Parameters
    ----------
    document : whose lines an error names
    distributions : one a setting, such as `log_uniform(1e-4, 1e-1)`
    number : of points
    method : `sobol`, `random` or `latin`
    seed : of the draw

    Raises
    ------
    FileError : for a distribution that is none, at its line
    """
    draws = {name: _draw(document, name, text) for name, text in distributions.items()}
    shares = METHODS[method](number, len(draws), seed)
    return tuple(
        {name: draw(float(share)) for (name, draw), share in zip(draws.items(), row, strict=True)} for row in shares
    )


def _draw(document: Document, name: str, text: str) -> Draw:
    place = ("sample", name)
    examples = ", ".join(kind.example for kind in KINDS.values())
    match = CALL.fullmatch(text)
    if match is None:
        raise document.error(place, f"'{text}' is no distribution", f"for example {examples}")
    kind = KINDS.get(match[1])
    if kind is None:
        hint = did_you_mean(match[1], KINDS, f"there are {examples}")
        raise document.error(place, f"'{match[1]}' is no distribution", hint)
    try:
        [written] = parse_documents(f"values: [{match[2]}]")
        return kind.draw(written.value["values"])  # type: ignore[arg-type]
    except Exception as error:  # what YAML does not take, or the distribution
        why = str(error) if isinstance(error, ValueError) else "has arguments that cannot be read"
        raise document.error(place, f"'{text}' {why}", f"{match[1]}({kind.arguments})") from None


def _bounds(arguments: Sequence[Any], above: float = -math.inf) -> tuple[float, float]:
    """Return the two ends of a range."""
    is_number = all(isinstance(each, int | float) and not isinstance(each, bool) for each in arguments)
    if len(arguments) != 2 or not is_number or not all(map(math.isfinite, arguments)):
        raise ValueError("needs two numbers")
    low, high = arguments
    if not low < high or not low > above:
        raise ValueError("needs a low end below the high one" + (f", above {above:g}" if above > -math.inf else ""))
    return low, high


def _whole_bounds(arguments: Sequence[Any], above: float = -math.inf) -> tuple[int, int]:
    low, high = _bounds(arguments, above)
    if low != int(low) or high != int(high):
        raise ValueError("needs two whole numbers")
    return int(low), int(high)


def _rounded(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")


def _sobol(number: int, dimensions: int, seed: int) -> NDArray[np.float64]:
    """Return (number, dimensions) points of the Sobol sequence under a random digital shift."""
    import numpy as np
    from scipy.stats import qmc

    # A whole power of two, as the sequence is balanced; the first of them are the same however many follow.
    sequence = qmc.Sobol(dimensions, scramble=False, bits=BITS).random_base2(max(1, math.ceil(math.log2(number))))
    points = (sequence[:number] * 2**BITS).astype(np.int64)
    shift = (np.random.default_rng(seed).random(dimensions) * 2**BITS).astype(np.int64)
    shares: NDArray[np.float64] = ((points ^ shift) + 0.5) / 2**BITS  # the middle of what the digits say
    return shares


def _random(number: int, dimensions: int, seed: int) -> NDArray[np.float64]:
    import numpy as np

    return np.random.default_rng(seed).random((number, dimensions))


def _latin(number: int, dimensions: int, seed: int) -> NDArray[np.float64]:
    """Return points of which each setting has one in each of `number` equal parts of its range."""
    import numpy as np

    generator = np.random.default_rng(seed)
    order = np.stack([generator.permutation(number) for _ in range(dimensions)], axis=1)
    shares: NDArray[np.float64] = (order + generator.random((number, dimensions))) / number
    return shares


METHODS: dict[str, Callable[[int, int, int], NDArray[np.float64]]] = {
    "sobol": _sobol,
    "random": _random,
    "latin": _latin,
}
