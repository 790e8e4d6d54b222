"""A DVC project as a run needs it. On the head; its only writer."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from dvc_ray import settings
from dvc_ray.errors import ProjectError, UnsupportedError
from dvc_ray.repo import hashes, snapshot, status, tasks
from dvc_ray.repo.failures import ours, quiet
from dvc_ray.repo.ignores import Ignores
from dvc_ray.repo.lock import Locks
from dvc_ray.values import Selection, StageKind, StageSpec, StageTask, Status


@dataclass(frozen=True, slots=True, kw_only=True)
class Merge:
    """A finished attempt, its files at home already."""

    task: StageTask
    entry: dict[str, Any]
    """The stage's entry of dvc.lock."""


def _nothing() -> None:
    """Say nothing a second time."""


class _WorkerNeededError(Exception):
    """DVC has come to the point where it would run the command."""


class Project:
    """A DVC project, opened for one run.

    Args:
        repo: A ``dvc.repo.Repo``.
    """

    def __init__(self, repo: Any) -> None:
        self._repo = repo
        self._stages: dict[str, Any] = {}
        self._order: dict[str, int] = {}
        self._locks = Locks({})
        self._ignores = Ignores(repo.scm)
        self._current = 0
        self._code: tuple[str, ...] | None = None
        repo.scm_context.ignore = self._ignore

    @classmethod
    @contextlib.contextmanager
    def open(cls, start: str = ".") -> Iterator[Project]:
        """Open the project that a directory belongs to.

        Raises:
            NotAProjectError: It belongs to none.
            ConfigError: DVC's configuration is wrong.
        """
        with ours():
            from dvc.repo import Repo

            quiet()
            repo = Repo(None if start == "." else start)
        with contextlib.closing(repo):
            yield cls(repo)

    @property
    def dvc_dir(self) -> str:
        """The project's ``.dvc``."""
        return str(self._repo.dvc_dir)

    @property
    def tree(self) -> str:
        """Root of what a stage workspace mirrors."""
        return snapshot.tree(self._repo)

    @contextlib.contextmanager
    def locked(self, waiting: Callable[[], None] | None = None) -> Iterator[None]:
        """Hold DVC's repo lock: for milliseconds at a time, never while a command runs.

        Args:
            waiting: Called once if another DVC process holds it; then it is waited for. Without: that is an error,
                after the three seconds that DVC itself waits.

        Raises:
            ProjectError: Another DVC process holds it.
        """
        from dvc.lock import LockError

        with contextlib.ExitStack() as stack:
            while True:
                try:
                    with ours():
                        stack.enter_context(self._repo.lock)
                    break
                except ProjectError as error:
                    if waiting is None or not isinstance(error.__cause__, LockError):
                        raise
                    waiting()
                    waiting = _nothing
            yield

    def select(self, selection: Selection) -> tuple[StageSpec, ...]:
        """Find the stages a run is about, in the order of ``dvc repro`` (``dvc.repo.reproduce``, 3.67.1).

        Raises:
            ProjectError: A target is unknown, or DVC rejects the project.
            ConfigError: ``meta.ray`` of a stage is wrong.
            UnsupportedError: A stage uses something that dvc-ray does not run yet.
        """
        with ours():
            found = _ordered(self._repo, selection)
            graph = self._repo.index.graph
            _share_files(found)
        self._stages = {stage.addressing: stage for stage in found}
        self._order = {address: place for place, address in enumerate(self._stages)}
        self._locks = Locks(
            {
                (stage.dvcfile._lockfile.path, stage.name): place
                for place, stage in enumerate(found)
                if getattr(stage, "name", None)
            }
        )
        return tuple(self._spec(stage, graph) for stage in found)

    def status(self, address: str) -> Status:
        """Status of a stage in the workspace as it is now; needs `locked`."""
        with ours():
            return status.of(self._stages[address])

    def settle(self, address: str, *, force: bool, run_cache: bool) -> bool:
        """Do what needs no worker: restore a stage from the run cache, verify data, bring an import.

        DVC's own ``Stage.run`` goes up to the point where it would run the command. Like it, this removes the outs
        of the last run first. Needs `locked`.

        Returns:
            Whether the stage is finished; else a worker must run its command.

        Raises:
            ProjectError: DVC rejects it: data is missing, an out is tracked by Git, …
        """
        stage = self._stages[address]
        self._current = self._order[address]
        with ours():
            if _kind(stage) is StageKind.COMMAND:
                tasks.check_inputs(stage, settings.parse(address, stage.meta))
                tasks.check_outs(self._repo, stage)
            try:
                with _no_commands():
                    stage.run(force=force, run_cache=run_cache)
            except _WorkerNeededError:
                return False
            self._dump([stage])
        return True

    def task(self, address: str, request: tasks.Request) -> StageTask:
        """Say all that a worker needs to run a stage in the workspace as it is now.

        Raises:
            ProjectError: A dep or an include is missing.
        """
        if self._code is None:
            self._code = snapshot.files(self._repo)
        with ours():
            return tasks.make(self._repo, self._stages[address], self._code, request)

    def add_code(self, paths: Sequence[str]) -> None:
        """Show files that a stage created to the stages after it, as one workspace would."""
        if self._code is not None:
            self._code = tuple(sorted({*self._code, *paths}))

    def place(self, address: str) -> int:
        """Place of a stage in the plan."""
        return self._order[address]

    def merge(self, merges: Sequence[Merge]) -> None:
        """Take finished stages into dvc.lock and .gitignore, and their hashes into DVC's memory; needs `locked`."""
        with ours():
            for merge in sorted(merges, key=lambda merge: self._order[merge.task.address]):
                self._fill(merge)
            self._dump([self._stages[merge.task.address] for merge in merges])

    def finish(self, *, ok: bool) -> tuple[str, ...]:
        """End a run: stage changed files if ``core.autostage``, or take .gitignore entries back if it failed.

        Both as ``dvc repro`` does.

        Returns:
            Files for the user to ``git add``, relative to the working directory.
        """
        from dvc.scm import NoSCM

        context = self._repo.scm_context
        if not ok:
            self._ignores.undo()
        elif context.files_to_track and context.autostage:
            context.track_changed_files()
        elif not isinstance(self._repo.scm, NoSCM):
            return tuple(sorted(context.files_to_track))
        return ()

    def _spec(self, stage: Any, graph: Any) -> StageSpec:
        address = stage.addressing
        kind = _kind(stage)
        if kind is StageKind.COMMAND:
            _refuse_unsupported(stage, self.tree)
        upstream = {found.addressing for found in graph.successors(stage)} if not stage.frozen else set()
        place = self._order[address]
        return StageSpec(
            address=address,
            kind=kind,
            cmd=tasks.commands(stage),
            upstream=tuple(sorted((name for name in upstream if self._order.get(name, place) < place), key=self.place)),
            settings=settings.parse(address, stage.meta),
        )

    def _fill(self, merge: Merge) -> None:
        from dvc.stage.loader import StageLoader

        stage = self._stages[merge.task.address]
        StageLoader.fill_from_lock(stage, merge.entry)
        stage.cmd_changed = False
        tasks.carry_home(self._repo, merge.task)
        hashes.links(self._repo, (out.fs_path for out in stage.outs if out.use_cache and out.is_in_repo))
        self._current = self._order[merge.task.address]
        stage.ignore_outs()

    def _dump(self, stages: Sequence[Any]) -> None:
        from dvc.stage import PipelineStage

        pipeline = [stage for stage in stages if isinstance(stage, PipelineStage)]
        self._repo.scm_context.track_file(self._locks.write(pipeline))
        for stage in stages:
            if stage not in pipeline:
                stage.dump(update_pipeline=False)

    def _ignore(self, path: str) -> None:
        """Stands in for ``SCMContext.ignore``: the same entries, in plan order."""
        from dvc.scm import NoSCM
        from dvc.utils import relpath

        if isinstance(self._repo.scm, NoSCM):
            return
        stage = next(stage for stage in self._stages.values() if self._order[stage.addressing] == self._current)
        place = next((number for number, out in enumerate(stage.outs) if out.fs_path == path), 0)
        written = self._ignores.add((self._current, place), path)
        if written:
            self._repo.scm_context.track_file(relpath(written))


