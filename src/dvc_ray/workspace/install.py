"""Bringing an attempt's files home: the user's workspace is left as a command run in it would have left it."""

from __future__ import annotations

import contextlib
import filecmp
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Final

from dvc_ray.files import Stamp, Version, walk_files
from dvc_ray.node.bundles import unpack
from dvc_ray.paths import is_under, remove
from dvc_ray.repo.write.dvc_yaml import DvcYaml, Written
from dvc_ray.values.stage import StageState
from dvc_ray.values.task import Changed, StageResult, StageTask
from dvc_ray.workspace.environments import is_environment
from dvc_ray.workspace.gate import LeadsOutError, beneath, passed
from dvc_ray.workspace.ignored_links import leads_to
from dvc_ray.workspace.materialise import CODE_LIST
from dvc_ray.workspace.moving import move

_FILE: Any = 0o100644
"""A plain file's mode, as Git has it."""
_TOP: Final = b"\1\n"
"""A line that texts begin with while they are merged."""
_DVCYAML: Final = "dvc.yaml"


class ResultInstaller:
    """The user's workspace during one run; the head is its only writer.

    Two stages that ran at the same time may have rewritten one file. Their changes are merged line by line; where
    that fails, the stage that is later in the plan wins, as it would have in a serial run, and the user is told.

    Args:
        place: Place of a stage in the plan.
        warn: Told about conflicts.
        is_dep: Whether a stage of the project depends on a path, relative to the tree, or on a folder that it is in.
        fetch: Brings the object of a key in the remote into a file.
    """

    def __init__(
        self,
        place: Callable[[str], int],
        warn: Callable[[str], None],
        is_dep: Callable[[str], bool],
        fetch: Callable[[str, str], None],
    ) -> None:
        self._fetch = fetch
        self._place = place
        self._warn = warn
        self._is_dep = is_dep
        self._versions: dict[str, dict[Version, bytes]] = {}
        """Content that this run has replaced, by path and by modification time and size."""
        self._writer: dict[str, str] = {}
        self._dvcyamls: dict[str, DvcYaml] = {}
        self._folders: dict[str, str] = {}
        """Stages of this run that have made whole folders."""

    def admit(self, task: StageTask, result: StageResult) -> StageResult:
        """Let in what a stage may write; of a machine that shares no disk, as if its workspace was here.

        Args:
            task: The attempt.
            result: What became of it.

        Returns:
            What is to be brought; the user is told what is not.

        Raises:
            OSError: A file cannot be written.
            StorageError: An object cannot be brought.
        """
        result, refused = passed(task, result)
        for path in refused:
            self._warn(f"stage '{task.address}' wrote {path!r}, which no stage may write: it is not brought home.")
        if result.parcel is not None:
            unpack(result.parcel, task.workspace, bring=self._fetch)
        return result

    @contextlib.contextmanager
    def _told(self, task: StageTask) -> Iterator[None]:
        """Say what is not brought home because it would land elsewhere; the rest is."""
        try:
            yield
        except LeadsOutError as error:
            self._warn(f"stage '{task.address}': {error.args[0]}: it is not brought home.")

    def bring(self, task: StageTask, result: StageResult) -> None:
        """Take all that an attempt left: what it deleted, outs, what it made and changed.

        Outs are moved, not copied: DVC's hash of a file holds while its inode is the same.

        Raises:
            OSError: A file cannot be written.
        """
        if result.state is StageState.DONE:
            self._warn_of_changed_deps(task, result)
        self._bring_deleted(task, result)  # first: a file may have become a directory
        for path in task.outs:
            with self._told(task):
                _bring_out(task, result, path)
        for path in result.copied:
            self._warn(
                f"stage '{task.address}' copied '{path}', which is a link in its workspace, and wrote to it or to its"
                f" copy: both have it. Copy what is in it ('cp -r {path}/. …'), or name it in 'include' of 'meta.ray'."
            )
        for path, place in result.moved:
            with self._told(task):
                self._move_at_home(task, path, place)
        for path in result.replaced:
            with self._told(task), beneath(task.home, path, make=True) as target:
                self._bring_replaced(task, path, result.workspace, target)
        folders = set(self._bring_folders(task, result))
        for path in result.created:
            if is_under(path, folders):
                self._writer[path] = task.address
                continue
            with self._told(task), beneath(task.tree, path, make=True) as target:
                if not self._bring_created_dvcyaml(task, result, path, target):
                    self._bring_created(task, path, result.workspace, target)
        for changed in result.changed:
            with self._told(task), beneath(task.tree, changed.path, make=True) as target:
                self._bring_changed(task, result, changed, target)

    def _bring_deleted(self, task: StageTask, result: StageResult) -> None:
        for path in result.deleted:
            with contextlib.suppress(OSError), self._told(task), beneath(task.tree, path) as target:
                os.unlink(target)
                _remove_emptied(os.path.dirname(path), result.workspace, task.tree)

    def forget(self, address: str) -> None:
        """Forget that a stage has written anything: it has been taken back."""
        self._writer = {path: writer for path, writer in self._writer.items() if writer != address}

    def _warn_of_changed_deps(self, task: StageTask, result: StageResult) -> None:
        """Name deps that the command has changed; dvc.lock has their new hashes, as under ``dvc repro``."""
        touched = (*(changed.path for changed in result.changed), *result.deleted, *result.created)
        deps = set(task.deps)
        found = [path for path in touched if is_under(path, deps) and "__pycache__" not in path]
        if found:
            named = ", ".join(f"'{path}'" for path in found[:3]) + (" and more" if len(found) > 3 else "")
            self._warn(
                f"stage '{task.address}' wrote to its own dep: {named}. As with dvc repro, dvc.lock records"
                " it as it is now; the stage may run again next time. Let the command write to an out instead."
            )

    def _bring_folders(self, task: StageTask, result: StageResult) -> Iterator[str]:
        """Take new folders whole, at once: an environment has thousands of files, and is one thing."""
        created = set(result.created)
        for path in _tops(result.created, task.tree, task.outs):
            if created.issuperset(walk_files(result.workspace, path)):
                with contextlib.suppress(OSError), beneath(task.tree, path, make=True) as target:
                    if self._bring_folder(task, path, os.path.join(result.workspace, path), target):
                        yield path

    def _bring_folder(self, task: StageTask, path: str, source: str, target: str) -> bool:
        if not os.path.lexists(target):
            os.rename(source, target)  # to another file system it cannot: file by file
        elif is_environment(source) and path in self._folders:
            if self._place(task.address) < self._place(self._folders[path]):
                return True
            move(source, target)
        else:
            return False
        self._folders[path] = task.address
        return True

    def _bring_created(self, task: StageTask, path: str, workspace: str, target: str) -> None:
        """Take a new file. Where there is one already, it is one that the stage was not given: nobody's to replace.

        But one that another stage reads must be what it would be after a serial run.
        """
        source = os.path.join(workspace, path)
        other = self._writer.get(path)
        if os.path.lexists(target) and "__pycache__" not in path and not _same_content(source, target):
            if other is None and not self._is_dep(path):
                self._keep_both(task, path, source)
                return
            if other not in {None, task.address} and not self._is_later(task, path, other):
                return
        move(source, target)
        self._writer[path] = task.address

    def _move_at_home(self, task: StageTask, path: str, place: str) -> None:
        """Move an ignored folder of the user's where the command has moved the link to it."""
        if not os.path.lexists(os.path.join(task.home, path)):  # the result is taken over, and it has been moved
            return
        if place:
            with beneath(task.home, path) as source, beneath(task.home, place, make=True) as target:
                if leads_to(task.home, target) == path:  # through another link
                    os.unlink(target)
                if not os.path.lexists(target):
                    move(source, target)
                    return
        self._warn(
            f"stage '{task.address}' moved '{path}', which Git ignores,"
            f" {f'to {place!r}, where you have something' if place else 'out of the project'}: only a link to it was"
            " moved. Yours is left as it was. Declare it as an out, or name it in 'include' of 'meta.ray' to have the"
            " stage work on it."
        )

    def _bring_replaced(self, task: StageTask, path: str, workspace: str, target: str) -> None:
        """Do to an ignored file or folder of the user's what the command did to the link that it was given."""
        other = self._writer.get(path)
        overtaken = other is not None and self._place(other) > self._place(task.address)
        if overtaken and not self._is_later(task, path, str(other)):
            return
        source = os.path.join(workspace, path)
        if os.path.lexists(source):
            move(source, target)
        elif os.path.lexists(os.path.join(workspace, task.project, CODE_LIST)):  # else somebody removes the workspace
            remove(target)
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

    def _bring_created_dvcyaml(self, task: StageTask, result: StageResult, path: str, target: str) -> bool:
        """Take a dvc.yaml that was not there when the stage began; False if it is a new file like any other."""
        source = os.path.join(result.workspace, path)
        there = os.path.lexists(target)
        if os.path.basename(path) != _DVCYAML or not _regular(source) or (there and path not in self._writer):
            return False
        ours = Path(target).read_bytes() if there else None
        wrote = Path(source).read_bytes()
        theirs = self._merged_dvcyaml(task, result, path, (None, ours, wrote), known=True)
        if theirs != wrote:
            Path(source).write_bytes(theirs)
        if theirs != ours:
            move(source, target)
        self._writer[path] = task.address
        return True

    def _bring_changed(self, task: StageTask, result: StageResult, changed: Changed, target: str) -> None:
        source = os.path.join(result.workspace, changed.path)
        if not _regular(source) or not _regular(target):  # a link is what it points to
            move(source, target)
            return
        if os.path.samefile(source, target):
            return
        stamp, ours = Stamp.of(os.stat(target)).version, Path(target).read_bytes()
        wrote = theirs = Path(source).read_bytes()
        base = ours if stamp == changed.base else self._versions.get(changed.path, {}).get(changed.base)
        if os.path.basename(changed.path) == _DVCYAML:
            theirs = self._merged_dvcyaml(task, result, changed.path, (base, ours, wrote), known=base is not None)
        elif stamp != changed.base and ours != theirs:
            theirs = self._merged(task, changed.path, ours, base, theirs)
        if theirs != ours:
            self._versions.setdefault(changed.path, {})[stamp] = ours
            if theirs != wrote:
                Path(source).write_bytes(theirs)
            move(source, target)
        else:
            shutil.copymode(source, target)
        self._writer[changed.path] = task.address

    def _merged_dvcyaml(
        self,
        task: StageTask,
        result: StageResult,
        path: str,
        versions: tuple[bytes | None, bytes | None, bytes],
        *,
        known: bool,
    ) -> bytes:
        """Merge a dvc.yaml as a serial run would have left it: DVCLive rewrites it in each stage.

        Args:
            task: The attempt.
            result: What it has left.
            path: The file, relative to the tree.
            versions: What the stage began with, what is there now, what the stage has made; None: no file.
            known: Whether the first is what it began with.
        """
        base, ours, theirs = versions
        wrote = {*task.outs, *result.created, *(changed.path for changed in result.changed)}
        folder = os.path.dirname(path)

        def touched(entry: str) -> bool:
            full = os.path.normpath(os.path.join(folder, entry))
            return is_under(full, wrote) or any(each.startswith(full + os.sep) for each in wrote)

        merged, conflicts = self._dvcyamls.setdefault(path, DvcYaml(_merge_lines)).take(
            ours,
            Written(
                place=self._place(task.address),
                who=task.address,
                base=base,
                known=known,
                result=theirs,
                touched=touched,
            ),
        )
        for conflict in conflicts:
            self._warn_of_conflict(path, conflict.winner, conflict.loser, conflict.winner)
        return merged

    def _merged(self, task: StageTask, path: str, ours: bytes, base: bytes | None, theirs: bytes) -> bytes:
        other = self._writer.get(path)
        merged = _merge_lines(ours, base, theirs) if base is not None else None
        if merged is not None:
            return merged
        later = other is None or self._place(task.address) > self._place(other)
        self._warn_of_conflict(path, task.address, other or "", task.address if later else other or "")
        return theirs if later else ours

    def _warn_of_conflict(self, path: str, stage: str, other: str, winner: str) -> None:
        who = repr(other) if other else "somebody else"
        self._warn(
            f"'{path}' was rewritten by stage '{stage}' and by {who} in ways that do not merge; kept"
            f" what '{winner}' wrote. Declare it as an out of one of them, or make one depend on the other."
        )


