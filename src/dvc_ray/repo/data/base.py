"""The data of a project as the head handles it: on a disk that all machines of a run share, or in a remote."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from dvc_ray.repo.run.undeclared import UndeclaredFiles
from dvc_ray.repo.write.record import Merge, Record
from dvc_ray.values.stage import Status, Unseen

if TYPE_CHECKING:  # a run with nothing to do should not pay for what it does not need
    from dvc_ray.repo.run import tasks
    from dvc_ray.values.run import RunSettings
    from dvc_ray.values.task import StageTask


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """The parts of an open project that a `ProjectData` needs."""

    repo: Any
    """The ``dvc.repo.Repo``."""
    tree: str
    """Root of the tree that a stage workspace mirrors."""
    record: Record
    undeclared: Callable[[], UndeclaredFiles]
    copy: tasks.Copy | None
    """What this project is a copy of, for an experiment; None if it is the user's own."""


class ProjectData(Protocol):
    """How the head finds and handles the data of a run; chosen once, at the start of the run.

    All methods but `task`, `unseen` and `untracked` must be called within ``translate_errors()``.
    """

    def check(self, commands: Sequence[Any], moving: Sequence[Any]) -> None:
        """Check that the data that stages read is where all machines find it, or can be brought there.

        Args:
            commands: Stages that run a command.
            moving: All stages that may run; their outs need not exist yet.

        Raises:
            ProjectError: Some data is nowhere.
            StorageError: A remote cannot be queried.
        """

    def unseen(self, given: Callable[[], Sequence[str]]) -> tuple[Unseen, ...]:
        """List files on the head that stages may want to read on machines that do not have these files.

        Args:
            given: Returns the paths that stages are given in another way, relative to the tree.
        """

    def untracked(self) -> tuple[str, ...]:
        """List code that is sent to other machines though Git does not track it, relative to the tree."""

    def pushed_anyway(self, stages: Iterable[Any]) -> tuple[str, ...]:
        """List outs of stages that ``dvc push`` would leave out, but that travel through the remote."""

    def status(self, stage: Any, *, allow_missing: bool, upstream: Callable[[], Iterable[Any]]) -> Status:
        """Status of a stage in the workspace as it is now.

        Args:
            stage: The stage.
            allow_missing: Do not count missing data as a change.
            upstream: Returns the stages that the stage depends on; called if `allow_missing`.
        """

    def check_inputs(self, stage: Any) -> None:
        """Refuse a stage whose deps or includes are not where its command would find them.

        Raises:
            ProjectError: A dep or an include is not there.
        """

    def resolve_on_head(self, stage: Any, options: RunSettings, *, force: bool) -> bool:
        """Do what needs no worker; returns whether the stage is finished.

        Raises:
            ProjectError: DVC rejects the stage.
            StorageError: A remote refuses the request, or cannot be reached.
        """

    def restorable(self, stage: Any, options: RunSettings) -> bool:
        """Whether `resolve_on_head` would find a result.

        Raises:
            ProjectError: A dep is missing.
        """

    def pull_run_cache(self) -> str:
        """Pull the run cache of the default remote; returns why that failed; empty if it worked."""

    def task(self, stage: Any, request: tasks.Request) -> StageTask:
        """Describe, for a worker, how to run a stage with the workspace as it is now.

        Raises:
            ProjectError: A dep or an include is missing.
        """

    def fill(self, stage: Any, merge: Merge) -> None:
        """Fill a stage with the result of an attempt."""

    def are_as_noted(self, deps: Iterable[Any]) -> bool:
        """Whether the data of deps still has the hashes that the deps name."""

    def here(self, stage: Any, paths: Collection[str]) -> set[str]:
        """Those of some paths of a stage's deps whose data is in the workspace; absolute."""

    def bring_outs(self, stage: Any, task: StageTask) -> str:
        """Bring the cached outs of a merged attempt into the workspace, if the task says so; why some could not be."""
