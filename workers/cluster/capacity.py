"""How much of a sweep a cluster holds at a time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from isoflop.workers.resources import Resources


@dataclass(frozen=True)
class Node:
    """A machine of the cluster that takes work; `resources` are Ray's: CPU, GPU, memory [byte]."""

    node_id: str
    host: str
    resources: Mapping[str, float] = field(default_factory=dict)

    def holds(self, need: Resources) -> int:
        """Return how many processes with this need fit into the machine at once."""
        wanted = (("CPU", need.cpus), ("GPU", need.gpus or 0.0), ("memory", need.memory or 0))
        times = [int(self.resources.get(name, 0.0) / amount) for name, amount in wanted if amount]
        return min(times, default=1)


@dataclass(frozen=True)
class Capacity:
    """The machines of a cluster at one moment."""

    nodes: Sequence[Node] = ()

    def total(self, name: str) -> float:
        """Return how much of a resource all machines have together."""
        return sum(node.resources.get(name, 0.0) for node in self.nodes)

    def decided(self, need: Resources) -> Resources:
        """Return the need with GPUs decided: where the file leaves it open, one if the cluster has any."""
        if need.gpus is not None:
            return need
        return Resources(cpus=need.cpus, gpus=1.0 if self.total("GPU") else 0.0, memory=need.memory)

    def slots(self, need: Resources) -> int:
        """Return how many processes with this need the cluster holds at once."""
        return sum(node.holds(self.decided(need)) for node in self.nodes)

    def has_room(self, need: Resources, held: Iterable[Resources]) -> bool:
        """Return whether a process fits beside those that are there.

        Parameters
        ----------
        held : what the processes with the cluster take
        """
        needs = [self.decided(each) for each in (need, *held)]
        return (
            sum(each.cpus for each in needs) <= self.total("CPU")
            and sum(each.gpus or 0.0 for each in needs) <= self.total("GPU")
            and sum(each.memory or 0 for each in needs) <= self.total("memory")
        )

    def largest(self) -> str:
        """Return the machine with the most GPUs, then CPUs, in words."""
        have = [node.resources for node in self.nodes]
        best = max(have, key=lambda node: (node.get("GPU", 0.0), node.get("CPU", 0.0)), default={})
        return str(Resources(best.get("CPU", 0.0), best.get("GPU", 0.0), int(best.get("memory", 0.0))))
