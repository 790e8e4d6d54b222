"""Taking back what an attempt has installed: it had begun too early, and will run again."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterable, Iterator

from dvc_ray.files import Stamp
from dvc_ray.paths import remove
from dvc_ray.values.task import StageResult, StageTask
from dvc_ray.workspace.gate import beneath
from dvc_ray.workspace.moving import move


class Undo:
    """What was in the user's tree before attempts were installed, and what they have put there.

    Of outs, only those with ``persist``: a command makes all others from scratch.
    """

    def __init__(self) -> None:
        self._old: dict[str, list[tuple[str, str, str, Stamp | None]]] = {}
        """By stage: the tree, the file in it, where the previous file is kept, and the stamp of the new one."""

    @contextlib.contextmanager
    def watching(self, task: StageTask, result: StageResult, *, keep: bool) -> Iterator[list[str]]:
        """Watch what is installed within a block.

        Args:
            task: The attempt.
            result: Its result.
            keep: Whether it may have to be taken back.

        Yields:
            A list that has, at the end of the block, what the attempt wrote beyond its outs; relative to the tree.
        """
        wrote: list[str] = []
        changed = [change.path for change in result.changed]
        in_place = [path for path in changed if _same(os.path.join(result.workspace, path), _home(task, path))]
        moved = [path for path in (*result.deleted, *result.created, *changed) if path not in in_place]
        before = {path: _state(_home(task, path)) for path in moved}
        persisted = _persisted(task) if keep else []
        old = dict(_keep(task, [*moved, *persisted])) if keep else {}
        yield wrote
        wrote += [*in_place, *(path for path in moved if _state(_home(task, path)) != before[path])]
        if keep:
            self._old[task.address] = [
                (task.tree, path, old.get(path, ""), _state(_home(task, path)))
                for path in (*persisted, *wrote)
                if path not in in_place
            ]

    def take_back(self, address: str) -> list[str]:
        """Restore what was there before a stage was installed, unless it has changed since; returns absolute paths.

        Raises:
            OSError: Something cannot be put back; it is as the stage has left it.
        """
        done = []
        for tree, path, old, state in self._old.pop(address, []):
            whole = os.path.join(tree, path)
            if _state(whole) == state and (old or os.path.lexists(whole)):
                with beneath(tree, path, make=bool(old)) as target:
                    move(old, target) if old else remove(target)
                done.append(whole)
        return done


def _persisted(task: StageTask) -> list[str]:
    """Outs with ``persist``, which a command finds as the last run has left them, whether they exist or not."""
    items = [item for key in ("outs", "metrics", "plots") for item in task.definition.get(key) or ()]
    flagged = [pair for item in items if isinstance(item, dict) for pair in item.items()]
    named = [os.path.normpath(os.path.join(task.wdir, path)) for path, flags in flagged if (flags or {}).get("persist")]
    return [path for path in named if path in task.outs]


def _keep(task: StageTask, paths: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Give existing files a second name, one by one: what takes their place is a new file.

    The user's files stay where they are, because this may fail half-way, too.
    """
    for path in paths:
        here, there = _home(task, path), os.path.join(f"{task.workspace}.before", path)
        if not os.path.lexists(here) or "__pycache__" in path:
            continue
        os.makedirs(os.path.dirname(there), exist_ok=True)
        if os.path.isdir(here) and not os.path.islink(here):
            shutil.copytree(here, there, symlinks=True, copy_function=_second_name)
        else:
            _second_name(here, there)
        yield path, there


def _second_name(here: str, there: str) -> None:
    try:
        os.link(here, there, follow_symlinks=False)
    except OSError:  # another file system, or one without links
        shutil.copy2(here, there, follow_symlinks=False)


def _home(task: StageTask, path: str) -> str:
    return os.path.join(task.tree, path)


def _same(one: str, other: str) -> bool:
    with contextlib.suppress(OSError):
        return os.path.samefile(one, other)
    return False


def _state(path: str) -> Stamp | None:
    return Stamp.at(path, follow=False, mode=True)  # a stage that has only made a script executable has changed it
