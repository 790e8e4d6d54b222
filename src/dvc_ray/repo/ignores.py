""".gitignore entries in DVC's order, whatever the order in which stages finish.

Stock DVC appends an out's entry when its stage is saved, so the order of entries is the order of stages; and a
.gitignore inside a directory that is a dep is hashed with it. Stages that finish in another order must leave the same
bytes: each file is written anew from its content at the start and the entries so far, in plan order.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any


class Ignores:
    """The .gitignore files of one run."""

    def __init__(self, scm: Any) -> None:
        self._scm = scm
        self._before: dict[str, bytes | None] = {}
        self._written: dict[str, bytes] = {}
        self._entries: dict[str, dict[tuple[int, int], str]] = {}
        self._outs: list[str] = []

    def add(self, order: tuple[int, int], path: str) -> str | None:
        """Ignore an out.

        Args:
            order: Place of its stage in the plan and of the out in the stage.
            path: The out, absolute.

        Returns:
            The .gitignore that was written; None if Git ignored the out already.
        """
        if self._scm.is_ignored(path):
            return None
        entry, gitignore = self._scm._get_gitignore(path)
        self._refresh(gitignore)
        self._entries.setdefault(gitignore, {})[order] = entry
        self._outs.append(path)
        self._write(gitignore)
        return str(gitignore)

    def undo(self) -> None:
        """Take back what was added: what ``dvc repro`` does when it fails (``SCMContext.__call__``)."""
        for path in self._outs:
            self._scm.ignore_remove(path)

    def _refresh(self, gitignore: str) -> None:
        """Take a file that somebody else has changed since we wrote it as a new start."""
        now = Path(gitignore).read_bytes() if os.path.exists(gitignore) else None
        if gitignore not in self._before or now != self._written.get(gitignore):
            self._before[gitignore] = now
            self._entries.pop(gitignore, None)

    def _write(self, gitignore: str) -> None:
        before = self._before[gitignore]
        if before is None:
            Path(gitignore).unlink(missing_ok=True)
        else:
            Path(gitignore).write_bytes(before)
        for _, entry in sorted(self._entries[gitignore].items()):
            self._scm._add_entry_to_gitignore(entry, gitignore)
        self._written[gitignore] = Path(gitignore).read_bytes()
