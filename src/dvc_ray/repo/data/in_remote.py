"""Data that travels through a remote, between machines that share no disk; stages are compared by hashes."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from dvc_ray import environment
from dvc_ray.environment import Sources
from dvc_ray.errors import ProjectError, StorageError, UnsupportedError
from dvc_ray.repo.data.base import Parts
from dvc_ray.repo.data.on_disk import DataOnDisk
from dvc_ray.repo.dvc.failures import translate_errors
from dvc_ray.repo.remote import remotes, stage_data
from dvc_ray.repo.remote.data_index import DataIndex
from dvc_ray.repo.remote.pushing import Remotes, needs
from dvc_ray.repo.run import checks, stage_environment, tasks
from dvc_ray.repo.select import choosing, status
from dvc_ray.repo.write.record import Merge
from dvc_ray.settings import meta_ray
from dvc_ray.storage import Objects, probe
from dvc_ray.storage.shared_folder import Reach
from dvc_ray.storage.timeouts import QUICK
from dvc_ray.values.run import RunSettings
from dvc_ray.values.stage import StageKind, Status, Unseen
from dvc_ray.values.task import RemoteData, SharedData, StageTask


class DataInRemote:
    """A `ProjectData` whose data need not be in the workspace; to be constructed within ``translate_errors()``.

    Args:
        parts: The project.
        stages: The selected stages, by address.
        options: Settings of the run.
        dry: Nothing will run: the remote is only read, not written to.
        tell: Called with a sentence about what the head pushes.
        reach: Finds out which machines see a folder of this machine.

    Raises:
        UnsupportedError: The options keep data on the machine where it was made, or not all machines can use a remote.
        ProjectError: The project has no remote to carry data.
        StorageError: The remote does not work from here.
    """

    def __init__(
        self,
        parts: Parts,
        stages: Mapping[str, Any],
        options: RunSettings,
        *,
        dry: bool,
        tell: Callable[[str], None],
        reach: Reach,
    ) -> None:
        if not options.commit:
            raise UnsupportedError(
                "--no-commit would leave the data of each stage on the machine where it ran, where no other finds it",
                "Leave it out, or run on one machine: --address local",
            )
        self._parts = parts
        self._data = DataIndex(parts.repo, stages, reach, dry=dry)
        for name in {out.remote for stage in stages.values() for out in stage.outs if out.remote}:
            self._data.remote(name)  # raises if other machines cannot use it
        self._default = self._data.remote(self._data.default)
        probe(remotes.open_remote(self._default, QUICK), write=not dry)
        self.store: Objects = remotes.open_remote(self._default)
        self._remotes = Remotes(self._data, self.store, tell)

    def open_quickly(self) -> Objects:
        """Open the remote with short timeouts, to find out within seconds if it cannot be reached.

        Raises:
            StorageError: There are no credentials, or the options of the remote make no sense.
        """
        return remotes.open_remote(self._default, QUICK)

    def check(self, commands: Sequence[Any], moving: Sequence[Any]) -> None:
        """Check that the data that stages read is in a remote, or can be pushed from here."""
        running = {id(stage) for stage in moving if self._makes(stage)}
        self._remotes.check(needs(list(commands), running, self._data))

    def unseen(self, given: Callable[[], Sequence[str]]) -> tuple[Unseen, ...]:
        """List ignored files, environments and files that are called like a secret: these stay here."""
        return self._parts.undeclared().unseen(given())

    def untracked(self) -> tuple[str, ...]:
        """List untracked code, all of which is sent, except for files that are called like a secret."""
        return self._parts.undeclared().untracked()

    def pushed_anyway(self, stages: Iterable[Any]) -> tuple[str, ...]:
        """List outs with ``push: false``, which would otherwise stay on the machine where they were made."""
        outs = [out for stage in stages for out in stage.outs]
        return tuple(str(out) for out in outs if out.use_cache and not out.can_push)

    def status(self, stage: Any, *, allow_missing: bool, upstream: Callable[[], Iterable[Any]]) -> Status:  # noqa: ARG002
        """Compare hashes; missing data does not count as a change."""
        return status.by_hashes(stage, self._data)

    def check_inputs(self, stage: Any) -> None:
        """Do nothing: `resolve_on_head` looks for missing data by hash."""

    def resolve_on_head(self, stage: Any, options: RunSettings, *, force: bool) -> bool:
        """Look for a result in the run caches of the head and of the remote; if there is none, push the deps."""
        kind = choosing.kind_of(stage)
        if kind is StageKind.COMMAND:
            return self._resolve_command(stage, options, force=force)
        if kind is StageKind.DATA and self._verify(stage):
            self._parts.record.dump([stage])
            return True
        return DataOnDisk(self._parts).resolve_on_head(stage, options, force=force)  # all data is here, or comes here

    def _resolve_command(self, stage: Any, options: RunSettings, *, force: bool) -> bool:
        checks.check_outs(self._parts.repo, stage)
        entry = self._found(stage, options, force=force)
        if entry is None:
            return False
        self._parts.record.take(stage, entry)
        if why := self._bring(list(stage_data.at_home(stage, pull=_pulls(stage, options)))):
            raise ProjectError(why, "Run the same command again.")
        self._parts.record.dump([stage])
        return True

    def restorable(self, stage: Any, options: RunSettings) -> bool:
        """Ask the run caches of the head and of the remote."""
        stage_data.fill_deps(stage, self._data)
        return self._cached(stage, options) is not None

    def pull_run_cache(self) -> str:
        """Do nothing: the remote's run cache is asked about each stage."""
        return ""

    def task(self, stage: Any, request: tasks.Request) -> StageTask:
        """Name deps by hash; the environment is the node's, except for declared variables."""
        parts, copy = self._parts, self._parts.copy
        undeclared = parts.undeclared().of_stage(bare=True, sent=True)
        git = parts.undeclared().git(request.git, bare=tasks.is_bare(request), sent=True, adding=copy is not None)
        # A copy of Git's state that is sent has few file contents, and DVC may ask for those of a revision. So only an
        # experiment, which needs Git, lets DVC use the copy.
        undeclared = replace(undeclared, git=git, git_for_dvc=git.answers and git.adding)
        wanted = stage_data.Wanted(
            pull=_pulls(stage, request.options),
            cache_size=request.options.node_cache_size,
            signing_key=request.signing_key,
        )
        with translate_errors():
            here = tasks.inputs(parts.repo, stage, request, copy, allow_missing=True)  # the worker fetches the others
            given, data = stage_data.describe(stage, parts.tree, here, self._data, wanted)
            sources = Sources(
                caller=environment.crossing(request.env, request.options.secrets),
                declared=stage_environment.declared(request),
                run={**request.run_env, **stage_data.storage(self._data, request.run_id)},
            )
            # All hashes that travel have DVC 3's form, so `legacy`, an entry with hashes in DVC 2's form, stays empty.
            way = tasks.WayOfData(data=data, env=environment.merge(sources))
            return tasks.make(parts.repo, stage, request, copy, given=given, undeclared=undeclared, way=way)

    def fill(self, stage: Any, merge: Merge) -> None:
        """Fill a stage with the hashes of outs that a worker has sent.

        Outs that came home are put into the cache; old versions of the others are removed.
        """
        if isinstance(merge.task.data, SharedData):  # taken over from a run on this machine
            self._parts.record.take_here(stage, merge)
            return
        self._parts.record.take(stage, merge.entry)
        came = set(merge.task.data.bring)
        for out in stage.outs:
            if not out.use_cache:
                continue
            self._remotes.note(out)
            if not out.exists:
                continue
            if os.path.relpath(out.fs_path, merge.task.tree) in came:
                out.commit()
            elif out.workspace_status():
                out.remove(ignore_remove=False)

    def are_as_noted(self, deps: Iterable[Any]) -> bool:
        """Compare hashes."""
        return not any(status.dep_by_hashes(dep, self._data) for dep in deps)

    def here(self, stage: Any, paths: Collection[str]) -> set[str]:
        """Leave out paths whose data is only in a remote."""
        return set(paths) - {dep.fs_path for dep in stage.deps if self._data.is_away(dep)}

    def bring_outs(self, stage: Any, task: StageTask) -> str:
        """Bring the outs if the task says so; this may take long."""
        if not isinstance(task.data, RemoteData) or not task.data.pull:
            return ""
        return self._bring([out for out in stage.outs if out.use_cache and not out.exists])

    def _makes(self, stage: Any) -> bool:
        """Whether a stage makes or imports its outs in the run, or each of them is here or has a known hash."""
        if choosing.kind_of(stage) is not StageKind.DATA:
            return True
        return all(out.hash_info or os.path.lexists(out.fs_path) for out in stage.outs)

    def _verify(self, stage: Any) -> bool:
        """Commit the data of a stage without a command, as ``Stage.run`` does, if some of the data is not here.

        Returns:
            Whether the stage is finished; if not, DVC's own ``Stage.run`` has to do it.
        """
        missing = [out for out in stage.outs if not os.path.lexists(out.fs_path)]
        if not self._makes(stage):
            return False
        if stage.is_import or not stage.deps:
            return bool(missing)
        if not missing and not any(self._data.is_away(dep) for dep in stage.deps):
            return False
        stage_data.fill_deps(stage, self._data)
        stage.save_outs(allow_missing=True)
        stage.commit(allow_missing=True)
        return True

    def _found(self, stage: Any, options: RunSettings, *, force: bool) -> Mapping[str, Any] | None:
        """Find a result for a stage and remove the outs of its last run; if there is no result, push the deps.

        Raises:
            ProjectError: A dep is neither here nor in the remote.
            StorageError: A remote refuses the request, or cannot be reached.
        """
        stage_data.fill_deps(stage, self._data)
        found = None if force else self._cached(stage, options)
        if found is None:
            self._remotes.push(needs([stage], (), self._data, hashed=True))
            return None
        self._remotes.give({out.def_path: out for out in stage.outs}, found.entry, found.key)
        stage.remove_outs(ignore_remove=False, force=False)
        return found.entry

    def _cached(self, stage: Any, options: RunSettings) -> stage_data.Found | None:
        return stage_data.cached(stage, self._parts.repo, self.store, self._remotes.has, run_cache=options.run_cache)

    def _bring(self, outs: Sequence[Any]) -> str:
        """Bring outs from their remotes into the workspace.

        Returns:
            Why an out could not be brought; empty if all are there.
        """
        for out in outs:
            try:
                stage_data.bring(out, self._remotes.of(out))
            except (StorageError, OSError) as error:
                return f"'{out}' cannot be brought home: {error} It is in the remote: dvc pull {out}"
        return ""


def _pulls(stage: Any, options: RunSettings) -> bool:
    """Whether all outs of a stage are brought into the user's workspace."""
    chosen = meta_ray.parse(stage.addressing, stage.meta).pull
    return options.pull if chosen is None else chosen
