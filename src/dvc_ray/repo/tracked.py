"""Which files Git tracks, read once while its index stays the same."""

from __future__ import annotations

import os
from pathlib import PurePosixPath
from typing import Any


class Tracked:
    """Stands in for ``Git.is_tracked``, which reads all of the index at each call (scmrepo 3.6).

    DVC asks for each out of each stage that has run; with stages whose deps are tracked that grows with their square.

    Args:
        scm: A ``scmrepo.git.Git``.
    """

    def __init__(self, scm: Any) -> None:
        self._scm = scm
        self._stamp: tuple[int, int, int] | None = None
        self._paths: set[str] = set()

    def __call__(self, path: str) -> bool:
        """Whether Git tracks a file, or something in a folder."""
        git = self._scm.dulwich.repo
        stamp = _stamp(git.index_path())
        if stamp is None or stamp != self._stamp:
            names = [os.fsdecode(name) for name in git.open_index()]
            folders = {str(folder) for name in names for folder in PurePosixPath(name).parents}
            self._stamp, self._paths = stamp, {*names, *folders}
        return os.path.relpath(path, self._scm.root_dir) in self._paths


def _stamp(path: str) -> tuple[int, int, int] | None:
    if not os.path.exists(path):
        return None
    found = os.stat(path)
    return found.st_mtime_ns, found.st_size, found.st_ino
