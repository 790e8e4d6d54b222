"""An attempt on a machine that shares the head's disk: all data is there."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from dvc_ray.repo.run.worker_run import KnownHashes, Ran
from dvc_ray.runs.results import LocalResults
from dvc_ray.values.task import SharedData, StageResult, StageTask
from dvc_ray.workspace import Environments


class SharedDiskAccess:
    """A `DataAccess` on the head's disk.

    Args:
        task: The task.
        data: Its data part.
    """

    def __init__(self, task: StageTask, data: SharedData) -> None:
        self.task = task
        self.environ = dict(task.env)
        self._data = data

    def fill(self, root: str) -> None:
        """Nothing to do: all files come from the tree."""

    def covered(self) -> frozenset[str]:
        """None: all files come from the tree."""
        return frozenset()

    def hashes(self, given: Iterable[str]) -> KnownHashes:
        """DVC's hashes of the user's tree, which hold for what the workspace shares with it."""
        task = self.task
        pairs = tuple((os.path.join(task.tree, path), os.path.join(task.workspace, path)) for path in given)
        return KnownHashes(state_dir=self._data.state_dir, pairs=pairs)

    def environments(self) -> Environments:
        """The environments are the user's own."""
        return Environments(self.task)

    def push(self, ran: Ran) -> None:
        """Nothing to do: the cache is where all others look."""

    def about_missing(self) -> str:
        """Empty: there is no other reason."""
        return ""

    def finish(self, result: StageResult) -> StageResult:
        """Write the result down beside the workspace, which the head empties."""
        LocalResults(Path(self.task.workspace).parent).write(self.task, result)
        return result

    def close(self) -> None:
        """Nothing to release."""
