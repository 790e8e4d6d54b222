"""Where Ray places a task."""

from __future__ import annotations

from typing import Any


def prefer(node: str) -> Any:
    """Make a scheduling strategy: this node if it has room now, otherwise any other.

    The argument ``_spill_on_unavailable`` of the public ``NodeAffinitySchedulingStrategy`` is private, the same in
    2.54.0 and 2.60.0. Without it, a task waits for a preferred node that is busy while others are free.

    Args:
        node: The id of the node.
    """
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    return NodeAffinitySchedulingStrategy(node, soft=True, _spill_on_unavailable=True)
