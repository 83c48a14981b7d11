"""The seam between a training loop and the hardware: a core, the CPU of torch and CUDA behind one small class each.

A device says which clock measures its work, how much memory it used at most and what is needed to compare times.
A device of torch also says where tensors live, and how many steps may pass before their losses are read back
(reading makes the host wait for the device).
"""

from __future__ import annotations

import contextlib
import os
import platform
import sys
import time
from abc import ABC, abstractmethod
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from isoflop.lakehouse.errors import UsageError
from isoflop.workers.timing import DeviceClock, HostClock, StepClock

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray


class Device(ABC):
    """What a run is computed on.

    Parameters
    ----------
    name : as stored in `runs.device`
    """

    name: str

    @abstractmethod
    def seconds(self) -> float:
        """Return a reading of the clock that times this device's work, which is done by then [s]."""

    @abstractmethod
    def counts_cpu_time(self) -> bool:
        """Return whether that clock is the CPU time of the one thread that works."""

    @abstractmethod
    def reset_peak_memory(self) -> None:
        """Forget the peak so far."""

    @abstractmethod
    def peak_memory_bytes(self) -> float | None:
        """Return the most memory used since the last reset [byte], or None where the system does not say."""

    @abstractmethod
    def hardware(self) -> dict[str, object]:
        """Return what is needed to compare times: names, sizes, versions, threads."""


class Processor(Device):
    """One core, for work in NumPy: the clock is the thread's CPU time, peak memory that of the whole process."""

    name = "cpu"

    def seconds(self) -> float:
        """Return the CPU time of this thread."""
        return time.thread_time()

    def counts_cpu_time(self) -> bool:
        """Return that it is."""
        return True

    def reset_peak_memory(self) -> None:
        """Begin a new peak, where the kernel lets a process do that."""
        reset_process_peak_memory()

    def peak_memory_bytes(self) -> float | None:
        """Return the largest resident set of the process."""
        return process_peak_memory_bytes()

    def hardware(self) -> dict[str, object]:
        """Return the processor's name, the one thread and the NumPy version."""
        import numpy as np

        return {"name": processor_name(), "threads": 1, "numpy": np.__version__}


class TorchDevice(Device):
    """A device that tensors are put on.

    Parameters
    ----------
    torch_device : where tensors are put
    steps_between_reads : losses are read back once in so many steps
    """

    torch_device: torch.device
    steps_between_reads: int

    @abstractmethod
    def clock(self) -> StepClock:
        """Return a fresh clock for the phases of steps on this device."""

    @abstractmethod
    def put(self, batch: NDArray[np.int64]) -> torch.Tensor:
        """Return a host array as a tensor on the device, without waiting for it."""

    @abstractmethod
    def synchronize(self) -> None:
        """Wait until the device has done everything asked so far."""


class Cpu(TorchDevice):
    """The processor. Peak memory is the resident set of the whole process, interpreter included."""

    name = "cpu"
    steps_between_reads = 1

    def __init__(self) -> None:
        import torch

        self.torch_device = torch.device("cpu")

    def clock(self) -> StepClock:
        """Return a clock of the thread's CPU time where torch uses one thread, of wall time with more."""
        return HostClock(is_cpu_time=self.counts_cpu_time())

    def seconds(self) -> float:
        """Return the thread's CPU time where torch uses one thread, wall time with more."""
        return time.thread_time() if self.counts_cpu_time() else time.perf_counter()

    def counts_cpu_time(self) -> bool:
        """Return whether torch uses one thread."""
        import torch

        return torch.get_num_threads() == 1

    def put(self, batch: NDArray[np.int64]) -> torch.Tensor:
        """Return the array as a tensor over the same memory."""
        import torch

        return torch.from_numpy(batch)

    def synchronize(self) -> None:
        """Return at once: work on the CPU is done when a call returns."""

    def reset_peak_memory(self) -> None:
        """Begin a new peak, where the kernel lets a process do that."""
        reset_process_peak_memory()

    def peak_memory_bytes(self) -> float | None:
        """Return the largest resident set of the process."""
        return process_peak_memory_bytes()

    def hardware(self) -> dict[str, object]:
        """Return the processor's name, its cores, the threads used and the torch version."""
        import torch

        return {
            "name": processor_name(),
            "cores": os.cpu_count(),
            "threads": torch.get_num_threads(),
            "torch": torch.__version__,
        }


class Cuda(TorchDevice):
    """One NVIDIA (or ROCm) GPU. Peak memory is what torch's allocator handed out."""

    steps_between_reads = 50

    def __init__(self, index: int) -> None:
        import torch

        self.torch_device = torch.device("cuda", index)
        torch.cuda.set_device(self.torch_device)
        self.name = f"cuda:{index}"

    def clock(self) -> StepClock:
        """Return a clock of device events."""
        return DeviceClock(self.torch_device)

    def seconds(self) -> float:
        """Return wall time, once every stream has done its work."""
        self.synchronize()
        return time.perf_counter()

    def counts_cpu_time(self) -> bool:
        """Return that it is not."""
        return False

    def put(self, batch: NDArray[np.int64]) -> torch.Tensor:
        """Return the array on the device, copied from pinned memory while the host goes on."""
        import torch

        return torch.from_numpy(batch).pin_memory().to(self.torch_device, non_blocking=True)

    def synchronize(self) -> None:
        """Wait for every stream of the device."""
        import torch

        torch.cuda.synchronize(self.torch_device)

    def reset_peak_memory(self) -> None:
        """Begin a new peak."""
        import torch

        torch.cuda.reset_peak_memory_stats(self.torch_device)

    def peak_memory_bytes(self) -> float | None:
        """Return the most bytes that tensors took at once."""
        import torch

        return float(torch.cuda.max_memory_allocated(self.torch_device))

    def hardware(self) -> dict[str, object]:
        """Return the GPU's name, memory and versions."""
        import torch

        about = torch.cuda.get_device_properties(self.torch_device)
        return {
            "name": about.name,
            "memory_bytes": about.total_memory,
            "capability": f"{about.major}.{about.minor}",
            "torch": torch.__version__,
            "cuda": torch.version.cuda,
        }


def find_device(name: str = "auto") -> TorchDevice:
    """Return the device called `name`: `auto` (a GPU if there is one), `cpu`, `cuda`, `cuda:1`.

    Raises
    ------
    UsageError : if this machine has no such device
    """
    import torch

    kind, _, index = name.partition(":")
    num_gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if kind == "cpu" or (kind == "auto" and num_gpus == 0):
        return Cpu()
    if kind in ("auto", "cuda") and (index or "0").isdigit() and int(index or 0) < num_gpus:
        return Cuda(int(index or 0))
    there = ", ".join(["cpu", *(f"cuda:{number}" for number in range(num_gpus))])
    raise UsageError(f"device '{name}' is not on this machine; choose from auto, {there}")


@cache
def processor_name() -> str:
    """Return the processor's name as the system gives it."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def reset_process_peak_memory() -> None:
    """Begin a new peak of this process's resident set, where the kernel lets a process do that (Linux)."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def process_peak_memory_bytes() -> float | None:
    """Return the largest resident set of this process [byte], or None where the system does not say."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return float(line.split()[1]) * 1024
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return float(peak if sys.platform == "darwin" else peak * 1024)
