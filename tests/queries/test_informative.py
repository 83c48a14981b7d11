"""The run that would help most, where a fit does not know its coefficients or its forecast is wide."""

from __future__ import annotations

import numpy as np

from isoflop.queries.fitting import fit_law
from isoflop.queries.laws import CHINCHILLA
from isoflop.queries.planning.informative import REACH, most_informative_run, notes_on_informative_run

TRUE = np.array([1.7, 400.0, 410.0, 0.34, 0.28])


def sample(params: np.ndarray, tokens: np.ndarray, seed: int = 0):  # type: ignore[no-untyped-def]
    rows = np.stack([np.broadcast_to(params, tokens.shape), tokens], axis=1).astype(float)
    loss = CHINCHILLA.predict(TRUE, rows) * np.exp(np.random.default_rng(seed).normal(0, 0.003, len(rows)))
    return rows, loss


def test_a_fit_at_one_size_is_told_to_run_another() -> None:
    rows, loss = sample(np.array([1e8]), np.geomspace(1e9, 1e11, 20))
    fit = fit_law(CHINCHILLA, rows, loss, resamples=0)
    (note,) = notes_on_informative_run(fit)
    assert note.code == "what_would_help" and "a run at params ≈" in note.message
    found = most_informative_run(fit, rows, among=("A", "alpha"))
    assert found is not None and abs(np.log(found.inputs[0] / 1e8)) > np.log(2) and found.times > 1.1
    assert found.what in ("A", "alpha")


def test_the_run_lies_within_reach_of_the_rows_and_helps_when_it_is_made() -> None:
    target, errors = np.array([[1e10, 2e11]]), []
    for seed in range(8):
        rows, loss = sample(np.repeat(np.geomspace(1e7, 1e8, 3), 5), np.tile(np.geomspace(1e9, 1e10, 5), 3), seed)
        fit = fit_law(CHINCHILLA, rows, loss, resamples=0)
        found = most_informative_run(fit, rows, target=target)
        assert found is not None and found.what == "the forecast" and found.times > 1
        assert (found.inputs >= rows.min(axis=0) / REACH * (1 - 1e-9)).all()
        assert (found.inputs <= rows.max(axis=0) * REACH * (1 + 1e-9)).all()
        new, measured = sample(found.inputs[:1], found.inputs[1:], seed + 100)
        again = fit_law(CHINCHILLA, np.concatenate([rows, new]), np.append(loss, measured), resamples=0)
        truth = CHINCHILLA.predict(TRUE, target)
        errors.append([np.log(CHINCHILLA.predict(one.coefficients, target) / truth)[0] for one in (fit, again)])
    before, after = np.mean(np.square(errors), axis=0)
    assert after < before


def test_a_fit_that_is_identified_has_no_such_note() -> None:
    rows, loss = sample(np.repeat(np.geomspace(1e7, 1e9, 4), 5), np.tile(np.geomspace(1e9, 1e11, 5), 4))
    assert notes_on_informative_run(fit_law(CHINCHILLA, rows, loss, resamples=0)) == []
