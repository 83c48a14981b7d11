"""The run that would help most, where a fit does not know its coefficients or its forecast is wide."""

from __future__ import annotations

import numpy as np
import pytest

from isoflop.queries.fitting import fit_law
from isoflop.queries.laws import CHINCHILLA, MULTI_POWER, find_law
from isoflop.queries.laws.data_constrained import DATA_CONSTRAINED
from isoflop.queries.laws.schedule import COSINE, LINEAR, faults_of
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


def test_suggested_proportions_make_no_more_than_a_whole() -> None:
    generator = np.random.default_rng(3)
    whole = generator.dirichlet([6.0, 3.0, 2.0], 12)  # of three domains
    law = find_law("mixture3")
    loss = law.predict(np.array([1.0, 1.0, 0.5, -0.4, 0.2]), whole) * np.exp(generator.normal(0, 1e-3, 12))
    found = most_informative_run(fit_law(law, whole, loss, resamples=0), whole)
    assert found is not None and found.inputs.sum() == pytest.approx(1.0) and (found.inputs >= 0).all()

    law, some = find_law("mixture2"), whole[:, :2]
    loss = law.predict(np.array([1.0, 1.0, 0.5, -0.4]), some) * np.exp(generator.normal(0, 1e-3, 12))
    found = most_informative_run(fit_law(law, some, loss, resamples=0), some)
    assert found is not None and 0 < found.inputs.sum() <= 1 + 1e-12 and (found.inputs >= 0).all()


def test_no_suggested_run_has_less_than_one_epoch_or_a_schedule_that_cannot_be() -> None:
    params, tokens, epochs = (
        axis.ravel() for axis in np.meshgrid([1e8, 1e9], [1e9, 1e10, 1e11], [1.0, 2.0, 4.0], indexing="ij")
    )
    rows = np.column_stack([params, tokens, epochs])
    loss = DATA_CONSTRAINED.predict(np.array([1.7, 400.0, 410.0, 0.34, 0.28, 15.0, 5.0]), rows)
    fit = fit_law(DATA_CONSTRAINED, rows, loss * np.exp(np.random.default_rng(1).normal(0, 1e-3, 18)), resamples=0)
    for name in fit.names:
        found = most_informative_run(fit, rows, among=(name,))
        assert found is None or found.inputs[2] >= 1


def test_a_suggested_schedule_is_one_that_there_is() -> None:
    step = np.linspace(500, 4000, 15)
    runs = [
        np.column_stack([step, *np.tile([rate, 100.0, start, 4000.0, 0.0, shape], (15, 1)).T])
        for rate, start, shape in ((3e-4, 2000.0, LINEAR), (3e-4, 100.0, COSINE), (3e-4, 4000.0, LINEAR))
    ]
    rows = np.concatenate(runs)
    loss = MULTI_POWER.predict(np.array([2.65, 0.62, 0.44, 448.0, 2.07, 0.56, 0.61]), rows)
    fit = fit_law(MULTI_POWER, rows, loss * np.exp(np.random.default_rng(0).normal(0, 1e-3, 45)), resamples=0)
    found = most_informative_run(fit, rows)
    assert found is not None and faults_of(found.inputs[None]) == [""]
    assert found.inputs[6] in (LINEAR, COSINE) and found.inputs[3] in rows[:, 3]
