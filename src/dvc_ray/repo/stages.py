"""Asks DVC about the stages of a run, and lets it process a stage up to the point where the command would run."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from dvc_ray.errors import ProjectError
from dvc_ray.repo.data.base import ProjectData
from dvc_ray.repo.dvc.failures import translate_errors
from dvc_ray.repo.run import checks, head_run, run_cache, stage_paths, tasks
from dvc_ray.repo.select import choosing
from dvc_ray.repo.write.record import Record
from dvc_ray.values.run import RunSettings
from dvc_ray.values.stage import StageKind, Status, Unseen

if TYPE_CHECKING:  # a run with nothing to do should not pay for what it does not need
    from dvc_ray.values.task import StageTask


class Stages:
    """The selected stages of a project, by address: those of `dvc_ray.repo.Project.select`.

    Args:
        repo: The project's ``dvc.repo.Repo``.
        tree: Root of the tree that a stage workspace mirrors.
        stages: The ``dvc.stage.Stage`` of each address, in plan order.
        data: Where their data is.
        record: Writes what the run leaves in the project.
        one_by_one: Whether the graph does not count, as with ``dvc repro --single-item``.
    """

    def __init__(
        self, repo: Any, tree: str, stages: Mapping[str, Any], data: ProjectData, record: Record, *, one_by_one: bool
    ) -> None:
        self._repo = repo
        self._tree = tree
        self._stages = stages
        self._order = {address: place for place, address in enumerate(stages)}
        self._data = data
        self._record = record
        self._one_by_one = one_by_one

    def __contains__(self, address: str) -> bool:
        """Whether a stage is one of them."""
        return address in self._stages

    def place(self, address: str) -> int:
        """Place of a stage in the plan."""
        return self._order[address]

    def check_data(self, commands: Sequence[str], moving: Sequence[str]) -> None:
        """Check that the data that stages read is where all machines find it: see `ProjectData.check`.

        Args:
            commands: Addresses of the stages that run a command.
            moving: Addresses of all stages that may run; their outs need not exist yet.

        Raises:
            ProjectError: Some data is nowhere.
            StorageError: A remote cannot be queried.
        """
        with translate_errors():
            self._data.check(*([self._stages[address] for address in each] for each in (commands, moving)))

    def pushed_anyway(self, addresses: Sequence[str]) -> tuple[str, ...]:
        """Outs of stages that ``dvc push`` would leave out, but that travel through the remote."""
        with translate_errors():
            return self._data.pushed_anyway([self._stages[address] for address in addresses])

    def status(self, address: str, *, allow_missing: bool = False) -> Status:
        """Status of a stage in the workspace as it is now; needs `locked`."""
        stage = self._stages[address]

        def upstream() -> list[Any]:
            # `dvc repro --single-item` uses no graph.
            alone = stage.frozen or self._one_by_one
            return [] if alone else list(self._repo.index.graph.successors(stage))

        with translate_errors():
            return self._data.status(stage, allow_missing=allow_missing, upstream=upstream)

    def pull_run_cache(self) -> str:
        """Pull the run cache of the default remote, as ``dvc repro --pull`` does first, where that is of use.

        Needs `locked`.

        Returns:
            Why that failed; empty if it did not.
        """
        with translate_errors():
            return self._data.pull_run_cache()

    def pull(self, address: str) -> bool:
        """Pull the data of a stage that is unchanged except for missing data (``Stage.reproduce``); needs `locked`.

        Returns:
            Whether the stage is complete now, so that it need not run.
        """
        from dvc.exceptions import CheckoutError

        stage = self._stages[address]
        if self.status(address, allow_missing=True).changed:
            return False
        with translate_errors():
            try:
                self._repo.pull(address)
                stage.checkout()
            except CheckoutError:
                return False
        return True

    def resolve_on_head(self, address: str, options: RunSettings, *, force: bool) -> bool:
        """Do what needs no worker: restore a stage from the run cache, verify data, bring an import.

        DVC's own ``Stage.run`` goes up to the point where it would run the command; but the outs of the last run, which
        it removes first, stay until there is something to put in their place. Needs `locked`.

        Returns:
            Whether the stage is finished; if not, a worker must run its command.

        Raises:
            ProjectError: DVC rejects the stage: data is missing, an out is tracked by Git, …
        """
        stage = self._stages[address]
        self._record.turn(self._order[address])
        with head_run.as_before(stage) as finished:
            with translate_errors():
                done = self._data.resolve_on_head(stage, options, force=force)
            finished(done)
        return done

    def remove_outs(self, address: str) -> None:
        """Remove the outs of a stage's last run, if ``Stage.run`` would do so first of all; needs `locked`."""
        stage = self._stages[address]
        if choosing.kind_of(stage) is StageKind.COMMAND:
            with translate_errors():
                stage.remove_outs(ignore_remove=False, force=False)

    def refusal(self, address: str) -> str:
        """Why a stage would fail before its command in the workspace as it is now; empty if no reason is known.

        Needs `locked`.
        """
        stage = self._stages[address]
        try:
            with translate_errors():
                self._data.check_inputs(stage)
                checks.check_params(stage)
                checks.check_locks(self._repo)
                checks.check_outs(self._repo, stage)
        except ProjectError as error:
            return re.sub(r"\n +", " ", error.what)  # it is shown in one line
        return ""

    def restorable(self, address: str, options: RunSettings) -> bool:
        """Whether `resolve_on_head` would restore a stage from the run cache; removes nothing. Needs `locked`.

        Raises:
            ProjectError: A dep is missing.
        """
        stage = self._stages[address]
        with translate_errors():
            return self._data.restorable(stage, options)

    def task(self, address: str, request: tasks.Request) -> StageTask:
        """Describe, for a worker, how to run a stage with the workspace as it is now.

        Raises:
            ProjectError: A dep or an include is missing.
        """
        return self._data.task(self._stages[address], request)

    def unseen(self, addresses: Sequence[str]) -> tuple[Unseen, ...]:
        """List files on the head that stages may want to read on machines that do not have these files.

        Raises:
            ProjectError: The tree cannot be listed.
        """

        def given() -> tuple[str, ...]:
            with translate_errors():
                stages = [self._stages[address] for address in addresses]
                return stage_paths.inside(self._tree, (path for stage in stages for path in stage_paths.touched(stage)))

        return self._data.unseen(given)

    def untracked_code(self) -> tuple[str, ...]:
        """Code that is sent to other machines though Git does not track it, relative to the tree.

        Raises:
            ProjectError: The tree cannot be listed.
        """
        return self._data.untracked()

    def fits(self, task: StageTask, entry: Mapping[str, Any]) -> bool:
        """Whether the result of an earlier attempt is what running the stage now would give; needs `locked`.

        A result fits if the stage has the same definition, and its deps are what the attempt has read. For a stage that
        would not run, no result fits, because it needs none.
        """
        from dvc.stage.loader import StageLoader

        stage = self._stages[task.address]
        with translate_errors():
            if self._tree != task.tree or tasks.definition(self._repo, stage) != task.definition:
                return False
            if not self._data.status(stage, allow_missing=False, upstream=list).changed:
                return False
            tried = StageLoader.load_stage(stage.dvcfile, stage.name, task.definition)
            StageLoader.fill_from_lock(tried, entry)
            return self._data.are_as_noted(tried.deps)

    def forget_run(self, address: str, entry: Mapping[str, Any] | None, since: float) -> None:
        """Remove from the run cache the entry that an attempt has put there; needs `locked`.

        If an attempt has run on a version that is not its dep any more, and its command writes to its deps, DVC would
        find the result again for the wrong deps, because it hashes deps after the command. An older entry stays.

        Args:
            address: The stage.
            entry: The attempt's entry of dvc.lock; None for that of the stage as it is now.
            since: When the attempt began (`time.time`).
        """
        stage = self._stages[address]
        if choosing.kind_of(stage) is StageKind.COMMAND:
            with translate_errors():
                run_cache.forget(self._repo, stage, entry, since)

    def is_in_lock(self, address: str) -> bool:
        """Whether dvc.lock on disk has a stage as it is here; always true for a stage without dvc.lock."""
        with translate_errors():
            return self._record.has(self._stages[address])

    def bring_outs(self, task: StageTask) -> str:
        """Bring the cached outs of a merged attempt home, if the task says so; without a lock, as it may take long.

        Returns:
            Why some could not be brought; empty if all are there.
        """
        with translate_errors():
            return self._data.bring_outs(self._stages[task.address], task)
