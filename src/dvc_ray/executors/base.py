"""The contract for running attempts: the machines (`Cluster`), and what runs attempts on them (`Executor`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from dvc_ray.values.run import ActiveRun
from dvc_ray.values.stage import StageSettings
from dvc_ray.values.task import FileBundle, StageTask, Wait, WorkerEvent


class Cluster(Protocol):
    """The machines that attempts run on: whether they are there, what they have, and who else uses them."""

    def start(self, jobs: int | None, settings: StageSettings | None = None) -> str:
        """Begin to get ready, in the background, for about ``jobs`` attempts at a time.

        Args:
            jobs: None: as many as the CPUs allow.
            settings: Of a stage that is about to run; None: of any.

        Returns:
            A notice for the user; empty if it had begun already.
        """

    def cpus(self) -> float:
        """CPUs that are there now."""

    def capacity(self) -> float | None:
        """CPUs that there will ever be; None if more machines may join."""

    def surely_fits(self, settings: StageSettings) -> bool:
        """Whether a stage can be placed, as far as known without waiting for Ray, which may not have started."""

    def check(self, address: str, settings: StageSettings) -> str:
        """Refuse a stage that can never be placed.

        Returns:
            A warning for the user; usually empty.

        Raises:
            ClusterError: No node has what it asks for.
            ConfigError: What it asks for makes no sense.
        """

    def shares_disk(self) -> bool:
        """Whether all attempts run where the head's disk is; waits until that is known.

        Raises:
            ClusterError: The cluster cannot be started or reached.
        """

    def look_over(self) -> str:
        """Check whether all machines that are there have what stages need.

        Returns:
            Sentences on differences that usually do not matter; empty if there are none.

        Raises:
            ClusterError: A machine lacks something.
        """

    def lacking(self, folder: str, mark: str) -> Mapping[str, str]:
        """Ask all machines that are there whether they see a folder of this one: see `dvc_ray.storage.shared_folder`.

        Args:
            folder: The folder.
            mark: Mark in the folder; empty: the folder only has to exist.

        Returns:
            Names of the machines that do not, or do not answer in time, and why. Machines that are gone are not named.

        Raises:
            ClusterError: A machine does not run the task that it is given.
        """

    def announced(self, run: ActiveRun) -> AbstractContextManager[None]:
        """Within a block, let others who use the same machines see a run and ask it to stop."""

    def stop_requested_by(self) -> str:
        """Who has asked the announced run to stop; empty: nobody. Cheap enough to be called all the time."""


class Executor(Protocol):
    """Runs attempts on a cluster and reports what happens to them.

    Each submitted attempt ends in exactly one `StageResult` or `Lost`, after at most one `Started`.
    """

    @property
    def cluster(self) -> Cluster:
        """Where attempts run."""

    def submit(self, task: StageTask, settings: StageSettings, bundles: Sequence[FileBundle] = ()) -> None:
        """Start an attempt as soon as there is room for it.

        Args:
            task: The attempt.
            settings: Settings of its stage for this attempt.
            bundles: Files that it needs on a machine without the head's disk.

        Raises:
            ClusterError: The cluster cannot be started or reached.
        """

    def events(self, timeout: float) -> Sequence[WorkerEvent]:
        """Wait at most ``timeout`` seconds for events; returns them in order."""

    def waits(self) -> Mapping[str, Wait]:
        """What attempts wait for that have not started a while after they were submitted, by address."""

    def stop(self, address: str) -> None:
        """End the running or queued attempt of a stage; it still ends in an event."""

    def close(self) -> None:
        """End what runs and release what was started. Harmless if called again."""
