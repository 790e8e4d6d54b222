"""Ends the remaining processes of a local Ray when its driver is gone, and removes its directory.

The driver runs it as a separate program (``python -I -S janitor.py DIRECTORY``) and holds its standard input open: the
end of the input is the end of the driver, for whatever reason. After a driver is killed, Ray 2.60 leaves its agents
running for a minute (they try to report to a GCS that is dead) and its directory for ever.

Only processes that have a file in DIRECTORY open are ended: all processes of a Ray write their logs there. (Their
environment does not help: Ray's processes rename themselves, which overwrites it.)
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
    directory = sys.argv[1]
    driver = os.getppid()
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    sys.stdin.buffer.read()
    deadline = time.monotonic() + PATIENCE
    while (found := _users(directory, driver)) and time.monotonic() < deadline:
        for pid in found:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.02)
    shutil.rmtree(directory, ignore_errors=True)


def _users(directory: str, driver: int) -> list[int]:
    """Processes that use the directory, except the driver itself, which may outlive its Ray."""
    pids = {int(name) for name in os.listdir("/proc") if name.isdigit()} - {driver}
    return [pid for pid in pids if any(path.startswith(directory + os.sep) for path in _open_files(pid))]


def _open_files(pid: int) -> list[str]:
    files = []
    with contextlib.suppress(OSError):
        for number in os.listdir(f"/proc/{pid}/fd"):
            with contextlib.suppress(OSError):
                files.append(os.readlink(f"/proc/{pid}/fd/{number}"))
    return files


if __name__ == "__main__":
    main()
