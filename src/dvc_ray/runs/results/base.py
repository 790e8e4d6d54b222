"""The interface of a result store."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from dvc_ray.values.task import StageResult, StageTask


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A result in a store."""

    key: str
    """Its key in the store."""
    task: StageTask
    """The task, without fields that may be secret; its paths are those of this machine."""
    result: StageResult


class ResultStore(Protocol):
    """Keeps the results of one run."""

    signing_key: str
    """Key with which workers sign results; empty where nobody else may write."""

    def write(self, task: StageTask, result: StageResult) -> None:
        """Store a result, on the worker.

        Raises:
            StorageError: The store cannot be reached, or refuses.
        """

    def read(self, task: StageTask) -> StageResult | None:
        """Read the result of an attempt that was lost, if its worker has finished it."""

    def kept(self) -> Iterator[Kept]:
        """Read all results that no driver has taken.

        Raises:
            StorageError: The store cannot be reached, or refuses.
        """

    def taken(self, task: StageTask) -> None:
        """Note that the driver has taken the result of an attempt."""

    def forget(self, key: str) -> None:
        """Remove a result that has been taken, or is of no use.

        Raises:
            StorageError: The store cannot be reached, or refuses.
        """

    def clear(self) -> None:
        """Remove results that nobody will look for, at the end of a run.

        Raises:
            StorageError: The store cannot be reached, or refuses.
        """