def _bring_out(task: StageTask, result: StageResult, path: str) -> None:
    source, home = os.path.join(result.workspace, path), os.path.join(task.tree, path)
    there = os.path.lexists(source)
    if there and os.path.realpath(source) == os.path.realpath(home):  # by a link that leads out of both
        return
    if there or path in result.stale:
        with beneath(task.tree, path, make=there) as target:
            move(source, target) if there else remove(target)


def _tops(created: Iterable[str], tree: str, outs: Iterable[str]) -> Iterator[str]:
    """Folders of new files, the topmost that are new themselves or environments; none that an out lies in.

    Args:
        created: New files, relative to the tree.
        tree: Root of the user's tree.
        outs: Outs of the stage, relative to the tree.
    """
    found: set[str] = set()
    around = {folder for path in outs for folder in _parents(path)}
    for path in created:
        if not is_under(path, found):
            for folder in reversed(_parents(path)):
                full = os.path.join(tree, folder)
                if folder not in around and (not os.path.lexists(full) or is_environment(full)):
                    found.add(folder)
                    yield folder
                    break


def _parents(path: str) -> list[str]:
    """The folders that a relative path lies in, the innermost first."""
    found = []
    while path := os.path.dirname(path):
        found.append(path)
    return found


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
    """Merge two versions of a text as ``git merge-file`` does; None if they conflict, or are no text.

    By libgit2, which comes with DVC: there may be no git program.
    """
    import pygit2

    if any(b"\0" in text for text in (ours, base, theirs)):
        return None
    with tempfile.TemporaryDirectory(prefix="dvc-ray-") as folder:
        repo = pygit2.init_repository(folder, bare=True)
        # Latin-1 has a letter for each byte, and pygit2 fails on a result without any.
        blobs = [repo.create_blob((_TOP + text).decode("latin-1").encode()) for text in (base, ours, theirs)]
        first, one, other = (pygit2.IndexEntry(os.path.basename(folder), blob, _FILE) for blob in blobs)
        merged: Any = repo.merge_file_from_index(first, one, other)
    said = str(merged if isinstance(merged, str) else merged.contents)  # older ones give the text
    # A conflict is seen by its marks: they have the name, which stands in no text.
    return None if os.path.basename(folder) in said else said.encode("latin-1").removeprefix(_TOP)
