"""Every law gives planted coefficients back from noisy runs, and its 90 % intervals hold them 85 to 95 times of 100.

Bias is judged over a law's coefficients together: one in twenty lies beyond two standard errors by chance. So does a
law among so many, and fifty seeds that share their noise over its coefficients tell a coverage to 3 to 4 points: a law
that fails on fifty seeds is judged on four times as many, where what is wrong shows twice as clearly.
"""

from __future__ import annotations

import pytest

from isoflop.queries.laws import LAWS
from tests.bench.bench_recovery import CHECKED, EVERY, FEW, HIGHEST, LOWEST, MOST_BIAS, judge, recover

QUICK = ("step_time", "ptq", "optimal_batch")  # one of each kind of objective, a fit of which takes milliseconds


@pytest.mark.slow
@pytest.mark.parametrize("name", QUICK)
def test_cheap_laws_give_planted_coefficients_back(name: str) -> None:
    found = recover(name, resamples=100)
    assert found.converged == 1.0 and found.typical_bias <= MOST_BIAS
    # a hundred resamples put their 5 % quantiles a little too far inside
    assert LOWEST - found.coverage_error <= found.coverage <= HIGHEST


def test_every_law_has_planted_coefficients() -> None:
    assert set(EVERY) == set(LAWS)
    assert set(LAWS) - set(CHECKED) == {"nqs_regularised"}  # whose fit is that of nqs


@pytest.mark.long
@pytest.mark.parametrize("name", CHECKED)
def test_every_law_gives_planted_coefficients_back(name: str) -> None:
    found = judge(name)
    assert found.converged >= 0.98 and found.is_as_it_should_be, found


@pytest.mark.long
@pytest.mark.parametrize(("name", "rows"), FEW)
def test_intervals_hold_with_few_rows(name: str, rows: int) -> None:
    found = judge(name, rows=rows)
    assert LOWEST <= found.coverage <= HIGHEST, found
