"""The CPUs of this machine as a cluster."""

from __future__ import annotations

from collections.abc import Callable

from dvc_ray.errors import ClusterError
from dvc_ray.executors.placement import fit
from dvc_ray.executors.this_machine import ThisMachine
from dvc_ray.values.stage import StageSettings


class LocalCpus(ThisMachine):
    """A `Cluster` of this machine's CPUs, for stages that ask for nothing else.

    Args:
        count: How many.
        prepare: Gets a first worker ready.
    """

    def __init__(self, count: int, prepare: Callable[[], object]) -> None:
        super().__init__()
        self.count = count
        self.prepare = prepare

    def start(self, jobs: int | None, settings: StageSettings | None = None) -> str:
        """Get ready, which takes milliseconds."""
        self.prepare()
        return ""

    def cpus(self) -> float:
        """CPUs that stages may take."""
        return self.count

    def capacity(self) -> float | None:
        """There will never be more."""
        return self.count

    def surely_fits(self, settings: StageSettings) -> bool:
        """Whether a stage asks for CPUs only, and for no more than there are."""
        return fit.is_plain(settings) and settings.num_cpus <= self.count

    def check(self, address: str, settings: StageSettings) -> str:
        """Refuse a stage that asks for more."""
        if lack := fit.lack(settings, fit.Node(total={fit.CPU: self.count})):
            raise ClusterError(
                f"{lack}: it could never start",
                "Change it under 'meta: ray:' of the stage, or raise --jobs, or run on a cluster with --address.",
            )
        return ""
