"""The data of a project, on the head: on a disk that all machines of a run share, or in a remote."""

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
    """What it takes of a project that is open."""

    repo: Any
    """The ``dvc.repo.Repo``."""
    tree: str
    """Root of what a stage workspace mirrors."""
    record: Record
    undeclared: Callable[[], UndeclaredFiles]
    copy: tasks.Copy | None
    """What an experiment's copy of a project is of; None: this is the user's own."""


class ProjectData(Protocol):
    """What DVC finds of the data of a run, and what the head does about it. Chosen once, at the start of the run.

    All but `task`, `unseen` and `untracked` is to be called within ``translate_errors()``.
    """

    def check(self, commands: Sequence[Any], moving: Sequence[Any]) -> None:
        """See that what stages read is where machines find it, or can be brought there.

        Args:
            commands: Stages that run a command.
            moving: All that may run: what they make is not there yet.

        Raises:
            ProjectError: Some of it is nowhere.
            StorageError: A remote cannot be asked.
        """

    def unseen(self, given: Callable[[], Sequence[str]]) -> tuple[Unseen, ...]:
        """Name what is here and stages may want to have, on machines that do not have it.

        Args:
            given: Says what paths they are given in another way; relative to the tree.
        """

    def untracked(self) -> tuple[str, ...]:
        """Code that goes to other machines though Git does not track it, relative to the tree."""

    def pushed_anyway(self, stages: Iterable[Any]) -> tuple[str, ...]:
        """Outs of stages that ``dvc push`` would leave out, but that travel through the remote."""

    def status(self, stage: Any, *, allow_missing: bool, upstream: Callable[[], Iterable[Any]]) -> Status:
        """Status of a stage in the workspace as it is now.

        Args:
            stage: The stage.
            allow_missing: Do not count data that is missing as a change.
            upstream: Says which stages it depends on, for the same.
        """

    def check_inputs(self, stage: Any) -> None:
        """Refuse a stage whose deps or includes are not where its command would find them.

        Raises:
            ProjectError: One is not.
        """

    def resolve_on_head(self, stage: Any, options: RunSettings, *, force: bool) -> bool:
        """Do what needs no worker; whether the stage is finished then.

        Raises:
            ProjectError: DVC rejects the stage.
            StorageError: A remote refuses, or cannot be reached.
        """

    def restorable(self, stage: Any, options: RunSettings) -> bool:
        """Whether `resolve_on_head` would find a result.

        Raises:
            ProjectError: A dep is missing.
        """

    def pull_run_cache(self) -> str:
        """Bring the run cache of the default remote; why that cannot be."""

    def task(self, stage: Any, request: tasks.Request) -> StageTask:
        """Say all that a worker needs to run a stage in the workspace as it is now.

        Raises:
            ProjectError: A dep or an include is missing.
        """

    def fill(self, stage: Any, merge: Merge) -> None:
        """Take the result of an attempt into a stage."""

    def are_as_noted(self, deps: Iterable[Any]) -> bool:
        """Whether deps are what their hashes say."""

    def here(self, stage: Any, paths: Collection[str]) -> set[str]:
        """Those of the paths of a stage's deps whose data is in the workspace; absolute."""

    def bring_outs(self, stage: Any, task: StageTask) -> str:
        """Bring the cached outs of a merged attempt into the workspace, if that is wanted; why some could not be."""
