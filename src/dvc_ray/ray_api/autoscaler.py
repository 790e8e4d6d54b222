"""What Ray's autoscaler is doing. The same that `ray status` shows, asked of the GCS."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

_TIMEOUT: Final = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Scaling:
    """What a cluster's autoscaler is at."""

    impossible: tuple[Mapping[str, float], ...] = ()
    """Resources that were asked for and that no node type has."""
    launching: int = 0
    """Nodes that come."""
    failed: str = ""
    """Why the last launch failed."""


def look(address: str) -> Scaling | None:
    """Ask.

    ``GcsClient.get_cluster_status`` of ``ray._raylet`` and ``ray.core.generated.autoscaler_pb2``, the same in 2.54.0
    and 2.60.0. ``ray.autoscaler.v2.sdk.get_cluster_status`` leaves out what no node type has. Without it, a stage is
    not said to wait for a node that comes, or for one that never will.

    Args:
        address: Of the GCS.

    Returns:
        None: there is no autoscaler, or it is one of the first kind, which does not tell.

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
