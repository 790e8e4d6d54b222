"""CPU seconds of a process and all that it starts.

Linux adds the seconds of a process to the process that waits for it, so most of them arrive here with the process that
was started. There are two exceptions. Orphans go to init: `adopt_orphans` makes this process their parent instead. And
Ray's raylet ignores SIGCHLD, so the kernel adds its workers' seconds, with those of the commands they ran, to no
process; `Unwaited` reads them while the workers live.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_PR_SET_CHILD_SUBREAPER: Final = 36
_PERIOD: Final = 0.2
"""Seconds between readings; for each process, at most the time since the last reading is missed."""
_TICKS: Final = os.sysconf("SC_CLK_TCK")


def adopt_orphans() -> None:
    """Become the parent of processes whose own parent ends before they do."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)


def waited() -> float:
    """Return the CPU seconds of all processes that were waited for so far."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def children() -> set[int]:
    """Return the pids of the processes that this one has started or adopted."""
    return set(_children(os.getpid()))


def reap(lasting: set[int]) -> set[int]:
    """Wait for all adopted processes; return their pids.

    Args:
        lasting: Children from before, for example servers, which are not waited for.
    """
    gone: set[int] = set()
    while left := children() - lasting:
        for pid in left:
            with contextlib.suppress(ChildProcessError):
                gone.add(os.waitpid(pid, 0)[0])
    return gone


class Unwaited(threading.Thread):
    """Watches a process's descendants for CPU seconds that the kernel adds to nobody.

    Args:
        pid: The process.
    """

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self._pid = pid
        self._done = threading.Event()
        self._seconds: dict[int, float] = {}

    def run(self) -> None:
        """Read until `total` is called."""
        while not self._done.wait(_PERIOD):
            for pid in _unwaited(self._pid):
                with contextlib.suppress(OSError):
                    self._seconds[pid] = _spent(pid)

    def total(self, reaped: set[int]) -> float:
        """End the watch; return the seconds found, without those of processes that were waited for in the end."""
        self._done.set()
        self.join()
        return sum(spent for pid, spent in self._seconds.items() if pid not in reaped)


def _unwaited(pid: int) -> Iterator[int]:
    """Yield descendants whose parent ignores SIGCHLD; the processes below them are waited for by these themselves."""
    children = _children(pid)
    if children and _ignores_children(pid):
        yield from children
    else:
        for child in children:
            yield from _unwaited(child)


def _children(pid: int) -> list[int]:
    found: list[int] = []
    with contextlib.suppress(OSError):  # it has ended
        for task in Path(f"/proc/{pid}/task").iterdir():
            found += map(int, (task / "children").read_text(encoding="ascii").split())
    return found


def _ignores_children(pid: int) -> bool:
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines():
            if line.startswith("SigIgn:"):
                return bool(int(line.split()[1], 16) >> (signal.SIGCHLD - 1) & 1)
    return False


def _spent(pid: int) -> float:
    """Return the seconds of a process and of those it has waited for: utime, stime, cutime, cstime of proc(5)."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / _TICKS
