"""Files as people have them: each imports with one command, or with the one that the first error prints."""

from __future__ import annotations

import gzip
import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from typer.testing import CliRunner

from isoflop.cli.main import app
from isoflop.lakehouse import Lakehouse
from isoflop.lakehouse.errors import FileError, IsoflopError, RecordError
from isoflop.lakehouse.exchange import import_path

CURVE = "".join(f"{step},{3 + 1 / step:.4f}\n" for step in range(1, 11))


def text(name: str, content: str) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)
        return folder / name

    return write


def sheet(folder: Path) -> Path:
    import openpyxl

    book = openpyxl.Workbook()
    for row in (("Model", "params", "tokens", "loss"), ("a", "70M", "1.4B", 3.1), ("b", "160M", "3.2B", 2.9)):
        book.active.append(row)
    book.save(folder / "runs.xlsx")
    return folder / "runs.xlsx"


def zipped(folder: Path) -> Path:
    with gzip.open(folder / "runs.csv.gz", "wt") as file:
        file.write("params,tokens,loss\n1e7,2e8,3.5\n3e7,6e8,3.1\n")
    return folder / "runs.csv.gz"


def parquet(folder: Path) -> Path:
    columns = {"N": [10_000_000, 30_000_000], "D": [2e8, 6e8], "final_loss": [3.5, 3.1]}
    pq.write_table(pa.table(columns), folder / "runs.parquet")
    return folder / "runs.parquet"


def lightning(folder: Path) -> Path:
    for version in (0, 1):
        home = folder / f"lightning_logs/version_{version}"
        home.mkdir(parents=True)
        (home / "metrics.csv").write_text("step,train_loss\n" + CURVE)
        (home / "hparams.yaml").write_text(yaml.safe_dump({"n_params": 10_000_000 * (version + 1), "lr": 1e-3}))
    return folder / "lightning_logs"


def checkpoints(folder: Path) -> Path:
    for last in (5, 10):
        home = folder / f"out/checkpoint-{last}"
        home.mkdir(parents=True)
        history = [{"step": step, "loss": 3.0 + 1 / step, "epoch": 0.1 * step} for step in range(1, last + 1)]
        state = {"global_step": last, "max_steps": 10, "total_flos": 1e15, "log_history": history}
        (home / "trainer_state.json").write_text(json.dumps(state))
    return folder / "out"


def evaluation(folder: Path) -> Path:
    told = {
        "results": {"hellaswag": {"alias": "hellaswag", "acc,none": 0.41, "acc_norm,none": 0.53}},
        "config": {
            "model": "hf",
            "model_args": "pretrained=EleutherAI/pythia-160m",
            "model_num_parameters": 162_322_944,
        },
        "model_name": "EleutherAI/pythia-160m",
    }
    return text("results_2026-01-01.json", json.dumps(told))(folder)


def curves(folder: Path) -> Path:
    for name in ("10M-1x", "30M-1x"):
        text(f"curves/{name}.csv", "_step,eval/loss\n" + CURVE)(folder)
    return folder / "curves"


