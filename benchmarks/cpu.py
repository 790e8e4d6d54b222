"""CPU seconds of a process and all that it starts.

Linux adds a process's seconds to whoever waits for it, so that most of them arrive here with the process that was
started. Two kinds do not. Orphans go to init: `adopt_orphans` has them come here instead. And Ray's raylet ignores
SIGCHLD: the kernel then adds its workers' seconds, with those of the commands they ran, to nobody; `Unwaited` reads
them while the workers live.
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
"""Seconds between looks; of each such process at most the last of them is missed."""
_TICKS: Final = os.sysconf("SC_CLK_TCK")


def adopt_orphans() -> None:
    """Become the parent of processes whose own parent ends before they do."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)


def waited() -> float:
    """CPU seconds of all processes that were waited for so far."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def children() -> set[int]:
    """Pids of the processes that this one has started or adopted."""
    return set(_children(os.getpid()))


def reap(lasting: set[int]) -> set[int]:
    """Wait for all processes that were adopted; their pids.

    Args:
        lasting: Children that were there before, servers for example: they are not waited for.
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
        """Look until `total` is asked for."""
        while not self._done.wait(_PERIOD):
            for pid in _unwaited(self._pid):
                with contextlib.suppress(OSError):
                    self._seconds[pid] = _spent(pid)

    def total(self, reaped: set[int]) -> float:
        """End the watch; the seconds found, without those of processes that were waited for in the end."""
        self._done.set()
        self.join()
        return sum(spent for pid, spent in self._seconds.items() if pid not in reaped)


def _unwaited(pid: int) -> Iterator[int]:
    """Descendants whose parent ignores SIGCHLD. What is below them they wait for themselves."""
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
    """Seconds of a process and of those it has waited for: utime, stime, cutime, cstime of proc(5)."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / _TICKS
