"""Where this process is: the project's root, the stage's directory, the run's storage.

The same program runs under dvc-ray, under stock DVC and by hand, as a stage's own driver and on nested
workers whose working directory is Ray's. Everything is therefore read from the environment first, and worked
out only in the process that started it all; `dvc_ray.init` hands the answers on.
"""

from __future__ import annotations

import functools
import os
import tempfile
import time
import uuid
from pathlib import Path, PurePosixPath

from dvc_ray import env, paths
from dvc_ray.errors import LiveError
from dvc_ray.ray_api import workers


def stage_dir() -> Path:
    """Return the directory that paths in the stage's dvc.yaml entry are relative to; on a worker, its driver's."""
    return Path(os.environ.get(env.STAGE_DIR) or Path.cwd())


def known_stage_dir() -> str | None:
    """Return the stage's directory, or None on a nested worker that was never told of it."""
    if not os.environ.get(env.STAGE_DIR) and in_ray_worker():
        return None
    return str(stage_dir())


def in_ray_worker() -> bool:
    """Whether Ray started this process; never imports Ray."""
    return workers.in_worker()


def project_root() -> Path | None:
    """Return the root of the DVC project whose code this is, or None outside of one.

    ``DVC_ROOT`` alone cannot be trusted: in ``dvc exp run --temp`` it names the main repository, while the
    command runs in a copy of it.
    """
    if os.environ.get(env.CODE_LIST) and os.environ.get(env.DVC_ROOT):
        return Path(os.environ[env.DVC_ROOT])
    return paths.project_root(stage_dir().resolve())


def storage_path(name: str = "") -> str:
    """Return the run's own prefix for checkpoints and results, for ``ray.train.RunConfig(storage_path=…)``.

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
        raise LiveError(f"storage_path: {name!r} leads out of the run's storage", "Give a relative name.")
    base = os.environ.get(env.STORAGE) or _own_storage()
    return "/".join((base.rstrip("/"), *parts))


@functools.cache
def _own_storage() -> str:
    root = project_root()
    if root is None:
        return tempfile.mkdtemp(prefix="dvc-ray-storage-")
    unique = f"{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}-{uuid.uuid4().hex[:6]}"
    return str(root / ".dvc" / "tmp" / "ray" / "storage" / unique)
