"""Which process drives what: named so that it cannot be mistaken for a later one with the same pid."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def this_process() -> dict[str, Any]:
    """Name this process; what `is_alive` takes."""
    return {"pid": os.getpid(), "started": _started(os.getpid())}


def is_alive(process: Mapping[str, Any]) -> bool:
    """Whether a process that `this_process` named still lives."""
    try:
        return bool(_started(process["pid"]) == process["started"])
    except (OSError, KeyError):
        return False


def read(path: Path) -> dict[str, Any]:
    """Read a process's name from a JSON file; empty if there is none, or half of one."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _started(pid: int) -> str:
    """Start time of a process in clock ticks since boot: with the pid it names one process for ever."""
    return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[19]
