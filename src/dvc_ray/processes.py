"""Files that a process owns by a lock, which the kernel releases when the process ends, however it ends.

A pid would not do: two containers that share a project have pids of their own, and pids are reused.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

Write = Callable[[Mapping[str, Any]], None]
"""Replaces the facts in an owned file."""


@contextlib.contextmanager
def owned(path: Path, facts: Mapping[str, Any] | None = None) -> Iterator[Write]:
    """Own a file for as long as the block runs, then remove it.

    Args:
        path: The file; it appears complete and locked.
        facts: What the file says, as JSON, besides the pid of this process.

    Yields:
        A function that replaces the facts.
    """
    # Not `atomic_write`: the lock is on this open file, which must be the one that others see.
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    with temporary.open("w", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)

        def write(facts: Mapping[str, Any]) -> None:
            file.seek(0)
            file.truncate()
            file.write(json.dumps({"pid": os.getpid(), **facts}))
            file.flush()

        write(facts or {})
        temporary.rename(path)
        try:
            yield write
        finally:
            path.unlink(missing_ok=True)


def is_owned(path: Path) -> bool:
    """Whether the process that owns a file is still alive."""
    with contextlib.suppress(FileNotFoundError), path.open(encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def read(path: Path) -> dict[str, Any]:
    """Read the facts in an owned file; empty if the file is missing or incomplete."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
