"""Laws of schedules in statements: fitted to the points of two runs, asked for the curve of a third."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from isoflop.lakehouse import Lakehouse
from isoflop.lakehouse.errors import StatementError
from isoflop.queries.laws import ANNEALING_CURVE
from isoflop.queries.laws.law import input_names
from tests.lakes import open_here

PAGE = Path(__file__).resolve().parents[3] / "docs" / "sweeps.md"
STEPS, PEAK, FINAL, WARM = 24_000.0, 3e-4, 3e-5, 500.0
PLANTED = np.array([2.628, 0.429, 0.507, 0.41, 1000.0])
NOISE = 0.002  # of the log loss [1]
RUNS = {"cosine": (WARM, FINAL, 2.0), "constant": (STEPS, PEAK, 1.0), "wsd": (19_200.0, FINAL, 4.0)}
WSD = (
    "learning_rate = 3e-4, warmup_steps = 500, decay_start = 19200, steps = 24000, final_learning_rate = 3e-5, "
    "decay_shape = 4"
)


def curve(run: str, noise: float) -> pa.Table:
    """Points of a run, and the learning rate at each."""
    start, final, shape = RUNS[run]
    step = np.linspace(1000, STEPS, 116)
    columns = [step, *(np.full(len(step), value) for value in (PEAK, WARM, start, STEPS, final, shape))]
    loss = ANNEALING_CURVE.predict(PLANTED, np.column_stack(columns))
    done = np.clip((step - start) / max(STEPS - start, 1.0), 0, 1)
    left = {1.0: 1 - done, 2.0: (1 + np.cos(np.pi * done)) / 2, 4.0: (0.1**done - 0.1) / 0.9}[shape]
    named = dict(zip(input_names(ANNEALING_CURVE), columns, strict=True))
    noisy = loss * np.exp(noise * np.random.default_rng(len(run)).standard_normal(len(step)))
    return pa.table({"run_id": [run] * len(step), **named, "rate": final + (PEAK - final) * left, "loss": noisy})


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lakehouse]:
    """A lake with points of a cosine and a constant schedule in `seen`, of another one in `unseen`."""
    with open_here(tmp_path_factory.mktemp("lake") / "schedules.duckdb") as opened:
        seen = pa.concat_tables([curve("cosine", NOISE), curve("constant", NOISE)])
        opened.write([("CREATE TABLE seen AS FROM _seen", None)], {"_seen": seen})
        opened.write([("CREATE TABLE unseen AS FROM _unseen", None)], {"_unseen": curve("wsd", 0.0)})
        opened.sql("CREATE LAW annealed AS FIT loss ~ annealing_curve FROM seen WITH (resamples = 40)")
        yield opened


def test_two_schedules_predict_the_curve_of_a_third(lake: Lakehouse) -> None:
    (row,) = lake.sql(
        "SELECT avg(abs(predicted_loss / loss - 1)) AS off, avg((lower < loss AND loss < upper)::INT) AS held "
        "FROM (PREDICT annealed FROM unseen)"
    ).records()
    assert row["off"] < 1e-3 and row["held"] > 0.9
    answer = lake.sql(f"EXTRAPOLATE annealed TO step = [19000, 24000], {WSD}")
    before, after = (one["predicted_loss"] for one in answer.records())
    last = lake.sql("SELECT loss FROM unseen ORDER BY step DESC LIMIT 1").rows()[0][0]
    assert after < before - 0.05 and after == pytest.approx(last, rel=2e-3)
    assert not any("decay_shape" in note for note in answer.notes)


def test_settings_of_a_schedule_need_not_vary(lake: Lakehouse) -> None:
    notes = lake.sql("FIT loss ~ annealing_curve FROM seen WITH (resamples = 0)").notes
    assert not [note for note in notes if re.search("decay_start|warmup_steps|proportional", note)], notes
    assert any("learning_rate has one value" in note for note in notes)


def test_another_memory_is_worse(lake: Lakehouse) -> None:
    fit = "SELECT aicc FROM (FIT loss ~ annealing_curve PARAMETERS (memory FIXED {}) FROM seen WITH (resamples = 0))"
    right, wrong = (lake.sql(fit.format(memory)).rows()[0][0] for memory in (1000, 30_000))
    assert right < wrong - 10
    judged = "SELECT avg(mape) FROM (CROSS VALIDATE loss ~ annealing_curve FROM seen KFOLD 3 WITH (resamples = 0))"
    assert lake.sql(judged).rows()[0][0] < 2 * NOISE


def test_rows_without_a_schedule_are_counted_with_their_reason(lake: Lakehouse) -> None:
    source = "(SELECT * REPLACE (if(step > 20000, 9, decay_shape) AS decay_shape) FROM seen)"
    answer = lake.sql(f"FIT loss ~ annealing_curve FROM {source} WITH (resamples = 0)")
    (row,) = answer.records()
    assert row["dropped"] == 40 and row["rows"] == 192 and row["status"] == "converged"
    assert any("decay_shape is none of 1 linear, 2 cosine" in note for note in answer.notes)
    early = WSD.replace("decay_start = 19200", "decay_start = 100")
    with pytest.raises(StatementError, match="decay_start lies before the end of the warm-up"):
        lake.sql(f"EXTRAPOLATE annealed TO step = 20000, {early}")
    some = lake.sql(f"EXTRAPOLATE annealed TO step = 20000, {WSD.replace('shape = 4', 'shape = [4, 7]')}").records()
    assert some[0]["predicted_loss"] > 2 and some[1]["predicted_loss"] is None


def test_the_page_takes_a_logged_learning_rate(lake: Lakehouse) -> None:
    (block,) = [text for text in re.findall(r"```sql\n(.*?)```", PAGE.read_text(), re.S) if "MACRO" in text]
    macro, fit = block.strip().removesuffix(";").split(";\n\n")
    with lake.session() as session:
        warm = "UNION ALL SELECT DISTINCT run_id, unnest([0, 500]), NULL, unnest([0, 3e-4])"
        session.sql(f"CREATE TEMP TABLE logs AS SELECT run_id, step, loss, rate FROM seen {warm} FROM seen")
        session.sql(macro)
        (row,) = session.sql(fit).records()
        assert row["status"] == "converged" and row["rows"] == 232
        fitted = row["coefficients"]
        assert [fitted[name] for name in ("E", "alpha")] == pytest.approx([PLANTED[0], PLANTED[2]], rel=0.05)
        assert fitted["C"] == pytest.approx(PLANTED[3], rel=0.2)
        session.sql(f"CREATE OR REPLACE LAW logged AS {fit}")
        session.sql(
            f"CREATE OR REPLACE TEMP TABLE logs AS SELECT run_id, step, loss, rate FROM unseen {warm} FROM unseen"
        )
        off = "SELECT avg(abs(predicted_loss / loss - 1)) FROM (PREDICT logged FROM annealed(1000))"
        assert session.sql(off).rows()[0][0] < 2e-3
