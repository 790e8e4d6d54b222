"""Taking back what an attempt has brought home: it had begun too early, and will run again."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterable, Iterator

from dvc_ray.paths import remove
from dvc_ray.values.task import StageResult, StageTask

_State = tuple[int, int, int, int] | None
"""Inode, modification time (ns), size and mode; None: nothing is there."""


class Undo:
    """What was there before attempts came home, and what they have put there.

    Of outs only those that persist: all others a command makes anew.
    """

    def __init__(self) -> None:
        self._old: dict[str, list[tuple[str, str, _State]]] = {}
        """By stage: the file, where the one before is kept, and what the file is since; absolute."""

    @contextlib.contextmanager
    def watching(self, task: StageTask, result: StageResult, *, keep: bool) -> Iterator[list[str]]:
        """Watch what comes home within a block.

        Args:
            task: The attempt.
            result: What became of it.
            keep: Whether it may have to be taken back.

        Yields:
            A list that has at the end what the attempt has written beyond its outs; relative to the tree.
        """
        wrote: list[str] = []
        changed = [change.path for change in result.changed]
        in_place = [path for path in changed if _same(os.path.join(result.workspace, path), _home(task, path))]
        moved = [path for path in (*result.deleted, *result.created, *changed) if path not in in_place]
        before = {path: _state(_home(task, path)) for path in moved}
        persisted = _persisted(task) if keep else []
        old = dict(_put_aside(task, [*moved, *persisted])) if keep else {}
        try:
            yield wrote
        finally:
            _restore_missing(task, result, old)
        wrote += [*in_place, *(path for path in moved if _state(_home(task, path)) != before[path])]
        if keep:
            self._old[task.address] = [
                (_home(task, path), old.get(path, ""), _state(_home(task, path)))
                for path in (*persisted, *wrote)
                if path not in in_place
            ]

    def take_back(self, address: str) -> list[str]:
        """Put back what was there before a stage came home, where nobody has written since; absolute paths."""
        done = []
        for path, old, state in self._old.pop(address, []):
            if _state(path) == state:
                remove(path)
                if old:
                    os.makedirs(os.path.dirname(path), exist_ok=True)
                    os.rename(old, path)
                done.append(path)
        return done


def _persisted(task: StageTask) -> list[str]:
    """Outs that a command finds as the last one has left them, whether they are there or not."""
    wdir = os.path.join(task.project, os.path.dirname(task.dvcfile), str(task.definition.get("wdir") or "."))
    items = [item for key in ("outs", "metrics", "plots") for item in task.definition.get(key) or ()]
    flagged = [pair for item in items if isinstance(item, dict) for pair in item.items()]
    return [os.path.normpath(os.path.join(wdir, path)) for path, flags in flagged if (flags or {}).get("persist")]


def _put_aside(task: StageTask, paths: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Keep what is there under another name: a file by a second link, a folder, which will be replaced, as it is."""
    for path in paths:
        here, there = _home(task, path), os.path.join(f"{task.workspace}.before", path)
        if not os.path.lexists(here) or "__pycache__" in path:
            continue
        os.makedirs(os.path.dirname(there), exist_ok=True)
        if os.path.isdir(here) and not os.path.islink(here):
            os.rename(here, there)
        else:
            try:
                os.link(here, there, follow_symlinks=False)
            except OSError:  # a file system without links
                shutil.copy2(here, there, follow_symlinks=False)
        yield path, there


def _restore_missing(task: StageTask, result: StageResult, old: dict[str, str]) -> None:
    """Put back folders that nothing has come for after all: the attempt has failed, or could not be brought home."""
    for path, there in list(old.items()):
        if path not in result.deleted and not os.path.lexists(_home(task, path)):
            os.rename(there, _home(task, path))
            del old[path]


def _home(task: StageTask, path: str) -> str:
    return os.path.join(task.tree, path)


def _same(one: str, other: str) -> bool:
    with contextlib.suppress(OSError):
        return os.path.samefile(one, other)
    return False


def _state(path: str) -> _State:
    with contextlib.suppress(OSError):
        found = os.lstat(path)
        return found.st_ino, found.st_mtime_ns, found.st_size, found.st_mode
    return None
