"""Detects what a command writes to its deps: they are links to the user's files, or to cached objects."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from dvc_ray.files import Stamp, replacing
from dvc_ray.paths import files_under


@dataclass(frozen=True, slots=True)
class Content:
    """Tells whether a file has been written to; of a symbolic link, the file that it leads to."""

    file: tuple[int, int]
    """Device and inode of the file."""
    stamp: Stamp


def look(root: str, paths: Iterable[str]) -> dict[str, Content]:
    """Stamp the content of all files under some paths of a workspace."""
    found = {}
    for path in paths:
        for file in files_under(root, path):
            try:
                at = os.stat(os.path.join(root, file))
            except OSError:
                continue
            if stat.S_ISREG(at.st_mode):
                found[file] = Content((at.st_dev, at.st_ino), Stamp.of(at))
    return found


def written_in_place(root: str, before: Mapping[str, Content]) -> dict[str, tuple[int, int]]:
    """Find the files that were written to without being replaced.

    Returns:
        Device and inode by path: other names of the same file have the new content too.
    """
    now = look(root, before)
    return {
        path: content.file
        for path, content in before.items()
        if path in now and content.file == now[path].file and content.stamp != now[path].stamp
    }


def detach(root: str, path: str) -> None:
    """Replace a symbolic link by a copy of its target, which is about to be removed."""
    full = os.path.join(root, path)
    if os.path.islink(full):
        with replacing(full) as copy:
            shutil.copyfile(full, copy)
