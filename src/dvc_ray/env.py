"""Names of the environment variables that are passed to workers.

DVC's own names are those of ``dvc.env`` (3.67.1). They are written out here because a training worker must not
import DVC only to read a variable.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

DVC_ROOT: Final = "DVC_ROOT"
"""Root of the DVC project a command runs in; in a stage workspace, that workspace."""
DVC_STAGE: Final = "DVC_STAGE"
"""Address of the running stage."""
RAY_ADDRESS: Final = "RAY_ADDRESS"
"""Address of the cluster. Set for every command, so that a stage's own driver joins the same cluster."""

RUN_ID: Final = "DVC_RAY_RUN_ID"
"""Id of the run a stage belongs to."""
STAGE_DIR: Final = "DVC_RAY_STAGE_DIR"
"""Working directory of the stage's command; `dvc_ray.data_path` resolves against it on nested workers."""
ATTEMPT: Final = "DVC_RAY_ATTEMPT"
"""Key in the cluster of what nested workers on other nodes need from a stage (`live.remote`); unset on one machine."""
STORAGE: Final = "DVC_RAY_STORAGE"
"""The run's prefix for checkpoints and trial results, to which `dvc_ray.storage_path` joins names."""
CODE_LIST: Final = "DVC_RAY_CODE_LIST"
"""File that lists the project's code, one path per line relative to DVC_ROOT, for `dvc_ray.init` to ship to workers."""

CREDENTIALS_FILE: Final = "AWS_SHARED_CREDENTIALS_FILE"
"""Names the file in which S3 clients look for keys."""
OWN_CREDENTIALS: Final = ("AWS_ACCESS_KEY_ID", "AWS_PROFILE", CREDENTIALS_FILE)
"""If one of these is set, the machine has keys of its own."""

CROSSING_PREFIXES: Final = ("DVC_", "DVCLIVE_")
"""Variables with these prefixes are handed from a stage's own driver to its nested workers."""
TO_OTHER_MACHINES: Final = ("DVC_EXP_", "DVC_STUDIO_", "DVCLIVE_")
"""Variables with these prefixes are handed from the head to stages on machines that share no disk with it. Variables
that name paths on the head, such as DVC_SITE_CACHE_DIR, are not among them."""

_GIT: Final = frozenset(
    {
        "GIT_ALTERNATE_OBJECT_DIRECTORIES",
        "GIT_COMMON_DIR",
        "GIT_DIR",
        "GIT_GRAFT_FILE",
        "GIT_IMPLICIT_WORK_TREE",
        "GIT_INDEX_FILE",
        "GIT_NAMESPACE",
        "GIT_OBJECT_DIRECTORY",
        "GIT_PREFIX",
        "GIT_SHALLOW_FILE",
        "GIT_WORK_TREE",
    }
)
"""Variables that point Git to a repository (``git rev-parse --local-env-vars``, without those that are settings)."""


def without_git(environ: Mapping[str, str]) -> dict[str, str]:
    """Return an environment in which Git finds the repository from its working directory."""
    return {name: value for name, value in environ.items() if name not in _GIT}
