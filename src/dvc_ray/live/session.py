"""Where this process is: the project's root, the stage's directory, the run's storage.

The same program runs under dvc-ray, under stock DVC and by hand, as a stage's own driver and on nested
workers whose working directory is Ray's. Everything is therefore read from the environment first, and worked
out only in the process that started it all; `dvc_ray.init` hands the answers on.
"""

from __future__ import annotations

import functools
import os
import sys
import tempfile
import time
import uuid
from pathlib import Path, PurePosixPath

from dvc_ray import env, paths
from dvc_ray.errors import LiveError


def stage_dir() -> Path:
    """Directory that paths in the stage's dvc.yaml entry are relative to; on a worker, its driver's."""
    return Path(os.environ.get(env.STAGE_DIR) or Path.cwd())


def known_stage_dir() -> str | None:
    """The stage's directory, or None on a nested worker that was never told of it."""
    if not os.environ.get(env.STAGE_DIR) and in_ray_worker():
        return None
    return str(stage_dir())


def in_ray_worker() -> bool:
    """Whether Ray started this process; never imports Ray."""
    ray = sys.modules.get("ray")
    if ray is None or not ray.is_initialized():
        return False
    return bool(ray.get_runtime_context().worker.mode == ray.WORKER_MODE)


def project_root() -> Path | None:
    """Root of the DVC project whose code this is, or None outside of one.

    ``DVC_ROOT`` alone cannot be trusted: in ``dvc exp run --temp`` it names the main repository, while the
    command runs in a copy of it.
    """
    if os.environ.get(env.CODE_LIST) and os.environ.get(env.DVC_ROOT):
        return Path(os.environ[env.DVC_ROOT])
    return paths.project_root(stage_dir().resolve())


def data_path(path: str | os.PathLike[str]) -> str:
    """Find a declared dependency or output of the stage on this node.

    On a worker that runs on another node than the stage, it is brought there first, once: a dep from the remote,
    through the node's cache; anything else from the stage's node, as it is when it is asked for first.

    Args:
        path: As in dvc.yaml: relative to the stage's directory.

    Returns:
        An absolute path; nested workers have another working directory, there the relative path leads
        nowhere.

    Raises:
        LiveError: There is no such file or directory, or it cannot be brought.
    """
    wanted = Path(os.path.normpath(stage_dir() / path))
    if not wanted.exists():
        if os.environ.get(env.ATTEMPT):
            from dvc_ray.live import away

            if away.is_away():
                return away.data_path(path)
        hint = f"Declare it under deps of the stage in dvc.yaml: `deps: [{os.fspath(path)}]`."
        if known_stage_dir() is None:
            hint = "Start Ray with dvc_ray.init() in the stage's program: it tells workers where the stage is."
        raise LiveError(
            f"No data at {wanted} on this node (asked for: {os.fspath(path)!r}).\n"
            f"Paths are relative to the stage's directory, not to {Path.cwd()}: workers run elsewhere.",
            hint,
        )
    return str(wanted)


def storage_path(name: str = "") -> str:
    """Give the run's own prefix for checkpoints and results: for ``ray.train.RunConfig(storage_path=…)``.

    Under dvc-ray it belongs to the run. Otherwise it is a fresh directory of this process below ``.dvc/tmp``,
    which Git and DVC ignore; it is the same for each call and on nested workers, and is not removed.

    Args:
        name: Joined to the prefix, to keep several uses in one stage apart.

    Returns:
        A local absolute path or a URL.

    Raises:
        LiveError: The name leads out of the prefix.
    """
    parts = PurePosixPath(name).parts
    if name.startswith("/") or ".." in parts:
        raise LiveError(f"storage_path: {name!r} leads out of the run's storage.", "Give a relative name.")
    base = os.environ.get(env.STORAGE) or _own_storage()
    return "/".join((base.rstrip("/"), *parts))


@functools.cache
def _own_storage() -> str:
    root = project_root()
    if root is None:
        return tempfile.mkdtemp(prefix="dvc-ray-storage-")
    unique = f"{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}-{uuid.uuid4().hex[:6]}"
    return str(root / ".dvc" / "tmp" / "ray" / "storage" / unique)
