"""Facts about a process that Ray has started, and the limit of what Ray uploads for it."""

from __future__ import annotations

import os
import sys
from typing import Final

DEFAULT_PACKAGE_LIMIT: Final = 512 * 1024 * 1024
"""Bytes; Ray's own default (2.54.0, 2.60.0)."""


def in_worker() -> bool:
    """Whether Ray started this process; never imports Ray.

    ``worker.mode`` of the public runtime context, the same in 2.54.0 and 2.60.0. Without it, a worker
    that was never told of its stage would take its own directory for the stage's.
    """
    ray = sys.modules.get("ray")
    if ray is None or not ray.is_initialized():
        return False
    return bool(ray.get_runtime_context().worker.mode == ray.WORKER_MODE)


def raylet_pid() -> int | None:
    """Return the process id of this node's raylet, in a process that the raylet has started; None if it is unknown.

    ``RAY_RAYLET_PID`` in its environment, the same in 2.54.0 and 2.60.0. Without it, a stage's command has the niceness
    and the OOM score of Ray's workers.
    """
    text = os.environ.get("RAY_RAYLET_PID", "")
    return int(text) if text.isdigit() else None


def temp_dir() -> str:
    """Return Ray's temporary directory on this node, the only folder of the node that a container sees as well.

    ``ray._private.worker.global_worker``, the same in 2.54.0 and 2.60.0; ``get_temp_dir`` of the public
    runtime context does not exist in 2.54.0. Without it, a stage that runs in an image cannot use its node's cache.
    """
    from ray._private import worker

    return str(worker.global_worker.node.get_temp_dir_path())


def package_limit() -> int:
    """Return the size of the largest ``working_dir`` that Ray uploads, in bytes.

    ``GCS_STORAGE_MAX_SIZE`` of ``ray._private.runtime_env.packaging``, the same in 2.54.0 and 2.60.0; a variable of Ray
    sets it. Without it, Ray's default is used.
    """
    try:
        from ray._private.runtime_env.packaging import GCS_STORAGE_MAX_SIZE
    except ImportError:
        return DEFAULT_PACKAGE_LIMIT
    return int(GCS_STORAGE_MAX_SIZE)
