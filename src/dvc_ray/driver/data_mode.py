"""Whether the machines of a run share the head's disk, decided once, and what follows from it on the head."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from dvc_ray.driver.shared_disk import SharedDisk
from dvc_ray.values.report import Notice

if TYPE_CHECKING:  # most runs have nothing to do and need none of these
    from dvc_ray.executors.base import Executor
    from dvc_ray.repo import Project
    from dvc_ray.runs.results import ResultStore
    from dvc_ray.values.run import RunSettings
    from dvc_ray.values.task import FileBundle, StageTask


class DataMode(Protocol):
    """How data and results travel between the head and workers. How DVC finds the data is the project's part."""

    in_remote: bool
    """Whether the outs of stages are in a remote afterwards."""

    def look_over(self) -> str:
        """Compare the machines with this one before anything is planned on them; returns the differences, in sentences.

        Raises:
            ClusterError: A machine lacks what stages need.
        """

    def open(self, project: Project, options: RunSettings, *, dry: bool) -> None:
        """Let a project, whose stages are selected, find its data.

        Args:
            project: The project.
            options: Settings of the run.
            dry: Whether nothing will run.

        Raises:
            DvcRayError: The project's data cannot travel this way.
        """

    def results(self, work: Path, tree: str, *, in_workspace: bool) -> ResultStore:
        """Where workers of this run keep their results until they are taken.

        Args:
            work: The run's folder of workspaces.
            tree: Root of the tree that results are brought to.
            in_workspace: Whether the run writes to the user's workspace; otherwise it is an experiment.
        """

    def dead_results(self, work: Path, tree: str) -> AbstractContextManager[Sequence[ResultStore]]:
        """Stores with what workers of dead runs have kept; no other process takes it while the context is open."""

    def fetch(self, key: str, path: str) -> None:
        """Get a file that was too large to travel with its result.

        Raises:
            StorageError: It cannot be fetched.
        """

    def bundles(self, task: StageTask) -> tuple[FileBundle, ...]:
        """Files that travel with a task.

        Raises:
            OSError: A file cannot be read.
        """

    def keep_output(self, task: StageTask, text: str) -> None:
        """Keep what a command has printed in its log on the head."""

    def put_right(self, task: StageTask) -> None:
        """Repair what an attempt whose worker was lost may have left half done."""

    def begin_retention(self, living: Collection[str]) -> Callable[[], str]:
        """Begin to remove logs of old runs, in the background.

        Args:
            living: Ids of runs that are alive.

        Returns:
            A function that waits for the end of it and returns what the user should do; usually empty.
        """

    def close(self) -> None:
        """Remove the marks that tell which machines see a folder."""


def choose(executor: Executor | None, listen: Callable[[Notice], None]) -> DataMode:
    """Choose the data mode of a run.

    Args:
        executor: Where attempts run; None: on a Ray of this machine that is yet to be started.
        listen: Receives notices of what the head does for other machines, and warnings for the user.

    Raises:
        ClusterError: The cluster cannot be started or reached.
    """
    if executor is None or executor.cluster.shares_disk():
        return SharedDisk()
    from dvc_ray.driver.via_remote import ViaRemote

    return ViaRemote(executor.cluster, listen)
