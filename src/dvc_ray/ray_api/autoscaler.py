"""What Ray's autoscaler is doing, as `ray status` shows it; the GCS is asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

_TIMEOUT: Final = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Scaling:
    """The state of a cluster's autoscaler."""

    impossible: tuple[Mapping[str, float], ...] = ()
    """Requested resources that no node type has."""
    launching: int = 0
    """Number of nodes that are being launched."""
    failed: str = ""
    """Why the last launch failed."""


def look(address: str) -> Scaling | None:
    """Ask the GCS for the state of the autoscaler.

    ``GcsClient.get_cluster_status`` of ``ray._raylet`` and ``ray.core.generated.autoscaler_pb2``, the same in 2.54.0
    and 2.60.0. ``ray.autoscaler.v2.sdk.get_cluster_status`` leaves out resources that no node type has. Without it,
    the user is not told that a stage waits for a node that is being launched, or for one that never will be.

    Args:
        address: Address of the GCS.

    Returns:
        The state; None: there is no autoscaler, or it is one of the first generation, which does not report it.

    Raises:
        Exception: Ray's own, of several kinds: the GCS does not answer.
    """
    from ray._raylet import GcsClient  # type: ignore[attr-defined]  # compiled
    from ray.core.generated.autoscaler_pb2 import GetClusterStatusReply

    reply = GetClusterStatusReply()
    reply.ParseFromString(GcsClient(address=address).get_cluster_status(timeout_s=_TIMEOUT))
    state = reply.autoscaling_state
    if not state.autoscaler_state_version:
        return None
    failed = [request.reason for request in state.failed_instance_requests]
    return Scaling(
        impossible=tuple(dict(request.resources_bundle) for request in state.infeasible_resource_requests),
        launching=sum(request.count for request in state.pending_instance_requests) + len(state.pending_instances),
        failed=failed[-1] if failed else "",
    )
