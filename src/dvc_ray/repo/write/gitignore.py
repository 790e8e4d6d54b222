""".gitignore entries in DVC's order, whatever the order in which stages finish.

Stock DVC appends an out's entry when its stage is saved, so entries are in the order of stages; and a .gitignore inside
a directory that is a dep is hashed with the directory. Stages that finish in another order must leave the same bytes:
each file is its content at the start, followed by the entries so far in plan order.
"""

from __future__ import annotations

import bisect
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from dvc_ray.files import Stamp
from dvc_ray.paths import is_under

_NAME: Final = ".gitignore"
_Order = tuple[int, int]


@dataclass(slots=True)
class _File:
    """One .gitignore.

    Args:
        before: Content at the start, or after somebody else had changed the file; with a line end.
    """

    before: bytes
    entries: list[tuple[_Order, bytes]] = field(default_factory=list)
    """The lines added, in plan order."""
    stamp: Stamp | None = None
    """Stamp of the file as we left it."""


class Ignores:
    """The .gitignore files of one run."""

    def __init__(self, scm: Any) -> None:
        self._scm = scm
        self._files: dict[str, _File] = {}
        self._outs: set[str] = set()
        self._rules = _Rules(scm)

    def add(self, order: tuple[int, int], path: str, *, folder: bool = False) -> str | None:
        """Ignore an out.

        Args:
            order: Place of the out's stage in the plan, and of the out in the stage.
            path: The out, absolute.
            folder: Whether it is a directory, which matters for patterns such as ``models/``; it need not exist.

        Returns:
            The .gitignore that was written; None if Git ignored the out already.
        """
        # Without a graph (`--single-item`) two stages may have the same out, or one within the other's.
        if is_under(path, self._outs) or self._rules.ignore(path + os.sep if folder else path):
            return None
        entry, gitignore = self._scm._get_gitignore(path)
        file = self._files.get(gitignore)
        if file is None or file.stamp != Stamp.at(gitignore):  # somebody else's change is a new start
            file = self._files[gitignore] = _File(_ended(gitignore))
        size = os.path.getsize(gitignore) if os.path.exists(gitignore) else 0
        self._scm._add_entry_to_gitignore(entry, gitignore)  # at its end, escaped and after a line end
        line = _from(gitignore, size).removeprefix(b"\n")
        if file.entries and order < file.entries[-1][0]:
            bisect.insort(file.entries, (order, line))
            Path(gitignore).write_bytes(file.before + b"".join(text for _, text in file.entries))
        else:
            file.entries.append((order, line))
        file.stamp = Stamp.at(gitignore)
        self._rules.wrote(gitignore)
        self._outs.add(path)
        return str(gitignore)

    def written(self) -> tuple[str, ...]:
        """The files that have entries of the run."""
        return tuple(self._files)

    def undo(self) -> None:
        """Remove the entries that were added, as ``dvc repro`` does when it fails (``SCMContext.__call__``)."""
        for path in self._outs:
            self._scm.ignore_remove(path)


class _Rules:
    """What Git ignores, by dulwich as in scmrepo, but without reading all entries of the run again for each out.

    Files are read again when somebody else has changed a .gitignore that counts. An entry that we add ourselves matters
    only for its out, and for paths in it.
    """

    def __init__(self, scm: Any) -> None:
        self._scm = scm
        self._stamps: dict[str, Stamp | None] = {}
        self._manager: Any = None

    def ignore(self, path: str) -> bool:
        """Whether a path is ignored (``scmrepo.git.Git.is_ignored``)."""
        now = {file: Stamp.at(file) for file in self._files_for(path)}
        if self._manager is None or any(self._stamps.get(file, stamp) != stamp for file, stamp in now.items()):
            self._scm.dulwich._reset()
            self._manager = self._scm.dulwich.ignore_manager
            self._stamps = {}
        self._stamps |= now
        part = os.path.relpath(path, self._scm.root_dir) + (os.sep if path.endswith(os.sep) else "")
        return bool(self._manager.is_ignored(part))

    def wrote(self, gitignore: str) -> None:
        """Take the current version of a file for the one that was read."""
        self._stamps[gitignore] = Stamp.at(gitignore)

    def _files_for(self, path: str) -> Iterator[str]:
        """The .gitignore files from the root of the work tree down to a path."""
        folder = str(self._scm.root_dir)
        yield os.path.join(folder, _NAME)
        for part in os.path.relpath(os.path.dirname(path), folder).split(os.sep):
            if part not in {os.curdir, os.pardir}:
                folder = os.path.join(folder, part)
                yield os.path.join(folder, _NAME)


def _ended(gitignore: str) -> bytes:
    """Content of a file, with a line end after its last line."""
    content = Path(gitignore).read_bytes() if os.path.exists(gitignore) else b""
    return content if not content or content.endswith(b"\n") else content + b"\n"


def _from(path: str, place: int) -> bytes:
    with open(path, "rb") as file:
        file.seek(place)
        return file.read()
