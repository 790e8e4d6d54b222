"""How an attempt gets at data: on a disk that it shares with the head, or through a remote."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from dvc_ray.repo.run.worker_run import KnownHashes, Ran
from dvc_ray.values.task import FileBundle, SharedData, StageResult, StageTask
from dvc_ray.worker.shared_disk import SharedDiskAccess
from dvc_ray.worker.via_remote import RemoteAccess


class DataAccess(Protocol):
    """The worker's side of a data mode, for one attempt."""

    task: StageTask
    """The task as this machine runs it."""
    environ: dict[str, str]
    """The command's environment, without what the worker adds."""

    def fill(self, root: str) -> None:
        """Put into a workspace what does not come from the tree.

        Raises:
            StorageError: A dep cannot be fetched.
            OSError: The disk is full.
        """

    def covered(self) -> frozenset[str]:
        """Files that `fill` puts there, relative to the workspace."""

    def hashes(self, given: Iterable[str]) -> KnownHashes:
        """Known hashes of files, which need not be hashed.

        Args:
            given: What the workspace shares with the tree; relative to both.
        """

    def environments(self) -> AbstractContextManager[object]:
        """Keep the user's Python environments in order while a command runs."""

    def push(self, ran: Ran) -> None:
        """Store what the stage has made, where others find it.

        Raises:
            StorageError: A remote cannot be reached, or refuses.
        """

    def about_missing(self) -> str:
        """Another possible reason why an out does not exist, to append to the error; begins with its own separator."""

    def finish(self, result: StageResult) -> StageResult:
        """Store the result of the attempt; returns what of it goes to the head."""

    def close(self) -> None:
        """Release what the attempt has held."""


def open_access(task: StageTask, bundles: Sequence[FileBundle]) -> DataAccess:
    """Open the data of an attempt; the only place where a worker asks for the data mode.

    Args:
        task: As the head describes it.
        bundles: Files of the head's tree, for a machine that does not see it.

    Raises:
        StorageError: A remote cannot be used.
        OSError: The disk is full, or not writable.
    """
    if isinstance(task.data, SharedData):
        return SharedDiskAccess(task, task.data)
    return RemoteAccess.open(task, task.data, bundles)
