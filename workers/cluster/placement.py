"""On which machine a pack trains: wherever there is room, or alone on one, where nothing of ours disturbs its times."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from isoflop.lakehouse.errors import RunFailed
from isoflop.workers.cluster.capacity import Capacity, Node
from isoflop.workers.resources import Resources


@dataclass(frozen=True)
class Held:
    """What a pack in training takes.

    Parameters
    ----------
    resources : of its process
    node_id : the machine that it has to itself; None where it shares one
    """

    resources: Resources
    node_id: str | None = None


@dataclass(frozen=True)
class Placement:
    """How the packs of a sweep share the machines.

    Parameters
    ----------
    is_exclusive : whether a run on the CPU is alone on its machine, and one on GPUs alone on those
    """

    is_exclusive: bool = False

    def has_room(self, capacity: Capacity, need: Resources, held: Collection[Held]) -> bool:
        """Return whether one more process may start now.

        Raises
        ------
        RunFailed : if a run is to be alone on a part of a GPU
        """
        if not capacity.has_room(need, (each.resources for each in held)):
            return False
        return not self._is_alone(capacity, need) or self.machine(capacity, need, held) is not None

    def may_wait(self, num_held: int, slots: int) -> bool:
        """Return whether a pack is handed to Ray to wait there: a cluster that grows by itself grows when tasks do.

        Half as many again as it holds may.
        """
        return not self.is_exclusive and num_held < 1.5 * max(1, slots)

    def machine(self, capacity: Capacity, need: Resources, held: Iterable[Held]) -> Node | None:
        """Return a machine that a run gets to itself, None where it shares one or none is free."""
        if not self._is_alone(capacity, need):
            return None
        taken = {each.node_id for each in held}
        return next((node for node in capacity.nodes if node.node_id not in taken and node.holds(need)), None)

    def options(self, need: Resources, machine: Node | None) -> Mapping[str, Any]:
        """Return what Ray is asked for: all processors of a machine that the run has to itself."""
        memory = {"memory": need.memory} if need.memory else {}
        options = {"num_cpus": need.cpus, "num_gpus": need.gpus or 0.0, **memory}
        if machine is None:
            return options
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        there = NodeAffinitySchedulingStrategy(machine.node_id, soft=False)
        return {**options, "num_cpus": machine.resources.get("CPU", need.cpus), "scheduling_strategy": there}

    def _is_alone(self, capacity: Capacity, need: Resources) -> bool:
        """Return whether a run gets a whole machine: on a GPU its processors are not what is timed."""
        gpus = capacity.decided(need).gpus or 0.0
        if self.is_exclusive and 0 < gpus % 1:
            raise RunFailed(
                f"a run asks for {gpus:g} GPUs, and timing: exclusive gives it none to share",
                hint="resources: {gpus: 1}, or take timing: exclusive out of the sweep file",
            )
        return self.is_exclusive and not gpus
