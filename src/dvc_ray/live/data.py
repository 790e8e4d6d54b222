"""Where a stage's data is on this node."""

from __future__ import annotations

import os
from pathlib import Path

from dvc_ray.errors import LiveError
from dvc_ray.live import remote, session


def data_path(path: str | os.PathLike[str]) -> str:
    """Find a declared dependency or output of the stage on this node.

    On a worker on another node than the stage, the data is copied to that node first, once: a dep from the remote,
    through the node's cache; anything else from the stage's node, as it is there at the first call.

    Args:
        path: As in dvc.yaml: relative to the stage's directory.

    Returns:
        An absolute path, because nested workers have another working directory, in which the relative path leads
        nowhere.

    Raises:
        LiveError: There is no such file or directory, or it cannot be copied to this node.
    """
    wanted = Path(os.path.normpath(session.stage_dir() / path))
    if not wanted.exists():
        if remote.is_away():
            return remote.data_path(path)
        hint = f"Declare it under deps of the stage in dvc.yaml: `deps: [{os.fspath(path)}]`."
        if session.known_stage_dir() is None:
            hint = "Start Ray with dvc_ray.init() in the stage's program: it tells workers where the stage is."
        raise LiveError(
            f"no data at {wanted} on this node (asked for: {os.fspath(path)!r})\n"
            f"Paths are relative to the stage's directory, not to {Path.cwd()}: workers run elsewhere",
            hint,
        )
    return str(wanted)
