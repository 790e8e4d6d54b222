"""Reuse of workspaces: files of the snapshot that a command has left alone are not written again.

To write a file takes a hundred times as long as to see that it is unchanged, and a repository may have thousands.
"""

from __future__ import annotations

import contextlib
import json
import os
import stat
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Final

from dvc_ray.files import Stamp, Version
from dvc_ray.paths import remove_workspace

_IDLE: Final = "idle"
_RECORD: Final = ".copies"
"""Ending of the file beside a workspace that says what was copied into it."""


@dataclass(frozen=True, slots=True)
class _Record:
    folder_mode: int
    copies: dict[str, Stamp]
    """Stamps of regular files, by path relative to the workspace."""


def record(workspace: str, paths: Iterable[str]) -> None:
    """Record what was copied into a workspace, as it is before a command runs in it.

    Args:
        workspace: The workspace.
        paths: Files that were copied from the user's tree with their time, size and mode; others are left out.
    """
    copies = {}
    for path in paths:
        found = _look(os.path.join(workspace, path))
        if found is not None and found.st_nlink == 1:
            copies[path] = _stamp(found)
    made = {"folder_mode": stat.S_IMODE(os.stat(workspace).st_mode), "copies": copies}
    with open(workspace + _RECORD, "w", encoding="ascii") as file:
        json.dump(made, file)


def _noted(path: str) -> _Record:
    """Read a record.

    Raises:
        ValueError: It is incomplete, or of another version.
        OSError: It cannot be read.
    """
    with open(path, encoding="ascii") as file:
        found = json.load(file)
    try:
        copies = {str(path): Stamp._make(stamp) for path, stamp in found["copies"].items()}
        return _Record(int(found["folder_mode"]), copies)
    except (TypeError, KeyError, AttributeError) as error:
        raise ValueError(path) from error


def lay_aside(workspace: str) -> None:
    """Keep the workspace of an attempt that is over for another one; only copies that have not changed stay in it."""
    idle = os.path.join(os.path.dirname(workspace), _IDLE, os.path.basename(workspace))
    try:
        _tidy(workspace, _noted(workspace + _RECORD))
        os.makedirs(os.path.dirname(idle), exist_ok=True)
        os.rename(workspace + _RECORD, idle + _RECORD)
        os.rename(workspace, idle)  # last, so that the record is there when the workspace appears
    except (OSError, ValueError):
        discard(workspace)


def discard(workspace: str) -> None:
    """Remove a workspace and its record."""
    with contextlib.suppress(OSError):
        remove_workspace(workspace)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(workspace + _RECORD)


def claim(workspace: str, tree: str, wanted: Collection[str]) -> bool:
    """Make a workspace out of one that was laid aside; copies that differ from the user's tree are removed.

    Args:
        workspace: Path of the workspace to make; does not exist.
        tree: The user's tree.
        wanted: Files of the tree that it may have, relative to both.

    Returns:
        Whether there was one to reuse.
    """
    folder = os.path.join(os.path.dirname(workspace), _IDLE)
    with contextlib.suppress(OSError):
        for name in [entry.name for entry in os.scandir(folder) if entry.is_dir()]:
            with contextlib.suppress(OSError):  # another process was faster
                os.rename(os.path.join(folder, name), workspace)
                return _refresh(workspace, os.path.join(folder, name) + _RECORD, tree, set(wanted))
    return False


def _refresh(workspace: str, noted: str, tree: str, wanted: set[str]) -> bool:
    try:
        made = _noted(noted)
        os.unlink(noted)
        for path in made.copies:
            source = _look(os.path.join(tree, path)) if path in wanted else None
            if source is None or _copied(_stamp(source)) != _copied(made.copies[path]):
                with contextlib.suppress(FileNotFoundError):  # it had been changed, and was removed when laid aside
                    os.unlink(os.path.join(workspace, path))
    except (OSError, ValueError):
        discard(workspace)
        return False
    return True


def _tidy(workspace: str, made: _Record) -> None:
    """Remove all that was not copied or has changed since, and folders that are empty then.

    Raises:
        OSError: Something cannot be removed, or the mode of a folder has changed.
    """
    _tidy_folder(workspace, "", made)
    if stat.S_IMODE(os.stat(workspace).st_mode) != made.folder_mode:
        raise PermissionError(f"'{workspace}' is not as folders are made")


def _tidy_folder(folder: str, base: str, made: _Record) -> bool:
    """Remove what was not copied or has changed from a folder; whether it is empty then.

    Args:
        folder: The folder.
        base: Its path relative to the workspace, with a slash at its end.
        made: What was copied.
    """
    empty = True
    for entry in [*os.scandir(folder)]:
        path = base + entry.name
        if not entry.is_dir(follow_symlinks=False):
            noted = made.copies.get(path)
            if noted is None or _stamp(entry.stat(follow_symlinks=False)) != noted:
                os.unlink(entry.path)
            else:
                empty = False
        elif _tidy_folder(entry.path, path + "/", made):
            os.rmdir(entry.path)
        elif stat.S_IMODE(entry.stat(follow_symlinks=False).st_mode) != made.folder_mode:
            raise PermissionError(f"'{entry.path}' is not as folders are made")
        else:
            empty = False
    return empty


def _look(path: str) -> os.stat_result | None:
    """Look at a file; None if it is not a regular file."""
    try:
        found = os.lstat(path)
    except OSError:
        return None
    return found if stat.S_ISREG(found.st_mode) else None


def _stamp(found: os.stat_result) -> Stamp:
    """With the change time: a command may write to a copy and set its time back, and the next one would get that."""
    return Stamp.of(found, mode=True, ctime=True)


def _copied(stamp: Stamp) -> tuple[Version, int]:
    """The part of a stamp that a file and its copy have in common."""
    return stamp.version, stat.S_IMODE(stamp.mode)
