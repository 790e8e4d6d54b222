"""Writes the results of a run into a DVC project: dvc.lock, .gitignore, and DVC's state database of files."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dvc_ray.paths import is_under
from dvc_ray.repo.dvc import hashes
from dvc_ray.repo.write.gitignore import Ignores
from dvc_ray.repo.write.lockfile import Locks

if TYPE_CHECKING:  # a run with nothing to do should not pay for what it does not need
    from dvc_ray.values.task import StageTask


@dataclass(frozen=True, slots=True, kw_only=True)
class Merge:
    """A finished attempt whose files are in the user's workspace already."""

    task: StageTask
    entry: dict[str, Any]
    """The stage's entry of dvc.lock."""
    hashes: tuple[tuple[str, str], ...] = ()
    """DVC's notes of hashes that the worker has computed, of outs and deps, by path relative to the tree."""
    edited: tuple[str, ...] = ()
    """Deps that somebody may have edited since the attempt was given them; absolute."""
    git_added: tuple[str, ...] = ()
    """Files that the command has added to Git; relative to the tree."""


class Record:
    """The only writer of a run; to be called within ``translate_errors()``, with DVC's lock held.

    Args:
        repo: The ``dvc.repo.Repo``.
        stages: Stages of the run, in plan order.
    """

    def __init__(self, repo: Any, stages: Sequence[Any]) -> None:
        self._repo = repo
        self._stages = stages
        self._locks = Locks(
            {
                (stage.dvcfile._lockfile.path, stage.name): place
                for place, stage in enumerate(stages)
                if getattr(stage, "name", None)
            }
        )
        self._ignores = Ignores(repo.scm)
        self._current = 0

    def turn(self, place: int) -> None:
        """Say which stage's outs DVC is going to add to .gitignore, by the stage's place in the plan."""
        self._current = place

    def ignore(self, path: str) -> None:
        """Replaces ``SCMContext.ignore``: the same entries, in plan order."""
        from dvc.scm import NoSCM
        from dvc.utils import relpath

        if isinstance(self._repo.scm, NoSCM):
            return
        stage = self._stages[self._current]
        place = next((number for number, out in enumerate(stage.outs) if out.fs_path == path), 0)
        folder = bool(stage.outs[place].hash_info and stage.outs[place].hash_info.isdir)
        written = self._ignores.add((self._current, place), path, folder=folder)
        if written:
            self._repo.scm_context.track_file(relpath(written))

    def ignore_files(self) -> tuple[str, ...]:
        """The .gitignore files that were written."""
        return self._ignores.written()

    def take(self, stage: Any, entry: Mapping[str, Any]) -> None:
        """Fill a stage with hashes; its data may be elsewhere."""
        self._fill(stage, entry)
        for out in stage.outs:  # the .gitignore lies where the out would be
            if out.use_scm_ignore:
                os.makedirs(os.path.dirname(out.fs_path), exist_ok=True)
        stage.ignore_outs()

    def take_here(self, stage: Any, merge: Merge) -> None:
        """Fill a stage with hashes; its data is here, so DVC also gets the file hashes that the worker computed."""
        self._fill(stage, merge.entry)
        outs, notes = set(merge.task.outs), []
        for path, note in merge.hashes:
            full = os.path.join(merge.task.tree, path)
            if is_under(path, outs) or hashes.holds(note, full):  # a dep may have been copied into the workspace
                notes.append((full, note))
        hashes.note(self._repo, notes)
        if merge.task.commit:
            _commit_again(stage)
            hashes.links(self._repo, (out.fs_path for out in stage.outs if out.use_cache and out.is_in_repo))
        stage.ignore_outs()

    def _fill(self, stage: Any, entry: Mapping[str, Any]) -> None:
        from dvc.stage.loader import StageLoader

        StageLoader.fill_from_lock(stage, entry)
        stage.cmd_changed = False

    def dump(self, stages: Sequence[Any]) -> None:
        """Write the entries of finished stages."""
        from dvc.stage import PipelineStage

        pipeline = [stage for stage in stages if isinstance(stage, PipelineStage)]
        self._repo.scm_context.track_file(self._locks.write(pipeline))
        for stage in stages:
            if stage not in pipeline:
                stage.dump(update_pipeline=False)

    def has(self, stage: Any) -> bool:
        """Whether dvc.lock on disk has the entry of a stage; always true for a stage without dvc.lock."""
        from dvc.stage import PipelineStage
        from dvc.stage.serialize import to_single_stage_lockfile
        from dvc.utils.serialize import load_yaml

        if not isinstance(stage, PipelineStage):
            return True
        lock = stage.dvcfile._lockfile.path
        written = load_yaml(lock).get("stages", {}).get(stage.name) if os.path.exists(lock) else None
        return bool(written == to_single_stage_lockfile(stage))

    def finish(self, *, ok: bool) -> tuple[str, ...]:
        """End a run: stage changed files if ``core.autostage``, or remove its .gitignore entries if it failed.

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


def _commit_again(stage: Any) -> None:
    """Put outs back into the cache that are gone from it: `dvc gc` keeps only those that dvc.lock names already.

    `dvc gc` removes a folder's list with the folder's files, so it is enough to look for one object of each out.
    """
    for out in stage.outs:
        if out.use_cache and out.hash_info and not out.cache.exists(out.hash_info.value):
            out.commit()
