"""A memory limit for each host, by control groups of version 1 or 2."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path
from typing import Final

_ROOT: Final = Path("/sys/fs/cgroup")
_PATIENCE: Final = 10.0
PARENTS: Final = (_ROOT / "memory", _ROOT)
"""Where groups are made: version 1, version 2."""


class Cgroup:
    """A control group with a limit of memory; without one where the machine has no controller for it.

    Args:
        name: Its name.
    """

    def __init__(self, name: str) -> None:
        self._first = (_ROOT / "memory/tasks").exists()
        parent = PARENTS[0] if self._first else PARENTS[1]
        self.path: Path | None = parent / name
        self.at = parent
        """Where a host expects it."""

    def make(self, memory: int) -> None:
        """Make it."""
        if self.path is None:
            return
        try:
            self.path.mkdir(exist_ok=True)
            limit = "memory.limit_in_bytes" if self._first else "memory.max"
            (self.path / limit).write_text(str(memory))
        except OSError:
            with contextlib.suppress(OSError):
                self.path.rmdir()
            self.path = None

    def joined(self, script: str) -> str:
        """A shell script that joins it first; nsenter does not."""
        return script if self.path is None else f'echo $$ > "{self.path}/cgroup.procs"; {script}'

    def remove(self) -> None:
        """Remove it, when nothing runs in it any more: what was killed needs a moment to be gone."""
        deadline = time.monotonic() + _PATIENCE
        while self.path is not None and self.path.exists() and time.monotonic() < deadline:
            with contextlib.suppress(OSError):
                self.path.rmdir()
                return
            time.sleep(0.01)


def reap(testbed: str) -> None:
    """Remove the groups of a testbed that is gone."""
    for parent in PARENTS:
        for path in parent.glob(f"dvc-ray-{testbed}-*"):
            with contextlib.suppress(OSError):
                path.rmdir()
