"""What the driver needs to run attempts: the machines (`Cluster`), and what runs attempts on them (`Executor`)."""

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
            What the user should know of it; empty if it was under way already.
        """

    def cpus(self) -> float:
        """CPUs that are there now."""

    def capacity(self) -> float | None:
        """CPUs there will ever be; None where more machines may come."""

    def surely_fits(self, settings: StageSettings) -> bool:
        """Whether a stage can be placed as far as is known without waiting for Ray, which need not be there yet."""

    def check(self, address: str, settings: StageSettings) -> str:
        """Refuse a stage that can never be placed.

        Returns:
            What the user should know of it all the same; mostly empty.

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
        """See whether all machines have what stages need, as far as they are there.

        Returns:
            In sentences, how they differ where that mostly does not matter; empty if they do not.

        Raises:
            ClusterError: One lacks something.
        """

    def lacking(self, folder: str, mark: str) -> Mapping[str, str]:
        """Ask all machines that are there whether they see a folder of this one: see `dvc_ray.storage.shared_folder`.

        Args:
            folder: Which.
            mark: Of the folder; empty: it only has to be there.

        Returns:
            Names of those that do not, and why not. Who does not answer is not named.

        Raises:
            ClusterError: One does not run what it is given.
        """

    def announced(self, run: ActiveRun) -> AbstractContextManager[None]:
        """Let others who use the same machines see a run, and ask it to stop, within a block."""

    def stop_requested_by(self) -> str:
        """Who has asked the announced run to stop; empty: nobody. Cheap enough to be asked all the time."""


class Executor(Protocol):
    """Runs attempts on a cluster and tells what happens to them.

    Each submitted attempt ends in exactly one `StageResult` or `Lost`, after at most one `Started`.
    """

    @property
    def cluster(self) -> Cluster:
        """Where attempts run."""

    def submit(self, task: StageTask, settings: StageSettings, bundles: Sequence[FileBundle] = ()) -> None:
        """Start an attempt as soon as there is room for it.

        Args:
            task: The attempt.
            settings: Of its stage, as this attempt has them.
            bundles: Files that it needs, where the head's disk is not.

        Raises:
            ClusterError: The cluster cannot be started or reached.
        """

    def events(self, timeout: float) -> Sequence[WorkerEvent]:
        """Wait for something to happen, for ``timeout`` seconds at most; what has happened, in order."""

    def waits(self) -> Mapping[str, Wait]:
        """What attempts wait for that were submitted a while ago and have not started, by address."""

    def stop(self, address: str) -> None:
        """End the running or queued attempt of a stage; it still ends in an event."""

    def close(self) -> None:
        """End what runs and release what was started. Harmless if called again."""
