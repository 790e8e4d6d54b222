"""Bringing an attempt's files home: the user's workspace is left as a command run in it would have left it."""

from __future__ import annotations

import contextlib
import filecmp
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from dvc_ray.paths import is_under
from dvc_ray.values.stage import StageState
from dvc_ray.values.task import Changed, StageResult, StageTask


class Home:
    """The user's workspace during one run; the head is its only writer.

    Two stages that ran at the same time may have rewritten one file. Their changes are merged line by line; where
    that fails, the stage that is later in the plan wins, as it would have in a serial run, and the user is told.

    Args:
        place: Place of a stage in the plan.
        warn: Told about conflicts.
        is_dep: Whether a stage of the project depends on a path, relative to the tree, or on a folder that it is in.
    """

    def __init__(self, place: Callable[[str], int], warn: Callable[[str], None], is_dep: Callable[[str], bool]) -> None:
        self._place = place
        self._warn = warn
        self._is_dep = is_dep
        self._versions: dict[str, dict[tuple[int, int], bytes]] = {}
        """Content that this run has replaced, by path and by modification time and size."""
        self._writer: dict[str, str] = {}

    def bring(self, task: StageTask, result: StageResult) -> None:
        """Take all that an attempt left: what it deleted, outs, what it made and changed.

        Outs are moved, not copied: DVC's hash of a file holds while its inode is the same.

        Raises:
            OSError: A file cannot be written.
        """
        if result.state is StageState.DONE:
            self._warn_of_changed_deps(task, result)
        for path in result.deleted:  # first: a file may have become a directory
            with contextlib.suppress(OSError):
                os.unlink(os.path.join(task.tree, path))
                _remove_emptied(os.path.dirname(path), result.workspace, task.tree)
        for path in task.outs:
            source = os.path.join(result.workspace, path)
            if os.path.lexists(source):
                move(source, os.path.join(task.tree, path))
        for path in result.created:
            self._bring_created(task, path, result.workspace)
        for changed in result.changed:
            self._bring_changed(task, changed, result.workspace)

    def forget(self, address: str) -> None:
        """Forget that a stage has written anything: it has been taken back."""
        self._writer = {path: writer for path, writer in self._writer.items() if writer != address}

    def _warn_of_changed_deps(self, task: StageTask, result: StageResult) -> None:
        """Name deps that the command has changed; dvc.lock has their new hashes, as under ``dvc repro``."""
        touched = (*(changed.path for changed in result.changed), *result.deleted, *result.created)
        found = [path for path in touched if is_under(path, set(task.deps)) and "__pycache__" not in path]
        if found:
            named = ", ".join(f"'{path}'" for path in found[:3]) + (" and more" if len(found) > 3 else "")
            self._warn(
                f"stage '{task.address}' wrote to its own dep: {named}. As with dvc repro, dvc.lock records"
                " it as it is now; the stage may run again next time. Let the command write to an out instead."
            )

    def _bring_created(self, task: StageTask, path: str, workspace: str) -> None:
        """Take a new file. Where there is one already, it is one that the stage was not given: nobody's to replace.

        But one that another stage reads must be what it would be after a serial run.
        """
        source, target = os.path.join(workspace, path), os.path.join(task.tree, path)
        other = self._writer.get(path)
        if os.path.lexists(target) and "__pycache__" not in path and not _same_content(source, target):
            if other is None and not self._is_dep(path):
                self._keep_both(task, path, source)
                return
            if other not in {None, task.address} and not self._is_later(task, path, other):
                return
        move(source, target)
        self._writer[path] = task.address

    def _is_later(self, task: StageTask, path: str, other: str) -> bool:
        """Whether a stage is the later one of two that wrote a file; says so."""
        later = self._place(task.address) > self._place(other)
        self._warn(
            f"stages '{other}' and '{task.address}' both wrote '{path}', which no out declares; kept what"
            f" '{task.address if later else other}' wrote. Declare it as an out of one of them."
        )
        return later

    def _keep_both(self, task: StageTask, path: str, source: str) -> None:
        aside = os.path.join(task.kept, path)
        move(source, aside)
        self._warn(
            f"stage '{task.address}' wrote '{path}', which Git ignores and no out declares; yours is left as it was,"
            f" the new one is {os.path.relpath(aside)}. Declare it as an out, or name it in 'include' of 'meta.ray' to"
            " have the stage work on it."
        )

    def _bring_changed(self, task: StageTask, changed: Changed, workspace: str) -> None:
        source, target = os.path.join(workspace, changed.path), os.path.join(task.tree, changed.path)
        if not _regular(source) or not _regular(target):  # a link is what it points to
            move(source, target)
            return
        if os.path.samefile(source, target):
            return
        now = os.stat(target)
        stamp, ours = (now.st_mtime_ns, now.st_size), Path(target).read_bytes()
        wrote = theirs = Path(source).read_bytes()
        if stamp != changed.base and ours != theirs:
            theirs = self._merged(task, changed, ours, theirs)
        if theirs != ours:
            self._versions.setdefault(changed.path, {})[stamp] = ours
            if theirs != wrote:
                Path(source).write_bytes(theirs)
            move(source, target)
        else:
            shutil.copymode(source, target)
        self._writer[changed.path] = task.address

    def _merged(self, task: StageTask, changed: Changed, ours: bytes, theirs: bytes) -> bytes:
        other = self._writer.get(changed.path)
        base = self._versions.get(changed.path, {}).get(changed.base)
        merged = _merge_lines(ours, base, theirs) if base is not None else None
        if merged is not None:
            return merged
        later = other is None or self._place(task.address) > self._place(other)
        winner = task.address if later else other
        who = repr(other) if other else "somebody else"
        self._warn(
            f"'{changed.path}' was rewritten by stage '{task.address}' and by {who} in ways that do not merge; kept"
            f" what '{winner}' wrote. Declare it as an out of one of them, or make one depend on the other."
        )
        return theirs if later else ours


