"""What a run has done, kept in the project: its logs, and who drives it.

A driver that was killed cannot clean up. The next run does it: what a dead driver left is found by `driver.json`.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import secrets
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from dvc_ray.errors import ProjectError
from dvc_ray.paths import RunPaths, runs_dir
from dvc_ray.processes import is_alive, read, this_process

KEEP_RUNS: Final = 20
"""Runs whose logs are kept."""


@contextlib.contextmanager
def open_run(dvc_dir: str, *, alone: bool = True) -> Iterator[tuple[str, RunPaths]]:
    """Begin a run: an id, and a directory that is its own.

    Workspaces left by dead runs are removed first, this run's at the end; logs of the last runs are kept.

    Args:
        dvc_dir: The project's ``.dvc``.
        alone: Whether the run writes to the user's workspace, which only one at a time may do; an experiment does not.

    Raises:
        ProjectError: Another run is under way in this project.
    """
    runs = runs_dir(dvc_dir)
    run_id = f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(2)}"
    paths = RunPaths(runs / run_id)
    runs.mkdir(parents=True, exist_ok=True)
    with (runs.parent / "lock").open("w") as lock:  # two that begin at once would not see each other
        fcntl.flock(lock, fcntl.LOCK_EX)
        if alone:
            _refuse_second(runs)
        paths.work.mkdir(parents=True)
        paths.driver.write_text(json.dumps({**this_process(), "alone": alone}), encoding="utf-8")
    _clean(runs, keep=paths.root)
    try:
        yield run_id, paths
    finally:
        shutil.rmtree(paths.work, ignore_errors=True)
        paths.driver.unlink(missing_ok=True)
        if not any((paths.root / "logs").glob("*")) and not any(paths.root.glob("storage/*")):
            shutil.rmtree(paths.root, ignore_errors=True)


def dead_work(dvc_dir: str) -> tuple[Path, ...]:
    """Directories with workspaces of runs whose driver was killed."""
    runs = runs_dir(dvc_dir)
    dead = (run for run in sorted(runs.iterdir()) if not alive(run)) if runs.is_dir() else ()
    return tuple(run / "work" for run in dead if (run / "work").is_dir())


def alive(run: Path) -> bool:
    """Whether the driver of a run still lives."""
    return is_alive(read(run / "driver.json"))


def _refuse_second(runs: Path) -> None:
    for run in sorted(runs.iterdir()):
        driver = read(run / "driver.json")
        if is_alive(driver) and driver.get("alone", True):
            raise ProjectError(
                f"another dvc-ray run is under way in this project: {run.name}, process {driver['pid']}.",
                "Wait until it has ended, or stop it with Ctrl-C where it runs.",
            )


def _clean(runs: Path, keep: Path) -> None:
    """Remove workspaces of dead runs, and whole runs beyond the last `KEEP_RUNS`."""
    dead = [run for run in sorted(runs.iterdir()) if run != keep and not alive(run)]
    for run in dead:
        shutil.rmtree(run / "work", ignore_errors=True)
    for run in dead[: max(0, len(dead) - KEEP_RUNS + 1)]:
        shutil.rmtree(run, ignore_errors=True)
