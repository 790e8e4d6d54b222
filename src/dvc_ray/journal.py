"""What a run has done, kept in the project: its logs, and who drives it.

A driver that was killed cannot clean up. The next run does it: `driver.json` is owned by a driver that lives.
"""

from __future__ import annotations

import contextlib
import fcntl
import secrets
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from dvc_ray.errors import ProjectError
from dvc_ray.paths import RESULT, RunPaths, runs_dir
from dvc_ray.processes import is_owned, owned, read

_REMOTE: Final = f"remote{RESULT}"
"""File among a run's workspaces: there may be results in the remote that nobody has taken."""
KEEP_RUNS: Final = 20
"""Runs whose logs are kept."""


@contextlib.contextmanager
def open_run(dvc_dir: str, *, alone: bool = True, owner: str = "") -> Iterator[tuple[str, RunPaths]]:
    """Begin a run: an id, and a directory that is its own.

    Workspaces left by dead runs are removed first, this run's at the end; logs of the last runs are kept.

    Args:
        dvc_dir: The project's ``.dvc``.
        alone: Whether the run writes to the user's workspace, which only one at a time may do; an experiment does not.
        owner: Whose run it is; part of its id, by which others on the same cluster and remote know it.

    Raises:
        ProjectError: Another run is under way in this project.
    """
    runs = runs_dir(dvc_dir)
    run_id = "-".join([time.strftime("%Y%m%d-%H%M%S"), *([owner] if owner else []), secrets.token_hex(2)])
    paths = RunPaths(runs / run_id)
    runs.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        with (runs.parent / "lock").open("w") as lock:  # two that begin at once would not see each other
            fcntl.flock(lock, fcntl.LOCK_EX)
            if alone:
                refuse_second(dvc_dir)
            paths.work.mkdir(parents=True)
            stack.enter_context(owned(paths.driver, {"alone": alone}))
        _clean(runs, keep=paths.root)
        try:
            yield run_id, paths
        finally:
            _drop_unfinished(paths.work)
            if not any(next(paths.root.glob(kept), None) for kept in ("work/*", "logs/*", "storage/*", "kept/*")):
                shutil.rmtree(paths.root, ignore_errors=True)


def left_in_remote(work: Path) -> None:
    """Note that workers of a run may leave results in the remote; the next runs look for them there."""
    work.mkdir(parents=True, exist_ok=True)
    (work / _REMOTE).touch()


def is_left_in_remote(work: Path) -> bool:
    """Whether they may have."""
    return (work / _REMOTE).exists()


def nothing_in_remote(work: Path) -> None:
    """Note that there is none any more."""
    (work / _REMOTE).unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        work.rmdir()


def refuse_second(dvc_dir: str) -> None:
    """Refuse to go on while a run works in the user's workspace.

    Raises:
        ProjectError: One does.
    """
    if other := busy(dvc_dir):
        raise ProjectError(
            f"another dvc-ray run is under way in this project: {other.name}, process"
            f" {read(other / 'driver.json').get('pid')}.",
            "Wait until it has ended, or stop it with Ctrl-C where it runs.",
        )


def busy(dvc_dir: str) -> Path | None:
    """Directory of the run that works in the user's workspace, if there is one."""
    runs = runs_dir(dvc_dir)
    found = (run for run in sorted(runs.iterdir()) if alive(run)) if runs.is_dir() else iter(())
    return next((run for run in found if _alone(run)), None)


def dead_work(dvc_dir: str) -> tuple[Path, ...]:
    """Directories with workspaces of runs whose driver was killed."""
    runs = runs_dir(dvc_dir)
    dead = (run for run in sorted(runs.iterdir()) if not alive(run)) if runs.is_dir() else ()
    return tuple(run / "work" for run in dead if (run / "work").is_dir())


def alive(run: Path) -> bool:
    """Whether the driver of a run still lives."""
    return is_owned(run / "driver.json")


def _alone(run: Path) -> bool:
    return bool(read(run / "driver.json").get("alone", True))


def _clean(runs: Path, keep: Path) -> None:
    """Remove what dead runs left, and whole runs beyond the last `KEEP_RUNS`.

    A workspace with a result that nobody has taken is kept: the next run of its stage does (`driver.resume`).
    """
    dead = [run for run in sorted(runs.iterdir()) if run != keep and not alive(run)]
    for run in dead:
        work = run / "work"
        if not _alone(run):
            shutil.rmtree(work, ignore_errors=True)
        elif work.is_dir():
            _drop_unfinished(work)
    for run in dead[: max(0, len(dead) - KEEP_RUNS + 1)]:
        shutil.rmtree(run, ignore_errors=True)


def _drop_unfinished(work: Path) -> None:
    if not work.is_dir():
        return
    for path in list(work.iterdir()):
        if path.suffix != RESULT and not path.with_name(path.name + RESULT).exists():
            shutil.rmtree(path, ignore_errors=True)
            path.unlink(missing_ok=True)
    if not any(work.iterdir()):
        work.rmdir()
