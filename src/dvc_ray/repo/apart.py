"""A project whose stages run on machines that share no disk with this one: hashes decide, a remote carries data."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from dvc_ray import settings
from dvc_ray.errors import StorageError, UnsupportedError
from dvc_ray.repo import choosing, remotes, scattered, status, tasks
from dvc_ray.repo.pushing import Remotes, needs
from dvc_ray.repo.virtual import Virtual
from dvc_ray.storage import Objects, probe
from dvc_ray.storage.patience import QUICK
from dvc_ray.storage.shared import Reach
from dvc_ray.values.run import RunOptions
from dvc_ray.values.stage import StageKind, Status
from dvc_ray.values.task import StageTask


class Apart:
    """What the head knows of data that is elsewhere. To be called within ``ours()``.

    Args:
        repo: The ``dvc.repo.Repo``.
        stages: Those selected, by address.
        options: Of the run.
        dry: Nothing will run: the remote is only asked, not written to.
        tell: Told what the head pushes.
        reach: Says who sees a folder of this machine.

    Raises:
        UnsupportedError: The options keep data on the machines, or a remote is one that not all of them can use.
        ProjectError: There is no remote to carry data.
        StorageError: It does not work from here.
    """

    def __init__(
        self,
        repo: Any,
        stages: Mapping[str, Any],
        options: RunOptions,
        *,
        dry: bool,
        tell: Callable[[str], None],
        reach: Reach,
    ) -> None:
        if not options.commit:
            raise UnsupportedError(
                "--no-commit would leave the data of each stage on the machine where it ran, where no other finds it.",
                "Leave it out, or run on one machine: --address local",
            )
        self._data = Virtual(repo, stages, reach, dry=dry)
        for name in {out.remote for stage in stages.values() for out in stage.outs if out.remote}:
            self._data.remote(name)  # one that other machines cannot use is refused here
        default = self._data.remote(self._data.default)
        probe(remotes.open_remote(default, QUICK), write=not dry)
        self.store: Objects = remotes.open_remote(default)
        self._remotes = Remotes(self._data, self.store, tell)
        self._repo = repo

    def status(self, stage: Any) -> Status:
        """Status of a stage, by hashes."""
        return status.by_hashes(stage, self._data)

    def is_away(self, dep: Any) -> bool:
        """Whether data of a dep is not in the workspace, but in a remote."""
        return self._data.is_away(dep)

    def would_fit(self, deps: Iterable[Any]) -> bool:
        """Whether deps are what their hashes say."""
        return not any(status.dep_by_hashes(dep, self._data) for dep in deps)

    def check_data(self, stages: Iterable[Any], running: Collection[int]) -> None:
        """See that other machines will find what stages read: it is in a remote, or can be pushed from here.

        Args:
            stages: The stages.
            running: Identities (``id``) of stages that will yet make, or commit, what they make.

        Raises:
            ProjectError: Some of it is nowhere.
            StorageError: A remote cannot be asked.
        """
        self._remotes.check(needs(list(stages), running, self._data))

    def makes(self, stage: Any) -> bool:
        """Whether a stage of the run makes its outs, or brings them; or what DVC takes for them is here, or known."""
        if choosing.kind_of(stage) is not StageKind.DATA:
            return True
        return all(out.hash_info or os.path.lexists(out.fs_path) for out in stage.outs)

    def verify(self, stage: Any) -> bool:
        """Take what lies in the workspace of a stage without a command, as ``Stage.run`` does, if not all is here.

        Returns:
            Whether that is done; else all of it is here, and DVC can do it.
        """
        missing = [out for out in stage.outs if not os.path.lexists(out.fs_path)]
        if not self.makes(stage):
            return False
        if stage.is_import or not stage.deps:
            return bool(missing)
        if not missing and not any(self._data.is_away(dep) for dep in stage.deps):
            return False
        scattered.fill_deps(stage, self._data)
        stage.save_outs(allow_missing=True)
        stage.commit(allow_missing=True)
        return True

    def settle(self, stage: Any, options: RunOptions, *, force: bool) -> Mapping[str, Any] | None:
        """Find a stage's result, whose outs replace those of its last run; else push what it reads.

        Raises:
            ProjectError: A dep is missing, here or in the remote.
            StorageError: A remote refuses, or cannot be reached.
        """
        scattered.fill_deps(stage, self._data)
        found = None if force else self._cached(stage, options)
        if found is None:
            self._remotes.push(needs([stage], (), self._data, hashed=True))
        else:
            self._remotes.give({out.def_path: out for out in stage.outs}, found.entry, found.key)
        if found is not None:
            stage.remove_outs(ignore_remove=False, force=False)
        return found.entry if found else None

    def restorable(self, stage: Any, options: RunOptions) -> bool:
        """Whether `settle` would find a result.

        Raises:
            ProjectError: A dep is missing.
        """
        scattered.fill_deps(stage, self._data)
        return self._cached(stage, options) is not None

    def _cached(self, stage: Any, options: RunOptions) -> scattered.Found | None:
        return scattered.cached(stage, self._repo, self.store, self._remotes.has, run_cache=options.run_cache)

    def describe(self, task: StageTask, stage: Any, request: tasks.Request) -> StageTask:
        """Add to a task what a worker needs beyond it; the environment is the node's, but for what is declared."""
        env = (*tasks.declared(request), *scattered.storage(self._data, request.run_id))
        # What is carried from machine to machine has hashes of today's form only.
        lenient = request.options.allow_missing
        task = replace(task, env=env, surroundings=None, allow_missing=lenient, legacy={})
        pull = self.pulls(stage, request.options)
        return scattered.describe(task, stage, self._data, pull=pull, options=request.options, key=request.signing_key)

    def pulls(self, stage: Any, options: RunOptions) -> bool:
        """Whether a stage's outs come home."""
        chosen = settings.parse(stage.addressing, stage.meta).pull
        return options.pull if chosen is None else chosen

    def take(self, stage: Any, task: StageTask) -> None:
        """Settle outs whose hashes a worker has sent: what came home is put into the cache, the version before goes."""
        assert task.elsewhere is not None  # noqa: S101
        came = set(task.elsewhere.bring)
        for out in stage.outs:
            if not out.use_cache:
                continue
            self._remotes.note(out)
            if not out.exists:
                continue
            if os.path.relpath(out.fs_path, task.tree) in came:
                out.commit()
            elif out.workspace_status():
                out.remove(ignore_remove=False)

    def bring_home(self, stage: Any, options: RunOptions) -> str:
        """Bring those outs of a stage that lie in the workspace after a run; returns as `bring`."""
        return self.bring(list(scattered.at_home(stage, pull=self.pulls(stage, options))))

    def bring(self, outs: Sequence[Any]) -> str:
        """Bring outs from their remotes into the workspace.

        Returns:
            Why some could not be; empty if all are there.
        """
        for out in outs:
            try:
                scattered.bring(out, self._remotes.of(out))
            except (StorageError, OSError) as error:
                return f"'{out}' cannot be brought home: {error} It is in the remote: dvc pull {out}"
        return ""
