"""What the head sends to workers that do not see its disk."""

from __future__ import annotations

import os
from dataclasses import replace

from dvc_ray.files import Stamp, Version
from dvc_ray.values.git import GitTemplates
from dvc_ray.values.task import Pack, StageTask
from dvc_ray.workspace import pack, stamps_of_pack


class Cargo:
    """The snapshot and Git's state, taken up once in a run, and what differs from the first for each attempt."""

    def __init__(self) -> None:
        self._snapshot: Pack | None = None
        self._git: Pack | None = None
        self._stamps: dict[str, Version] = {}

    def of(self, task: StageTask) -> tuple[Pack, ...]:
        """The packs of an attempt: the snapshot, Git's state if there is any for it, and what it alone needs.

        Raises:
            OSError: A file cannot be read.
        """
        if task.elsewhere is None:
            return ()
        if self._snapshot is None:
            self._snapshot = replace(pack(task.tree, task.code), lasting=True)
            self._stamps = dict(stamps_of_pack(self._snapshot))
        changed = [path for path in task.code if self._has_changed(task.tree, path)]
        return (
            self._snapshot,
            *self._of_git(task.git),
            pack(task.tree, [*changed, *task.elsewhere.ships], whole=task.links),
        )

    def _of_git(self, git: GitTemplates) -> tuple[Pack, ...]:
        folders = [folder for _, folder in git.places if folder]
        if not folders:
            return ()
        if self._git is None:  # it is the same for all of a run that have any
            self._git = replace(pack(os.path.dirname(folders[0]), map(os.path.basename, folders)), lasting=True)
        return (self._git,)

    def _has_changed(self, tree: str, path: str) -> bool:
        try:
            found = os.lstat(os.path.join(tree, path))
        except FileNotFoundError:
            return False
        return self._stamps.get(path) not in {Stamp.of(found).version, (0, found.st_size)}  # no link has a time there