def _share_files(stages: Sequence[Any]) -> None:
    """Let stages of one dvc.yaml have one ``ProjectFile``: each would parse dvc.yaml and dvc.lock again."""
    files: dict[str, Any] = {}
    for stage in stages:
        stage.dvcfile = files.setdefault(stage.path, stage.dvcfile)


def _ordered(repo: Any, selection: Selection) -> list[Any]:
    from dvc.dvcfile import PROJECT_FILE
    from dvc.repo.reproduce import collect_stages, get_active_graph, plan_repro

    whole = selection.all_pipelines or selection.pipeline
    stages: list[Any] = []
    if not selection.all_pipelines and not selection.targets:
        # Those of the index, which the graph needs anyway; `collect_stages` would parse dvc.yaml a second time.
        path = os.path.abspath(PROJECT_FILE)
        stages = [stage for stage in repo.index.stages if stage.path == path]
    if not selection.all_pipelines and not stages:
        stages = collect_stages(
            repo, selection.targets or (PROJECT_FILE,), recursive=selection.recursive, glob=selection.glob
        )
    if selection.single_item and not whole:
        return stages
    return list(
        plan_repro(
            get_active_graph(repo.index.graph),
            stages,
            pipeline=selection.pipeline,
            downstream=selection.downstream and not whole,
        )
    )


def _kind(stage: Any) -> StageKind:
    if (stage.is_import and not stage.frozen) or stage.is_partial_import:
        return StageKind.IMPORT
    return StageKind.COMMAND if stage.cmd and not stage.frozen else StageKind.DATA


def _refuse_unsupported(stage: Any, tree: str) -> None:
    for what, items in (("dep", stage.deps), ("out", stage.outs)):
        for item in items:
            if item.protocol != "local":
                raise UnsupportedError(
                    f"stage '{stage.addressing}': its {what} '{item}' is not a file of this machine ({item.protocol});"
                    " dvc-ray does not run such a stage yet.",
                    f"Run it with DVC itself: dvc repro --single-item {stage.addressing}",
                )
            if not os.path.isabs(item.def_path) and tasks.is_outside(tree, item.fs_path):
                raise UnsupportedError(
                    f"stage '{stage.addressing}': its {what} '{item.def_path}' leads out of the project; from"
                    " the stage's own workspace it would lead elsewhere.",
                    "Give it as an absolute path in dvc.yaml.",
                )


@contextlib.contextmanager
def _no_commands() -> Iterator[None]:
    """Let DVC go as far as it can without running a command."""
    import dvc.stage.run as dvc_run

    def refuse(*_args: object, **_kwargs: object) -> None:
        raise _WorkerNeededError

    original = dvc_run.cmd_run
    dvc_run.cmd_run = refuse
    try:
        yield
    finally:
        dvc_run.cmd_run = original
