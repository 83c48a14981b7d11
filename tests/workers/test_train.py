"""One run, for real: curve, ending, bits, resumption, failure, times; read back from a lake."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from isoflop.lakehouse import Lakehouse, Spool
from isoflop.lakehouse.errors import UsageError
from isoflop.workers import Family, Outcome, Plrf, TrainOptions, Transformer, train, train_packed
from isoflop.workers.checkpoint import BrokenCheckpoint, load_arrays, load_tensors, replacing, save_arrays, save_tensors
from isoflop.workers.curve import LossCurve, log_interval
from isoflop.workers.devices import Cpu
from isoflop.workers.gradient_training import Trainer
from isoflop.workers.saving import Saving
from isoflop.workers.timing import HostClock

OPTIONS = TrainOptions(device="cpu", threads=1)
SMALL = {
    "corpus": {"kind": "markov", "vocabulary": 16, "contrast": 2.0}, "width": 32, "depth": 2, "heads": 2,
    "sequence_length": 32, "batch_size": 8, "steps": 30, "validation_tokens": 2048, "learning_rate": 1e-2,
}  # fmt: skip


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[Lakehouse]:
    with Lakehouse(tmp_path / "runs.duckdb") as lake:
        yield lake


def small(**changes: Any) -> Transformer:
    return Transformer.parse({**SMALL, **changes})


def trained(lake: Lakehouse, run: Family, **options: Any) -> Outcome:
    """Train a run as the next attempt of it, and land it."""
    lake.record_runs([run.record()])
    [(run_id, attempt)] = lake.begin_attempts([run.record().run_id], "test").items()
    with Spool(lake.spool_folder, run_id, attempt) as spool:
        outcome = train(run, spool, options=dataclasses.replace(OPTIONS, **options))
    lake.drain()
    return outcome


def row(lake: Lakehouse, run: Family) -> dict[str, Any]:
    [found] = lake.query("SELECT * FROM runs WHERE run_id = ?", [run.record().run_id]).to_pylist()
    return dict(found)


def curve(lake: Lakehouse, run: Family) -> list[tuple[int, float]]:
    table = lake.query("SELECT step, loss FROM curves WHERE run_id = ? ORDER BY step", [run.record().run_id])
    return [(point["step"], point["loss"]) for point in table.to_pylist()]


def stop_after(steps: int) -> Callable[[], bool]:
    """A question that is answered with yes the `steps`-th time it is asked."""
    asked = iter(range(1, 10**9))
    return lambda: next(asked) >= steps


def test_a_run_lands_with_its_curve_and_everything_measured(lake: Lakehouse) -> None:
    run = small()
    outcome = trained(lake, run)
    found, points = row(lake, run), curve(lake, run)
    assert (outcome.status, found["status"], found["reason"]) == ("finished", "finished", None)
    assert [step for step, _ in points] == list(range(1, 31))
    assert found["loss"] == outcome.loss == pytest.approx(sum(loss for _, loss in points[-2:]) / 2)  # 5 % of 30 steps
    assert found["validation_loss"] == outcome.validation_loss
    assert found["irreducible_loss"] == pytest.approx(run.corpus.open().irreducible_loss(32))
    assert points[0][1] == pytest.approx(math.log(16), rel=0.1)
    assert found["loss"] < 0.9 * points[0][1]
    assert found["params"] == run.counts().params
    assert found["tokens"] == 30 * 8 * 32
    assert (found["width"], found["corpus"], found["batch_tokens"]) == (32, "markov:order1-v16-seed0", 256)
    assert found["corpus_hash"] == run.corpus.open().content_hash
    assert found["peak_memory_bytes"] > 1e7
    assert found["compile_seconds"] is None
    assert 0 < found["step_seconds"] < found["train_seconds"]
    tokens = lake.query("SELECT max(tokens), max(flops) FROM curves").to_pylist()[0]
    assert list(tokens.values()) == [found["tokens"], found["flops"]]


def test_the_times_of_the_phases_add_up_to_the_step(lake: Lakehouse) -> None:
    run = small()
    trained(lake, run)
    times = {found["phase"]: found for found in lake.query("SELECT * FROM timings").to_pylist()}
    assert set(times) == {"data", "forward", "backward", "optimizer", "step"}
    for found in times.values():
        assert found["count"] == 30
        assert 0 < found["p10"] <= found["p50"] <= found["p90"] <= found["total"]
    parts = sum(times[phase]["total"] for phase in ("data", "forward", "backward", "optimizer"))
    assert parts == pytest.approx(times["step"]["total"], rel=1e-6)
    assert row(lake, run)["step_seconds"] == times["step"]["p50"]
    assert row(lake, run)["train_seconds"] == pytest.approx(times["step"]["total"])


def test_a_small_model_comes_close_to_the_entropy_of_its_language(lake: Lakehouse) -> None:
    run = small(steps=250, batch_size=16)
    outcome = trained(lake, run)
    floor = run.corpus.open().irreducible_loss(32)
    assert outcome.validation_loss is not None and floor is not None
    assert floor < outcome.validation_loss < floor + 0.05


def test_a_seed_gives_the_same_bits_and_another_seed_others(lake: Lakehouse) -> None:
    first, again, other = trained(lake, small()), trained(lake, small()), trained(lake, small(seed=1))
    assert (first.loss, first.validation_loss) == (again.loss, again.validation_loss)
    assert first.loss != other.loss


def test_warming_up_changes_nothing() -> None:
    run = small(steps=3)
    batch = torch.from_numpy(next(run.batches(run.open_corpus())))
    warm, cold = Trainer(run, Cpu()), Trainer(run, Cpu())
    warm.warm_up(batch)
    clock = HostClock(is_cpu_time=True)
    for _ in range(3):
        clock.begin_step()
        losses = [trainer.step(batch, 1e-2, clock)[0].item() for trainer in (warm, cold)]
        assert losses[0] == losses[1]
    for one, two in zip(warm.model.parameters(), cold.model.parameters(), strict=True):
        assert torch.equal(one, two)


def test_an_interrupted_run_continues_to_the_same_bits(lake: Lakehouse, tmp_path: Path) -> None:
    uninterrupted = trained(lake, small())
    expected = curve(lake, small())
    folder = tmp_path / "checkpoints"
    with Lakehouse(tmp_path / "other.duckdb") as other:
        stopped = trained(other, small(), checkpoint_folder=folder, stop=stop_after(12))
        assert (stopped.status, stopped.reason, stopped.loss) == ("failed", "stopped", None)
        assert row(other, small())["reason"] == "stopped"
        assert len(curve(other, small())) == 12
        resumed = trained(other, small(), checkpoint_folder=folder)
        assert (resumed.loss, resumed.validation_loss) == (uninterrupted.loss, uninterrupted.validation_loss)
        assert curve(other, small()) == expected
        attempts = other.query("SELECT attempt, resumed_step FROM attempts ORDER BY attempt").to_pylist()
        assert [found["resumed_step"] for found in attempts] == [None, 12]
        assert row(other, small())["train_seconds"] > stopped.seconds
    assert list(folder.iterdir()) == []  # a finished run leaves no checkpoint


def test_checkpoints_are_made_as_training_goes_and_cost_no_bits(lake: Lakehouse, tmp_path: Path) -> None:
    plain = trained(lake, small())
    saved = trained(lake, small(), checkpoint_folder=tmp_path / "checkpoints", saving=Saving(seconds=0))
    assert saved.loss == plain.loss
    timed = lake.query("SELECT count FROM timings WHERE phase = 'checkpoint' AND attempt = 2").to_pylist()
    assert timed == [{"count": 30}]


def test_a_checkpoint_that_cannot_be_read_is_left_aside(lake: Lakehouse, tmp_path: Path) -> None:
    (tmp_path / f"{small().record().run_id}.pt").write_bytes(b"torn")
    assert trained(lake, small(), checkpoint_folder=tmp_path).loss == trained(lake, small()).loss
    [told] = lake.query("SELECT level, message FROM logs").to_pylist()
    assert told["level"] == "warning" and "begins anew" in told["message"]


@pytest.mark.parametrize("micro_batches", [2, 8])
def test_micro_batches_add_up_to_the_batch(lake: Lakehouse, micro_batches: int) -> None:
    whole = trained(lake, small(steps=10))
    parts = trained(lake, small(steps=10, micro_batches=micro_batches))
    assert parts.loss == pytest.approx(whole.loss, rel=1e-4)
    expected = curve(lake, small(steps=10))
    for (_, loss), (_, wanted) in zip(curve(lake, small(steps=10, micro_batches=micro_batches)), expected, strict=True):
        assert loss == pytest.approx(wanted, rel=1e-4)


def test_a_diverged_run_keeps_its_curve_and_says_so(lake: Lakehouse) -> None:
    run = small(learning_rate=1e4, gradient_clip=None, warmup_fraction=0, steps=200)
    outcome = trained(lake, run)
    assert (outcome.status, outcome.reason, outcome.loss) == ("failed", "diverged", None)
    points = curve(lake, run)
    assert 1 <= len(points) < 200
    assert row(lake, run)["status"] == "failed"


@pytest.mark.parametrize(
    ("losses", "expected"),
    [
        ([3.0] * 12, False),
        ([3.0, math.nan], True),
        ([math.inf], True),
        ([3.0] * 9 + [30.0] * 4, False),  # a spike
        ([6.0] * 9, False),
        ([6.0] * 10, True),
    ],
)
def test_divergence_is_a_loss_that_is_not_finite_or_stays_above_twice_a_guess(
    losses: list[float], expected: bool, tmp_path: Path
) -> None:
    clock = HostClock(is_cpu_time=True)
    with Spool(tmp_path, "run", 1) as spool:
        watched = LossCurve(spool, clock, num_steps=50, steps_between_reads=1, interval=1, uniform_loss=math.log(16))
        for loss in losses:
            clock.begin_step()
            clock.lap("forward")
            clock.end_step()
            watched.add(torch.tensor(loss), None)
    assert watched.is_diverged is expected


def test_losses_read_in_blocks_are_the_losses_read_one_by_one(tmp_path: Path) -> None:
    totals = []
    for between in (1, 7):
        clock = HostClock(is_cpu_time=True)
        with Spool(tmp_path, "run", between) as spool:
            watched = LossCurve(spool, clock, num_steps=40, steps_between_reads=between, interval=4, uniform_loss=10.0)
            for step in range(40):
                clock.begin_step()
                clock.lap("forward")
                clock.end_step()
                watched.add(torch.tensor(5.0 - 0.1 * step), torch.tensor(1.0))
            watched.read()
            totals.append((watched.step, watched.final_loss(), len(spool._points)))
    assert totals[0] == totals[1] == (40, pytest.approx(1.15), 10)


def test_long_curves_are_means_over_a_few_steps(lake: Lakehouse) -> None:
    assert (log_interval(10_000, None), log_interval(10_001, None), log_interval(5, 3)) == (1, 2, 3)
    every, thinned = small(steps=10), small(steps=10, seed=7)
    trained(lake, every)
    trained(lake, thinned, log_every=4)
    assert [step for step, _ in curve(lake, thinned)] == [4, 8, 10]
    trained(lake, thinned)
    full = dict(curve(lake, thinned))
    assert len(full) == 10


def test_a_model_that_does_not_fit_ends_out_of_memory(lake: Lakehouse) -> None:
    run = small(feed_forward=2**45)  # a matrix larger than the address space, so no machine begins to fill it
    outcome = trained(lake, run)
    assert (outcome.status, outcome.reason) == ("failed", "out_of_memory")
    assert row(lake, run)["error"]


def test_a_crash_is_recorded_with_its_traceback_and_returned(lake: Lakehouse) -> None:
    run = Transformer.parse({**SMALL, "corpus": "/no/such/folder"})
    outcome = trained(lake, run)
    assert (outcome.status, outcome.reason) == ("failed", "crash")
    assert outcome.error is not None and "'/no/such/folder' does not exist" in outcome.error
    [told] = lake.query("SELECT traceback, error FROM attempts").to_pylist()
    assert "Traceback" in told["traceback"] and told["error"] == outcome.error


def test_an_interrupt_passes(tmp_path: Path) -> None:
    def interrupt() -> bool:
        raise KeyboardInterrupt

    with Spool(tmp_path, "run", 1) as spool, pytest.raises(KeyboardInterrupt):
        train(small(), spool, options=dataclasses.replace(OPTIONS, stop=interrupt))


@pytest.mark.parametrize(
    "changes", [{"precision": "bfloat16"}, {"tied": True}, {"attention": "plain"}, {"gradient_clip": None}]
)
def test_every_variant_of_the_recipe_learns(lake: Lakehouse, changes: dict[str, Any]) -> None:
    run = small(steps=60, **changes)
    outcome = trained(lake, run)
    assert outcome.loss is not None and outcome.loss < 0.9 * math.log(16)


@pytest.mark.long
@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")  # from torch's own modules, on import
def test_a_compiled_run_times_its_compilation_apart(lake: Lakehouse) -> None:
    plain, compiled = small(), small(compile=True)
    expected, outcome = trained(lake, plain), trained(lake, compiled)
    found = row(lake, compiled)
    assert outcome.loss == pytest.approx(expected.loss, rel=1e-3)
    assert found["compile_seconds"] > 20 * found["step_seconds"]
    [timed] = lake.query("SELECT count FROM timings WHERE phase = 'compile'").to_pylist()
    assert timed == {"count": 1}


def test_training_leaves_the_process_as_it_was(lake: Lakehouse) -> None:
    torch.manual_seed(3)
    before, threads = torch.get_rng_state(), torch.get_num_threads()
    trained(lake, small(steps=2), threads=1)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.get_num_threads() == threads
    assert torch.tensor(1e-40).item() * 1.0 > 0


def test_a_run_without_held_out_tokens_has_no_validation_loss(lake: Lakehouse) -> None:
    assert trained(lake, small(steps=2, validation_tokens=0)).validation_loss is None


def test_the_rate_rises_then_falls_to_its_final_fraction() -> None:
    run = small(steps=100, warmup_fraction=0.1, final_learning_rate_fraction=0.2, learning_rate=1.0)
    rates = [run.optimizer.rate_at(step, run.steps) for step in range(100)]
    assert rates[:10] == pytest.approx([0.1 * step for step in range(1, 11)])
    assert max(rates) == rates[10] == 1.0
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[-1] == pytest.approx(0.2)
    assert small(steps=1).optimizer.rate_at(0, 1) == small(steps=1).optimizer.learning_rate


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "file"
    with replacing(path) as partial:
        partial.write_text("first")
    with pytest.raises(RuntimeError), replacing(path) as partial:
        partial.write_text("half")
        raise RuntimeError
    assert path.read_text() == "first"
    assert list(path.parent.iterdir()) == [path]


def test_checkpoints_give_back_what_was_saved(tmp_path: Path) -> None:
    save_tensors(tmp_path / "a.pt", {"weights": torch.arange(3), "step": 4, "nested": {"recent": [1.5, 2.5]}})
    content = load_tensors(tmp_path / "a.pt")
    assert content is not None and content["step"] == 4 and content["weights"].tolist() == [0, 1, 2]
    save_arrays(tmp_path / "b.npz", {"step": 5}, {"m": torch.arange(2).numpy()})
    arrays = load_arrays(tmp_path / "b.npz")
    assert arrays is not None and arrays["step"] == 5 and arrays["m"].tolist() == [0, 1]
    assert load_tensors(tmp_path / "none") is None and load_arrays(tmp_path / "none") is None
    (tmp_path / "b.npz").write_bytes(b"torn")
    with pytest.raises(BrokenCheckpoint, match="has no checksum"):
        load_arrays(tmp_path / "b.npz")


def test_runs_that_do_not_belong_together_are_refused(tmp_path: Path) -> None:
    shape = {"spectrum_exponent": 1, "target_exponent": 1, "steps": 5}
    features = [Plrf.parse({"width": width, **shape}) for width in (4, 8)]
    spools = [Spool(tmp_path, name, 1) for name in "ab"]
    for pair in (features, [small(), small(seed=1)]):
        with pytest.raises(UsageError, match="cannot train together"):
            train_packed(pair, spools)
    for spool in spools:
        spool.close()
