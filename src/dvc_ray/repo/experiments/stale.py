"""Removes experiments whose process has died; a module of its own, because every run looks for such experiments."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

from dvc_ray import processes

OWNER: Final = "dvc-ray.json"
"""A file beside DVC's own about a running experiment: which process runs it, and what to remove if that has died."""


def reap(dvc_dir: str) -> None:
    """Remove experiments whose process has died: DVC would list them as running forever.

    Args:
        dvc_dir: The project's ``.dvc``.
    """
    running = Path(dvc_dir, "tmp", "exps", "standalone", "run")  # TempDirQueue.pid_dir
    for owner in running.glob(f"*/{OWNER}"):
        found = processes.read(owner)
        if found and not processes.is_owned(owner):
            for path in (str(found["root"]), str(found.get("site") or ""), str(owner.parent)):
                if path:
                    shutil.rmtree(path, ignore_errors=True)
