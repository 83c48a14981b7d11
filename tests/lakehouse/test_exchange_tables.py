"""Curves from tables: which columns are metrics, which runs the points are of, and what is refused."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

from isoflop.lakehouse import Lakehouse
from isoflop.lakehouse.errors import FileError, RecordError
from isoflop.lakehouse.exchange import import_table

HEAD = "run_id,step,tokens,flops,seconds,params,lr,loss,val_loss,optimizer\n"


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_numbers_that_vary_are_metrics_and_the_rest_are_settings(lakehouse: Lakehouse, tmp_path: Path) -> None:
    path = write(
        tmp_path / "c.csv",
        HEAD + "a,0,0,0,0,10,0.1,5.0,,adam\na,1,100,6e3,1.5,10,0.2,4.0,4.5,adam\na,2,200,12e3,3,10,0.1,3.0,,adam\n",
    )
    done = import_table(lakehouse, path)
    assert (done.runs, done.points) == (1, 3 + 3 + 3 + 3 + 1)
    (run,) = lakehouse.query("SELECT * FROM runs").to_pylist()
    assert (run["params"], run["tokens"], run["flops"], run["steps"]) == (10, 200, 12e3, 2)
    assert (run["optimizer"], run["loss"], run["train_seconds"], run["status"]) == ("adam", 3.0, 3.0, "finished")
    curve = lakehouse.query("SELECT step, tokens, flops, seconds, loss FROM curves ORDER BY step").to_pylist()
    assert [tuple(point.values()) for point in curve] == [
        (0, 0, 0, 0, 5.0),
        (1, 100, 6e3, 1.5, 4.0),
        (2, 200, 12e3, 3, 3.0),
    ]
    finals = {row["metric"]: row["last"] for row in lakehouse.query("SELECT metric, last FROM finals").to_pylist()}
    assert finals == {"loss": 3.0, "lr": 0.1, "tokens": 200, "flops": 12e3, "validation_loss": 4.5}


def test_a_curve_that_ends_in_nan_is_a_diverged_run_with_all_its_points(lakehouse: Lakehouse, tmp_path: Path) -> None:
    done = import_table(lakehouse, write(tmp_path / "c.csv", "run_id,step,loss\na,1,4\na,2,inf\na,3,nan\nb,1,3\n"))
    assert done.skipped == 0
    rows = lakehouse.query("SELECT run_id, status, reason, loss FROM runs ORDER BY run_id").to_pylist()
    assert (rows[0]["status"], rows[0]["reason"]) == ("failed", "diverged") and math.isnan(rows[0]["loss"])
    assert (rows[1]["status"], rows[1]["loss"]) == ("finished", 3.0)
    values = [
        row["value"]
        for row in lakehouse.query("SELECT value FROM metrics WHERE run_id = 'a' ORDER BY step").to_pylist()
    ]
    assert values[:2] == [4.0, math.inf] and math.isnan(values[2])


def test_a_file_without_ids_is_one_curve_or_asks_for_them(lakehouse: Lakehouse, tmp_path: Path) -> None:
    assert import_table(lakehouse, write(tmp_path / "one.csv", "step,loss\n1,4\n2,3\n")).runs == 1
    assert lakehouse.query("SELECT name, loss FROM runs").to_pylist() == [{"name": "one", "loss": 3.0}]
    two = write(tmp_path / "two.csv", "step,loss,kind\n1,4,a\n2,3,a\n1,5,b\n")
    with pytest.raises(RecordError, match="'step' repeats and there is no run_id"):
        import_table(lakehouse, two)
    assert import_table(lakehouse, two, mapping={"run_id": "kind"}).runs == 2
    named = write(tmp_path / "named.csv", "name,step,loss\nx,1,4\ny,1,5\n")
    assert import_table(lakehouse, named).runs == 2
    with pytest.raises(RecordError, match="'step' repeats within a name"):
        import_table(lakehouse, write(tmp_path / "seeds.csv", "name,step,loss\nx,1,4\nx,1,5\n"))


def test_points_can_come_as_metric_and_value(lakehouse: Lakehouse, tmp_path: Path) -> None:
    path = write(
        tmp_path / "long.csv",
        "run_id,metric,step,value,width,attempt\na,loss,1,4,64,1\na,loss,2,9,64,1\na,loss,2,3,64,2\na,tokens,2,200,64,2\n",
    )
    assert import_table(lakehouse, path).points == 3
    rows = lakehouse.query("SELECT metric, step, value FROM metrics ORDER BY ALL").to_pylist()
    assert [tuple(row.values()) for row in rows] == [("loss", 1, 4.0), ("loss", 2, 3.0), ("tokens", 2, 200.0)]
    assert lakehouse.query("SELECT width, loss, tokens FROM runs").to_pylist() == [
        {"width": 64, "loss": 3.0, "tokens": 200}
    ]


def test_a_longer_curve_is_a_new_attempt_and_the_view_shows_it_once(lakehouse: Lakehouse, tmp_path: Path) -> None:
    path = write(tmp_path / "c.csv", "run_id,step,loss\na,1,4\na,2,3\nb,1,3\n")
    import_table(lakehouse, path)
    write(path, "run_id,step,loss\na,1,4\na,2,3\na,3,2\nb,1,3\n")
    done = import_table(lakehouse, path)
    assert (done.added, done.changed, done.unchanged) == (0, 1, 1)
    curve = lakehouse.query("SELECT step, loss FROM curves WHERE run_id = 'a' ORDER BY step").to_pylist()
    assert [row["loss"] for row in curve] == [4, 3, 2]
    assert import_table(lakehouse, path).unchanged == 2


def test_the_order_of_the_rows_does_not_matter(lakehouse: Lakehouse, tmp_path: Path) -> None:
    rows = [f"{run},{step},{1 / step}" for run in "abc" for step in range(1, 20)]
    path = write(tmp_path / "c.csv", "run_id,step,loss\n" + "\n".join(rows))
    import_table(lakehouse, path)
    write(path, "run_id,step,loss\n" + "\n".join(reversed(rows)))
    assert import_table(lakehouse, path).unchanged == 3


def test_steps_that_are_not_whole_and_counts_below_zero_are_refused(lakehouse: Lakehouse, tmp_path: Path) -> None:
    with pytest.raises(RecordError, match=r"row 1: step is '1.5', not a whole number"):
        import_table(lakehouse, write(tmp_path / "c.csv", "run_id,step,loss\na,1.5,4\n"))
    with pytest.raises(RecordError, match=r"row 2: tokens is '-1', not a finite number from zero up"):
        import_table(lakehouse, write(tmp_path / "d.csv", "run_id,step,tokens,loss\na,1,0,4\na,2,-1,4\n"))


def test_text_stays_text(lakehouse: Lakehouse, tmp_path: Path) -> None:
    import_table(lakehouse, write(tmp_path / "r.csv", "run_id,loss,tag,flag,word,code\n007,2.5,1_000,true,yes,012\n"))
    (row,) = lakehouse.query("SELECT run_id, tag, flag, word, code FROM runs").to_pylist()
    assert row == {"run_id": "007", "tag": "1_000", "flag": True, "word": "yes", "code": "012"}
    told = [
        {"run_id": "j", "loss": "2.5", "digits": "12", "clip": "NaN"},
        {"run_id": "k", "loss": 3, "digits": "13", "clip": 1},
    ]
    import_table(lakehouse, write(tmp_path / "s.jsonl", "\n".join(map(json.dumps, told))))
    rows = lakehouse.query("SELECT loss, digits, clip FROM runs WHERE run_id IN ('j', 'k') ORDER BY loss").to_pylist()
    assert [row["digits"] for row in rows] == ["12", "13"] and rows[0]["loss"] == 2.5
    assert math.isnan(rows[0]["clip"]) and rows[1]["clip"] == 1.0


def test_text_that_varies_along_a_curve_is_left_out_aloud(lakehouse: Lakehouse, tmp_path: Path) -> None:
    done = import_table(lakehouse, write(tmp_path / "c.csv", "run_id,step,loss,phase\na,1,4,warm\na,2,3,main\n"))
    assert done.notes == ("phase: text that varies along a curve, left out",)


def test_columns_of_any_name_come_in(lakehouse: Lakehouse, tmp_path: Path) -> None:
    path = tmp_path / "r.parquet"
    with duckdb.connect() as con:
        con.execute(
            'COPY (SELECT \'a\' AS run_id, i AS step, 1.0 / i AS loss, i * 2.0 AS "metric", i AS "value", '
            f'\'x\' AS "select", 3 AS "a ""b""" FROM range(1, 4) t(i)) TO \'{path}\''
        )
    assert import_table(lakehouse, path).points == 9
    (row,) = lakehouse.query("""SELECT "select", "a 'b'" AS b FROM runs""").to_pylist()
    assert row == {"select": "x", "b": 3}


