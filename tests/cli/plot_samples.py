"""Figures and a law with known content."""

from __future__ import annotations

import numpy as np

from isoflop.cli.plot.figure import Axis, Band, Figure, Floor, Line, PointMarks, ToneScale, floats, tones

PLANTED = {"E": 1.7, "A": 400.0, "B": 1200.0, "alpha": 0.34, "beta": 0.37}


def planted_loss(params: float, tokens: float) -> float:
    """The loss that the planted law gives [nat/token]."""
    return float(PLANTED["E"] + PLANTED["A"] / params ** PLANTED["alpha"] + PLANTED["B"] / tokens ** PLANTED["beta"])


def law_sample() -> Figure:
    """A law over compute with runs, two sizes, an interval, a floor, and unseen runs beyond the data."""
    compute = np.geomspace(1e18, 1e24, 61)
    loss = 1.8 + 4.2e3 / compute**0.19
    runs = np.geomspace(1e18, 1e21, 9)
    seen = 1.8 + 4.2e3 / runs**0.19
    sizes = tones(np.geomspace(1e7, 1e9, runs.size))
    return Figure(
        "chin · loss along the compute-optimal sizes", Axis("training compute", "FLOP", notation="power"),
        Axis("loss", "nat/token"),
        (
            PointMarks(runs, seen * (1 + 0.02 * (-1.0) ** np.arange(9)), "runs", tone=sizes),
            Line(compute[:31], (loss * 1.08)[:31], "10M", tone=0.0, is_thin=True),
            Band(compute, loss * 0.96, loss * 1.04, "95% interval"),
            Line(compute, loss, "chin"),
            PointMarks(floats([1e22, 1e23]), floats([2.1, 2.0]), "held out", is_hollow=True),
            Floor(1.8, "E = 1.8"),
        ),
        ("EXTRAPOLATE chin TO params = 1e9", "RESIDUALS chin"), data_end=1e21, scale=ToneScale("params", 1e7, 1e9),
    )  # fmt: skip


def curve_sample() -> Figure:
    """The loss of two runs over linear steps; one was interrupted."""
    step = np.arange(0.0, 101.0)
    first, second = 2 + 3 * np.exp(-step / 20), 2.4 + 2.6 * np.exp(-step / 30)
    second[40:60] = np.nan
    return Figure(
        "loss of 2 runs", Axis("step", is_log=False), Axis("loss", "nat/token", is_log=False),
        (Line(step, first, "w64", 0.0, is_thin=True), Line(step, second, "w128", 1.0, is_thin=True)),
        notes=("a note",),
    )  # fmt: skip
