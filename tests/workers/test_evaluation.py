"""What a run is evaluated by: the mean of its weights, further held-out text, bits per byte."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from isoflop.lakehouse import Lakehouse, Spool
from isoflop.workers import Outcome, TrainOptions, Transformer, train
from isoflop.workers.families import ConfigError
from isoflop.workers.moving_average import MovingAverage
from isoflop.workers.sweep import checked_sweeps
from isoflop.workers.sweep_file import parse_documents

LANGUAGE = {"kind": "markov", "vocabulary": 16, "contrast": 2.0}
SMALL = {
    "corpus": LANGUAGE, "width": 32, "depth": 1, "sequence_length": 16, "batch_size": 8, "steps": 40,
    "validation_tokens": 1024, "learning_rate": 0.02,
}  # fmt: skip


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[Lakehouse]:
    with Lakehouse(tmp_path / "runs.duckdb") as lake:
        yield lake


def run(**changes: Any) -> Transformer:
    return Transformer.parse({**SMALL, **changes})


def trained(lake: Lakehouse, family: Transformer, **options: Any) -> Outcome:
    lake.record_runs([family.record()])
    [(run_id, attempt)] = lake.begin_attempts([family.record().run_id], "test").items()
    with Spool(lake.spool_folder, run_id, attempt) as spool:
        outcome = train(family, spool, options=TrainOptions(device="cpu", threads=1, **options))
    lake.drain()
    return outcome


def row(lake: Lakehouse, family: Transformer) -> dict[str, Any]:
    [found] = lake.query("SELECT * FROM runs WHERE run_id = ?", [family.record().run_id]).to_pylist()
    finals = lake.query("SELECT metric, last FROM finals WHERE run_id = ?", [family.record().run_id]).to_pylist()
    measured = {each["metric"]: each["last"] for each in finals}
    if found["status"] == "finished":
        assert set(family.metrics()) == set(measured)
    return {**measured, **found}


def test_the_mean_counts_late_updates_more() -> None:
    weight = torch.zeros(1)
    mean = MovingAverage([weight], 0.5)
    for value in (1.0, 2.0, 4.0):
        weight.fill_(value)
        mean.update()
    with mean.applied():
        assert weight.item() == pytest.approx((1 * 0.25 + 2 * 0.5 + 4) / 1.75)
    assert weight.item() == 4.0


def test_a_mean_of_the_weights_is_evaluated_beside_them_and_changes_nothing(lake: Lakehouse) -> None:
    noisy = {"schedule": "constant", "learning_rate": 0.03, "steps": 120, "batch_size": 2}
    plain, averaged = run(**noisy), run(ema=0.95, **noisy)
    assert trained(lake, plain).validation_loss == trained(lake, averaged).validation_loss
    found = row(lake, averaged)
    assert found["ema"] == 0.95 and "ema_validation_loss" not in row(lake, plain)
    assert found["ema_validation_loss"] < found["validation_loss"]
    assert plain.record().run_id != averaged.record().run_id
    counts = [each.counts() for each in (plain, averaged)]
    assert counts[1].memory_bytes - counts[0].memory_bytes == 4 * counts[0].params  # type: ignore[operator]
    assert counts[1].traffic.optimizer - counts[0].traffic.optimizer == 3 * counts[0].params  # type: ignore[operator]


def test_an_interrupted_mean_goes_on_to_the_same_bits(lake: Lakehouse, tmp_path: Path) -> None:
    trained(lake, run(ema=0.9))
    expected = row(lake, run(ema=0.9))["ema_validation_loss"]
    with Lakehouse(tmp_path / "other.duckdb") as other:
        asked = iter(range(1, 10**9))
        trained(other, run(ema=0.9), checkpoint_folder=tmp_path / "c", stop=lambda: next(asked) >= 12)
        trained(other, run(ema=0.9), checkpoint_folder=tmp_path / "c")
        assert row(other, run(ema=0.9))["ema_validation_loss"] == expected


def texts(tmp_path: Path) -> dict[str, dict[str, Any]]:
    (tmp_path / "same.txt").write_bytes(b"the cat sat on the mat. " * 400)
    (tmp_path / "noise.txt").write_bytes(np.random.default_rng(0).integers(0, 256, 9600).astype(np.uint8).tobytes())
    return {
        name: {"kind": "bytes", "source": str(tmp_path / f"{name}.txt"), "validation_fraction": 0.3}
        for name in ("same", "noise")
    }


def test_other_held_out_text_has_columns_of_its_own_and_bytes_have_bits(lake: Lakehouse, tmp_path: Path) -> None:
    sources = texts(tmp_path)
    family = run(corpus=sources["same"], also_validate=sources, steps=60, ema=0.8)
    outcome = trained(lake, family)
    found = row(lake, family)
    assert found["validation_loss"] == found["validation_loss_same"] == outcome.validation_loss
    assert found["validation_loss_noise"] > found["validation_loss"] + 1
    for kind in ("", "ema_"):
        for suffix in ("", "_same", "_noise"):
            bits = found[f"{kind}bits_per_byte{suffix}"]
            assert bits == pytest.approx(found[f"{kind}validation_loss{suffix}"] / math.log(2))
    assert (found["also_validate"], found["also_validate_noise"]) == ("same, noise", "bytes:noise.txt")
    assert family.record().run_id != run(corpus=sources["same"], steps=60, ema=0.8).record().run_id


def test_bits_per_byte_of_tokens_need_their_length(lake: Lakehouse, tmp_path: Path) -> None:
    ids = np.random.default_rng(1).integers(0, 16, 4000).astype(np.uint16)
    ids.tofile(tmp_path / "ids.bin")
    shards = {"kind": "shards", "source": str(tmp_path / "ids.bin"), "vocabulary": 16}
    for length in (None, 3.5):
        family = run(corpus={**shards, "bytes_per_token": length} if length else shards, steps=3)
        trained(lake, family)
        found = row(lake, family)
        expected = None if length is None else found["validation_loss"] / math.log(2) / length
        assert found.get("bits_per_byte") == (expected if expected is None else pytest.approx(expected))
    assert run(corpus=shards).record().run_id == run(corpus={**shards, "bytes_per_token": None}).record().run_id


def test_text_that_cannot_be_evaluated_fails_before_training(lake: Lakehouse, tmp_path: Path) -> None:
    missing = {"kind": "bytes", "source": str(tmp_path / "none")}
    outcome = trained(lake, run(also_validate={"other": missing}, vocabulary=256, steps=10_000))
    assert outcome.status == "failed" and "does not exist" in (outcome.error or "")
    with pytest.raises(ConfigError, match=r"of 20 different tokens .*; the vocabulary is 16"):
        run(also_validate={"other": {"kind": "markov", "vocabulary": 20}})
    with pytest.raises(ConfigError, match="is never read where validation_tokens is 0"):
        run(also_validate={"other": missing}, vocabulary=256, validation_tokens=0)


def test_a_sweep_file_names_further_text() -> None:
    text = """\
