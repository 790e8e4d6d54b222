"""Data on a disk that all machines of a run share; mostly there is only one machine."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from dvc_ray.repo.data.base import Parts
from dvc_ray.repo.dvc.failures import message, translate_errors
from dvc_ray.repo.run import checks, head_run, run_cache, stage_environment, tasks
from dvc_ray.repo.select import choosing, status
from dvc_ray.repo.write.record import Merge
from dvc_ray.settings import meta_ray
from dvc_ray.values.run import RunSettings
from dvc_ray.values.stage import StageKind, Status, Unseen

if TYPE_CHECKING:
    from dvc_ray.values.task import StageTask


class DataOnDisk:
    """A `ProjectData` in which all data is in the workspace or in DVC's cache."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def check(self, commands: Sequence[Any], moving: Sequence[Any]) -> None:
        """Do nothing: all machines find the data on the shared disk."""

    def unseen(self, given: Callable[[], Sequence[str]]) -> tuple[Unseen, ...]:
        """Return nothing: all machines have the same files."""
        return ()

    def untracked(self) -> tuple[str, ...]:
        """Return nothing: no code is sent."""
        return ()

    def pushed_anyway(self, stages: Iterable[Any]) -> tuple[str, ...]:
        """Return nothing: no out is pushed."""
        return ()

    def status(self, stage: Any, *, allow_missing: bool, upstream: Callable[[], Iterable[Any]]) -> Status:
        """Let DVC decide whether a stage has changed."""
        return status.of(stage, allow_missing=allow_missing, upstream=upstream() if allow_missing else ())

    def check_inputs(self, stage: Any) -> None:
        """Check that deps and includes are in the workspace."""
        checks.check_inputs(stage, meta_ray.parse(stage.addressing, stage.meta))

    def resolve_on_head(self, stage: Any, options: RunSettings, *, force: bool) -> bool:
        """Let DVC's own ``Stage.run`` go up to the point where it would run the command."""
        repo = self._parts.repo
        if choosing.kind_of(stage) is StageKind.COMMAND:
            if options.pull:
                head_run.pull_missing_deps(stage)
            if not options.allow_missing:
                self.check_inputs(stage)
            checks.check_outs(repo, stage)
        try:
            with head_run.no_commands(), head_run.outs_left(stage):
                stage.run(
                    force=force,
                    run_cache=options.run_cache,
                    no_commit=not options.commit,
                    allow_missing=options.allow_missing,
                    pull=options.pull,
                )
        except head_run.WorkerNeededError:
            return False
        self._parts.record.dump([stage])
        return True

    def restorable(self, stage: Any, options: RunSettings) -> bool:
        """Ask DVC's run cache."""
        if options.pull:
            head_run.pull_missing_deps(stage)
        return run_cache.has(self._parts.repo, stage, run_cache=options.run_cache, pull=options.pull)

    def pull_run_cache(self) -> str:
        """Pull the run cache as ``dvc repro --pull`` does first."""
        from dvc.stage.cache import RunCacheNotSupported

        try:
            self._parts.repo.stage_cache.pull(None)
        except RunCacheNotSupported as error:
            return f"Failed to pull run cache: {message(error)}"
        return ""

    def task(self, stage: Any, request: tasks.Request) -> StageTask:
        """Give the command what it would see under ``dvc repro``."""
        from dvc_ray.values.task import SharedData

        parts, copy = self._parts, self._parts.copy
        bare = tasks.is_bare(request)
        undeclared = parts.undeclared().of_stage(bare=bare, sent=False)
        git = parts.undeclared().git(request.git, bare=bare, sent=False, adding=copy is not None)
        undeclared = replace(undeclared, git=git, git_for_dvc=git.answers)
        with translate_errors():
            given = tasks.inputs(parts.repo, stage, request, copy, allow_missing=request.options.allow_missing)
            way = tasks.WayOfData(
                data=SharedData(state_dir=parts.repo.site_cache_dir),
                env=stage_environment.environment_of(parts.repo, stage, request, copy, given, undeclared),
                surroundings=request.surroundings,
                legacy=tasks.legacy(stage),
            )
            return tasks.make(parts.repo, stage, request, copy, given=given, undeclared=undeclared, way=way)

    def fill(self, stage: Any, merge: Merge) -> None:
        """Fill a stage whose outs are in the workspace."""
        self._parts.record.take_here(stage, merge)

    def are_as_noted(self, deps: Iterable[Any]) -> bool:
        """Ask DVC, which hashes files that have changed."""
        return not any(dep.status() for dep in deps)

    def here(self, stage: Any, paths: Collection[str]) -> set[str]:
        """Return all paths: all data is in the workspace."""
        return set(paths)

    def bring_outs(self, stage: Any, task: StageTask) -> str:
        """Do nothing: the outs are in the workspace already."""
        return ""
