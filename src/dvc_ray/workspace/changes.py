"""What a command did to a workspace beyond its outs."""

from __future__ import annotations

import contextlib
import os
import re
import stat
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from dvc_ray.paths import is_under
from dvc_ray.values.task import Changed, StageTask
from dvc_ray.workspace.ignored_links import Followed, own
from dvc_ray.workspace.materialise import CODE_LIST, Identity, Materialised, identity, settings_stamp, stamps, unstamped

_NOT_PATH: Final = re.compile(r"[\s'\"`,:;()\[\]{}<>|]+")
"""Separators between the words of a message that may be relative paths."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """Files that came, went or changed; relative to the workspace."""

    changed: tuple[Changed, ...]
    deleted: tuple[str, ...]
    created: tuple[str, ...]
    replaced: tuple[str, ...] = ()
    """Links to Git-ignored files and folders that the command has replaced or removed."""
    moved: tuple[tuple[str, str], ...] = ()
    """Git-ignored folders whose link the command has moved, each with its new path; empty: out of the project."""
    copied: tuple[str, ...] = ()
    """Git-ignored folders whose link the command has copied, and to which it has written."""


def find_changes(task: StageTask, made: Materialised, followed: Followed, copied: Collection[str] = ()) -> Changes:
    """Compare a workspace with what was put there, except outs.

    Copies that the command has made of a link to a folder become copies of the folder.

    Args:
        task: The attempt.
        made: What was put there.
        followed: The links to folders, with their present places.
        copied: Folders whose links were found copied before.

    Raises:
        OSError: A folder cannot be copied.
    """
    replaced = [path for path, made_as in made.shared.items() if _now(made.root, path) != made_as]
    all_copied = {*copied, *own(task, replaced)}
    moved = followed.moved()
    before, but = made.stamps, {*unstamped(task), *moved.values()}
    now = dict(stamps(made.root, but))
    links = [path for path, stamp in now.items() if stat.S_ISLNK(stamp.mode) and stamp != before.get(path)]
    if fresh := own(task, links):
        all_copied |= fresh
        now = dict(stamps(made.root, but))
    now |= settings_stamp(task)
    return Changes(
        changed=tuple(
            Changed(path=path, base=before[path].version)
            for path, stamp in now.items()
            if path in before and stamp != before[path]
        ),
        deleted=tuple(path for path in before if path not in now),
        created=tuple(path for path in now if path not in before),
        replaced=tuple(path for path in replaced if path not in moved or (moved[path] and _now(made.root, path))),
        moved=tuple(moved.items()),
        copied=tuple(
            path for path in sorted(all_copied) if _written_since(os.path.join(task.home, path), _begun(task))
        ),
    )


def _now(root: str, path: str) -> Identity | None:
    with contextlib.suppress(OSError):
        return identity(os.path.join(root, path))
    return None


def misplaced_outs(task: StageTask) -> tuple[str, ...]:
    """Name outs that the command has written to the user's tree instead of the workspace."""
    return tuple(path for path in _missing(task) if _written_since(os.path.join(task.home, path), _begun(task)))


def stale_outs(task: StageTask) -> tuple[str, ...]:
    """Name outs that the command has not made: those of the last run are not its result."""
    misplaced = set(misplaced_outs(task))
    return tuple(path for path in _missing(task) if path not in misplaced)


def _begun(task: StageTask) -> int:
    return os.stat(os.path.join(task.workspace, task.project, CODE_LIST)).st_mtime_ns


def _missing(task: StageTask) -> list[str]:
    return [path for path in task.outs if not os.path.lexists(os.path.join(task.workspace, path))]


def _written_since(path: str, when: int) -> bool:
    """Whether a file, or anything in a directory, has been written since a time; what the last run left has not."""
    with contextlib.suppress(OSError):
        if os.lstat(path).st_ctime_ns > when:
            return True
        with os.scandir(path) as entries:
            return any(_written_since(entry.path, when) for entry in entries)
    return False


def missed_files(task: StageTask, text: str) -> tuple[str, ...]:
    """Name paths in a command's output that exist in the user's tree but were not given to it. Runs on the head."""
    given = {*task.code, *task.links, *task.copies, *task.ignored, *task.outs}
    found = {}
    for word in set(_NOT_PATH.split(text)) - {""}:
        for base in (task.wdir, task.project):
            part = os.path.normpath(os.path.join(base, word.rstrip(".")))
            inside = part != "." and not os.path.isabs(part) and not part.startswith((os.pardir, ".dvc", ".git"))
            if inside and not is_under(part, given) and os.path.exists(os.path.join(task.home, part)):
                found[part] = not any(path.startswith(part + os.sep) for path in given)
    return tuple(path for path, missing in found.items() if missing)[:5]
