"""The loss curve of a run in the making: losses read back from the device, logged, and watched.

The loss at step k is the training loss of batch k, taken before its update; the first step is 1.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from statistics import median
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

    from isoflop.lakehouse.ingest.spool import Spool
    from isoflop.workers.timing import StepClock

CLOCK_DIGITS = 9  # of logged seconds: what a clock resolves; digits from adding up only fill the disk
LOGGED_POINTS = 10_000  # a curve holds about this many points at most, however long the run
FINAL_FRACTION = 0.05  # of the steps, averaged into the run's loss
MOST_FINAL_STEPS = 50  # whose mean is the final loss
DIVERGED_OVER = 10  # steps; their median is compared, so one spike is forgiven
DIVERGED_FACTOR = 2.0  # times the loss of a uniform guess


def log_interval(num_steps: int, log_every: int | None) -> int:
    """Return how many steps one logged point stands for: every step of runs up to `LOGGED_POINTS` steps."""
    return log_every if log_every is not None else -(-num_steps // LOGGED_POINTS)


class LossCurve:
    """Losses from the device to the spool.

    A run has diverged when a loss is not finite, or when the median of the last ten losses is more than
    twice the loss of a uniform guess.

    Parameters
    ----------
    num_steps : of the whole run
    steps_between_reads : losses stay on the device for so many steps, so that the host does not wait for each
    interval : a logged loss is the mean over so many steps; the last step is always logged
    uniform_loss : loss of knowing nothing [nat/token]
    """

    def __init__(
        self,
        spool: Spool,
        clock: StepClock,
        *,
        num_steps: int,
        steps_between_reads: int,
        interval: int,
        uniform_loss: float,
    ) -> None:
        self._spool, self._clock = spool, clock
        self._num_steps, self._interval, self._limit = num_steps, interval, DIVERGED_FACTOR * uniform_loss
        self._between_reads = steps_between_reads
        self._unread: list[tuple[torch.Tensor, torch.Tensor | None]] = []
        self._unlogged: list[float] = []
        self._recent: deque[float] = deque(maxlen=max(DIVERGED_OVER, MOST_FINAL_STEPS))
        self.step = 0  # last step read
        self.seconds = 0.0  # clock time of the steps read so far, earlier attempts included
        self.is_diverged = False

    def add(self, loss: torch.Tensor, gradient_norm: torch.Tensor | None) -> None:
        """Take the loss of the next step as the device computes it, a scalar tensor."""
        self._unread.append((loss, gradient_norm))
        if len(self._unread) >= self._between_reads:
            self.read()

    def read(self) -> None:
        """Wait for the losses given so far and log them."""
        if not self._unread:
            return
        losses = (
            [loss.item() for loss, _ in self._unread]
            if self._between_reads == 1
            else _fetch([pair[0] for pair in self._unread])
        )
        norms = _fetch([norm for _, norm in self._unread if norm is not None])
        self._unread.clear()
        for number, (loss, seconds) in enumerate(zip(losses, self._clock.read(), strict=True)):
            self.seconds += seconds
            self.step += 1
            self._recent.append(loss)
            self._unlogged.append(loss)
            if self.step % self._interval == 0 or self.step == self._num_steps:
                self._log(norms[number] if norms else None)
            self.is_diverged |= self._has_diverged(loss)

    def final_loss(self) -> float:
        """Return the mean loss of the last 5 % of the run's steps, at least 1 and at most 50 [nat/token]."""
        num_final = min(MOST_FINAL_STEPS, max(1, round(FINAL_FRACTION * self._num_steps)))
        last = list(self._recent)[-num_final:]
        return math.fsum(last) / len(last)

    def state(self) -> dict[str, Any]:
        """Return what a resumed run needs to log what an uninterrupted one would have."""
        return {
            "step": self.step,
            "seconds": self.seconds,
            "recent": list(self._recent),
            "unlogged": list(self._unlogged),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue after the step of a state."""
        self.step, self.seconds = int(state["step"]), float(state["seconds"])
        self._recent.extend(state["recent"])
        self._unlogged = list(state["unlogged"])

    def _log(self, gradient_norm: float | None) -> None:
        loss = math.fsum(self._unlogged) / len(self._unlogged) if len(self._unlogged) > 1 else self._unlogged[0]
        self._unlogged.clear()
        seconds = round(self.seconds, CLOCK_DIGITS)
        if gradient_norm is None:
            self._spool.log(self.step, seconds=seconds, loss=loss)
        else:
            self._spool.log(self.step, seconds=seconds, loss=loss, gradient_norm=gradient_norm)

    def _has_diverged(self, loss: float) -> bool:
        if not math.isfinite(loss):
            return True
        if loss <= self._limit or len(self._recent) < DIVERGED_OVER:
            return False
        return median(list(self._recent)[-DIVERGED_OVER:]) > self._limit


def _fetch(scalars: list[torch.Tensor]) -> list[float]:
    """Read scalar tensors back in one transfer."""
    if not scalars:
        return []
    import torch

    values: list[float] = torch.stack(scalars).tolist()
    return values
