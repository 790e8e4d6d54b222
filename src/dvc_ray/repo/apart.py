"""A project whose stages run on machines that share no disk with this one: hashes decide, a remote carries data."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from dvc_ray import settings
from dvc_ray.errors import ProjectError, StorageError, UnsupportedError
from dvc_ray.repo import remotes, scattered, status, tasks
from dvc_ray.repo.virtual import Virtual
from dvc_ray.storage import Objects, probe
from dvc_ray.storage.patience import QUICK
from dvc_ray.values.run import OnError, RunOptions
from dvc_ray.values.stage import Status
from dvc_ray.values.task import StageTask


class Apart:
    """What the head knows of data that is elsewhere. To be called within ``ours()``.

    Args:
        repo: The ``dvc.repo.Repo``.
        stages: Those selected, by address.
        options: Of the run.
        dry: Nothing will run: the remote is only asked, not written to.

    Raises:
        UnsupportedError: The options keep data on the machines, or a remote is one that not all of them can use.
        ProjectError: There is no remote to carry data.
        StorageError: It does not work from here.
    """

    def __init__(self, repo: Any, stages: Mapping[str, Any], options: RunOptions, *, dry: bool) -> None:
        if not options.commit:
            raise UnsupportedError(
                "--no-commit would leave the data of each stage on the machine where it ran, where no other finds it.",
                "Leave it out, or run on one machine: --address local",
            )
        self._data = Virtual(repo, stages)
        for name in {out.remote for stage in stages.values() for out in stage.outs if out.remote}:
            self._data.remote(name)  # one that other machines cannot use is refused here
        default = self._data.remote(self._data.default)
        probe(remotes.open_remote(default, QUICK), write=not dry)
        self.store: Objects = remotes.open_remote(default)
        self._stores: dict[str, Objects] = {default.name: self.store}
        self._there: set[str] = set()
        """Hashes of what remotes have been found to have, or have been given in this run."""

    def status(self, stage: Any) -> Status:
        """Status of a stage, by hashes."""
        return status.by_hashes(stage, self._data)

    def is_away(self, dep: Any) -> bool:
        """Whether data of a dep is not in the workspace, but in a remote."""
        return self._data.is_away(dep)

    def would_fit(self, deps: Iterable[Any]) -> bool:
        """Whether deps are what their hashes say."""
        return not any(status.dep_by_hashes(dep, self._data) for dep in deps)

    def check_pushed(self, stages: Iterable[Any], running: Collection[int] = ()) -> None:
        """See that what stages read is where other machines find it.

        Args:
            stages: The stages.
            running: Identities (``id``) of stages that will yet make what they make.

        Raises:
            ProjectError: Some of it is not.
            StorageError: A remote cannot be asked.
        """
        lacks = scattered.lacks(stages, running, self._data, self._stores, self._there)
        if lacks:
            named = ", ".join(f"'{lack.out}' ({lack.size})" for lack in lacks)
            raise ProjectError(
                f"data that stages need is not in the remote, where other machines would find it: {named}.",
                f"Push it: dvc push {' '.join(lack.out for lack in lacks)}",
            )

    def is_settled(self, stage: Any) -> bool:
        """Whether nothing is to be done for a stage without a command: its data is not here, but known."""
        return all(out.hash_info and not os.path.lexists(out.fs_path) for out in stage.outs)

    def settle(self, stage: Any, options: RunOptions, *, force: bool) -> Mapping[str, Any] | None:
        """Find a stage's result in a remote's run cache; then the outs of its last run are removed, as DVC does.

        Raises:
            ProjectError: A dep is missing, here or in the remote.
        """
        scattered.fill_deps(stage, self._data)
        entry = None if force or not options.run_cache else self._cached(stage)
        if entry is None:
            self.check_pushed([stage])  # what was made on the head meanwhile, or has turned out unchanged, is asked now
        if entry is not None or options.on_error is OnError.IGNORE:
            stage.remove_outs(ignore_remove=False, force=False)
        return entry

    def restorable(self, stage: Any, options: RunOptions) -> bool:
        """Whether `settle` would find a result.

        Raises:
            ProjectError: A dep is missing.
        """
        scattered.fill_deps(stage, self._data)
        return options.run_cache and self._cached(stage) is not None

    def _cached(self, stage: Any) -> Mapping[str, Any] | None:
        return scattered.cached_entry(stage, self.store, {out.def_path: self._store_of(out) for out in stage.outs})

    def describe(self, task: StageTask, stage: Any, request: tasks.Request) -> StageTask:
        """Add to a task what a worker needs beyond it; the environment is the node's, but for what is declared."""
        env = (*tasks.declared(request), *scattered.storage(self._data, request.run_id))
        task = replace(task, env=env, allow_missing=request.options.allow_missing)
        pull = self.pulls(stage, request.options)
        return scattered.describe(task, stage, self._data, pull=pull, options=request.options)

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
            self._there.add(str(out.hash_info.value))
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
                scattered.bring(out, self._store_of(out))
            except (StorageError, OSError) as error:
                return f"'{out}' cannot be brought home: {error} It is in the remote: dvc pull {out}"
        return ""

    def _store_of(self, out: Any) -> Objects:
        """The remote that an out's data is in, opened."""
        name = out.remote or self._data.default
        if name not in self._stores:
            self._stores[name] = remotes.open_remote(self._data.remote(name))
        return self._stores[name]
