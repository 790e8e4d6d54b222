"""Links to the user's Git-ignored folders: a command that moves or copies the link does so to the folder."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterable, Iterator
from typing import Final

from dvc_ray.paths import remove
from dvc_ray.values.task import StageTask

_MARK: Final = os.sep + os.curdir + os.sep
"""Marks the text of our links; it is in no link that a command makes to the path of the folder."""
_MOST: Final = 200
"""Maximum number of links that are followed out of the workspace: each is an open file."""


def link_text(home: str, path: str) -> str:
    """The text of a link to a folder of the user; it tells the link, and copies of it, from other links.

    Args:
        home: Root of the user's tree.
        path: The folder, relative to it.
    """
    return home + _MARK + path


def leads_to(home: str, link: str) -> str:
    """The target of one of our links, relative to the user's tree; empty for anything else."""
    with contextlib.suppress(OSError):
        before, mark, path = os.readlink(link).rpartition(_MARK)
        if mark and before == home:
            return path
    return ""


class Followed:
    """Follows the links to folders in a workspace while a command runs.

    ``mv`` moves the link. If the link is open, Linux tells where to: in the workspace, in the user's tree (through
    another link), or outside of both.

    Args:
        task: The attempt, on the machine of the user's tree.
    """

    def __init__(self, task: StageTask) -> None:
        self._task = task
        self._root = os.path.realpath(task.workspace)
        self._open: dict[str, int] = {}

    def follow(self) -> None:
        """Open the links, as they are now."""
        for path in self._task.ignored:
            link = os.path.join(self._task.workspace, path)
            if len(self._open) < _MOST and os.path.islink(link) and os.path.isdir(link):
                with contextlib.suppress(OSError):  # as many as the user's limit of open files allows
                    self._open[path] = os.open(link, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)

    def close(self) -> None:
        """Close the links."""
        for opened in self._open.values():
            os.close(opened)
        self._open = {}

    def moved(self) -> dict[str, str]:
        """The new paths of links that were moved, by folder; links that were removed are left out.

        Paths in the workspace and in the user's tree are relative to these; for any other place, the path is empty.
        """
        found = {}
        for path, opened in self._open.items():
            with contextlib.suppress(OSError):
                place = os.readlink(f"/proc/self/fd/{opened}")
                if os.fstat(opened).st_nlink and place != os.path.join(self._root, path):
                    found[path] = self._inside(place)
        return found

    def _inside(self, place: str) -> str:
        for root in (self._root, os.path.realpath(self._task.home)):
            part = os.path.relpath(place, root)
            if part.split(os.sep)[0] not in {os.pardir, ".dvc", ".git"}:
                return part
        return ""


def own(task: StageTask, paths: Iterable[str]) -> set[str]:
    """Replace links to the user's folders that a command has copied or moved by copies of the folders.

    Args:
        task: The attempt.
        paths: Where to look; relative to the workspace.

    Returns:
        The folders, relative to the user's tree.

    Raises:
        OSError: A folder cannot be copied; its link is as it was.
    """
    copied = set()
    for path in paths if task.ignored else ():
        for link in _links(os.path.join(task.workspace, path)):
            if found := leads_to(task.home, link):
                _copy(os.path.join(task.home, found), link)
                copied.add(found)
    return copied


def _copy(source: str, link: str) -> None:
    fresh = f"{link}.dvc-ray.{os.getpid()}"
    try:
        if os.path.isdir(source):
            shutil.copytree(source, fresh, symlinks=True)
        else:
            shutil.copy2(source, fresh)
        os.unlink(link)
        os.rename(fresh, link)
    except OSError:
        remove(fresh)
        raise


def _links(path: str) -> Iterator[str]:
    if os.path.islink(path):
        yield path
    elif os.path.isdir(path):
        with os.scandir(path) as entries:
            inner = [entry.path for entry in entries if entry.is_symlink() or entry.is_dir()]
        for each in inner:
            yield from _links(each)
