"""What Ray's autoscaler is at. The same that `ray status` shows, asked of the GCS."""

from __future__ import annotations

from dvc_ray.executors.waits import Scaling

_TIMEOUT = 5.0


def look(address: str) -> Scaling | None:
    """Ask.

    What is public (``ray.autoscaler.v2.sdk.get_cluster_status``, 2.60) leaves out what no node type has.

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
