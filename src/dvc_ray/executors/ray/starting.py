"""A local Ray as processes of ours: started, watched, ended."""

from __future__ import annotations

import atexit
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Final

_JANITOR: Final = str(Path(__file__).parents[1] / "janitor.py")
_PROBE_TIMEOUT: Final = 5.0


def vital_processes() -> dict[str, subprocess.Popen[bytes]]:
    """The processes without which a local Ray is dead (``ray._private.node.Node.all_processes``, 2.60.0)."""
    from ray._private import worker

    found = worker._global_node.all_processes  # noqa: SLF001
    return {name: found[name][0].process for name in ("gcs_server", "raylet") if found.get(name)}


def forget_ray() -> None:
    """Keep Ray from shutting down at exit what is dead already: it would wait for it."""
    from ray._private import worker

    atexit.unregister(worker.shutdown)


def take_back_sigterm() -> None:
    """Put Python's handler of SIGTERM back in place.

    Ray's core installs a failure handler of its own under Python's (absl's), which prints a stack and aborts the
    process three seconds later, while commands are being ended.
    """
    handler = signal.getsignal(signal.SIGTERM)
    if handler is not None and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, handler)


def start_janitor(directory: str) -> subprocess.Popen[bytes]:
    """Have what works in a directory ended when this process is gone."""
    return subprocess.Popen(
        [sys.executable, "-I", "-S", _JANITOR, directory], stdin=subprocess.PIPE, start_new_session=True
    )


def probe(address: str) -> None:
    """See whether anybody listens: Ray itself would try for minutes, and could not be interrupted.

    Raises:
        OSError: Nobody does.
    """
    host, _, port = address.removeprefix("https://").removeprefix("http://").rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host.strip("[]"), int(port)), timeout=_PROBE_TIMEOUT).close()


def local_cpus(jobs: int) -> int:
    """Logical CPUs of the local Ray: the cores, more if more jobs are wanted, two at least for a nested trainer."""
    return max(len(os.sched_getaffinity(0)), jobs, 2)
