"""Results on the disk that the head and its workers share: a file beside each workspace."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

from dvc_ray.files import atomic_write
from dvc_ray.paths import RESULT, RunPaths
from dvc_ray.runs.results import codec
from dvc_ray.runs.results.base import Kept
from dvc_ray.values.task import StageResult, StageTask

_LARGEST: Final = 1 << 30
"""Most bytes of a result: a larger file was not written by us."""


class LocalResults:
    """A `ResultStore` in a run's folder of workspaces.

    Args:
        work: The folder.
    """

    signing_key = ""

    def __init__(self, work: Path) -> None:
        self._work = work

    def write(self, task: StageTask, result: StageResult) -> None:
        """Store a result where the driver finds it if the worker is stopped or dies before it has answered.

        If there is no room on the disk, only the answer is left.
        """
        with contextlib.suppress(OSError):
            atomic_write(_path(task), codec.encode(task, result))

    def read(self, task: StageTask) -> StageResult | None:
        """Read the result of an attempt that was lost."""
        found = _read(_path(task))
        return replace(found[1], workspace=task.workspace) if found else None

    def kept(self) -> Iterator[Kept]:
        """Read all results that no driver has taken; incomplete files and those of unknown versions are ignored."""
        paths = RunPaths(self._work.parent)
        for path in sorted(self._work.glob(f"*{RESULT}")):
            if found := _read(path):
                task, result = found
                workspace = str(path.with_suffix(""))
                kept = str(paths.kept(task.address, task.attempt))
                task = replace(task, home=task.tree, workspace=workspace, kept=kept)
                yield Kept(key=str(path), task=task, result=replace(result, workspace=workspace))

    def taken(self, task: StageTask) -> None:
        """Remove the result of an attempt, which the driver has taken."""
        _path(task).unlink(missing_ok=True)

    def forget(self, key: str) -> None:
        """Remove a result."""
        Path(key).unlink(missing_ok=True)

    def clear(self) -> None:
        """Do nothing: results that no driver has taken are left to the next run of their stage."""


def _path(task: StageTask) -> Path:
    return Path(f"{task.workspace}{RESULT}")


def _read(path: Path) -> tuple[StageTask, StageResult] | None:
    with contextlib.suppress(OSError):
        if path.is_file() and path.stat().st_size <= _LARGEST:
            return codec.decode(path.read_bytes())
    return None
