"""Detecting edits of deps while stages run."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator, Sequence

from dvc_ray.files import Stamp
from dvc_ray.paths import with_folders
from dvc_ray.values.task import StageResult, StageTask


class InputEdits:
    """Deps that have changed since a stage of the run was first given them.

    These are only candidates: a stage that was given the new version already is named as well. Whether dvc.lock needs
    another entry, the hash decides.
    """

    def __init__(self) -> None:
        self._first: dict[str, int] = {}
        """By path (absolute): a fingerprint of the dep as it was first given."""
        self._edited: set[str] = set()

    def given(self, task: StageTask) -> None:
        """Record what an attempt is given."""
        for path in _deps(task):
            if path not in self._first:
                self._first[path] = _state(path)

    def of(self, task: StageTask, result: StageResult) -> tuple[str, ...]:
        """Find deps of an attempt that somebody has edited; absolute. Call it before the changes are installed.

        A file that the command has written to as well is left out: the command's version counts.
        """
        own = {os.path.join(task.tree, changed.path) for changed in result.changed}
        found = [path for path in _deps(task) if path not in own and path in self._first]
        self._edited.update(path for path in found if path not in self._edited and _state(path) != self._first[path])
        return tuple(path for path in found if path in self._edited)

    def brought(self, task: StageTask, result: StageResult) -> None:
        """Do not take for an edit what a command wrote to a dep, of its own stage or of others."""
        wrote = [*(changed.path for changed in result.changed), *result.deleted, *result.created]
        self.wrote([os.path.join(task.tree, path) for path in wrote])

    def wrote(self, paths: Sequence[str]) -> None:
        """Do not take for an edit what we have written ourselves; absolute."""
        for dep in (with_folders(paths) & self._first.keys()) - self._edited:
            self._first[dep] = _state(dep)


def _deps(task: StageTask) -> Iterator[str]:
    return (os.path.join(task.tree, path) for path in task.deps)


def _state(path: str) -> int:
    return hash(frozenset(_stamps(path)))


def _stamps(path: str) -> Iterator[tuple[str, Stamp]]:
    """Stamp a file, or all files in a directory; nothing if there is neither."""
    with contextlib.suppress(OSError):
        found = os.stat(path)
        if not stat.S_ISDIR(found.st_mode):
            yield path, Stamp.of(found)
            return
        with os.scandir(path) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    yield from _stamps(entry.path)
                    continue
                with contextlib.suppress(OSError):  # a link that leads nowhere, or a file that is gone
                    yield entry.path, Stamp.of(entry.stat())
