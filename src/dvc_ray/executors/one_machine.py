"""Runs attempts on this machine: in processes, and on a Ray of its own what only Ray can place."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from dvc_ray.executors.placement import fit
from dvc_ray.executors.processes import ProcessExecutor
from dvc_ray.executors.processes.cluster import LocalCpus
from dvc_ray.values.stage import StageSettings
from dvc_ray.values.task import FileBundle, Lost, StageResult, StageTask, Wait, WorkerEvent

if TYPE_CHECKING:  # half a second of imports, and most runs do without
    from dvc_ray.executors.ray import RayExecutor

_SHARE: Final = 0.05
"""Seconds to wait for one executor before the other is asked."""


def needs_ray(settings: StageSettings) -> bool:
    """Whether only Ray can place a stage: it asks for more than CPUs, or for none, as its program is a Ray driver."""
    return not fit.is_plain(settings) or not settings.num_cpus


class OneMachine(LocalCpus):
    """A `Cluster` of this machine, whose CPUs are there at once and whose Ray is started when a stage needs it.

    Args:
        processes: The cluster of the processes that run stages which ask for CPUs only.
        ray: Makes, once, what runs the others.
    """

    def __init__(self, processes: LocalCpus, ray: Callable[[], RayExecutor]) -> None:
        super().__init__(processes.count, processes.prepare)
        self._ray = ray

    def start(self, jobs: int | None, settings: StageSettings | None = None) -> str:
        """Get ready for a stage: by a process, or by Ray."""
        if settings is not None and needs_ray(settings):
            return self._ray().cluster.start(jobs, settings)
        return super().start(jobs, settings)

    def check(self, address: str, settings: StageSettings) -> str:
        """Ask Ray where it is needed for the answer."""
        return "" if self.surely_fits(settings) else self._ray().cluster.check(address, settings)


class OneMachineExecutor:
    """An `Executor` that starts Ray only for stages that need it; once that is up, it gets all, and counts for all.

    Args:
        jobs: Attempts at a time that there are CPUs for, if that is more than there are cores.
    """

    def __init__(self, jobs: int | None = None) -> None:
        self._jobs = jobs
        self._processes = ProcessExecutor(jobs)
        self._ray: RayExecutor | None = None
        self._pending: dict[str, tuple[StageTask, StageSettings]] = {}
        """Attempts that wait for Ray to be there."""
        self._lost: list[WorkerEvent] = []
        self._on_ray: set[str] = set()
        self.cluster = OneMachine(self._processes.cluster, self._with_ray)

    def submit(self, task: StageTask, settings: StageSettings, bundles: Sequence[FileBundle] = ()) -> None:
        """Give an attempt to a process, or to Ray when that is there."""
        if needs_ray(settings):
            self._with_ray().cluster.start(self._jobs, settings)
        if needs_ray(settings) or self._has_ray():
            self._pending[task.address] = task, settings
            self._hand_over()
        else:
            self._processes.submit(task, settings, bundles)

    def events(self, timeout: float) -> Sequence[WorkerEvent]:
        """Wait for the next events of any attempt."""
        lost, self._lost = self._lost, []
        self._hand_over()
        if lost:
            return lost
        if not (self._pending or self._on_ray):
            return self._processes.events(timeout)
        busy = self._processes.is_busy()
        found = self._from_ray(_SHARE if busy else timeout)
        if busy:
            found += self._processes.events(0.0 if found else _SHARE)
        return found

    def waits(self) -> Mapping[str, Wait]:
        """What attempts on Ray wait for."""
        return self._ray.waits() if self._ray is not None and self._on_ray else {}

    def stop(self, address: str) -> None:
        """End an attempt, wherever it is."""
        if (pending := self._pending.pop(address, None)) is not None:
            self._lost.append(Lost(address=address, attempt=pending[0].attempt, why="stopped"))
        elif address in self._on_ray and self._ray is not None:
            self._ray.stop(address)
        else:
            self._processes.stop(address)

    def close(self) -> None:
        """End what runs, and Ray if it was started."""
        self._pending.clear()
        self._processes.close()
        if self._ray is not None:
            self._ray.close()

    def _with_ray(self) -> RayExecutor:
        """What runs attempts on Ray; its Ray is not started by that."""
        if self._ray is None:
            from dvc_ray.executors.ray import RayExecutor

            self._ray = RayExecutor(None, self._jobs)
        return self._ray

    def _has_ray(self) -> bool:
        return self._ray is not None and self._ray.cluster.is_ready(0.0)

    def _hand_over(self) -> None:
        """Give Ray the attempts that waited for it.

        Raises:
            ClusterError: It cannot be started.
        """
        if self._ray is not None and self._pending and self._has_ray():
            for address, (task, settings) in self._pending.items():
                self._ray.submit(task, settings)
                self._on_ray.add(address)
            self._pending.clear()

    def _from_ray(self, timeout: float) -> list[WorkerEvent]:
        assert self._ray is not None  # noqa: S101
        if not self._on_ray:
            self._ray.cluster.is_ready(timeout)
            return []
        found = list(self._ray.events(timeout))
        self._on_ray -= {event.address for event in found if isinstance(event, StageResult | Lost)}
        return found
