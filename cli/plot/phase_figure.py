"""The plane of phases of random features, with runs placed in it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from isoflop.cli.plot.figure import Axis, Figure, Line, Mark, PointMarks, floats
from isoflop.cli.plot.run_figures import NAMED_CURVES, NamedRun
from isoflop.lakehouse.errors import EmptySelection
from isoflop.lakehouse.sql.quoting import literal
from isoflop.queries.theory.phases import boundaries, phase_of, phases_that_meet

if TYPE_CHECKING:
    from isoflop.lakehouse import Lakehouse

NAME = "phases"
REACH = (1.25, 1.45)  # alpha and beta [1] up to which the plane is drawn, where no run lies farther out
ROOM = 1.1  # times the farthest run
LETTER = 0.006  # half of a letter's width, in shares of the plane's
GRID = 120  # points an axis over which the middle of a phase is found


def phase_figure(lake: Lakehouse | None = None, runs: Sequence[NamedRun] = ()) -> Figure:
    """Return the plane of alpha and beta with the boundaries of the phases.

    Parameters
    ----------
    lake : of the runs; None without any
    runs : placed in the plane; those of one place are one point

    Raises
    ------
    EmptySelection : if none of the runs has two exponents, as those of the family `plrf` do
    """
    marks: list[Mark] = []
    statements: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    far_alpha, far_beta = REACH
    if lake is not None and runs:
        ids = ", ".join(literal(run.run_id) for run in runs)
        statement = (
            "SELECT run_id, spectrum_exponent AS alpha, target_exponent AS beta FROM runs\n"
            f"WHERE run_id IN ({ids}) AND family = 'plrf' ORDER BY run_id"
        )
        labels = {run.run_id: run.label for run in runs}
        rows = [(str(run), alpha, beta) for run, alpha, beta in _placed(lake, statement)]
        statements = (statement,)
        if not rows:
            raise EmptySelection("none of these runs has a place among the phases", hint="runs of family 'plrf' do")
        notes = (f"{len(runs) - len(rows)} of {len(runs)} runs are of other families",) if len(rows) < len(runs) else ()
        alphas, betas = floats([row[1] for row in rows]), floats([row[2] for row in rows])
        far_alpha, far_beta = max(far_alpha, ROOM * alphas.max()), max(far_beta, ROOM * betas.max())
        marks.append(PointMarks(alphas, betas, "run" if len(rows) == 1 else f"{len(rows)} runs"))
        if len(rows) <= NAMED_CURVES:
            notes = (*notes, *(f"{labels[run]}: {_said(alpha, beta)}" for run, alpha, beta in rows))
    ends = [(*one, *other, np.nan, np.nan) for one, other in boundaries(far_alpha, far_beta)]
    line = Line(floats([each[0::2] for each in ends]), floats([each[1::2] for each in ends]), "boundary")
    names = [  # begun to the left of the middle, because a name stands to the right of its place
        Line(floats([alpha - LETTER * far_alpha * len(name)]), floats([beta]), name, tone=0.35, is_thin=True)
        for name, (alpha, beta) in _middles(far_alpha, far_beta).items()
    ]
    alpha_axis = Axis("alpha, the data's spectrum j^-2alpha", is_log=False, low=0.0, high=far_alpha)
    beta_axis = Axis("beta, the target j^-beta", is_log=False, low=0.0, high=far_beta)
    title = "phases of random features under one-pass SGD"
    return Figure(title, alpha_axis, beta_axis, (line, *names, *marks), statements, notes)


def _placed(lake: Lakehouse, statement: str) -> list[tuple[str, float, float]]:
    """Runs with their exponents; none in a lake without such columns, which has no run of the family."""
    names = lake.query("SELECT * FROM runs LIMIT 0").column_names
    if not {"spectrum_exponent", "target_exponent"} <= set(names):
        return []
    rows = lake.query(statement).to_pylist()
    return [(row["run_id"], row["alpha"], row["beta"]) for row in rows if row["alpha"] is not None]


def _said(alpha: float, beta: float) -> str:
    names = [f"phase {name}" if name else "no power law" for name in phases_that_meet(alpha, beta)]
    return " and ".join(names)


def _middles(far_alpha: float, far_beta: float) -> dict[str, tuple[float, float]]:
    """Return the place in each phase that is farthest from all others, on a grid, in shares of the plane."""
    alphas, betas = ((np.arange(GRID) + 0.5) / GRID * far for far in (far_alpha, far_beta))
    found = [[phase_of(alpha, beta) for beta in betas.tolist()] for alpha in alphas.tolist()]
    names = np.array([[phase.name if phase else "no power law" for phase in row] for row in found])  # (alpha, beta)
    middles = {}
    for name in np.unique(names).tolist():
        inside = np.pad(names == name, 1)  # a border of the plane is a boundary as well
        depth = inside.astype(int)
        layer = inside
        while layer.any():
            layer = layer[1:-1, 1:-1] & layer[:-2, 1:-1] & layer[2:, 1:-1] & layer[1:-1, :-2] & layer[1:-1, 2:]
            layer = np.pad(layer, 1)
            depth += layer
        places = np.argwhere(depth == depth.max())
        row, column = places[np.argmin(np.sum((places - places.mean(axis=0)) ** 2, axis=1))] - 1
        middles[name] = (float(alphas[row]), float(betas[column]))
    return middles
