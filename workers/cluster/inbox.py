"""How a worker's finished files reach the lake's spool folder.

A worker on the driver's machine writes into the folder itself. A worker on another machine hands
each file to an actor beside the driver, which answers only when the file is on disk: written under
a name that no reader matches, fsynced, renamed. Handing the same file over twice changes nothing.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from isoflop.lakehouse.ingest.encoding import SUFFIX, write_durably

Deliver = Callable[[str, bytes], None]

_NAME = re.compile(rf"[A-Za-z0-9_-]+(\.[0-9]+)*{re.escape(SUFFIX)}")


class Inbox:
    """Puts files of other machines into the spool folder; runs as a Ray actor."""

    def __init__(self, folder: str) -> None:
        self._folder = Path(folder)
        self._folder.mkdir(parents=True, exist_ok=True)

    def put(self, name: str, content: bytes) -> int:
        """Write a file durably and return its size."""
        if not _NAME.fullmatch(name):
            raise ValueError(f"'{name}' is not the name of a spool file")
        write_durably(self._folder / name, content)
        return len(content)


def open_inbox(folder: Path, node_id: str) -> Any:
    """Start the inbox on this node and return its handle."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    # A restarted actor forgets nothing, since all it knows is the folder.
    actor = ray.remote(Inbox).options(
        num_cpus=0,
        max_restarts=-1,
        max_task_retries=-1,
        scheduling_strategy=NodeAffinitySchedulingStrategy(node_id, soft=False),
    )
    return actor.remote(str(folder))


def delivery(inbox: Any, home: str) -> Deliver | None:
    """Return how this worker hands files over, or None when it can write to the folder itself."""
    import ray

    if inbox is None or ray.get_runtime_context().get_node_id() == home:
        return None

    def hand_over(name: str, content: bytes) -> None:
        # No time limit: after one, it is not known whether the file arrived.
        ray.get(inbox.put.remote(name, content))

    def deliver(name: str, content: bytes) -> None:
        if threading.current_thread() is not threading.main_thread():
            hand_over(name, content)
            return
        # A task whose main thread waits for Ray lends its CPUs, and the next run would train on them beside this one.
        with ThreadPoolExecutor(max_workers=1, thread_name_prefix="deliver") as beside:
            beside.submit(hand_over, name, content).result()

    return deliver