def move(source: str, target: str) -> None:
    """Put a file or directory in place of another; atomic for a file on the same file system."""
    if os.path.isdir(target) and not os.path.islink(target):
        shutil.rmtree(target)
    os.makedirs(os.path.dirname(target), exist_ok=True)
    try:
        os.replace(source, target)
    except OSError:
        if os.path.isdir(source) and not os.path.islink(source) and os.path.lexists(target):
            os.unlink(target)
        shutil.move(source, target)


def _remove_emptied(folder: str, workspace: str, tree: str) -> None:
    """Remove folders that the command has removed, once nothing is left in them."""
    while folder and not os.path.isdir(os.path.join(workspace, folder)):
        os.rmdir(os.path.join(tree, folder))
        folder = os.path.dirname(folder)


def _regular(path: str) -> bool:
    return os.path.isfile(path) and not os.path.islink(path)


def _same_content(one: str, other: str) -> bool:
    return _regular(one) and _regular(other) and filecmp.cmp(one, other, shallow=False)


def _merge_lines(ours: bytes, base: bytes, theirs: bytes) -> bytes | None:
    """Merge two versions of a text with Git's three-way merge; None if they conflict."""
    with _as_files(ours, base, theirs) as files:
        try:
            done = subprocess.run(["git", "merge-file", "-p", "-q", *files], capture_output=True, check=False)
        except OSError:
            return None
    return done.stdout if done.returncode == 0 else None


@contextlib.contextmanager
def _as_files(*contents: bytes) -> Iterator[list[str]]:
    with tempfile.TemporaryDirectory(prefix="dvc-ray-") as folder:
        names = [os.path.join(folder, str(number)) for number in range(len(contents))]
        for name, content in zip(names, contents, strict=True):
            Path(name).write_bytes(content)
        yield names
