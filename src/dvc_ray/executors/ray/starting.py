"""A local Ray as processes of ours: started, watched, ended."""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

_JANITOR: Final = str(Path(__file__).parents[1] / "janitor.py")
_PROBE_TIMEOUT: Final = 5.0
_RAYLET_PATIENCE: Final = 150.0
"""Seconds that a raylet which is alive may take to report."""
_RAYLET_EVERY: Final = 0.1
"""Seconds between questions whether it has."""
_BOUNDS: Final = {
    "RAY_agent_register_timeout_ms": "300000",
    "RAY_gcs_server_port_wait_time_s": "150",
    "RAY_gcs_server_request_timeout_seconds": "150",
    "RAY_health_check_failure_threshold": "20",
    "RAY_raylet_start_wait_time_s": "150",
    "RAY_worker_register_timeout_seconds": "300",
}
"""Ray's settings for how long its parts wait for each other (2.60.0), for a machine that is busy."""


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


@contextlib.contextmanager
def patience(leave: threading.Event) -> Iterator[None]:
    """Give Ray more time to start on a machine that is busy, as long as what it starts is alive.

    Its own bounds are settings, read from the environment by it and all that it starts, but for the half minute that
    its raylet has to report (``ray._private.node.Node.__init__``, 2.54 and 2.60.0).

    Args:
        leave: Set when it need not start any more.
    """
    from ray._private import services

    added = {name: text for name, text in _BOUNDS.items() if name not in os.environ}
    os.environ.update(added)
    original = services.get_node

    def get_node(gcs_address: str, node_id: str) -> Any:
        deadline = time.monotonic() + _RAYLET_PATIENCE
        while True:
            try:
                return original(gcs_address, node_id)
            except RuntimeError as error:
                if not _is_alive("raylet"):  # of another class: Ray would go on asking
                    raise ChildProcessError("its raylet has ended") from error
                if leave.is_set() or time.monotonic() > deadline:
                    raise
            leave.wait(_RAYLET_EVERY)

    services.get_node = get_node
    try:
        yield
    finally:
        services.get_node = original
        for name in added:
            os.environ.pop(name, None)


def _is_alive(name: str) -> bool:
    """Whether this process has a child of a name that has not ended."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                found, _, rest = (entry / "stat").read_text().partition("(")[2].rpartition(")")
                state, parent = rest.split()[:2]
                if found == name and state != "Z" and int(parent) == os.getpid():
                    return True
    return False


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


def check_loopback() -> None:
    """See whether processes of this machine can reach each other, as Ray's must: it would try for minutes.

    Raises:
        OSError: They cannot, with what to do about it.
    """
    with socket.socket() as listening:
        listening.settimeout(_PROBE_TIMEOUT)
        try:
            listening.bind(("127.0.0.1", 0))
            listening.listen()
            socket.create_connection(listening.getsockname(), timeout=_PROBE_TIMEOUT).close()
        except OSError as error:
            raise OSError(
                f"its processes cannot reach each other over 127.0.0.1 ({error}); is the loopback interface up?"
                " `ip link set lo up`"
            ) from error


def local_cpus(jobs: int) -> int:
    """Logical CPUs of the local Ray: the cores, more if more jobs are wanted, two at least for a nested trainer."""
    return max(len(os.sched_getaffinity(0)), jobs, 2)
