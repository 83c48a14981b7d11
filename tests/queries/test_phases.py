"""The phase plane: exponents as published, and as the largest of the four parts has them at its smallest."""

from __future__ import annotations

import numpy as np
import pytest

from isoflop.queries.theory.phases import IV_A, boundaries, phase_of, phases_that_meet

# alpha, beta, phase, eta, xi of arXiv:2405.15074
PUBLISHED = [
    (0.7, 0.3, "Ia", 0.4167, 0.4167), (1.2, 0.2, "Ia", 0.5294, 0.2941), (0.4, 0.3, "Ib", 0.2, 0.5),
    (0.3, 0.4, "Ib", 0.2, 0.5), (0.2, 0.7, "Ic", 0.2222, 0.5556), (0.15, 1.2, "Ic", 0.1711, 0.5705),
    (1.0, 0.7, "II", 0.7059, 0.4118), (0.7, 0.6, "II", 0.6154, 0.4615), (0.7, 1.2, "III", 0.6429, 0.5),
    (0.6, 0.9, "III", 0.5833, 0.5), (0.45, 0.8, "IVa", 0.45, 0.5), (0.35, 0.7, "IVa", 0.35, 0.5),
    (0.27, 0.7, "IVb", 0.2875, 0.5718), (0.28, 1.5, "IVb", 0.2996, 0.6489),
]  # fmt: skip
# Two phases and a point on the boundary between them.
BETWEEN = [
    ("Ia", "Ib", 0.5, 0.3), ("Ia", "II", 0.8, 0.5), ("II", "III", 0.9, 0.9), ("Ib", "Ic", 0.2, 0.5),
    ("IVa", "Ib", 0.4, 0.5), ("IVb", "Ib", 0.27, 0.5), ("IVa", "IVb", float(IV_A), 0.9), ("IVb", "Ic", 0.25, 0.8),
    ("III", "IVa", 0.5, 0.9),
]  # fmt: skip


@pytest.mark.parametrize(("alpha", "beta", "name", "eta", "xi"), PUBLISHED)
def test_the_exponents_are_those_published(alpha: float, beta: float, name: str, eta: float, xi: float) -> None:
    phase = phase_of(alpha, beta)
    assert phase is not None and phase.name == name and phases_that_meet(alpha, beta) == (name,)
    assert (phase.eta, phase.xi) == pytest.approx((eta, xi), abs=1e-4)


def test_there_is_no_power_law_below_the_line() -> None:
    assert phase_of(0.2, 0.2) is None and phases_that_meet(0.2, 0.2) == ("",)
    assert phases_that_meet(0.2, 0.3) == ("", "Ib")


def brute(alpha: float, beta: float, compute: float) -> tuple[float, float]:
    """Log loss and log width where the largest part is smallest, at a log compute; gamma falls as d^(2 alpha - 1)."""
    width = np.linspace(0.001, compute, 100_001)
    rate = np.minimum(0, 2 * alpha - 1) * width
    seen = np.maximum(rate + compute - width, 0)
    parts = [-(2 * alpha + 2 * beta - 1) / (2 * alpha) * seen, (max(0, 1 - 2 * beta) - 2 * alpha) * width]
    if alpha > 0.5 and beta > 0.5:
        parts.append(-width - (1 - 1 / (2 * alpha)) * seen)
    if alpha > 0.25:
        parts.append(rate - (2 - 1 / (2 * alpha)) * seen)
    largest = np.max(parts, axis=0)
    best = int(largest.argmin())
    return float(largest[best]), float(width[best])


def test_the_exponents_are_those_of_the_largest_part_at_its_smallest() -> None:
    random = np.random.default_rng(0)
    tried = 0
    while tried < 200:
        alpha, beta = random.uniform(0.05, 1.5), random.uniform(0.02, 1.6)
        phase = phase_of(alpha, beta)
        if phase is None:
            continue
        tried += 1
        (small, narrow), (large, wide) = brute(alpha, beta, 50.0), brute(alpha, beta, 100.0)
        assert (small - large) / 50 == pytest.approx(phase.eta, abs=2e-3), (alpha, beta)
        assert (wide - narrow) / 50 == pytest.approx(phase.xi, abs=3e-2), (alpha, beta)


@pytest.mark.parametrize(("one", "other", "alpha", "beta"), BETWEEN)
def test_eta_is_continuous_between_phases(one: str, other: str, alpha: float, beta: float) -> None:
    assert set(phases_that_meet(alpha, beta)) == {one, other}
    around = [(alpha + 1e-5 * a, beta + 1e-5 * b) for a in (-1, 1) for b in (-1, 1)]
    found = {phase.name: phase.eta for phase in (phase_of(*place) for place in around) if phase is not None}
    assert set(found) == {one, other}
    assert found[one] == pytest.approx(found[other], abs=1e-3)


def test_the_boundaries_separate_phases() -> None:
    for (alpha, beta), (further, higher) in boundaries(1.5, 1.6):
        for share in (0.1, 0.5, 0.9):
            place = alpha + share * (further - alpha), beta + share * (higher - beta)
            assert len(phases_that_meet(*place)) > 1, place
    grid = [(alpha, beta) for alpha in np.arange(0.013, 1.5, 0.04) for beta in np.arange(0.017, 1.6, 0.04)]
    assert all(len(phases_that_meet(*place)) == 1 for place in grid)