def test_whole_numbers_of_json_stay_whole(lakehouse: Lakehouse, tmp_path: Path) -> None:
    import_table(
        lakehouse, write(tmp_path / "r.jsonl", '{"run_id": "a", "loss": 1, "big": 9007199254740993, "rate": 0.5}\n')
    )
    (row,) = lakehouse.query("SELECT big, rate FROM runs").to_pylist()
    assert row == {"big": 9007199254740993, "rate": 0.5}


def test_nested_settings_are_flat_and_names_of_the_lake_stay_in_config(lakehouse: Lakehouse, tmp_path: Path) -> None:
    path = write(
        tmp_path / "r.jsonl", '{"run_id":"a","opt":{"lr":0.5},"betas":[1,2],"status":"weird","source":"web","loss":2}\n'
    )
    done = import_table(lakehouse, path)
    (row,) = lakehouse.query('SELECT "opt.lr" AS lr, status, source, config FROM runs').to_pylist()
    assert (row["lr"], row["status"], row["source"]) == (0.5, "finished", "import:r")
    assert json.loads(row["config"]) == {"opt.lr": 0.5, "betas": [1, 2], "status": "weird", "source": "web"}
    assert any("'source', 'status': a name that the lake has for itself" in note for note in done.notes)


def test_a_file_with_a_column_called_rowid_is_read_right(lakehouse: Lakehouse, tmp_path: Path) -> None:
    path = write(tmp_path / "r.csv", "rowid,params,loss\n5,1,2\n6,-1,2\n")
    assert import_table(lakehouse, path, skip_bad_rows=True).notes[0].startswith("row 2: params is '-1'")


