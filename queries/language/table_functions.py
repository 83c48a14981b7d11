"""Functions that stand where tables do, of theories that need no runs: `FROM phases(0.7, [0.3, 0.6])`.

A function is a record here, and a name in `TABLE_FUNCTIONS`; what it computes lies in `queries/theory/` and is imported
when it is called.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

Value = int | float | None
Row = dict[str, object]


@dataclass(frozen=True)
class Argument:
    """An argument: a number.

    Parameters
    ----------
    name : by which it can be given, and that of the column of a query
    meaning : what it is, and its unit
    above : it is larger
    may_be_zero : whether it may be what it is above as well
    is_whole : whether it is a whole number
    is_optional : whether it may be left out; the function then says what it is
    """

    name: str
    meaning: str
    above: float = 0.0
    may_be_zero: bool = False
    is_whole: bool = False
    is_optional: bool = False


@dataclass(frozen=True, kw_only=True)
class TableFunction:
    """A function that stands where a table does.

    Parameters
    ----------
    name : of it
    purpose : what it is for
    module : where it is derived
    source : paper and equation
    arguments : in the order in which they are given; two of them at least are needed
    columns : what it answers with behind its arguments, in order: name -> meaning with unit
    rows : takes the arguments of some rows, none of them missing but optional ones, and returns their columns
    examples, mistakes : statements whose answers and errors the reference shows
    """

    name: str
    purpose: str
    module: str
    source: str
    arguments: tuple[Argument, ...]
    columns: Mapping[str, str]
    rows: Callable[[Sequence[Mapping[str, Value]]], list[Row]]
    examples: tuple[str, ...]
    mistakes: tuple[str, ...] = ()

    @property
    def usage(self) -> str:
        """How it is called, such as `phases(alpha, beta)`."""
        names = [f"{each.name} := …" if each.is_optional else each.name for each in self.arguments]
        return f"{self.name}({', '.join(names)})"


def _number(value: Value) -> float:
    assert value is not None  # arguments that are not optional are there
    return value


def _phases(asked: Sequence[Mapping[str, Value]]) -> list[Row]:
    from isoflop.queries.theory.phases import phase_of, phases_that_meet

    found: list[Row] = []
    for row in asked:
        alpha, beta = _number(row["alpha"]), _number(row["beta"])
        phase = phase_of(alpha, beta)
        meet = phases_that_meet(alpha, beta)
        found.append(
            {
                "phase": phase and phase.name,
                "eta": phase and phase.eta,
                "xi": phase and phase.xi,
                "parts": phase and list(phase.parts),
                "is_boundary": len(meet) > 1,
                "meet": [name or "none" for name in meet],
            }
        )
    return found


def _phase_curves(asked: Sequence[Mapping[str, Value]]) -> list[Row]:
    import numpy as np

    from isoflop.queries.theory.plrf_risk import RandomFeatures, asymptotic_parts, risk_curve

    problems: dict[RandomFeatures, list[int]] = {}
    for place, row in enumerate(asked):
        alpha, width = _number(row["alpha"]), int(_number(row["width"]))
        usual = (10 if 2 * alpha > 1 else 4) * width
        problem = RandomFeatures(
            width=width,
            ambient=int(row["ambient"] or usual),
            spectrum_exponent=alpha,
            target_exponent=_number(row["beta"]),
            batch_size=int(row["batch_size"] or 1),
            rate_constant=row["rate_constant"],
        )
        if problem.ambient < width:
            raise ArithmeticError(f"ambient {problem.ambient} is less than width {width}")
        problems.setdefault(problem, []).append(place)
    found: list[Row] = [{} for _ in asked]
    for problem, places in problems.items():
        steps = np.array([int(_number(asked[place]["step"])) for place in places], dtype=np.int64)
        at = np.unique(steps)
        columns = {"loss": risk_curve(problem, at), **asymptotic_parts(problem, at)}
        for place, position in zip(places, np.searchsorted(at, steps).tolist(), strict=True):
            settings = {
                "ambient": problem.ambient, "batch_size": problem.batch_size, "learning_rate": problem.rate,
                "compute": float(problem.width) * problem.batch_size * float(at[position]),
            }  # fmt: skip
            found[place] = {**settings, **{name: float(values[position]) for name, values in columns.items()}}
    return found


def _regimes(asked: Sequence[Mapping[str, Value]]) -> list[Row]:
    from isoflop.queries.theory.regimes import cell_of

    cells = [cell_of(_number(row["data"]), _number(row["params"]), _number(row["exponent"])) for row in asked]
    return [
        {
            "regime": cell.regime,
            "limited_by": cell.limited_by,
            "loss": cell.loss,
            "limit": cell.limit,
            "excess": cell.loss / cell.limit - 1,
            "power": cell.power,
        }
        for cell in cells
    ]


def _rich_exponents(asked: Sequence[Mapping[str, Value]]) -> list[Row]:
    from dataclasses import asdict

    from isoflop.queries.theory.feature_learning import rich_exponents

    return [asdict(rich_exponents(_number(row["alpha"]), _number(row["beta"]))) for row in asked]


def _rich_curves(asked: Sequence[Mapping[str, Value]]) -> list[Row]:
    import numpy as np

    from isoflop.queries.theory.feature_learning import rich_curve, rich_exponents

    tasks: dict[tuple[float, ...], list[int]] = {}
    for place, row in enumerate(asked):
        task = tuple(_number(row[name]) for name in ("alpha", "beta", "richness"))
        rich_exponents(*task[:2])  # refuses what has no curve
        tasks.setdefault(task, []).append(place)
    found: list[Row] = [{} for _ in asked]
    for (alpha, beta, richness), places in tasks.items():
        times = np.array([_number(asked[place]["time"]) for place in places])
        at = np.unique(times)
        losses = rich_curve(alpha, beta, richness, at)
        for place, position in zip(places, np.searchsorted(at, times).tolist(), strict=True):
            found[place] = {"loss": float(losses[position])}
    return found


_ALPHA = Argument("alpha", "the data have the spectrum j^-2alpha [1]")
_BETA = Argument("beta", "the target has the coefficients j^-beta [1]")

PHASES = TableFunction(
    name="phases",
    purpose=(
        "The phase of random features under one-pass SGD, and the powers of compute d B r that the lowest loss and the "
        "width of it follow. On a boundary between phases eta is that of both, and `meet` names them; where there is "
        "no power law the phase is null. `isoflop plot phases` draws the plane."
    ),
    module="isoflop.queries.theory.phases",
    source="Paquette et al. 2024 (arXiv:2405.15074), section 3",
    arguments=(_ALPHA, _BETA),
    columns={
        "phase": "Ia, Ib, Ic, II, III, IVa or IVb; null for alpha + beta <= 1/2",
        "eta": "the lowest loss falls as compute^-eta [1]",
        "xi": "its width grows as compute^xi [1]",
        "parts": "list of the two parts of the risk that balance there",
        "is_boundary": "whether it lies between phases",
        "meet": "list of the phases at this place; `none` is that without a power law",
    },
    rows=_phases,
    examples=(
        "SELECT alpha, beta, phase, round(eta, 4) AS eta, round(xi, 4) AS xi, parts\n"
        "FROM phases([0.4, 0.7, 1.0], [0.3, 0.7, 1.2])",
        "SELECT name, phase, round(eta, 3) AS eta\n"
        "FROM phases((SELECT * FROM (VALUES ('mine', 0.8, 0.8), ('other', 0.2, 0.2)) t(name, alpha, beta)))",
    ),
    mistakes=("FROM phases(0.7)", "FROM phases(0.7, 'steep')", "FROM phases(-1, 0.3)"),
)
PHASE_CURVES = TableFunction(
    name="phase_curves",
    purpose=(
        "The risk of random features of any width after any number of steps of one-pass SGD, averaged over the "
        "features and the data, and the power laws that it is made of. A run of the family `plrf` has features of its "
        "own and differs, by 10 to 25 per cent at width 200; `PREDICT RUNS BY volterra_plrf` knows its features."
    ),
    module="isoflop.queries.theory.plrf_risk",
    source="Paquette et al. 2024 (arXiv:2405.15074), sections 2 and 4",
    arguments=(
        _ALPHA,
        _BETA,
        Argument("width", "d, trained features", is_whole=True),
        Argument("step", "r, steps of SGD", is_whole=True),
        Argument("ambient", "v, dimension of the data; 10 d, or 4 d for 2 alpha < 1", is_whole=True, is_optional=True),
        Argument("batch_size", "B, samples that a step sums over; 1", is_whole=True, is_optional=True),
        Argument("rate_constant", "c of gamma = c / sum of j^-2alpha; 1 / (B + 1)", is_optional=True),
    ),
    columns={
        "learning_rate": "gamma [1]",
        "compute": "d B r",
        "loss": "mean risk [1]",
        "F_pp": "the target that is not learned yet [1]",
        "F_ac": "what the bend of the spectrum adds; 0 unless 2 alpha > 1 and 2 beta > 1 [1]",
        "F_0": "the target that no theta reaches [1]",
        "K_pp": "the noise of SGD; 0 unless alpha > 1/4 [1]",
    },
    rows=_phase_curves,
    examples=(
        "SELECT width, step, round(log10(loss), 3) AS log_loss, round(log10(F_pp + F_ac + F_0 + K_pp), 3) AS parts\n"
        "FROM phase_curves(1.0, 0.3, [1000, 1B], [10K, 1B]) ORDER BY width, step",
    ),
    mistakes=("FROM phase_curves(0.7, 0.3, 100, 1000, rate_constant := 3)",),
)

REGIMES = TableFunction(
    name="regimes",
    purpose=(
        "What limits the loss of a random-feature student at some data and params, for a spectrum i^-(1 + exponent): "
        "their resolution, and the loss itself is a power law, or their variance, and its difference from the limit is "
        "one. Cells near the peak at data = params are in neither and belong into no fit."
    ),
    module="isoflop.queries.theory.regimes",
    source="Bahri et al. 2021 (arXiv:2102.06701)",
    arguments=(
        Argument("data", "D, samples"),
        Argument("params", "P, trained features"),
        Argument("exponent", "alpha_K of the spectrum i^-(1 + alpha_K) [1]"),
    ),
    columns={
        "regime": "`resolution`, `variance` or `mixed`",
        "limited_by": "`data` or `params`; null where mixed",
        "loss": "of least squares without a ridge [variance of the target's modes]; infinite at the peak",
        "limit": "the loss with no end of what there is more of",
        "excess": "loss over limit, less 1 [1]; 1e-3 to 1/19 is variance",
        "power": "of the larger of the two for loss - limit in the regime variance, of the lesser for the loss in "
        "resolution [1]",
    },
    rows=_regimes,
    examples=(
        "SELECT data, params, regime, limited_by, round(loss, 4) AS loss, power\n"
        "FROM regimes([32, 64, 16000, 1M], [32, 64, 16000, 1M], 0.5) WHERE data <> params",
        "SELECT round(-coefficients.alpha, 3) AS power FROM\n"
        "(FIT loss ~ power(data) PARAMETERS (E FIXED 0) FROM (FROM regimes([64, 128, 256, 512, 1024], 1e9, 0.5))\n"
        "WITH (resamples = 0))",
    ),
)
RICH_EXPONENTS = TableFunction(
    name="rich_exponents",
    purpose=(
        "What learning features does to the exponents of a linear network: hard tasks, beta < 1, fall as "
        "t^-(2 beta / (1 + beta)) rather than t^-beta, easy ones gain nothing."
    ),
    module="isoflop.queries.theory.feature_learning",
    source="Bordelon et al. 2024 (arXiv:2409.17858), section 4",
    arguments=(
        Argument("alpha", "the data have the spectrum k^-alpha [1]", above=1.0),
        Argument("beta", "the target beyond mode k weighs k^-(alpha beta) [1]"),
    ),
    columns={
        "difficulty": "`hard`, `easy` or `super-easy`",
        "time_lazy": "the loss falls as time^-this without learned features [1]",
        "time_rich": "and with them [1]",
        "width": "trained for long it falls as width^-this [1]",
        "compute_lazy": "the lowest loss falls as compute^-this, for compute = width * time [1]",
        "compute_rich": "and with learned features [1]",
        "best_width_lazy": "its width grows as compute^this [1]",
        "best_width_rich": "and with learned features [1]",
    },
    rows=_rich_exponents,
    examples=(
        "SELECT alpha, beta, difficulty, round(compute_lazy, 4) AS lazy, round(compute_rich, 4) AS rich\n"
        "FROM rich_exponents([1.5, 2], [0.5, 1.2, 1.5])",
    ),
    mistakes=("FROM rich_exponents(0.9, 0.5)",),
)
RICH_CURVES = TableFunction(
    name="rich_curves",
    purpose=(
        "The loss over time of a linear network of infinite width with all data at once, on power-law data, whose "
        "features learn by `richness` as much as its readout; richness 0 is lazy."
    ),
    module="isoflop.queries.theory.feature_learning",
    source="Bordelon et al. 2024 (arXiv:2409.17858), section 3",
    arguments=(
        *RICH_EXPONENTS.arguments,
        Argument("richness", "gamma, learning rate of the features over that of the readout [1]", may_be_zero=True),
        Argument("time", "t, learning rate times steps"),
    ),
    columns={"loss": "[1]"},
    rows=_rich_curves,
    examples=("SELECT richness, time, round(loss, 5) AS loss FROM rich_curves(2, 0.5, [0, 0.1, 1], [10, 100, 1000])",),
)

TABLE_FUNCTIONS: tuple[TableFunction, ...] = (PHASES, PHASE_CURVES, REGIMES, RICH_EXPONENTS, RICH_CURVES)
NAMES = {function.name: function for function in TABLE_FUNCTIONS}
