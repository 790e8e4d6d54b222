"""The head's part where all machines share its disk: nothing travels."""

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
    """A `DataMode` in which all is where it is needed.

    It is made for a run that finds nothing to do, too, so that what only a worker's results need is imported late.
    """

    in_remote = False

    def look_over(self) -> str:
        """It is this machine, or one that runs the same."""
        return ""

    def open(self, project: Project, options: RunSettings, *, dry: bool) -> None:
        """Data is in the workspace, where the project looks anyway."""

    def results(self, work: Path, tree: str, *, in_workspace: bool) -> ResultStore:
        """Beside the workspaces."""
        from dvc_ray.runs.results import LocalResults

        return LocalResults(work)

    @contextlib.contextmanager
    def dead_results(self, work: Path, tree: str) -> Iterator[Sequence[ResultStore]]:
        """Likewise; only one run at a time begins in a workspace."""
        from dvc_ray.runs.results import LocalResults

        yield [LocalResults(work)]

    def fetch(self, key: str, path: str) -> None:
        """No result names a file that travels apart."""
        raise StorageError(f"'{path}' is said to be in a remote, as '{key}', and this run has none")

    def bundles(self, task: StageTask) -> tuple[FileBundle, ...]:
        """None: a worker reads the tree."""
        return ()

    def keep_output(self, task: StageTask, text: str) -> None:
        """The worker writes the log itself."""

    def put_right(self, task: StageTask) -> None:
        """Python environments of the user's that name the workspace."""
        from dvc_ray.workspace import Environments

        Environments(task).put_right()

    def begin_retention(self, living: Collection[str]) -> Callable[[], str]:
        """Logs on this disk are removed with their run's directory (`runs.directory`)."""
        return str

    def close(self) -> None:
        """Nothing was left."""