# name -> (what makes the file, extra words, runs, runs with a loss, points)
FILES: dict[str, tuple[Callable[[Path], Path], list[str], int, int, int]] = {
    "our names": (text("a.csv", "params,tokens,loss\n1e7,2e8,3.5\n"), [], 1, 1, 0),
    "letters": (parquet, [], 2, 2, 0),
    "long names": (
        text("a.csv", "run,num_params,total_tokens,train/loss\nr0,1e7,2e8,3.5\nr1,3e7,6e8,3\n"),
        [], 2, 2, 0,
    ),
    "sizes in words": (
        text("a.csv", "name,params,tokens,loss\na,70M,1.4T,3\nb,\"1,300,000,000\",26B,2\n"),
        [], 2, 2, 0,
    ),
    "underscores": (text("a.csv", "params,tokens,loss\n10_000_000,2e8,3\n"), [], 1, 1, 0),
    "semicolons": (text("a.csv", "params;tokens;loss\n10000000;200000000;3,512\n3e7;6e8;3,1\n"), [], 2, 2, 0),
    "tabs": (text("a.tsv", "params\ttokens\tloss\n1e7\t2e8\t3.5\n"), [], 1, 1, 0),
    "gaps": (text("a.csv", "params,tokens,loss\n1e7,2e8,-\n3e7,6e8,N/A\n1e8,2e9,2.5\n"), [], 3, 1, 0),
    "diverged": (text("a.csv", "params,tokens,loss\n1e7,2e8,nan\n3e7,6e8,3\n"), [], 2, 2, 0),
    "crashed": (
        text("a.csv", "Name,State,params,tokens,loss\na,crashed,1e7,2e8,\nb,finished,3e7,6e8,3\n"),
        [], 2, 1, 0,
    ),
    "perplexity": (text("a.csv", "params,tokens,ppl\n1e7,2e8,33.1\n"), [], 1, 1, 0),
    "nobody's names": (text("a.csv", "final_loss_nats,weight_params,seen\n3.1,7e7,1e9\n"), [], 1, 1, 0),
    "mapped": (text("a.csv", "L,M\n3.1,70\n2.9,160\n"), ["--map", "loss=L,params=M * 1e6"], 2, 2, 0),
    "mapped words": (
        text("a.csv", "Loss (nats),Size\n3.1,70M\n-,160M\n"),
        ["--map", 'loss="Loss (nats)",params=Size * 1'], 2, 1, 0,
    ),
    "json lines": (text("a.jsonl", '{"params": 1e7, "tokens": 2e8, "loss": 3.5}\n'), [], 1, 1, 0),
    "lists": (text("a.json", '[{"params": 1e6, "tokens": [1e7, 1e8], "losses": [4, 3]}]'), [], 1, 1, 4),
    "one curve": (text("run7.csv", "step,loss\n" + CURVE), [], 1, 1, 10),
    "many curves": (text("a.csv", "run,step,loss\na,1,4\na,2,3\nb,1,5\nb,2,4\n"), [], 2, 2, 4),
    "a point a metric": (text("a.csv", "run_id,step,metric,value\na,1,loss,4\na,1,acc,0.1\na,2,loss,3\n"), [], 1, 1, 3),
    "exported chart": (
        text("chart.csv", '"Step","big - loss","big - loss__MIN","big - loss__MAX"\n1,4,4,4\n2,3,3,3\n'),
        [], 1, 1, 2,
    ),
    "folder": (curves, ["--map", "loss=eval/loss"], 2, 2, 20),
    "spreadsheet": (sheet, [], 2, 2, 0),
    "gzip": (zipped, [], 2, 2, 0),
    "lightning": (lightning, [], 2, 2, 20),
    "trainer": (checkpoints, [], 1, 1, 20),
    "evaluation": (evaluation, [], 1, 0, 2),
}  # fmt: skip


def typed(words: list[str], lake: Path) -> Any:
    return CliRunner().invoke(app, ["import", *words, "--lake", str(lake)])


@pytest.mark.parametrize("name", FILES)
def test_a_file_as_people_have_it_is_imported_at_the_first_or_second_try(name: str, tmp_path: Path) -> None:
    make, extra, runs, losses, points = FILES[name]
    lake = tmp_path / "runs.duckdb"
    path = make(tmp_path)
    done = typed([str(path), *extra], lake)
    if done.exit_code:
        printed = re.search(r"isoflop import (.*)", str(done.exception))
        assert printed and not lake.exists(), done.exception
        done = typed(shlex.split(printed[1]), lake)
    assert done.exit_code == 0, done.exception
    again = typed([str(path), *extra, "--json"], lake)
    if again.exit_code == 0:
        assert json.loads(again.stdout)[0]["added"] == 0
    with Lakehouse(lake) as opened:
        counted = "SELECT count(*) AS runs, count(loss) AS losses, (SELECT count(*) FROM metrics) AS points FROM runs"
        assert opened.query(counted).to_pylist() == [{"runs": runs, "losses": losses, "points": points}]
        assert opened.query(
            "SELECT count(*) AS n FROM runs WHERE isfinite(loss) AND (loss < 0 OR loss > 10)"
        ).to_pylist() == [{"n": 0}]


def rows(lake: Path, statement: str) -> list[dict[str, Any]]:
    with Lakehouse(lake) as opened:
        found: list[dict[str, Any]] = opened.query(statement).to_pylist()
        return found


