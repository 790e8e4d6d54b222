"""Ends what is left of a local Ray when its driver is gone, and removes its directory.

Run as a program of its own (``python -I -S janitor.py MARK DIRECTORY``) by the driver, which holds its standard input
open: the end of the input is the end of the driver, however it came. Of a killed driver, Ray 2.60 leaves its agents
running for a minute (they try to report to a GCS that is dead) and its directory for ever.

Only processes that have MARK in their environment are ended: those that this driver's Ray has started.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
import time

PATIENCE = 10.0
"""Seconds in which ended processes must be gone."""


def main() -> None:
    """Wait for the driver's end, then clean up."""
    mark, directory = sys.argv[1:]
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    sys.stdin.buffer.read()
    deadline = time.monotonic() + PATIENCE
    while (found := _marked(mark.encode())) and time.monotonic() < deadline:
        for pid in found:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.02)
    shutil.rmtree(directory, ignore_errors=True)


def _marked(mark: bytes) -> list[int]:
    return [pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if mark in _environment(pid)]


def _environment(pid: int) -> list[bytes]:
    with contextlib.suppress(OSError), open(f"/proc/{pid}/environ", "rb") as file:
        return file.read().split(b"\0")
    return []


if __name__ == "__main__":
    main()
