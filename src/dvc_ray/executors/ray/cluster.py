"""The machines of a Ray: a cluster that is joined, or a local one."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from typing import Final

from dvc_ray.errors import ClusterError
from dvc_ray.executors.placement import fit
from dvc_ray.executors.ray import nodes, options, registry
from dvc_ray.executors.ray.connection import Connection
from dvc_ray.ray_api import autoscaler
from dvc_ray.ray_api.names import NODE_ID, accelerators
from dvc_ray.values.run import ActiveRun
from dvc_ray.values.stage import StageSettings

_WISHES_EVERY: Final = 1.0
"""Seconds between checks whether somebody has asked the run to stop."""


class RayCluster:
    """A `Cluster` of Ray nodes.

    Args:
        ray: This process as a driver of Ray.
    """

    def __init__(self, ray: Connection) -> None:
        self._ray = ray
        self._local: fit.Node | None = None
        self._here = ""
        self._shares_disk: bool | None = None
        self._run_id = ""
        """Id of the run that was announced."""
        self._wishes_due = 0.0
        """When to check again whether it should stop (`time.monotonic`)."""

    @property
    def head(self) -> str:
        """Id of the head node; empty for a local Ray."""
        return self._ray.head

    @property
    def is_local(self) -> bool:
        """Whether it is a Ray that this run has started, on this machine."""
        return self._ray.address is None

    def start(self, jobs: int | None, settings: StageSettings | None = None) -> str:
        """Start or join Ray in the background."""
        return self._ray.begin(jobs)

    def is_ready(self, timeout: float) -> bool:
        """Whether Ray need not be waited for: it is there, or has failed to start.

        Args:
            timeout: Seconds to wait for that.
        """
        return self._ray.is_ready(timeout)

    def cpus(self) -> float:
        """CPUs of the cluster as it is now."""
        capacity = self._ray.capacity()
        if capacity is not None:
            return capacity
        self._ray.wait()  # first: two threads that import Ray at once may see half of it
        import ray

        return float(ray.cluster_resources().get("CPU", 0))

    def capacity(self) -> float | None:
        """CPUs of the local Ray; None for a cluster, which may grow."""
        return self._ray.capacity()

    def surely_fits(self, settings: StageSettings) -> bool:
        """Decide without Ray on a stage that asks only for CPUs: Ray need not start if the run cache has the result."""
        capacity = self.capacity()
        return fit.is_plain(settings) and (capacity is None or settings.num_cpus <= capacity)

    def check(self, address: str, settings: StageSettings) -> str:
        """Refuse what a local Ray can never place; a cluster may scale up, so there an attempt waits."""
        capacity = self.capacity()
        if capacity is not None and settings.num_cpus > capacity:
            self._refuse(settings, fit.Node(total={"CPU": capacity}))  # without waiting for Ray
        self._refuse_image(settings)
        self._ray.wait()
        options.check(address, settings)
        doubt = self._doubt(settings.accelerator_type) if settings.accelerator_type else ""
        self._refuse(settings, self._node(), doubt)
        return doubt

    def _refuse(self, settings: StageSettings, node: fit.Node | None, doubt: str = "") -> None:
        lack = fit.lack(settings, node) if node is not None else None
        if lack is not None:
            of_cpus = isinstance(lack, fit.ResourceLack) and lack.name == fit.CPU
            raise ClusterError(
                f"{lack}: it could never start.{f' {doubt}' if doubt else ''}",
                f"Change it under 'meta: ray:' of the stage{', or raise --jobs' if of_cpus else ''},"
                " or run on a cluster with --address.",
            )

    def _refuse_image(self, settings: StageSettings) -> None:
        if fit.IMAGE in (settings.runtime_env or {}) and self.shares_disk():
            raise ClusterError(
                "its runtime_env names an image: Ray gives a container nothing of this machine's disk but Ray's own"
                " folder, so that it would not find its workspace",
                "Mount the project's folder: 'runtime_env: {container: {image: IMAGE, run_options: [\"-v DIR:DIR\"]}}';"
                " or run it on other machines, with --address and a remote.",
            )

    def _node(self) -> fit.Node | None:
        """The one node of a local Ray; None for a cluster."""
        if self._ray.address is None and self._local is None:
            import ray

            self._local = fit.Node(total=ray.cluster_resources(), labels=ray.nodes()[0]["Labels"])
        return self._local

    def _doubt(self, accelerator: str) -> str:
        """Warn of an accelerator that is likely misspelt: a cluster that may scale up would wait for it."""
        import ray

        return fit.doubt(accelerator, [*accelerators(), *fit.accelerators(ray.cluster_resources())])

    def shares_disk(self) -> bool:
        """Whether Ray has, and will have, no node but this machine."""
        if self._ray.address is None:
            return True
        self._ray.wait()
        if self._shares_disk is None:
            import ray

            alive, self._here = nodes.alive(), ray.get_runtime_context().get_node_id()
            alone = [node["NodeID"] for node in alive] == [self._here] and alive[0]["Resources"].get("CPU", 0) > 0
            # The answer holds for the whole run: attempts stay on this node, whichever nodes join later.
            self._shares_disk = alone and self.scaling() is None
        return self._shares_disk

    def look_over(self) -> str:
        """Compare the nodes with this machine; nodes that join later are not waited for."""
        self._ray.wait()
        return nodes.look_over(self._ray.head)

    def lacking(self, folder: str, mark: str) -> Mapping[str, str]:
        """Ask the nodes; nodes that join later are asked by the attempts that run there."""
        self._ray.wait()
        return nodes.lacking(self._ray.head, folder, mark)

    def announced(self, run: ActiveRun) -> contextlib.AbstractContextManager[None]:
        """Let others on the cluster see a run; a local Ray has no other users, and may not have started."""
        if self._ray.address is None:
            return contextlib.nullcontext()
        self._ray.wait()
        self._run_id = run.run_id
        return registry.announced(run)

    def stop_requested_by(self) -> str:
        """Check, now and then, whether somebody has asked the run to stop."""
        if not self._run_id or time.monotonic() < self._wishes_due:
            return ""
        self._wishes_due = time.monotonic() + _WISHES_EVERY
        try:
            return registry.stop_requested_by(self._run_id)
        except Exception:  # noqa: BLE001  Ray reports a busy GCS in several ways
            return ""

    @staticmethod
    def scaling() -> autoscaler.Scaling | None:
        """What the autoscaler may add; None: there is none, or it cannot be asked now."""
        import ray

        try:
            return autoscaler.look(ray.get_runtime_context().gcs_address)
        except Exception:  # noqa: BLE001  Ray reports a busy GCS in several ways
            return None

    def placed(self, labels: Mapping[str, str]) -> dict[str, str]:
        """Add labels that keep attempts on this node if it is the only one, and off the head if there are others."""
        if self._ray.address is None:
            return dict(labels)
        if self.shares_disk():
            return {**labels, NODE_ID: self._here}
        return {NODE_ID: f"!{self._ray.head}", **labels}
