"""Data that a run sees more than once: counted, in columns, and said."""

from __future__ import annotations

import gzip
from pathlib import Path

import duckdb
import numpy as np
import pytest

from isoflop.lakehouse import Lakehouse, Spool
from isoflop.workers import TrainOptions, Transformer, train
from isoflop.workers.corpora.bytes import BytesSpec
from isoflop.workers.corpora.markov import MarkovSpec
from isoflop.workers.corpora.shards import ShardsSpec
from isoflop.workers.sweep import checked_sweeps
from isoflop.workers.sweep_file import parse_documents

STORES = Path(__file__).parents[1] / "fixtures" / "stores"
SWEEP = """\
name: small
family: transformer
corpus: {{kind: shards, source: {source}, vocabulary: 50}}
grid: {{width: 16, depth: 1, sequence_length: 10, batch_size: 5, validation_tokens: 0, tokens: {tokens}}}
"""


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ISOFLOP_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    """Two files of 501 ids to train on, and one that is held out."""
    folder = tmp_path / "shards"
    folder.mkdir()
    for number in range(3):
        np.arange(501, dtype=np.uint16).__mod__(50).tofile(folder / f"part{number}.bin")
    return folder


def test_unique_tokens_are_those_that_are_predicted_once_an_epoch(shards: Path, tmp_path: Path) -> None:
    corpus = ShardsSpec(source=str(shards), vocabulary=50).open()
    assert corpus.unique_tokens(10) == 2 * 50 * 10 and corpus.unique_tokens(300) == 2 * 300
    (tmp_path / "text").write_bytes(b"x" * 10_000)
    spec = BytesSpec(source=str(tmp_path / "text"), validation_fraction=0.1)
    assert spec.open().unique_tokens(100) == (9000 - 1) // 100 * 100
    assert MarkovSpec(vocabulary=16).open().unique_tokens(10) is None


def test_sizes_of_files_say_about_how_many_there_are(shards: Path, tmp_path: Path) -> None:
    assert ShardsSpec(source=str(shards)).about_tokens() == 1002
    assert ShardsSpec(source=str(shards), validation_fraction=0.5).about_tokens() == pytest.approx(1252.5)
    np.save(shards / "part3.npy", np.arange(1000, dtype=np.int32))
    assert ShardsSpec(source=str(shards)).about_tokens() == pytest.approx(1503)
    (tmp_path / "text").write_bytes(b"x" * 10_000)
    assert BytesSpec(source=str(tmp_path / "text"), validation_fraction=0.1).about_tokens() == pytest.approx(9000)
    assert BytesSpec(source=str(tmp_path / "none")).about_tokens() is None
    assert ShardsSpec(source=str(tmp_path / "none")).about_tokens() is None
    assert MarkovSpec(vocabulary=16).about_tokens() is None


@pytest.mark.parametrize(
    ("corpus", "tokens", "unique", "epochs"),
    [("shards", 2500, 1000, 2.5), ("shards", 500, 500, 1), ("markov", 500, 500, 1)],
)
def test_a_run_records_how_often_it_saw_its_data(
    shards: Path, tmp_path: Path, corpus: str, tokens: int, unique: int, epochs: float
) -> None:
    spec = {"kind": "markov", "vocabulary": 16}
    if corpus == "shards":
        spec = {"kind": "shards", "source": str(shards), "vocabulary": 50}
    run = Transformer.parse(
        {"corpus": spec, "width": 16, "depth": 1, "sequence_length": 10, "batch_size": 5, "tokens": tokens,
         "validation_tokens": 0}
    )  # fmt: skip
    with Lakehouse(tmp_path / "runs.duckdb") as lake:
        lake.record_runs([run.record()])
        [(run_id, attempt)] = lake.begin_attempts([run.record().run_id], "test").items()
        with Spool(lake.spool_folder, run_id, attempt) as spool:
            train(run, spool, options=TrainOptions(device="cpu", threads=1))
        lake.drain()
        [row] = lake.query("SELECT tokens, unique_tokens, epochs FROM runs").to_pylist()
        said = [each["message"] for each in lake.query("SELECT message FROM logs").to_pylist()]
    assert row == {"tokens": tokens, "unique_tokens": unique, "epochs": epochs}
    told = [each for each in said if each.startswith("repeated data")]
    assert len(told) == (epochs > 1)
    assert all("1k tokens of shards:shards are seen 2.5 times" in each for each in told)


def test_a_plan_says_which_runs_see_their_data_again(shards: Path) -> None:
    def notes(tokens: str) -> list[str]:
        text = SWEEP.format(source=shards, tokens=tokens)
        [sweep] = checked_sweeps(parse_documents(text, "sweep.yaml"))
        return list(sweep.expand().notes)

    [note] = notes("[500, 1000, 2500, 5000]")
    assert note.startswith("repeated data: 2 of 4 runs read shards:shards, which has about 1k tokens, up to 5.0 times")
    assert "data_constrained(params, unique_tokens, epochs)" in note
    assert notes("[500, 1000]") == []


def test_whole_epochs_of_an_older_lake_can_become_fractions(tmp_path: Path) -> None:
    path = tmp_path / "old.duckdb"
    path.write_bytes(gzip.decompress((STORES / "schema-6.store.gz").read_bytes()))
    with duckdb.connect(str(path)) as con:
        con.execute("ALTER TABLE store.runs ADD COLUMN epochs BIGINT")
        con.execute("UPDATE store.runs SET epochs = 3 WHERE width = 8")
    with Lakehouse(path) as lake:
        [run] = lake.query("SELECT run_id, epochs FROM runs WHERE width = 8").to_pylist()
        assert run["epochs"] == 3.0
        [(run_id, attempt)] = lake.begin_attempts([run["run_id"]], "test").items()
        with Spool(lake.spool_folder, run_id, attempt) as spool:
            spool.ended("finished", unique_tokens=400, epochs=2.5)
        lake.drain()
        [row] = lake.query("SELECT unique_tokens, epochs FROM runs WHERE width = 8").to_pylist()
    assert row == {"unique_tokens": 400.0, "epochs": 2.5}
