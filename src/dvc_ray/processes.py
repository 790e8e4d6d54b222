"""Which process drives what: told by a lock that the kernel takes back when the process ends, however it ends.

A pid would not do: two containers on one project have pids of their own, and a pid is used again.
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
"""Writes down more about an owned file."""


@contextlib.contextmanager
def owned(path: Path, facts: Mapping[str, Any] | None = None) -> Iterator[Write]:
    """Own a file for as long as the block runs; it is gone afterwards.

    Args:
        path: The file; it appears complete and locked.
        facts: What it says besides the pid of this process, as JSON.

    Yields:
        What replaces the facts.
    """
    # Not `atomic_write`: what is locked is this open file, which is to be the one that others see.
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
    """Whether the process that owns a file still lives."""
    with contextlib.suppress(FileNotFoundError), path.open(encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def read(path: Path) -> dict[str, Any]:
    """Read what an owned file says; empty if there is none, or half of one."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
