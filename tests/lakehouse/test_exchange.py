"""Runs from tables."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest

from isoflop.lakehouse import Lakehouse
from isoflop.lakehouse.errors import FileError, RecordError
from isoflop.lakehouse.exchange import import_table
from isoflop.lakehouse.exchange.published import find_published


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_the_published_runs_import_once(lakehouse: Lakehouse) -> None:
    path = find_published("chinchilla_epoch")
    first = import_table(lakehouse, path)
    assert (first.rows, first.added, first.notes) == (245, 245, ())
    again = import_table(lakehouse, path)
    assert (again.added, again.changed, again.unchanged) == (0, 0, 245)
    (row,) = lakehouse.query(
        "SELECT count(*) AS n, count(*) FILTER (NOT outlier) AS kept, min(loss) AS best "
        "FROM runs WHERE source LIKE 'import:%'"
    ).to_pylist()
    assert (row["n"], row["kept"]) == (245, 240) and row["best"] == pytest.approx(2.0774, abs=1e-4)


def test_columns_and_expressions_are_mapped(lakehouse: Lakehouse, tmp_path: Path) -> None:
    path = write(tmp_path / "r.csv", "N,D,bpt,optimizer\n1.5,20,4.0,adam\n3,40,3.5,sgd\n")
    done = import_table(lakehouse, path, mapping={"params": "N * 1e9", "tokens": "D", "loss": "bpt * ln(2)"})
    assert done.added == 2
    rows = lakehouse.query(
        "SELECT params, tokens, loss, optimizer, status, source FROM runs ORDER BY params"
    ).to_pylist()
    assert rows[0]["params"] == 1.5e9 and rows[0]["loss"] == pytest.approx(2.7726, abs=1e-4)
    assert (rows[1]["optimizer"], rows[1]["status"], rows[1]["source"]) == ("sgd", "finished", "import:r")


def test_impossible_values_are_all_named_and_nothing_is_imported(lakehouse: Lakehouse, tmp_path: Path) -> None:
    path = write(tmp_path / "bad.csv", "params,tokens,loss\n1e6,2e7,3.1\ninf,2e7,2\n-3,2e7,high\n")
    with pytest.raises(RecordError) as caught:
        import_table(lakehouse, path)
    message = str(caught.value)
    assert (
        "2 of 3 rows" in message
        and "row 2: params is 'inf'" in message
        and "row 3: loss is 'high', not a number" in message
    )
    assert "row 3: params is '-3" in message and "--skip-bad-rows" in message
    assert len(lakehouse.query("SELECT * FROM runs")) == 0
    assert import_table(lakehouse, path, skip_bad_rows=True).added == 1


def test_a_changed_row_is_a_new_attempt_and_its_columns_follow(lakehouse: Lakehouse, tmp_path: Path) -> None:
    path = write(tmp_path / "r.csv", "run_id,params,loss,note\na,10,2.5,old\nb,20,2.0,old\n")
    import_table(lakehouse, path)
    write(path, "run_id,params,loss,note\na,11,2.4,new\nb,20,2.0,old\n")
    done = import_table(lakehouse, path)
    assert (done.added, done.changed, done.unchanged) == (0, 1, 1)
    row = lakehouse.query("SELECT attempt, params, loss, note FROM runs WHERE run_id = 'a'").to_pylist()
    assert row == [{"attempt": 2, "params": 11.0, "loss": 2.4, "note": "new"}]


def test_run_ids_of_another_file_are_not_overwritten(lakehouse: Lakehouse, tmp_path: Path) -> None:
    import_table(lakehouse, write(tmp_path / "one.csv", "run_id,loss\na,2.5\n"))
    with pytest.raises(RecordError, match="from import:one"):
        import_table(lakehouse, write(tmp_path / "two.csv", "run_id,loss\na,1.5\n"))


def test_rows_with_steps_are_a_curve(lakehouse: Lakehouse, tmp_path: Path) -> None:
    path = write(
        tmp_path / "c.csv",
        "run_id,step,tokens,params,seconds,loss\na,20,200,10,2,3.0\na,10,100,10,1,4.0\na,35,350,10,3,2.0\nb,10,100,20,1,3.5\n",
    )
    done = import_table(lakehouse, path)
    assert (done.runs, done.rows) == (2, 4)
    curve = lakehouse.query(
        "SELECT step, tokens, seconds, loss, params FROM curves WHERE run_id = 'a' ORDER BY step"
    ).to_pylist()
    assert [(row["step"], row["tokens"], row["loss"]) for row in curve] == [
        (10, 100, 4.0),
        (20, 200, 3.0),
        (35, 350, 2.0),
    ]
    (final,) = lakehouse.query("SELECT loss, tokens, params, steps FROM runs WHERE run_id = 'a'").to_pylist()
    assert final == {"loss": 2.0, "tokens": 350.0, "params": 10.0, "steps": 35}


def test_repeated_ids_without_steps_are_refused(lakehouse: Lakehouse, tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="no column 'step'"):
        import_table(lakehouse, write(tmp_path / "r.csv", "run_id,loss\na,2.5\na,2.0\n"))


def test_parquet_and_json_lines_are_read_too(lakehouse: Lakehouse, tmp_path: Path) -> None:
    con = duckdb.connect()
    con.execute(f"COPY (SELECT 10.0 AS params, 2.5 AS loss, 'p' AS kind) TO '{tmp_path}/r.parquet'")
    con.close()
    assert import_table(lakehouse, tmp_path / "r.parquet").added == 1
    assert import_table(lakehouse, write(tmp_path / "s.jsonl", '{"params": 5, "loss": 3.5, "kind": "j"}\n')).added == 1
    assert {row["kind"] for row in lakehouse.query("SELECT kind FROM runs").to_pylist()} == {"p", "j"}


def test_a_missing_column_an_unknown_ending_and_no_file_say_what_to_do(lakehouse: Lakehouse, tmp_path: Path) -> None:
    path = write(tmp_path / "r.csv", "N,loss\n1,2\n")
    with pytest.raises(FileError, match=r"no column 'M'[\s\S]*the file has N, loss"):
        import_table(lakehouse, path, mapping={"params": "M"})
    with pytest.raises(FileError, match="no such file"):
        import_table(lakehouse, tmp_path / "none.csv")
    with pytest.raises(FileError, match="not a table we read"):
        import_table(lakehouse, write(tmp_path / "r.xyz", "N\n1\n"))


def test_units_that_cannot_be_right_are_pointed_out(lakehouse: Lakehouse, tmp_path: Path) -> None:
    path = write(tmp_path / "r.csv", "params,tokens,flops,loss\n1.5,20,1.8e20,2.5\n3,40,7.2e20,60\n")
    notes = import_table(lakehouse, path).notes
    assert any("params are between 1.5 and 3: are they in billions?" in note for note in notes)
    assert any("nats per token" in note for note in notes)


def test_flops_of_another_unit_are_pointed_out(lakehouse: Lakehouse, tmp_path: Path) -> None:
    path = write(tmp_path / "r.csv", "params,tokens,flops,loss\n1e8,2e9,1.2,2.5\n2e8,2e9,2.4,2.4\n")
    notes = import_table(lakehouse, path).notes
    assert any("flops is 1e-18 times 6 * params * tokens" in note and "* 1e18" in note for note in notes)


def test_missing_values_stay_missing(lakehouse: Lakehouse, tmp_path: Path) -> None:
    import_table(lakehouse, write(tmp_path / "r.csv", "params,loss,batch\n10,2.5,\n20,,7\n"))
    rows = lakehouse.query("SELECT loss, batch FROM runs ORDER BY params").to_pylist()
    assert rows == [{"loss": 2.5, "batch": None}, {"loss": None, "batch": 7}]


@pytest.mark.slow
def test_a_run_that_has_a_further_setting_now_is_changed(address: str, tmp_path: Path) -> None:
    with Lakehouse(address) as lake:
        for content in ("run_id,loss,knob\na,3,1\nb,3,1\n", "run_id,loss,knob,extra\na,2,1.5,7\nb,2,2.5,8\n"):
            done = import_table(lake, write(tmp_path / "r.csv", content))
        assert (done.added, done.changed) == (0, 2)
        rows = lake.query("SELECT loss, knob, extra FROM runs ORDER BY run_id").to_pylist()
        assert rows == [{"loss": 2, "knob": 1.5, "extra": 7}, {"loss": 2, "knob": 2.5, "extra": 8}]
