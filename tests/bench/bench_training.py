"""Training beside the same work without isoflop, each pair measured in turns in one process.

Prints the CPU time of a transformer step against a bare PyTorch loop over the same model, and the runs a
second of packed random-feature runs against the same runs one at a time, as isoflop trains one and as the
definition reads (draw x, step on W^T x).
"""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from isoflop.lakehouse import Spool
from isoflop.workers import Plrf, TrainOptions, Transformer, train, train_packed
from isoflop.workers.devices import Cpu
from isoflop.workers.gradient_training import arithmetic

ROUNDS = 5
SHORT, LONG = 10, 60  # steps; their difference is free of everything that happens once
SHAPES = (
    {"width": 64, "depth": 2, "sequence_length": 64, "batch_size": 4},
    {"width": 128, "depth": 2, "sequence_length": 128, "batch_size": 8},
    {"width": 256, "depth": 2, "sequence_length": 64, "batch_size": 4},
)
MARKOV = {"kind": "markov", "vocabulary": 256}


def recorded_seconds(shape: dict[str, int], steps: int, folder: Path) -> float:
    """CPU seconds of a whole run of `steps` steps as isoflop trains it, its spool's thread included."""
    family = Transformer.parse({**shape, "corpus": MARKOV, "steps": steps, "validation_tokens": 0})
    with Spool(folder, family.record().run_id, 1) as spool:
        before = time.process_time()
        train(family, spool, options=TrainOptions(device="cpu", threads=1))
        return time.process_time() - before


def bare_seconds(shape: dict[str, int], steps: int) -> float:
    """CPU seconds of the same work as a page of PyTorch."""
    family = Transformer.parse({**shape, "corpus": MARKOV, "steps": steps})
    before = time.process_time()
    batches = family.batches(family.open_corpus())
    model = family.build(Cpu(), torch.Generator().manual_seed(0))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.95), weight_decay=0.1, fused=True)
    losses = []
    with arithmetic(1):
        for _ in range(steps):
            batch = torch.from_numpy(next(batches))
            loss = model(batch[:, :-1], batch[:, 1:])
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
            losses.append(loss.item())
    return time.process_time() - before


def bench_steps(folder: Path) -> None:
    """Print milliseconds a step with and without isoflop."""
    for shape in SHAPES:
        recorded, bare = [], []
        for _ in range(ROUNDS):
            recorded.append(recorded_seconds(shape, LONG, folder) - recorded_seconds(shape, SHORT, folder))
            bare.append(bare_seconds(shape, LONG) - bare_seconds(shape, SHORT))
        ours, theirs = (1e3 * statistics.median(times) / (LONG - SHORT) for times in (recorded, bare))
        name = ", ".join(f"{key} {value}" for key, value in shape.items())
        print(f"step, {name:60s} {ours:8.3f} ms   bare {theirs:8.3f} ms   ratio {ours / theirs:.3f}   (budget 1.05)")


def literal_seconds(run: Plrf) -> float:
    """CPU seconds of one random-feature run as its definition reads."""
    generator = np.random.default_rng(run.seed)
    before = time.process_time()
    scale = np.arange(1, run.ambient + 1) ** -run.task.spectrum_exponent
    target = np.arange(1, run.ambient + 1) ** -run.task.target_exponent
    weights = generator.standard_normal((run.ambient, run.width)) / np.sqrt(run.width)
    theta, rate = np.zeros(run.width), run.rate
    for _ in range(run.steps):
        x = generator.standard_normal(run.ambient) * scale
        features = x @ weights
        theta -= rate * (features @ theta - x @ target) * features
    return time.process_time() - before


def bench_packs(folder: Path) -> None:
    """Print runs a second packed and one at a time."""
    for width, steps, count in ((16, 10_000, 256), (64, 10_000, 128), (256, 3_000, 64)):
        shape = {"width": width, "spectrum_exponent": 0.8, "target_exponent": 0.7, "steps": steps, "feature_seed": 0}
        runs = [Plrf.parse({**shape, "seed": seed}) for seed in range(count)]
        began = time.process_time()
        for run in runs[:8]:
            with Spool(folder, run.record().run_id, 1) as spool:
                train(run, spool)
        alone = (time.process_time() - began) / 8
        spools = [Spool(folder, run.record().run_id, 2) for run in runs]
        began = time.process_time()
        train_packed(runs, spools)
        for spool in spools:
            spool.close()
        packed = (time.process_time() - began) / count
        literal = statistics.median(literal_seconds(run) for run in runs[:5])
        print(
            f"random features, d = {width:3d}, {steps} steps: {1 / packed:6,.0f} runs/s in packs of {count}, "
            f"{1 / alone:5,.0f} alone (ratio {alone / packed:.1f}), {1 / literal:5,.0f} by the definition "
            f"(ratio {literal / packed:.1f}, budget 10)"
        )


def bench() -> None:
    """Print both tables."""
    with tempfile.TemporaryDirectory() as folder:
        bench_steps(Path(folder))
        bench_packs(Path(folder))


if __name__ == "__main__":
    bench()