name: two
family: transformer
corpus: {kind: markov, vocabulary: 16}
grid: {width: [16, 32], depth: 1, steps: 2, also_validate: {far: {kind: markov, vocabulary: 16, seed: 1}}}
"""
    [sweep] = checked_sweeps(parse_documents(text, "sweep.yaml"))
    records = sweep.expand().records
    assert [record.config["also_validate_far"] for record in records] == ["markov:order1-v16-seed1"] * 2


def test_the_example_of_the_page_is_planned() -> None:
    page = (Path(__file__).parents[2] / "docs" / "sweeps.md").read_text()
    [example] = [text for text in re.findall(r"^```yaml\n(.*?)^```", page, re.M | re.S) if "also_validate:" in text]
    [sweep] = checked_sweeps(parse_documents(example, "sweeps.md"))
    runs = sweep.expand().runs
    assert len(runs) == 3 and set(runs[0].metrics()) >= {"bits_per_byte_code", "ema_validation_loss_code"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ema": 1}, "'ema' is 1; it should be less than 1"),
        ({"ema": 0}, "'ema' is 0; it should be more than 0"),
        ({"also_validate": {"x": {"kind": "tokens"}}}, "'also_validate.x"),
        ({"also_validate": {"Not a name": {}}}, "'also_validate.[key]' is 'Not a name'; string should match"),
        ({"also_validate": 3}, "'also_validate' is 3; it should be a"),
        ({"corpus": {"kind": "shards", "source": "x", "vocabulary": 4, "bytes_per_token": 0}}, "'corpus.bytes_per_to"),
    ],
)
def test_what_cannot_be_evaluated_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        run(**changes)
    assert caught.value.message.startswith(message), caught.value.message
