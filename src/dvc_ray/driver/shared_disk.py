"""Data mode of the head where all machines share its disk: no data travels."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dvc_ray.errors import StorageError

if TYPE_CHECKING:
    from dvc_ray.repo import Project
    from dvc_ray.runs.results import ResultStore
    from dvc_ray.values.run import RunSettings
    from dvc_ray.values.task import FileBundle, StageTask


class SharedDisk:
    """A `DataMode` in which all data is already where it is needed.

    Runs with nothing to do create it too, so imports that only results need are made late.
    """

    in_remote = False

    def look_over(self) -> str:
        """Nothing to compare: workers run on this machine, or on one with the same installation."""
        return ""

    def open(self, project: Project, options: RunSettings, *, dry: bool) -> None:
        """Nothing to do: data is in the workspace, where the project looks anyway."""

    def results(self, work: Path, tree: str, *, in_workspace: bool) -> ResultStore:
        """Results are kept beside the stage workspaces."""
        from dvc_ray.runs.results import LocalResults

        return LocalResults(work)

    @contextlib.contextmanager
    def dead_results(self, work: Path, tree: str) -> Iterator[Sequence[ResultStore]]:
        """Also beside the stage workspaces; only one run at a time begins in a workspace, so no lock is needed."""
        from dvc_ray.runs.results import LocalResults

        yield [LocalResults(work)]

    def fetch(self, key: str, path: str) -> None:
        """Refuse: no result of a run on a shared disk names a file that travels separately."""
        raise StorageError(f"'{path}' is said to be in a remote, as '{key}', and this run has none")

    def bundles(self, task: StageTask) -> tuple[FileBundle, ...]:
        """No bundles: a worker reads the tree."""
        return ()

    def keep_output(self, task: StageTask, text: str) -> None:
        """Nothing to do: the worker writes the log itself."""

    def put_right(self, task: StageTask) -> None:
        """Repair Python environments of the user that name the stage workspace."""
        from dvc_ray.workspace import Environments

        Environments(task).put_right()

    def begin_retention(self, living: Collection[str]) -> Callable[[], str]:
        """Nothing to do: logs on this disk are removed with their run's directory (`runs.directory`)."""
        return str

    def close(self) -> None:
        """Nothing to remove."""