def test_numbers_are_read_as_people_write_them(tmp_path: Path) -> None:
    lake = tmp_path / "runs.duckdb"
    path = text("m.csv", 'Run,params,tokens,loss,State\na,70M,1.4B,3.1,done\nb,"400,000,000",0.14T,-,crashed\n')(
        tmp_path
    )
    assert typed([str(path)], lake).exit_code == 0
    assert rows(lake, "SELECT name, params, tokens, flops, loss, status, reason FROM runs ORDER BY name") == [
        {"name": "a", "params": 7e7, "tokens": 1.4e9, "flops": 6 * 7e7 * 1.4e9, "loss": 3.1, "status": "finished",
         "reason": None},
        {"name": "b", "params": 4e8, "tokens": 1.4e11, "flops": 6 * 4e8 * 1.4e11, "loss": None, "status": "failed",
         "reason": "crash"},
    ]  # fmt: skip


def test_another_mapping_of_the_same_file_changes_its_runs_and_adds_none(tmp_path: Path) -> None:
    lake = tmp_path / "runs.duckdb"
    path = text("m.csv", "a,b,c\n3.1,70,1e9\n2.9,160,2e9\n")(tmp_path)
    for mapping in ("loss=a", "loss=a,params=b", "loss=a,params=b * 1e6,tokens=c,flops=6 * params * tokens"):
        done = typed([str(path), "--map", mapping], lake)
        assert done.exit_code == 0, done.exception
    found = rows(lake, "SELECT loss, params, tokens, flops, attempt FROM runs ORDER BY loss DESC")
    assert [row["params"] for row in found] == [7e7, 1.6e8] and [row["attempt"] for row in found] == [3, 3]
    assert found[0]["flops"] == pytest.approx(6 * 7e7 * 1e9)


@pytest.mark.parametrize("params", ["params", "num_params"])
def test_rows_that_an_earlier_version_knew_by_their_values_are_known_still(params: str, tmp_path: Path) -> None:
    from isoflop.lakehouse.runs.records import canonical_json, digest

    lake = tmp_path / "runs.duckdb"
    path = text("m.csv", f"{params},tokens,loss\n10000000,200000000,3.5\n")(tmp_path)
    told = {params: 10_000_000, "tokens": 200_000_000, "loss": 3.5}
    earlier = digest(canonical_json({"source": "import:m", "row": told}))
    with Lakehouse(lake) as opened:
        with opened.run("imported", {}) as run:
            run.log(step=1, loss=1.0)
        for table in ("runs", "attempts"):
            opened.write([(f"UPDATE store.{table} SET run_id = '{earlier}'", None)])
        opened.write([("UPDATE store.runs SET source = 'import:m'", None)])
    assert typed([str(path)], lake).exit_code == 0
    assert [row["run_id"] for row in rows(lake, "SELECT run_id FROM runs")] == [earlier]


@pytest.mark.parametrize(
    ("content", "mapping", "message"),
    [
        ("params,loss\n70M,3\nmany,2\n", None, "row 2: params is 'many', not a number"),
        ("a,loss\n70M,3\nmany,2\n", "params=a * 1", "row 2: a is 'many', of which params cannot be worked out"),
        ("a,loss\n1,3\n0,2\n", "params=exp(ln(a))", "row 2: a is '0', of which params cannot be worked out"),
        ("a,loss\n1,3\n", "params=b * 2", "no column 'b * 2', and not an expression"),
    ],
)
def test_a_row_that_cannot_be_read_is_named_and_only_it_is_skipped(
    content: str, mapping: str | None, message: str, tmp_path: Path
) -> None:
    path = text("m.csv", content)(tmp_path)
    words = [str(path), *(["--map", mapping] if mapping else [])]
    error = typed(words, tmp_path / "runs.duckdb").exception
    assert isinstance(error, RecordError | FileError) and message in str(error)
    if isinstance(error, RecordError):
        assert typed([*words, "--skip-bad-rows"], tmp_path / "runs.duckdb").exit_code == 0
        assert len(rows(tmp_path / "runs.duckdb", "SELECT 1 FROM runs")) == 1


