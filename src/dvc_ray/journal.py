"""What a run has done, kept in the project: its logs, and who drives it.

A driver that was killed cannot clean up. The next run does it: what a dead driver left is found by `driver.json`.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from dvc_ray.errors import ProjectError
from dvc_ray.paths import RunPaths, runs_dir

KEEP_RUNS: Final = 20
"""Runs whose logs are kept."""


@contextlib.contextmanager
def open_run(dvc_dir: str) -> Iterator[tuple[str, RunPaths]]:
    """Begin a run: an id, and a directory that is its own.

    Workspaces left by dead runs are removed first, this run's at the end; logs of the last runs are kept.

    Args:
        dvc_dir: The project's ``.dvc``.

    Raises:
        ProjectError: Another run is under way in this project.
    """
    runs = runs_dir(dvc_dir)
    run_id = f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(2)}"
    paths = RunPaths(runs / run_id)
    runs.mkdir(parents=True, exist_ok=True)
    with (runs.parent / "lock").open("w") as lock:  # two that begin at once would not see each other
        fcntl.flock(lock, fcntl.LOCK_EX)
        _refuse_second(runs)
        paths.work.mkdir(parents=True)
        paths.driver.write_text(json.dumps({"pid": os.getpid(), "started": _started(os.getpid())}), encoding="utf-8")
    _clean(runs, keep=paths.root)
    try:
        yield run_id, paths
    finally:
        shutil.rmtree(paths.work, ignore_errors=True)
        paths.driver.unlink(missing_ok=True)
        if not any((paths.root / "logs").glob("*")) and not any(paths.root.glob("storage/*")):
            shutil.rmtree(paths.root, ignore_errors=True)


def alive(run: Path) -> bool:
    """Whether the driver of a run still lives."""
    try:
        driver = json.loads((run / "driver.json").read_text(encoding="utf-8"))
        return bool(_started(driver["pid"]) == driver["started"])
    except (OSError, ValueError, KeyError):
        return False


def _refuse_second(runs: Path) -> None:
    for run in sorted(runs.iterdir()):
        if alive(run):
            pid = json.loads((run / "driver.json").read_text(encoding="utf-8"))["pid"]
            raise ProjectError(
                f"another dvc-ray run is under way in this project: {run.name}, process {pid}.",
                "Wait until it has ended, or stop it with Ctrl-C where it runs.",
            )


def _clean(runs: Path, keep: Path) -> None:
    """Remove workspaces of dead runs, and whole runs beyond the last `KEEP_RUNS`."""
    dead = [run for run in sorted(runs.iterdir()) if run != keep and not alive(run)]
    for run in dead:
        shutil.rmtree(run / "work", ignore_errors=True)
    for run in dead[: max(0, len(dead) - KEEP_RUNS + 1)]:
        shutil.rmtree(run, ignore_errors=True)


def _started(pid: int) -> str:
    """Start time of a process in clock ticks since boot: with the pid it names one process for ever."""
    return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[19]
