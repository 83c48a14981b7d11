"""Config keys and repeated points that a careless statement would stumble over."""

from __future__ import annotations

from isoflop.lakehouse import Lakehouse, RunRecord


def test_any_text_can_be_a_config_key(lakehouse: Lakehouse) -> None:
    for value in (1, 2.5, "x"):
        lakehouse.record_runs([RunRecord(family="f", config={'say "hi"': value, "order": value, "π": value})])
    rows = lakehouse.query('SELECT "say ""hi""" AS a, "order" AS b, "π" AS c FROM runs ORDER BY ALL').to_pylist()
    assert [row["a"] for row in rows] == ["1.0", "2.5", "x"] and all(row["a"] == row["b"] == row["c"] for row in rows)


def test_tokens_logged_twice_at_a_step_make_one_point(lakehouse: Lakehouse) -> None:
    with lakehouse.run("mine", {"a": 1}) as run:
        run.log(step=1, loss=2.0, tokens=10)
        run.log(step=1, tokens=10)
    assert lakehouse.query("SELECT step, tokens, loss FROM curves").to_pylist() == [
        {"step": 1, "tokens": 10.0, "loss": 2.0}
    ]
