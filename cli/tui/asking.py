"""How a view asks the lake: in a worker thread that posts a message, so that the screen never waits.

A worker touches no widget. It runs a question, a function of the lake, and posts `Answered` with what came back or
`Failed` with the message the user should read. Views change their widgets in the handlers of these two only.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from textual.message import Message
from textual.widget import Widget
from textual.worker import Worker, get_current_worker

from isoflop.lakehouse.sql.cancellation import Watch, watched

if TYPE_CHECKING:
    from isoflop.lakehouse import Lakehouse

Question = Callable[["Lakehouse"], Any]

# The way to stop what a worker asks.
_watches: WeakKeyDictionary[Worker[Any], Watch] = WeakKeyDictionary()


class Answered(Message):
    """A question was answered.

    Parameters
    ----------
    topic : which of a view's questions it was
    value : what the question returned
    seconds : time it took [s]
    """

    def __init__(self, topic: str, value: Any, seconds: float) -> None:
        self.topic, self.value, self.seconds = topic, value, seconds
        super().__init__()


class Failed(Message):
    """A question could not be answered; `text` says why, as the shell would print it."""

    def __init__(self, topic: str, text: str) -> None:
        self.topic, self.text = topic, text
        super().__init__()


def ask(asker: Widget, lake: Lakehouse, topic: str, question: Question) -> None:
    """Run a question in a thread and post its answer to `asker`; an unanswered one of the same topic is dropped."""
    asker.run_worker(
        partial(_answer, asker, lake, topic, question), group=topic, exclusive=True, thread=True, exit_on_error=False
    )


def give_up(asker: Widget) -> bool:
    """Stop every unanswered question of `asker`, so that none runs on; return whether there was one."""
    waiting = [worker for worker in asker.workers if worker.node is asker and not worker.is_finished]
    for worker in waiting:
        worker.cancel()
        watch = _watches.get(worker)
        if watch is not None:
            watch.cancel()
    return bool(waiting)


def is_waiting(asker: Widget, topic: str) -> bool:
    """Return whether a question of this topic is still unanswered."""
    return any(worker.node is asker and worker.group == topic and not worker.is_finished for worker in asker.workers)


def _answer(asker: Widget, lake: Lakehouse, topic: str, question: Question) -> None:
    """The body of a worker."""
    worker = get_current_worker()
    started = time.perf_counter()
    message: Message
    try:
        with watched() as watch:
            _watches[worker] = watch
            message = Answered(topic, question(lake), time.perf_counter() - started)
    except Exception as error:  # whatever is wrong with a statement belongs on the screen, not over it
        message = Failed(topic, describe(error))
    if not worker.is_cancelled:
        asker.post_message(message)


def describe(error: Exception) -> str:
    """Return an error as the command line prints it; one that was not foreseen carries its class."""
    import duckdb

    from isoflop.lakehouse.errors import IsoflopError

    if isinstance(error, IsoflopError | duckdb.Error):
        return str(error)
    return f"{type(error).__name__}: {error}"
