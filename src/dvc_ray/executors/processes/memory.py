"""How much of the memory that this process may have is taken."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_KIB: Final = 1024
_CGROUP: Final = Path("/sys/fs/cgroup")


@dataclass(frozen=True, slots=True)
class Memory:
    """Of the machine, or of the control group that this process is in, whichever has less left."""

    used: int
    """Bytes."""
    total: int
    """Bytes."""

    @property
    def share(self) -> float:
        """How much of it is used, from 0 to 1."""
        return self.used / self.total if self.total else 0.0


def look() -> Memory:
    """Look at the machine and at the control group (version 2, as containers have it)."""
    found = [each for each in (_of_machine(), _of_group()) if each is not None]
    return max(found, key=lambda memory: memory.share, default=Memory(0, 0))


def _of_machine() -> Memory | None:
    """As the kernel estimates what a new program could take without swapping (proc_meminfo(5))."""
    with contextlib.suppress(OSError, KeyError, ValueError):
        lines = (line.split() for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines())
        known = {words[0].rstrip(":"): int(words[1]) * _KIB for words in lines}
        return Memory(known["MemTotal"] - known["MemAvailable"], known["MemTotal"])
    return None


def _of_group() -> Memory | None:
    """Files in the page cache that nobody uses do not count: the kernel drops them first."""
    with contextlib.suppress(OSError, KeyError, ValueError):
        group = Path("/proc/self/cgroup").read_text(encoding="utf-8").split("::", 1)[1].split("\n")[0]
        folder = _CGROUP / group.lstrip("/")
        folder = folder if (folder / "memory.max").exists() else _CGROUP
        total = int((folder / "memory.max").read_text(encoding="ascii"))  # "max": there is no bound
        lines = (folder / "memory.stat").read_text(encoding="ascii").splitlines()
        stat = dict(line.split() for line in lines)
        used = int((folder / "memory.current").read_text(encoding="ascii")) - int(stat["inactive_file"])
        return Memory(max(0, used), total)
    return None
