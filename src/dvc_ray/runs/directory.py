"""The directories of runs in a project: what runs have done, their logs, and who drives them.

A driver that was killed cannot clean up, so the next run does: a driver that lives keeps its `driver.json` locked.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from dvc_ray.errors import ProjectError
from dvc_ray.paths import KEEP_RUNS, RESULT, RunPaths, remove_workspace, runs_dir
from dvc_ray.processes import is_owned, owned, read

_REMOTE: Final = f"remote{RESULT}"
"""File among a run's workspaces: if it exists, the remote may have results that no driver has taken."""
_EXPERIMENT: Final = "experiment"
"""First line of that file if the run was an experiment."""


@contextlib.contextmanager
def open_run(dvc_dir: str, *, in_workspace: bool = True, owner: str = "") -> Iterator[tuple[str, RunPaths]]:
    """Begin a run: give it an id and a directory of its own.

    Workspaces left by dead runs are removed first, this run's at the end; logs of the last runs are kept.

    Args:
        dvc_dir: The project's ``.dvc``.
        in_workspace: Whether the run writes to the user's workspace, as only one at a time may; an experiment does not.
        owner: Whose run it is; part of the id that others see on the same cluster and remote.

    Raises:
        ProjectError: Another run is under way in this project.
    """
    runs = runs_dir(dvc_dir)
    run_id = "-".join([time.strftime("%Y%m%d-%H%M%S"), *([owner] if owner else []), secrets.token_hex(2)])
    paths = RunPaths(runs / run_id)
    runs.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        with (runs.parent / "lock").open("w") as lock:  # two runs that begin at once would not see each other
            fcntl.flock(lock, fcntl.LOCK_EX)
            if in_workspace:
                refuse_second(dvc_dir)
            paths.work.mkdir(parents=True)
            stack.enter_context(owned(paths.driver, {"in_workspace": in_workspace}))
        _clean(runs, keep=paths.root)
        try:
            yield run_id, paths
        finally:
            _drop_unfinished(paths.work, local=in_workspace)
            if not any(next(paths.root.glob(kept), None) for kept in ("work/*", "logs/*", "storage/*", "kept/*")):
                _remove(paths.root)


def left_in_remote(work: Path, *, in_workspace: bool = True) -> str:
    """Note that workers of a run may leave results in the remote; the next runs of its kind look for them there.

    Returns:
        A key to sign the results with; others who may write to the remote do not have it.
    """
    work.mkdir(parents=True, exist_ok=True)
    key = secrets.token_hex(32)
    with open(work / _REMOTE, "w", encoding="ascii", opener=_privately) as note:
        note.write(f"{'' if in_workspace else _EXPERIMENT}\n{key}\n")
    return key


def _privately(path: str, flags: int) -> int:
    return os.open(path, flags, mode=0o600)


@contextlib.contextmanager
def results_in_remote(work: Path) -> Iterator[str | None]:
    """Say whether the remote may have results of a dead run to take; no other process takes them meanwhile.

    Yields:
        The key that the results are signed with; None if there is nothing to take.
    """
    with contextlib.ExitStack() as stack:
        try:
            noted = stack.enter_context((work / _REMOTE).open(errors="replace"))
            fcntl.flock(noted, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:  # there is no such note, or an experiment that begins has locked it
            yield None
        else:
            yield "".join(noted.read().split("\n")[1:2])


def nothing_in_remote(work: Path) -> None:
    """Note that the remote has no results of a run any more."""
    (work / _REMOTE).unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        work.rmdir()


def refuse_second(dvc_dir: str) -> None:
    """Refuse to go on while a run works in the user's workspace.

    Raises:
        ProjectError: A run does.
    """
    if other := busy(dvc_dir):
        raise ProjectError(
            f"another dvc-ray run is under way in this project: {other.name}, process"
            f" {read(other / 'driver.json').get('pid')}",
            "Wait until it has ended, or stop it with Ctrl-C where it runs.",
        )


def busy(dvc_dir: str) -> Path | None:
    """Directory of the run that works in the user's workspace, if there is one."""
    runs = runs_dir(dvc_dir)
    found = (run for run in sorted(runs.iterdir()) if alive(run)) if runs.is_dir() else iter(())
    return next((run for run in found if _is_in_workspace(run)), None)


def dead_work(dvc_dir: str, *, in_workspace: bool = True) -> tuple[Path, ...]:
    """Return the workspace folders that dead runs have left.

    Args:
        dvc_dir: The project's ``.dvc``.
        in_workspace: True for runs that wrote to the user's workspace, False for experiments.
    """
    runs = runs_dir(dvc_dir)
    dead = (run for run in sorted(runs.iterdir()) if not alive(run)) if runs.is_dir() else ()
    return tuple(run / "work" for run in dead if (run / "work").is_dir() and _is_in_workspace(run) is in_workspace)


def living(dvc_dir: str) -> frozenset[str]:
    """Ids of the runs of a project that are alive."""
    runs = runs_dir(dvc_dir)
    return frozenset(run.name for run in runs.iterdir() if alive(run)) if runs.is_dir() else frozenset()


def alive(run: Path) -> bool:
    """Whether the driver of a run still lives."""
    return is_owned(run / "driver.json")


def _is_in_workspace(run: Path) -> bool:
    if (run / "driver.json").exists():
        known = read(run / "driver.json")
        return bool(known.get("in_workspace", known.get("alone", True)))  # "alone" in files of older versions
    with contextlib.suppress(FileNotFoundError):  # another experiment may remove the file now
        return (run / "work" / _REMOTE).read_text(errors="replace").split("\n")[0] != _EXPERIMENT
    return True


def _clean(runs: Path, keep: Path) -> None:
    """Remove what dead runs left, and whole runs beyond the last `KEEP_RUNS`.

    A workspace with a result that no driver has taken is kept: the next run of its stage takes it (`driver.takeover`).
    Of an experiment, only results in the remote are kept, as the directory that it ran in is gone.
    """
    dead = [run for run in sorted(runs.iterdir()) if run != keep and not alive(run)]
    for run in dead:
        _drop_unfinished(run / "work", local=_is_in_workspace(run))
    for run in dead[: max(0, len(dead) - KEEP_RUNS + 1)]:
        _remove(run)


def _drop_unfinished(work: Path, *, local: bool) -> None:
    if not work.is_dir():
        return
    for path in list(work.iterdir()):
        finished = path.suffix == RESULT or path.with_name(path.name + RESULT).exists()
        if path.name != _REMOTE and not (local and finished):
            _remove(path)
    if not any(work.iterdir()):
        work.rmdir()


def _remove(folder: Path) -> None:
    with contextlib.suppress(OSError):
        remove_workspace(str(folder))
