"""What a run has done, kept in the project: its logs, and who drives it.

A driver that was killed cannot clean up. The next run does it: `driver.json` is owned by a driver that lives.
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
"""File among a run's workspaces: there may be results in the remote that nobody has taken."""
_EXPERIMENT: Final = "experiment"
"""What that file says if the run was one."""


@contextlib.contextmanager
def open_run(dvc_dir: str, *, in_workspace: bool = True, owner: str = "") -> Iterator[tuple[str, RunPaths]]:
    """Begin a run: an id, and a directory that is its own.

    Workspaces left by dead runs are removed first, this run's at the end; logs of the last runs are kept.

    Args:
        dvc_dir: The project's ``.dvc``.
        in_workspace: Whether the run writes to the user's workspace, as only one at a time may; an experiment does not.
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
        A key to sign them with, which nobody else has who may write to the remote.
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
    """Say whether there may be results of a dead run in the remote for us to take; no other process does meanwhile.

    Yields:
        The key that they are signed with, or None.
    """
    with contextlib.ExitStack() as stack:
        try:
            noted = stack.enter_context((work / _REMOTE).open(errors="replace"))
            fcntl.flock(noted, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:  # there are none, or another experiment that begins looks at them
            yield None
        else:
            yield "".join(noted.read().split("\n")[1:2])


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
            f" {read(other / 'driver.json').get('pid')}",
            "Wait until it has ended, or stop it with Ctrl-C where it runs.",
        )


def busy(dvc_dir: str) -> Path | None:
    """Directory of the run that works in the user's workspace, if there is one."""
    runs = runs_dir(dvc_dir)
    found = (run for run in sorted(runs.iterdir()) if alive(run)) if runs.is_dir() else iter(())
    return next((run for run in found if _is_in_workspace(run)), None)


def dead_work(dvc_dir: str, *, in_workspace: bool = True) -> tuple[Path, ...]:
    """Directories with what is left of runs that are over.

    Args:
        dvc_dir: The project's ``.dvc``.
        in_workspace: Of those that wrote to the user's workspace; else of experiments.
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
        return bool(known.get("in_workspace", known.get("alone", True)))  # as runs had it before
    with contextlib.suppress(FileNotFoundError):  # another experiment may take the last of it now
        return (run / "work" / _REMOTE).read_text(errors="replace").split("\n")[0] != _EXPERIMENT
    return True


def _clean(runs: Path, keep: Path) -> None:
    """Remove what dead runs left, and whole runs beyond the last `KEEP_RUNS`.

    A workspace with a result that nobody has taken is kept: the next run of its stage does (`driver.takeover`). Of an
    experiment, those in the remote are: it ran in a directory that is gone.
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
