"""One run of a gradient family on one device: warm up, time, checkpoint, resume, evaluate, record."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from numpy.typing import NDArray

from isoflop.lakehouse.runs.provenance import host_name
from isoflop.workers.checkpoint import load_tensors, save_tensors
from isoflop.workers.components.optimizers import set_learning_rate, weight_groups
from isoflop.workers.curve import CLOCK_DIGITS, LossCurve, log_interval
from isoflop.workers.devices import TorchDevice, find_device
from isoflop.workers.families.repeats import said_of_epochs
from isoflop.workers.host_load import HostLoad, note_neighbors
from isoflop.workers.moving_average import MovingAverage
from isoflop.workers.outcome import Outcome, TrainOptions
from isoflop.workers.saving import Saver, opened, tensor_bytes
from isoflop.workers.timing import StepClock, summarize

if TYPE_CHECKING:
    from isoflop.lakehouse.ingest.spool import Spool
    from isoflop.workers.corpora import Corpus
    from isoflop.workers.families.gradient import GradientFamily

WEIGHTS, EVERYTHING_ELSE = 0, 1  # streams of torch's random numbers; the data have their own


def train_gradient(family: GradientFamily, spool: Spool, options: TrainOptions) -> Outcome:
    """Train one run from its start or its checkpoint, and say how it ended; see `isoflop.workers.train`."""
    run_id = family.record().run_id
    with arithmetic(options.threads):
        device = find_device(options.device)
        path = options.checkpoint_folder / f"{run_id}.pt" if options.checkpoint_folder else None
        saved = opened(path, load_tensors, spool)
        resumed_step = int(saved["curve"]["step"]) if saved else None
        spool.started(host=host_name(), device=device.name, hardware=device.hardware(), resumed_step=resumed_step)
        if saved:
            spool.note(f"continues after step {resumed_step} from {path}")
        with _random_numbers(family.seed, device):
            return _Run(family, spool, options, device, path, run_id).train(saved)


class Trainer:
    """A model, its optimizer and one training step; the part of a run that a bare loop has too."""

    def __init__(self, family: GradientFamily, device: TorchDevice) -> None:
        self.family, self.device = family, device
        generator = torch.Generator().manual_seed(_stream(family.seed, WEIGHTS))
        self.model = family.build(device, generator)
        treatments = family.parametrization.treatments(family.roles(self.model), family.optimizer.rule)
        self.optimizer = family.optimizer.build(weight_groups(self.model, treatments))
        self._weights = list(self.model.parameters())
        self._average = MovingAverage(self._weights, family.ema) if family.ema is not None else None
        self._precision = family.precision
        self._forward = cast(torch.nn.Module, torch.compile(self.model)) if family.compile else self.model

    def step(self, batch: torch.Tensor, rate: float, clock: StepClock) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Update the weights once.

        Parameters
        ----------
        batch : (batch_size, …) tensor on the device
        rate : learning rate of this update

        Returns
        -------
        loss of the batch [nat/token] and global gradient norm before clipping, scalars on the device
        """
        family = self.family
        loss = self._forward_and_backward(batch, clock)
        norm = None
        if family.optimizer.gradient_clip is not None:
            norm = torch.nn.utils.clip_grad_norm_(self._weights, family.optimizer.gradient_clip)
        set_learning_rate(self.optimizer, rate)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        if self._average is not None:
            self._average.update()
        clock.lap("optimizer")
        return loss, norm

    def warm_up(self, batch: torch.Tensor) -> float:
        """Let every kernel be chosen, compiled and run once, changing nothing; return the wall time [s].

        The update is made with rate 0 and the optimizer's memory of it is dropped, so the weights that
        training starts from are the same bits with and without.
        """
        began = time.perf_counter()
        self.step(batch, 0.0, self.device.clock())
        self.optimizer.state.clear()
        if self._average is not None:
            self._average.clear()
        self.device.synchronize()
        return time.perf_counter() - began

    def evaluate(self, batches: list[NDArray[np.int64]]) -> float | None:
        """Return the mean loss over held-out batches [nat/token], or None without any."""
        total = torch.zeros((), dtype=torch.float64, device=self.device.torch_device)
        rows = 0
        with torch.no_grad(), self._precision.autocast(self.device.torch_device.type):
            for batch in batches:
                loss = self.family.loss(self.model, self.device.put(batch))
                total += loss.double() * len(batch)
                rows += len(batch)
        return float(total) / rows if rows else None

    def evaluate_average(self, batches: list[NDArray[np.int64]]) -> float | None:
        """Return the same of the mean of the weights over their updates, or None where none is kept."""
        if self._average is None:
            return None
        with self._average.applied():
            return self.evaluate(batches)

    def state(self) -> dict[str, Any]:
        """Return everything that the next step depends on."""
        random = {"cpu": torch.get_rng_state()}
        if self.device.torch_device.type == "cuda":
            random["cuda"] = torch.cuda.get_rng_state(self.device.torch_device)
        average = {} if self._average is None else {"average": self._average.state()}
        return {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict(), "random": random, **average}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue from a state."""
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self._average is not None:
            self._average.restore(state["average"])
        torch.set_rng_state(state["random"]["cpu"])
        if "cuda" in state["random"] and self.device.torch_device.type == "cuda":
            torch.cuda.set_rng_state(state["random"]["cuda"], self.device.torch_device)

    def _forward_and_backward(self, batch: torch.Tensor, clock: StepClock) -> torch.Tensor:
        """Accumulate the gradient of the mean loss over all micro-batches, and return that loss."""
        parts = self.family.micro_batches
        total: torch.Tensor | None = None
        for micro_batch in batch.chunk(parts) if parts > 1 else (batch,):
            with self._precision.autocast(self.device.torch_device.type):
                loss = self.family.loss(self._forward, micro_batch)
                loss = loss / parts if parts > 1 else loss
            clock.lap("forward")
            loss.backward()  # type: ignore[no-untyped-call]
            clock.lap("backward")
            total = loss.detach() if total is None else total + loss.detach()
        assert total is not None
        return total


class _Run:
    """The loop around a trainer: data, clock, curve, checkpoints."""

    def __init__(
        self,
        family: GradientFamily,
        spool: Spool,
        options: TrainOptions,
        device: TorchDevice,
        path: Path | None,
        run_id: str,
    ) -> None:
        self.family, self.spool, self.options, self.device = family, spool, options, device
        self.path, self.run_id = path, run_id
        self.clock = device.clock()
        self.curve = LossCurve(
            spool,
            self.clock,
            num_steps=family.steps,
            steps_between_reads=device.steps_between_reads,
            interval=log_interval(family.steps, options.log_every),
            uniform_loss=family.loss_of_knowing_nothing(),
        )

    def train(self, saved: Mapping[str, Any] | None) -> Outcome:
        """Go from the saved state, or from the beginning, to an end and record it."""
        corpus = self.family.open_corpus()
        self.held_out = self.family.held_out(corpus)
        self.unique_tokens = self._count_unique(corpus)
        self.device.reset_peak_memory()
        trainer = Trainer(self.family, self.device)
        warmup_seconds = trainer.warm_up(self.device.put(next(self.family.batches(corpus))))
        if saved:
            trainer.restore(saved["trainer"])
            self.curve.restore(saved["curve"])
        if self.family.compile:
            self.clock.add("compile", warmup_seconds)
        load = HostLoad()
        try:
            reason = self._steps(trainer, corpus)
        except Exception:
            with contextlib.suppress(Exception):  # the losses still on a device that failed may be out of reach
                self.curve.read()
            self.clock.report(self.spool)
            raise
        return self._record(trainer, corpus, reason, warmup_seconds, load.processors())

    def _steps(self, trainer: Trainer, corpus: Corpus) -> str | None:
        """Take every step that is left; return why it ended early, or None."""
        family, clock, curve, stop = self.family, self.clock, self.curve, self.options.stop
        batches = family.batches(corpus, first_step=curve.step)
        saver = Saver(self.options.saving, curve.step)
        for step in range(curve.step, family.steps):
            clock.begin_step()
            batch = self.device.put(next(batches))
            clock.lap("data")
            loss, norm = trainer.step(batch, family.optimizer.rate_at(step, family.steps), clock)
            clock.end_step()
            curve.add(loss, norm)
            if curve.is_diverged:
                return "diverged"
            is_stopped = stop is not None and step + 1 < family.steps and stop()
            if self.path and (saver.is_due(step + 1) or is_stopped):
                self._checkpoint(trainer, saver)
            if is_stopped:
                curve.read()
                return "stopped"
        curve.read()
        return "diverged" if curve.is_diverged else None

    def _checkpoint(self, trainer: Trainer, saver: Saver) -> None:
        """Save the run; the curve up to here is durable first, so a resumed run leaves no gap in it."""
        path = self.path
        assert path is not None
        began = time.perf_counter()
        self.curve.read()
        self.spool.flush()
        state = {"trainer": trainer.state(), "curve": self.curve.state()}
        saver.write(self.curve.step, self.spool, path, tensor_bytes(state), lambda: save_tensors(path, state))
        self.clock.add("checkpoint", time.perf_counter() - began)

    def _keep_weights(self, trainer: Trainer) -> str | None:
        """Write the final weights where they are to be kept, and return the file."""
        folder = self.options.saving.weights_folder
        if folder is None:
            return None
        path, state = folder / f"{self.run_id}.pt", trainer.state()
        kept: dict[str, Any] = {name: state[name] for name in ("model", "average") if name in state}
        saver = Saver(self.options.saving, self.curve.step)
        is_there = saver.write(
            self.curve.step, self.spool, path, tensor_bytes(kept),
            lambda: save_tensors(path, {**kept, "step": self.curve.step}),
        )  # fmt: skip
        return str(path) if is_there else None

    def _record(
        self, trainer: Trainer, corpus: Corpus, reason: str | None, warmup_seconds: float, load: float | None
    ) -> Outcome:
        """Evaluate, summarize the times, and write the end of the attempt."""
        loss = validation_loss = None
        began = time.perf_counter()
        if reason is None:
            loss = self.curve.final_loss()
            measured = self._evaluate(trainer)
            validation_loss = measured.pop("validation_loss", None)
            if measured:
                self.spool.log(self.family.steps, seconds=round(self.curve.seconds, CLOCK_DIGITS), **measured)
        evaluation_seconds = time.perf_counter() - began
        self.clock.report(self.spool)
        contention = self.clock.contention()
        note_neighbors(self.spool, contention, load, sum(self.clock.wall_seconds))
        status = "finished" if reason is None else "failed"
        self.spool.ended(
            status,
            reason,
            loss=loss,
            validation_loss=validation_loss,
            irreducible_loss=self._irreducible_loss(corpus),
            unique_tokens=self.unique_tokens,
            epochs=self.family.tokens / self.unique_tokens if self.unique_tokens else None,
            weights_file=self._keep_weights(trainer) if reason is None else None,
            corpus_hash=corpus.content_hash,
            step_seconds=self.clock.median("step"),
            step_seconds_min=min(self.clock.phases.get("step", ()), default=None),
            contention=contention,
            host_load=load,
            train_seconds=self.curve.seconds,
            compile_seconds=warmup_seconds if self.family.compile else None,
            peak_memory_bytes=self.device.peak_memory_bytes(),
            step_wall_seconds=summarize(self.clock.wall_seconds).p50 if self.clock.wall_seconds else None,
            warmup_seconds=warmup_seconds,
            evaluation_seconds=evaluation_seconds if reason is None else None,
        )
        if self.path and reason != "stopped":
            self.path.unlink(missing_ok=True)
        return Outcome(
            run_id=self.run_id,
            status=status,
            reason=reason,
            loss=loss,
            validation_loss=validation_loss,
            seconds=self.curve.seconds,
        )

    def _count_unique(self, corpus: Corpus) -> int | None:
        """Return the different tokens of the run, and say where they are seen again."""
        unique = self.family.unique_tokens(corpus)
        said = (
            said_of_epochs(str(self.family.config().get("corpus")), unique, self.family.tokens / unique)
            if unique
            else None
        )
        if said is not None:
            self.spool.note(said, level="warning")
        return unique

    def _evaluate(self, trainer: Trainer) -> dict[str, float]:
        """Return the losses on all that is held out [nat/token], also in bits per byte where tokens have bytes."""
        measured: dict[str, float] = {}
        for text in self.held_out:
            kinds = {"": trainer.evaluate(text.batches), "ema_": trainer.evaluate_average(text.batches)}
            for kind, loss in kinds.items():
                if loss is None:
                    continue
                measured[f"{kind}validation_loss{text.suffix}"] = loss
                if text.bytes_per_token is not None:
                    bits = loss / math.log(2) / text.bytes_per_token
                    measured[f"{kind}bits_per_byte{text.suffix}"] = bits
        return measured

    def _irreducible_loss(self, corpus: Corpus) -> float | None:
        return corpus.irreducible_loss(self.family.batch_tokens // self.family.batch_size)


@contextlib.contextmanager
def arithmetic(num_threads: int | None) -> Iterator[None]:
    """Use this many CPU threads inside the block, and let numbers below 1e-38 be zero.

    Attention and its gradients are full of such numbers once a model is sure of itself, and a processor
    takes many times longer over them: the time of a step would depend on what the model has learned.
    """
    before = torch.get_num_threads()
    if num_threads is not None:
        torch.set_num_threads(num_threads)
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)
        torch.set_num_threads(before)


@contextlib.contextmanager
def _random_numbers(seed: int, device: TorchDevice) -> Iterator[None]:
    """Seed torch's global generators inside the block and leave them as they were."""
    is_cuda = device.torch_device.type == "cuda"
    with torch.random.fork_rng(devices=[device.torch_device] if is_cuda else []):
        torch.manual_seed(_stream(seed, EVERYTHING_ELSE))
        yield


def _stream(seed: int, stream: int) -> int:
    """Return the seed of one stream of random numbers of a run."""
    return int(np.random.SeedSequence([seed, stream]).generate_state(1, np.uint64)[0] >> 1)
