"""Table functions of random features: the phases of SGD, their curves, and the regimes of data and params."""

from __future__ import annotations

from isoflop.queries.language.functions.function import Argument, Asked, Row, TableFunction, number


def _phases(asked: Asked) -> list[Row]:
    from isoflop.queries.theory.phases import phase_of, phases_that_meet

    found: list[Row] = []
    for row in asked:
        alpha, beta = number(row["alpha"]), number(row["beta"])
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


def _phase_curves(asked: Asked) -> list[Row]:
    import numpy as np

    from isoflop.lakehouse.models.random_features import usual_rate_constant
    from isoflop.queries.theory.plrf_risk import RandomFeatures, asymptotic_parts, risk_curve

    problems: dict[RandomFeatures, list[int]] = {}
    for place, row in enumerate(asked):
        alpha, width = number(row["alpha"]), int(number(row["width"]))
        usual = (10 if 2 * alpha > 1 else 4) * width
        problem = RandomFeatures(
            width=width,
            ambient=int(row["ambient"] or usual),
            spectrum_exponent=alpha,
            target_exponent=number(row["beta"]),
            batch_size=int(row["batch_size"] or 1),
            rate_constant=row["rate_constant"],
        )
        if problem.ambient < width:
            raise ArithmeticError(f"ambient {problem.ambient} is less than width {width}")
        problems.setdefault(problem, []).append(place)
    found: list[Row] = [{} for _ in asked]
    for problem, places in problems.items():
        steps = np.array([int(number(asked[place]["step"])) for place in places], dtype=np.int64)
        at = np.unique(steps)
        columns = {"loss": risk_curve(problem, at), **asymptotic_parts(problem, at)}
        for place, position in zip(places, np.searchsorted(at, steps).tolist(), strict=True):
            settings: Row = {
                "rate_constant": problem.rate_constant or usual_rate_constant(problem.batch_size),
                "ambient": problem.ambient, "batch_size": problem.batch_size, "learning_rate": problem.rate,
                "compute": float(problem.width) * problem.batch_size * float(at[position]),
            }  # fmt: skip
            found[place] = {**settings, **{name: float(values[position]) for name, values in columns.items()}}
    return found


def _regimes(asked: Asked) -> list[Row]:
    from isoflop.queries.theory.regimes import cell_of

    cells = [cell_of(number(row["data"]), number(row["params"]), number(row["exponent"])) for row in asked]
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
    texts=("phase",),
    lists=("parts", "meet"),
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
    texts=("regime", "limited_by"),
    examples=(
        "SELECT data, params, regime, limited_by, round(loss, 4) AS loss, power\n"
        "FROM regimes([32, 64, 16000, 1M], [32, 64, 16000, 1M], 0.5) WHERE data <> params",
        "SELECT round(-coefficients.alpha, 3) AS power FROM\n"
        "(FIT loss ~ power(data) PARAMETERS (E FIXED 0) FROM (FROM regimes([64, 128, 256, 512, 1024], 1e9, 0.5))\n"
        "WITH (resamples = 0))",
    ),
)
