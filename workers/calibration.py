"""What a machine does without a run: how fast it copies, multiplies matrices, starts a kernel, and trains a step.

Each is timed by the clock that times runs there (CPU time of one thread, wall time of several, wall time of a GPU once
it is done). A repetition is as many calls as take about `BLOCK_SECONDS`; the fastest one is the value, since a neighbor
only ever slows down, and the median stands beside it. Steps are those of small decoders of several shapes: products
and copies say how fast a step could be, which real ones are several times from, and what foretells runs is the law
`step_time` through these.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

from isoflop.workers.devices import TorchDevice, find_device
from isoflop.workers.host_load import HostLoad

if TYPE_CHECKING:
    import torch

USUAL_SECONDS = 20.0  # of a calibration
MOST_SECONDS = 60.0
BLOCK_SECONDS = 0.01  # of a repetition: hundreds of ticks of the coarsest clock, and short beside a neighbor's turns
FEWEST = 3  # repetitions
COPIED = tuple(4**power for power in range(8, 15))  # bytes: 64 KiB, which caches hold, to 256 MiB, which none does
ROWS = tuple(2**power for power in range(5, 14))  # of square matrices: 32 to 8192
DTYPES = ("float32", "bfloat16")  # of the precisions that runs have
CHAIN = 32  # kernels one after another, and as many backward
FEWEST_STEPS = 5
STEPS_SHARE = 0.5  # of the time
# Decoders whose operations, traffic and depth do not go in step: width, depth, sequence length, batch, vocabulary.
SHAPES = (
    (32, 1, 32, 4, 64),
    (32, 6, 64, 4, 64),
    (64, 2, 128, 8, 512),
    (96, 4, 32, 8, 2048),
    (128, 1, 64, 16, 512),
    (192, 2, 64, 4, 2048),
    (256, 3, 64, 4, 64),
    (256, 1, 128, 8, 2048),
)
ON_GPU = 8  # times the width and the length there, or every step would be one of launches


@dataclass(frozen=True)
class Measured:
    """One quantity of one size.

    Parameters
    ----------
    quantity : `copy`, `matrix`, `launch` or `step`
    dtype : of the numbers; of a step its precision
    size : bytes of the array, rows of the matrices, numbers, weights
    value, typical : of the fastest and of the median repetition, in `unit`
    repeats : repetitions
    flops, memcpy_bytes, depth : of a step, None of anything else
    """

    quantity: str
    dtype: str
    size: int
    value: float
    typical: float
    unit: str
    repeats: int
    flops: float | None = None
    memcpy_bytes: float | None = None
    depth: int | None = None


@dataclass(frozen=True)
class Calibration:
    """All that was measured of a device.

    Parameters
    ----------
    device : its name
    threads : of the processor
    hardware : names, sizes, versions
    measured : the quantities
    host_load : processors that other work kept busy meanwhile, None where the system does not say
    """

    device: str
    threads: int
    hardware: dict[str, object]
    measured: tuple[Measured, ...]
    host_load: float | None


def calibrate(device: str = "auto", *, threads: int = 1, seconds: float = USUAL_SECONDS) -> Calibration:
    """Measure a device of this machine.

    Parameters
    ----------
    device : as in `find_device`
    threads : of the processor, as `resources.cpus` of the runs that are to be foretold
    seconds : that it may take [s]; sizes that would take longer than their share are left out

    Raises
    ------
    UsageError : if this machine has no such device
    """
    import torch

    from isoflop.workers.gradient_training import arithmetic

    with arithmetic(threads):
        found = find_device(device)
        load = HostLoad()
        with torch.random.fork_rng(devices=[]):
            measured = tuple(_all(found, seconds))
        return Calibration(found.name, threads, found.hardware(), measured, load.processors())


def _all(device: TorchDevice, seconds: float) -> Iterator[Measured]:
    import torch

    until = time.perf_counter() + seconds
    yield from _steps(device, STEPS_SHARE * seconds)
    left = (1 - STEPS_SHARE) * seconds
    share = left / (2 * (1 + len(COPIED) + len(DTYPES) * len(ROWS)))  # half is for finding how many calls to time
    yield _launch(device, share)
    kinds = [("copy", "float32", COPIED, _copy), *(("matrix", name, ROWS, _product) for name in DTYPES)]
    for quantity, name, sizes, make in kinds:
        speed: float | None = None
        for size in sizes:
            try:
                call, amount = make(device, size, getattr(torch, name))
                is_long = speed is not None and FEWEST * amount / speed > share
                if is_long or time.perf_counter() > until:
                    break
                times = _times(device, call, share)
            except (torch.OutOfMemoryError, RuntimeError):  # the processor's allocator raises the latter
                break
            speed = amount / min(times)
            unit = "byte/s" if quantity == "copy" else "FLOP/s"
            yield Measured(quantity, name, size, speed, amount / median(times), unit, len(times))


def _steps(device: TorchDevice, seconds: float) -> Iterator[Measured]:
    """Measure steps of small decoders in every precision, the smallest first, as many as the time holds."""
    import torch

    from isoflop.workers.families.transformer import Transformer
    from isoflop.workers.gradient_training import Trainer

    until, share = time.perf_counter() + seconds, seconds / (2 * len(DTYPES) * len(SHAPES))
    times = ON_GPU if device.torch_device.type == "cuda" else 1
    for width, depth, length, batch, vocabulary in SHAPES:
        for precision in DTYPES:
            if time.perf_counter() > until:
                return
            run = Transformer.parse(
                {"corpus": {"kind": "markov", "vocabulary": vocabulary}, "width": times * width, "depth": depth,
                 "sequence_length": times * length, "batch_size": batch, "steps": 1, "precision": precision}
            )  # fmt: skip
            tokens = torch.randint(vocabulary, (batch, times * length + 1), device=device.torch_device)
            trainer, clock, end = Trainer(run, device), device.clock(), time.perf_counter() + share
            trainer.warm_up(tokens)
            count = 0
            while count < FEWEST_STEPS or time.perf_counter() < end:
                clock.begin_step()
                trainer.step(tokens, 0.0, clock)
                clock.end_step()
                count += 1
            taken, counts = clock.read(), run.counts()
            yield Measured(
                "step", precision, counts.params or 0, min(taken), median(taken), "s", count,
                counts.flops_per_step, counts.memcpy_bytes_per_step, counts.depth,
            )  # fmt: skip


def _launch(device: TorchDevice, share: float) -> Measured:
    import torch

    one = torch.ones(1, device=device.torch_device, requires_grad=True)

    def chain() -> None:
        value = one
        for _ in range(CHAIN):
            value = value * 1.0
        value.backward()  # type: ignore[no-untyped-call]

    times = [each / (2 * CHAIN) for each in _times(device, chain, share)]
    return Measured("launch", "float32", 1, min(times), median(times), "s", len(times))


def _copy(device: TorchDevice, size: int, dtype: torch.dtype) -> tuple[Callable[[], object], float]:
    """Return a copy of an array of so many bytes, and the bytes that it reads and writes."""
    import torch

    source = torch.ones(size // dtype.itemsize, dtype=dtype, device=device.torch_device)
    target = torch.empty_like(source)
    return lambda: target.copy_(source), 2.0 * size


def _product(device: TorchDevice, rows: int, dtype: torch.dtype) -> tuple[Callable[[], object], float]:
    """Return a product of two square matrices, and its operations."""
    import torch

    one, other = (torch.randn(rows, rows, device=device.torch_device).to(dtype) for _ in range(2))
    out = torch.empty_like(one)
    return lambda: torch.mm(one, other, out=out), 2.0 * rows**3


def _times(device: TorchDevice, call: Callable[[], object], share: float) -> list[float]:
    """Return the time of one call in each repetition [s], as many as their share of wall time holds."""
    call()
    calls, spent = 1, _block(device, call, 1)
    while spent < BLOCK_SECONDS:
        calls *= 2
        spent = _block(device, call, calls)
    times = [spent / calls]
    until = time.perf_counter() + share
    while len(times) < FEWEST or time.perf_counter() < until:
        times.append(_block(device, call, calls) / calls)
    return times


def _block(device: TorchDevice, call: Callable[[], object], calls: int) -> float:
    began = device.seconds()
    for _ in range(calls):
        call()
    return device.seconds() - began