def test_a_broken_file_is_named(lakehouse: Lakehouse, tmp_path: Path) -> None:
    with pytest.raises(FileError, match=r"r.parquet: cannot be read"):
        import_table(lakehouse, write(tmp_path / "r.parquet", "not parquet"))
    with pytest.raises(FileError, match=r"r.arrow: cannot be read as an Arrow file"):
        import_table(lakehouse, write(tmp_path / "r.arrow", "not arrow"))


def test_a_lake_that_another_process_holds_takes_curves_too(lakehouse: Lakehouse, tmp_path: Path) -> None:
    rows = "".join(f"{run},{step},{1 / step}\n" for run in "abc" for step in range(1, 2000))
    path = write(tmp_path / "c.csv", "run_id,step,loss\n" + rows)
    program = (
        "import sys; from pathlib import Path; from isoflop.lakehouse import Lakehouse; "
        "from isoflop.lakehouse.exchange import import_table; lake = Lakehouse(sys.argv[1]); "
        "print(lake.is_owner, import_table(lake, Path(sys.argv[2])).added)"
    )
    with lakehouse.hold():
        done = subprocess.run(
            [sys.executable, "-c", program, lakehouse.address, str(path)], capture_output=True, text=True, timeout=300
        )
    assert (done.stdout, done.stderr) == ("False 3\n", "")
    assert len(lakehouse.query("SELECT * FROM curves")) == 3 * 1999
