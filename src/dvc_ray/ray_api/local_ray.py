"""The processes of a local Ray: its start options, its time-outs, what is alive."""

from __future__ import annotations

import atexit
import contextlib
import os
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

_RAYLET_PATIENCE: Final = 150.0
"""Seconds that a living raylet may take to report."""
_RAYLET_EVERY: Final = 0.1
"""Seconds between checks whether it has reported."""
_BOUNDS: Final = {
    "RAY_agent_register_timeout_ms": "300000",
    "RAY_gcs_server_port_wait_time_s": "150",
    "RAY_gcs_server_request_timeout_seconds": "150",
    "RAY_health_check_failure_threshold": "20",
    "RAY_raylet_start_wait_time_s": "150",
    "RAY_worker_register_timeout_seconds": "300",
}
"""Ray's settings for how long its processes wait for each other, long enough for a busy machine.

Read in 2.60.0; 2.54.0 has all but ``gcs_server_port_wait_time_s``, and ignores what it does not know.
"""


def start_options(directory: str, workers_at_once: int) -> dict[str, Any]:
    """Make the private arguments of ``ray.init`` for a local Ray.

    ``_temp_dir`` and ``_system_config``, the same in 2.54.0 and 2.60.0. Without the first, Ray's files lie where other
    users may write, and what a killed driver leaves cannot be recognized by its directory. Without the second, commands
    run with a niceness of 15, and the first stages start one after the other.

    Args:
        directory: Directory for all files of this Ray; the paths of its sockets in it may have at most 107 bytes.
        workers_at_once: Workers that may start at the same time. Ray's default is the number of cores, but a worker
            that starts mostly waits.
    """
    config = {"worker_niceness": 0, "worker_maximum_startup_concurrency": workers_at_once}
    return {"_temp_dir": directory, "_system_config": config}


def vital_processes() -> dict[str, subprocess.Popen[bytes]]:
    """Find the processes without which the local Ray of this process is dead, by name.

    ``ray._private.node.Node.all_processes`` of ``ray._private.worker._global_node``, the same in 2.54.0 and 2.60.0.
    Without it, the death of a local Ray is noticed when Ray aborts this process, after a minute.
    """
    from ray._private import worker

    found = worker._global_node.all_processes  # noqa: SLF001
    return {name: found[name][0].process for name in ("gcs_server", "raylet") if found.get(name)}


def forget() -> None:
    """Keep Ray from shutting down a dead local Ray at exit, for which it would wait.

    Ray registers the public ``ray.shutdown`` with `atexit`, which it does not document (2.54.0 and 2.60.0). Without
    this function, a run whose Ray has died hangs when it ends.
    """
    import ray

    atexit.unregister(ray.shutdown)


@contextlib.contextmanager
def patience(leave: threading.Event) -> Iterator[None]:
    """Give Ray more time to start on a busy machine, as long as the processes that it starts are alive.

    Ray's time-outs are settings, which Ray and its processes read from the environment, except for the half minute
    that its raylet has to report: ``ray._private.node.Node.__init__`` calls ``ray._private.services.get_node`` (2.54.0
    and 2.60.0), which is replaced for as long as the block runs. Without it, Ray does not start on a machine where
    several start at the same time.

    Args:
        leave: Set when Ray need not start any more.
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
                if not _is_alive("raylet"):  # after a RuntimeError, Ray would ask again
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
    """Whether this process has a child of this name that has not ended."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                found, _, rest = (entry / "stat").read_text().partition("(")[2].rpartition(")")
                state, parent = rest.split()[:2]
                if found == name and state != "Z" and int(parent) == os.getpid():
                    return True
    return False
