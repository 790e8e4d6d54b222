"""A DVC project as a run needs it, on the head; the only writer to the project."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from dvc_ray.errors import ProjectError
from dvc_ray.paths import is_under
from dvc_ray.repo.data.base import Parts, ProjectData
from dvc_ray.repo.data.on_disk import DataOnDisk
from dvc_ray.repo.dvc import locking
from dvc_ray.repo.dvc.failures import quiet, translate_errors
from dvc_ray.repo.dvc.guarded import check_git, guarded
from dvc_ray.repo.git import worktree
from dvc_ray.repo.git.tracked import Tracked
from dvc_ray.repo.inputs import snapshot
from dvc_ray.repo.inputs.untracked import Untracked
from dvc_ray.repo.run import stage_paths, tasks
from dvc_ray.repo.run.undeclared import Source, UndeclaredFiles
from dvc_ray.repo.select import choosing
from dvc_ray.repo.stages import Stages
from dvc_ray.repo.write.input_edits import look_again
from dvc_ray.repo.write.record import Merge, Record
from dvc_ray.values.run import RunSettings, Selection
from dvc_ray.values.stage import StageKind, StageSpec

if TYPE_CHECKING:  # a run on one machine should not pay for what it does not need
    from dvc_ray.repo.data.in_remote import DataInRemote
    from dvc_ray.storage.shared_folder import Reach


class Project:
    """A DVC project, opened for one run.

    Args:
        repo: A ``dvc.repo.Repo``.
        copy: What the project is a copy of, for an experiment; None if it is the user's own.
    """

    def __init__(self, repo: Any, copy: tasks.Copy | None = None) -> None:
        from dvc_ray.repo.dvc.shared_run_cache import SharedRunCache  # imports DVC

        repo.stage_cache = SharedRunCache(repo)
        self._repo = repo
        self._copy = copy
        self._stages: dict[str, Any] = {}
        self._record = Record(repo, [])
        self._untracked = Untracked(repo)
        self._deps: set[str] | None = None
        """Deps of all stages of the project, relative to `tree`; None if not asked for yet."""
        self._one_by_one = False
        self._take_data(DataOnDisk(self._parts()))
        self.git_added: set[str] = set()
        """Files that commands of an experiment have added to Git; relative to `tree`."""

    def _take_data(self, data: ProjectData) -> None:
        self._data = data
        self.stages = Stages(self._repo, self.tree, self._stages, data, self._record, one_by_one=self._one_by_one)
        """The stages of the last `select`; none before."""

    def _parts(self) -> Parts:
        return Parts(
            repo=self._repo, tree=self.tree, record=self._record, undeclared=lambda: self._undeclared, copy=self._copy
        )

    @cached_property
    def _undeclared(self) -> UndeclaredFiles:
        return UndeclaredFiles(
            Source(
                tree=self.tree,
                home=self._copy.of if self._copy else self.tree,
                relist=lambda: snapshot.listing(self._repo),
                shown=self._copy.listing if self._copy else self.listing,
                outs=self.outs,
                inputs=self.inputs,
                is_dep=self.is_dep,
            )
        )

    @classmethod
    @contextlib.contextmanager
    def open(cls, start: str = ".") -> Iterator[Project]:
        """Open the project that a directory belongs to.

        Raises:
            NotAProjectError: The directory belongs to no project.
            ConfigError: DVC's configuration is wrong.
            ProjectError: A file of Git or DVC cannot be read to its end.
        """
        with contextlib.ExitStack() as stack:
            with translate_errors():
                from dvc.repo import Repo

                quiet()
                check_git(start)
                stack.enter_context(guarded())
                repo = stack.enter_context(contextlib.closing(Repo(None if start == "." else start)))
            yield cls(repo)

    @property
    def dvc_dir(self) -> str:
        """The project's ``.dvc``."""
        return str(self._repo.dvc_dir)

    @property
    def tree(self) -> str:
        """Root of the tree that a stage workspace mirrors."""
        return snapshot.tree(self._repo)

    @contextlib.contextmanager
    def locked(self, waiting: Callable[[], None] | None = None) -> Iterator[None]:
        """Hold DVC's repo lock, never while a command runs.

        The lock is held for milliseconds at a time; longer while data is pulled or the user is asked.

        Args:
            waiting: Called once if another DVC process holds the lock, which is then waited for. If None, that is an
                error, after the three seconds that DVC itself waits.

        Raises:
            ProjectError: Another DVC process holds the lock.
        """
        with locking.locked(self._repo, waiting):
            yield

    def worktree(self) -> tuple[str, tuple[str, ...]]:
        """A hash of Git's work tree, and its untracked files: see `dvc_ray.repo.git.worktree.worktree`.

        Raises:
            ProjectError: Git cannot say.
        """
        return worktree.worktree(self.tree)

    def code(self) -> tuple[str, ...]:
        """Files of the snapshot, relative to `tree`.

        Raises:
            ProjectError: The files cannot be listed.
        """
        return self.listing().code

    def listing(self) -> snapshot.Listing:
        """The content of the tree, as it was at the first call.

        Raises:
            ProjectError: The tree cannot be listed.
        """
        return self._undeclared.listing()

    def outs(self, addresses: Sequence[str] | None = None) -> tuple[str, ...]:
        """Outs in the tree, relative to it, of the stages with these addresses or of all stages of the project."""
        with translate_errors():
            stages = self._repo.index.stages if addresses is None else [self._stages[name] for name in addresses]
        return stage_paths.inside(self.tree, (out.fs_path for stage in stages for out in stage.outs))

    def inputs(self) -> tuple[str, ...]:
        """Outs, deps and includes of all stages of the project, relative to `tree`; whether they exist or not."""
        with translate_errors():
            stages = self._repo.index.stages
        return stage_paths.inside(self.tree, (path for stage in stages for path in stage_paths.touched(stage)))

    def select(self, selection: Selection) -> tuple[StageSpec, ...]:
        """Find the stages a run is about, in the order of ``dvc repro`` (``dvc.repo.reproduce``, 3.67.1).

        Raises:
            ProjectError: A target is unknown, or DVC rejects the project.
            ConfigError: ``meta.ray`` of a stage is wrong.
            UnsupportedError: A stage uses something that dvc-ray does not run yet.
        """
        from dvc.scm import NoSCM

        try:
            with translate_errors():
                found = choosing.ordered(self._repo, selection)
                graph = choosing.graph(self._repo, selection)
                choosing.share_files(found)
        except ProjectError as error:
            raise choosing.with_nearest(self._repo, error, selection.targets) from error.__cause__
        self._record = Record(self._repo, found)
        self._repo.scm_context.ignore = self._record.ignore
        if not isinstance(self._repo.scm, NoSCM):
            self._repo.scm.is_tracked = Tracked(self._repo.scm)
        self._one_by_one = selection.one_by_one
        self._stages = {stage.addressing: stage for stage in found}
        self._take_data(DataOnDisk(self._parts()))
        for stage in found:
            self._refuse_unsupported(stage)
        order = {address: place for place, address in enumerate(self._stages)}
        return tuple(choosing.spec(stage, graph, selection, order) for stage in found)

    def is_dep(self, path: str) -> bool:
        """Whether a stage of the project depends on a path relative to `tree`, or on a folder that the path is in."""
        if self._deps is None:
            with translate_errors():
                paths = [dep.fs_path for stage in self._repo.index.stages for dep in stage.deps]
            self._deps = {os.path.relpath(path, self.tree) for path in paths if path and os.path.isabs(path)}
        return "." in self._deps or is_under(path, self._deps)

    def concerns(self) -> dict[str, tuple[str, ...]]:
        """The declared paths that each selected stage reads and makes, relative to `tree`; by address."""
        with translate_errors():
            return {address: tuple(stage_paths.concerns(self.tree, stage)) for address, stage in self._stages.items()}

    def untracked(self, address: str) -> tuple[str, ...]:
        """Deps of a stage that no stage makes and neither Git nor DVC tracks; see `Untracked`."""
        with translate_errors():
            return self._untracked.of(self._stages[address])

    def use_remote(
        self,
        options: RunSettings,
        *,
        dry: bool = False,
        tell: Callable[[str], None] = lambda _text: None,
        reach: Reach | None = None,
    ) -> DataInRemote:
        """Have the selected stages run on machines that share no disk with this one: see `DataInRemote`.

        Args:
            options: Settings of the run.
            dry: Nothing will run.
            tell: Called with a sentence about what the head pushes.
            reach: Finds out which machines see a folder of this machine; None if no other machine does.

        Raises:
            DvcRayError: As `DataInRemote`.
        """
        from dvc_ray.repo.data.in_remote import DataInRemote
        from dvc_ray.storage.shared_folder import nobody

        with translate_errors():
            made = DataInRemote(self._parts(), self._stages, options, dry=dry, tell=tell, reach=reach or nobody)
        self._take_data(made)
        return made

    def add_code(self, paths: Sequence[str]) -> None:
        """Give files that a stage created to the stages after it, as happens in one workspace."""
        self._undeclared.add(paths)

    def merge(self, merges: Sequence[Merge]) -> dict[str, dict[str, bool]]:
        """Write finished stages to dvc.lock and .gitignore, and hashes to DVC's state database; needs `locked`.

        Returns:
            By address, deps that differ from what the stage was given, and whether dvc.lock names the new version.
        """
        with translate_errors():
            edited = {}
            self.git_added.update(path for merge in merges for path in merge.git_added)
            for merge in sorted(merges, key=lambda merge: self.stages.place(merge.task.address)):
                self._fill(merge)
                edited[merge.task.address] = self._look_again(merge)
            self._record.dump([self._stages[merge.task.address] for merge in merges])
        return edited

    def ignore_files(self) -> tuple[str, ...]:
        """The .gitignore files that the run has written, relative to `tree`."""
        return stage_paths.inside(self.tree, self._record.ignore_files())

    def finish(self, *, ok: bool) -> tuple[str, ...]:
        """End a run: stage changed files if ``core.autostage``, or remove its .gitignore entries if it failed.

        Both as ``dvc repro`` does.

        Returns:
            Files for the user to ``git add``, relative to the working directory.
        """
        with translate_errors():
            return self._record.finish(ok=ok)

    def _refuse_unsupported(self, stage: Any) -> None:
        kind = choosing.kind_of(stage)
        if kind is StageKind.COMMAND:
            choosing.refuse_unsupported(stage, self.tree)
        elif kind is StageKind.IMPORT and self._copy:
            choosing.refuse_relative_import(stage, self.tree)

    def _fill(self, merge: Merge) -> None:
        self._record.turn(self.stages.place(merge.task.address))
        self._data.fill(self._stages[merge.task.address], merge)

    def _look_again(self, merge: Merge) -> dict[str, bool]:
        if not merge.edited:
            return {}
        stage = self._stages[merge.task.address]
        return look_again(stage, self._data.here(stage, merge.edited))
