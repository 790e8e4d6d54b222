"""Texts that several stages of a run rewrite: merged line by line, dvc.yaml entry by entry."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any, Final

from dvc_ray.files import Stamp, Version
from dvc_ray.paths import is_under
from dvc_ray.repo.write.dvc_yaml import DvcYaml, Written
from dvc_ray.values.task import Changed, StageResult, StageTask
from dvc_ray.workspace.moving import move
from dvc_ray.workspace.writers import Writers

_FILE: Any = 0o100644
"""Git's mode of a plain file."""
_TOP: Final = b"\1\n"
"""A line that is put before texts while they are merged."""
_DVCYAML: Final = "dvc.yaml"


class TextMerger:
    """Merges what stages have changed in existing files into the workspace.

    Two stages that ran at the same time may have rewritten one file. Their changes are merged line by line; where
    that fails, the stage that is later in the plan wins, as it would have in a serial run, and the user is told.

    Args:
        writers: Who has written what in this run.
    """

    def __init__(self, writers: Writers) -> None:
        self._writers = writers
        self._versions: dict[str, dict[Version, bytes]] = {}
        """Content that this run has replaced, by path and by modification time and size."""
        self._dvcyamls: dict[str, DvcYaml] = {}

    def bring_new_dvcyaml(self, task: StageTask, result: StageResult, path: str, target: str) -> bool:
        """Merge a dvc.yaml that was not there when the stage began; False if it is a new file like any other."""
        source = os.path.join(result.workspace, path)
        there = os.path.lexists(target)
        if os.path.basename(path) != _DVCYAML or not is_plain(source) or (there and self._writers.of(path) is None):
            return False
        ours = Path(target).read_bytes() if there else None
        wrote = Path(source).read_bytes()
        theirs = self._merged_dvcyaml(task, result, path, (None, ours, wrote), known=True)
        if theirs != wrote:
            Path(source).write_bytes(theirs)
        if theirs != ours:
            move(source, target)
        self._writers.note(path, task.address)
        return True

    def bring_changed(self, task: StageTask, result: StageResult, changed: Changed, target: str) -> None:
        """Merge a file that was there when the stage began.

        Raises:
            OSError: It cannot be written.
        """
        source = os.path.join(result.workspace, changed.path)
        if not is_plain(source) or not is_plain(target):  # the content of a link is its target
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
        self._writers.note(changed.path, task.address)

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
            result: Its result.
            path: The file, relative to the tree.
            versions: What the stage began with, what is there now, and what the stage has made; None: no file.
            known: Whether the first version is the one that the stage began with.
        """
        base, ours, theirs = versions
        wrote = {*task.outs, *result.created, *(changed.path for changed in result.changed)}
        folder = os.path.dirname(path)

        def touched(entry: str) -> bool:
            full = os.path.normpath(os.path.join(folder, entry))
            return is_under(full, wrote) or any(each.startswith(full + os.sep) for each in wrote)

        merged, conflicts = self._dvcyamls.setdefault(path, DvcYaml(merge_lines)).take(
            ours,
            Written(
                place=self._writers.place(task.address),
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
        other = self._writers.of(path)
        merged = merge_lines(ours, base, theirs) if base is not None else None
        if merged is not None:
            return merged
        later = other is None or self._writers.place(task.address) > self._writers.place(other)
        self._warn_of_conflict(path, task.address, other or "", task.address if later else other or "")
        return theirs if later else ours

    def _warn_of_conflict(self, path: str, stage: str, other: str, winner: str) -> None:
        who = repr(other) if other else "somebody else"
        self._writers.warn(
            f"'{path}' was rewritten by stage '{stage}' and by {who} in ways that do not merge; kept"
            f" what '{winner}' wrote. Declare it as an out of one of them, or make one depend on the other."
        )


def is_plain(path: str) -> bool:
    """Whether a path is a file, and not a link to one."""
    return os.path.isfile(path) and not os.path.islink(path)


def merge_lines(ours: bytes, base: bytes, theirs: bytes) -> bytes | None:
    """Merge two versions of a text as ``git merge-file`` does; None if they conflict, or are not text.

    Uses libgit2, which comes with DVC: the git program may be missing.
    """
    import pygit2

    if any(b"\0" in text for text in (ours, base, theirs)):
        return None
    with tempfile.TemporaryDirectory(prefix="dvc-ray-") as folder:
        repo = pygit2.init_repository(folder, bare=True)
        # Latin-1 has a character for each byte, and pygit2 fails on an empty result.
        blobs = [repo.create_blob((_TOP + text).decode("latin-1").encode()) for text in (base, ours, theirs)]
        first, one, other = (pygit2.IndexEntry(os.path.basename(folder), blob, _FILE) for blob in blobs)
        merged: Any = repo.merge_file_from_index(first, one, other)
    said = str(merged if isinstance(merged, str) else merged.contents)  # older versions return the text
    # A conflict is recognised by its markers: they contain the file name, which is in no text.
    return None if os.path.basename(folder) in said else said.encode("latin-1").removeprefix(_TOP)
