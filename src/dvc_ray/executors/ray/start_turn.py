"""Turns to start a Ray on this machine: those of one user start one after the other.

A start takes all cores for seconds. Several at once take so long that Ray gives up on each of them (2.60.0).
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
import threading
import time
from pathlib import Path
from typing import Final

FOLDER: Final = "/tmp"  # noqa: S108
"""Folder of the lock files: everybody can write to it, and Rays have their own folders there."""
PATIENCE: Final = 330.0
"""Seconds after which a start that has not ended holds up no other; longer than a start may take."""
_LOOK_EVERY: Final = 0.1
"""Seconds between checks whether it has ended."""
_PLACES: Final = 64
"""Number of starts that may hang; the next one then does not wait at all."""


class StartTurn:
    """A turn to start, not taken yet.

    The process that has it holds a lock on a file, which the kernel releases when the process ends for any reason.
    The file says since when the turn is taken: if the process hangs, the others use the next file.
    """

    def __init__(self) -> None:
        self._path = Path(FOLDER, f"dvc-ray-start-{os.geteuid()}")
        self._place = 0
        self._file: int | None = None

    def take(self) -> int | None:
        """Take it if it is free; otherwise returns the pid of the process that has it (0: unknown)."""
        while self._place < _PLACES:
            file = _open(Path(f"{self._path}.{self._place}"))
            if file is None:
                return None
            if _locked(file):
                _sign(file)
                self._file = file
                return None
            pid, since = _signed(file)
            os.close(file)
            if time.monotonic() - since < PATIENCE:
                return pid
            self._place += 1
        return None

    def wait(self, leave: threading.Event) -> None:
        """Wait for the turn, if it is not taken yet.

        Args:
            leave: Set when the turn is no longer wanted.

        Raises:
            InterruptedError: The turn is no longer wanted.
        """
        while self._file is None and self.take() is not None:
            if leave.wait(_LOOK_EVERY):
                raise InterruptedError("not wanted any more")

    def give_back(self) -> None:
        """Let the next one start; harmless if the turn was not taken."""
        file, self._file = self._file, None
        if file is not None:
            with contextlib.suppress(OSError):
                fcntl.flock(file, fcntl.LOCK_UN)  # not only closed: a child that was forked may have it open, too
            os.close(file)


def _open(path: Path) -> int | None:
    """Open a file that belongs to the user; None if that is impossible: then no start waits for another.

    Everybody may write to the folder: the path may be a link, or a file of another user.
    """
    try:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, 0o600)
    except OSError:
        return None
    found = os.fstat(file)
    if stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid():
        return file
    os.close(file)
    return None


def _locked(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _sign(file: int) -> None:
    """Write down which process has the turn, and since when, by the clock that all processes of a machine share."""
    with contextlib.suppress(OSError):
        os.ftruncate(file, 0)
        os.pwrite(file, f"{os.getpid()} {time.monotonic()}".encode(), 0)


def _signed(file: int) -> tuple[int, float]:
    """Which process has the turn, and since when; since now if that is not written yet, or lies in the future."""
    now = time.monotonic()
    with contextlib.suppress(OSError, ValueError):
        pid, since = os.pread(file, 100, 0).decode().split()
        return int(pid), min(float(since), now)
    return 0, now
