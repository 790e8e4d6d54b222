"""A local Ray as processes: its options, its time-outs, what is alive."""

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
"""Ray's settings for how long its parts wait for each other, for a machine that is busy.

Read in 2.60.0; 2.54.0 has all but ``gcs_server_port_wait_time_s``, and ignores what it does not know.
"""


def start_options(directory: str, workers_at_once: int) -> dict[str, Any]:
    """Make the private arguments of ``ray.init`` for a local Ray.

    ``_temp_dir`` and ``_system_config``, the same in 2.54.0 and 2.60.0. Without the first, Ray's files lie where other
    users may write, and what a killed driver leaves cannot be told by its directory. Without the second, commands are
    run with a niceness of 15, and the first stages start one after the other.

    Args:
        directory: For all files of this Ray; the paths of its sockets, which are in it, may have 107 bytes.
        workers_at_once: Workers that may start at the same time. Ray's own number is that of the cores, and each
            worker mostly waits.
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
    """Keep Ray from shutting down at exit what is dead already: it would wait for it.

    That Ray registers the public ``ray.shutdown`` with `atexit` is its own affair (2.54.0 and 2.60.0). Without it, a
    run whose Ray has died hangs when it ends.
    """
    import ray

    atexit.unregister(ray.shutdown)


@contextlib.contextmanager
def patience(leave: threading.Event) -> Iterator[None]:
    """Give Ray more time to start on a machine that is busy, as long as what it starts is alive.

    Its own bounds are settings, read from the environment by it and all that it starts, but for the half minute that
    its raylet has to report: ``ray._private.node.Node.__init__`` asks ``ray._private.services.get_node`` (2.54.0 and
    2.60.0), which is replaced for as long as the block runs. Without it, Ray does not start on a machine where several
    start at a time.

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
