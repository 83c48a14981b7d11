"""What the approaches to the compute-optimal size found, as records and as a table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from isoflop.queries.fitting import Fit
from isoflop.queries.planning.approaches import Slices
from isoflop.queries.planning.best_size import best_sizes

if TYPE_CHECKING:
    import pyarrow as pa

Array = NDArray[np.float64]

BIASED = 0.5  # bias in units of half the interval from which it is worth a note
NEGLIGIBLE = 0.01  # log of a factor that no planned size is known to [1]
SMALL = 0.1  # log of a factor that stands for half an interval where there is none [1]


@dataclass(frozen=True, eq=False)
class Approach:
    """What one approach finds: the best size as a power of compute.

    Parameters
    ----------
    name : `envelope`, `isoflop_parabola`, `isoflop_akima` or `law`
    params_exponent : of params over compute [1]; nan with fewer than two usable budgets
    params_lower, params_upper : ends of its percentile interval; nan without resamples
    tokens_exponent, tokens_lower, tokens_upper : the same of tokens
    log_factor : log of params at one flop
    per_token : flops over params and tokens [flop]
    rows : points it was read off
    bias : what the approach finds on the fitted law without noise, minus that law's exponent [1]
    planted : exponent [1] and log factor that it finds there
    budgets : (M,) compute [flop]
    params, tokens : (M,) best at each budget [count]; nan where the approach finds no interior minimum
    draws : (B,) params exponents of the resamples, nan where one gives none
    log_factor_draws : (B,) their log factors
    notes : what the user should know
    """

    name: str
    params_exponent: float
    params_lower: float
    params_upper: float
    tokens_exponent: float
    tokens_lower: float
    tokens_upper: float
    log_factor: float
    per_token: float
    rows: int
    bias: float
    planted: tuple[float, float]
    budgets: Array
    params: Array
    tokens: Array
    draws: Array
    log_factor_draws: Array
    notes: tuple[str, ...]

    def at(self, flops: float) -> tuple[float, float]:
        """Return the best params and tokens [count] for a budget [flop], on the line through all budgets."""
        params = _on_line((self.params_exponent, self.log_factor), flops)
        return params, flops / (self.per_token * params)

    def interval_at(self, flops: float, level: float) -> tuple[float, float]:
        """Return the ends of the percentile interval of the best params [count] for a budget; nan without resamples."""
        sizes = np.exp(self.log_factor_draws + self.draws * np.log(flops))
        return quantiles(sizes[np.isfinite(sizes)], level)

    @property
    def left_out(self) -> Array:
        """Budgets [flop] without a best size between the sizes trained on them, which the power leaves out."""
        return np.asarray(self.budgets[~np.isfinite(self.params)])

    @property
    def coefficients(self) -> tuple[float, float]:
        """Params and tokens [count] at one flop, the factors of the two powers."""
        return self.at(1.0)


@dataclass(frozen=True, eq=False, repr=False)
class ApproachComparison:
    """The approaches side by side. Printing it shows the table.

    Parameters
    ----------
    approaches : four records, in the order of the paper
    fit : the law behind the last one
    slices : the points behind the others
    level : coverage of the intervals [1]
    resamples, seed : of the bootstrap, the same draws for every approach
    notes : what the user should know of the rows
    """

    approaches: tuple[Approach, ...]
    fit: Fit
    slices: Slices
    level: float
    resamples: int
    seed: int
    notes: tuple[str, ...] = ()

    def __getitem__(self, name: str) -> Approach:
        """Return the approach of a name."""
        return {approach.name: approach for approach in self.approaches}[name]

    def bias_at(self, approach: Approach, flops: float) -> tuple[float, float]:
        """Return by what shares an approach's best params and tokens for a budget [flop] are off on the law itself.

        That is what it finds for the budget in runs made from the fitted law without noise, over the law's own best
        size there, less one [1]: an exponent without bias may belong to a line that lies too low.
        """
        near = self["law"].at(flops)[0]
        if not np.isfinite(near):
            return float("nan"), float("nan")

        def loss(params: Array, tokens: Array) -> Array:
            return np.asarray(self.fit.law.predict(self.fit.coefficients, np.column_stack([params, tokens])))

        (best,) = best_sizes(loss, np.array([flops]), approach.per_token, near, near)
        times = _on_line(approach.planted, flops) / float(best)
        return times - 1, 1 / times - 1

    def notes_at(self, approach: Approach, flops: float) -> list[str]:
        """Return a note where the bias at a budget [flop] is large beside the interval there, or there is none."""
        params, tokens = self.bias_at(approach, flops)
        lower, upper = approach.interval_at(flops, self.level)
        half = (np.log(upper) - np.log(lower)) / 2
        if not abs(np.log1p(params)) > max(BIASED * (half if np.isfinite(half) else SMALL), NEGLIGIBLE):
            return []
        off = f"params are off by {params:+.0%} and tokens by {tokens:+.0%}"
        if approach.name == "law":
            return [f"biased_size: at {flops:.3g} flop, on the power through the law's best sizes {off}; ask OPTIMIZE"]
        return [f"biased_size: at {flops:.3g} flop, on the fitted law itself, without noise, the best {off}"]

    @property
    def records(self) -> list[dict[str, Any]]:
        """One row an approach, the values as in `table`."""
        return [
            {
                "approach": approach.name,
                "params_exponent": approach.params_exponent,
                "params_lower": approach.params_lower,
                "params_upper": approach.params_upper,
                "tokens_exponent": approach.tokens_exponent,
                "tokens_lower": approach.tokens_lower,
                "tokens_upper": approach.tokens_upper,
                "params_coefficient": approach.coefficients[0],
                "tokens_coefficient": approach.coefficients[1],
                "bias": approach.bias,
                "budgets": int(np.isfinite(approach.params).sum()),
                "left_out": approach.left_out.tolist(),
                "rows": approach.rows,
                "level": self.level,
                "notes": [*approach.notes, *self.notes],
            }
            for approach in self.approaches
        ]

    @property
    def table(self) -> pa.Table:
        """The records as an Arrow table; nan is null."""
        import pyarrow as pa

        rows = [
            {key: None if isinstance(value, float) and np.isnan(value) else value for key, value in row.items()}
            for row in self.records
        ]
        return pa.Table.from_pylist(rows, schema=self.schema())

    @staticmethod
    def schema() -> pa.Schema:
        """Return the columns of `table`."""
        import pyarrow as pa

        number = pa.float64()
        fields = {
            "approach": pa.string(),
            **dict.fromkeys(("params_exponent", "params_lower", "params_upper"), number),
            **dict.fromkeys(("tokens_exponent", "tokens_lower", "tokens_upper"), number),
            **dict.fromkeys(("params_coefficient", "tokens_coefficient", "bias"), number),
            "budgets": pa.int64(),
            "left_out": pa.list_(number),
            "rows": pa.int64(),
            "level": number,
            "notes": pa.list_(pa.string()),
        }
        return pa.schema(fields)

    def __repr__(self) -> str:
        head = f"{'approach':18}{'params ~ C^a':>14}{f'{self.level:.0%} interval':>20}{'tokens ~ C^b':>14}{'bias':>9}"
        lines = [
            f"{approach.name:18}{approach.params_exponent:14.4f}"
            f"{f'{approach.params_lower:.4f} to {approach.params_upper:.4f}':>20}"
            f"{approach.tokens_exponent:14.4f}{approach.bias:9.4f}"
            for approach in self.approaches
        ]
        notes = [f"{approach.name}: {note}" for approach in self.approaches for note in approach.notes]
        return "\n".join([head, *lines, *notes, *self.notes])


def _on_line(power: tuple[float, float], flops: float) -> float:
    """Params [count] for a budget [flop] by an exponent and a log factor."""
    exponent, log_factor = power
    return float(np.exp(log_factor + exponent * np.log(flops)))


def quantiles(values: Array, level: float) -> tuple[float, float]:
    """Return the ends of the central share `level` of values (B,); nan with fewer than two."""
    if len(values) < 2:
        return float("nan"), float("nan")
    tail = (1 - level) / 2
    lower, upper = np.quantile(values, [tail, 1 - tail])
    return float(lower), float(upper)
