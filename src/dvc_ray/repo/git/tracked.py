"""The files that Git tracks, read once as long as its index stays the same."""

from __future__ import annotations

import os
from typing import Any

from dvc_ray.files import Stamp
from dvc_ray.paths import with_folders


class Tracked:
    """Replaces ``Git.is_tracked``, which reads the whole index at each call (scmrepo 3.6).

    DVC calls it for each out of each stage that has run. With stages whose deps are tracked, the time grows with the
    square of the number of stages.

    Args:
        scm: A ``scmrepo.git.Git``.
    """

    def __init__(self, scm: Any) -> None:
        self._scm = scm
        self._stamp: Stamp | None = None
        self._names: set[str] = set()

    def __call__(self, path: str) -> bool:
        """Whether Git tracks a file, or something in a folder."""
        return os.path.relpath(path, self._scm.root_dir) in self.names()

    def names(self) -> set[str]:
        """All files that Git tracks, and the folders that they are in; relative to the work tree, which is ``.``."""
        git = self._scm.dulwich.repo
        stamp = Stamp.at(git.index_path())
        if stamp is None or stamp != self._stamp:
            names = [os.fsdecode(name) for name in git.open_index()]
            self._stamp, self._names = stamp, with_folders(names) | ({os.curdir} if names else set())
        return self._names