def test_a_dry_run_shows_the_mapping_and_makes_no_lake(tmp_path: Path) -> None:
    path = text("m.csv", "num_params,D,val/loss,lr\n1e7,2e8,3,0.1\n")(tmp_path)
    done = CliRunner().invoke(
        app, ["import", str(path), "--dry-run", "--format", "csv", "--lake", str(tmp_path / "x.duckdb")]
    )
    assert done.exit_code == 0 and "num_params,params" in done.stdout and "val/loss,validation_loss" in done.stdout
    assert not (tmp_path / "x.duckdb").exists()


def test_lists_of_different_lengths_are_refused(tmp_path: Path) -> None:
    path = text("a.json", '[{"params": 1e6, "loss": [4, 3], "tokens": [1, 2, 3]}]')(tmp_path)
    error = typed([str(path)], tmp_path / "x.duckdb").exception
    assert isinstance(error, IsoflopError) and "different lengths" in str(error)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("N,D,log10(loss)\n1e8,2e9,0.55\n", """--map 'loss=10 ** "log10(loss)"'"""),
        ("N,D,L,C\n1e8,2e9,3.1,1.2\n2e8,2e9,3.0,2.4\n", '--map "flops=COLUMN * 1e18"'),
        ("params_b,tokens_t,loss\n7,1.4,1.99\n13,1.4,1.95\n", "--map 'params=params_b * 1e9,tokens=tokens_t * 1e12'"),
        ("params,tokens,loss\n1e8,0.35,3.1\n2e8,210,3.0\n", '--map "tokens=COLUMN * 1e9"'),
        ("params,tokens,loss,recipe\n1e8,2e9,3.1,mup\n2e8,2e9,3.0,mup \n", '--map "recipe=trim(recipe)"'),
        ("N,dataset_tokens,loss\n1e8,2e9,3.1\n2e8,2e9,3.0\n", "no run has tokens; perhaps"),
    ],
)
def test_what_is_probably_meant_otherwise_is_said_with_what_to_type(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "runs.csv"
    path.write_text(text)
    done = CliRunner().invoke(app, ["import", str(path), "--lake", str(tmp_path / "x.duckdb")])
    assert done.exit_code == 0 and said in done.output


def test_a_slip_in_the_name_of_a_mapped_column_is_said(tmp_path: Path) -> None:
    (tmp_path / "runs.csv").write_text("size,tokens,loss\n1e7,2e8,3.5\n3e7,6e8,3.1\n")
    with Lakehouse(tmp_path / "lake.duckdb") as lake:
        summary = import_path(lake, tmp_path / "runs.csv", mapping={"paramz": "size", "corpus_size": "tokens"})
        assert "'paramz' is a setting of its own; did you mean --map params=size?" in summary.notes
        assert not [note for note in summary.notes if "corpus_size" in note]
        again = import_path(lake, tmp_path / "runs.csv", mapping={"params": "size"})
        assert not [note for note in again.notes if "did you mean" in note]


@pytest.mark.parametrize("step", ["iteration", "step"])
def test_text_that_has_a_curve_for_each_value_names_the_runs(tmp_path: Path, step: str) -> None:
    rows = [f"exp-{run},mixed,{10**7 * run},{k},{k}000000,{3 - k / 10}" for run in (1, 2, 3) for k in range(1, 6)]
    (tmp_path / "curves.csv").write_text("\n".join([f"experiment,data,params,{step},tokens so far,loss", *rows]))
    with Lakehouse(tmp_path / "lake.duckdb") as lake:
        summary = import_path(lake, tmp_path / "curves.csv")
        assert "took 'experiment' as name; --map name=COLUMN takes another" in summary.notes
        found = lake.query("SELECT name, params, tokens, loss FROM runs ORDER BY name").to_pylist()
    assert found == [{"name": f"exp-{k}", "params": k * 10**7, "tokens": 5e6, "loss": 2.5} for k in (1, 2, 3)]


def test_text_beside_whole_runs_names_no_curves(tmp_path: Path) -> None:
    rows = [f"{data},{10**7 * k},{1000 * k},{3 - k / 10}" for data in ("web", "books") for k in range(1, 6)]
    (tmp_path / "runs.csv").write_text("\n".join(["corpus,params,iteration,loss", *rows]))
    with Lakehouse(tmp_path / "lake.duckdb") as lake:
        import_path(lake, tmp_path / "runs.csv")  # each corpus has several sizes
        assert lake.query("SELECT count(*) AS runs FROM runs").to_pylist() == [{"runs": 10}]
