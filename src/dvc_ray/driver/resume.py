"""Taking over what a run had finished that was killed before it could say so."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from shlex import quote
from typing import Any

from dvc_ray.errors import DeniedError, DvcRayError, ProjectError, StorageError
from dvc_ray.journal import nothing_in_remote, results_in_remote
from dvc_ray.repo import Merge, Project
from dvc_ray.values.stage import StageState
from dvc_ray.values.task import StageResult, StageTask
from dvc_ray.worker import forget, written_down
from dvc_ray.workspace import Home, discard, forget_results, kept_results, set_aside


def take_over(project: Project, works: Iterable[Path], *, commit: bool) -> tuple[str, ...]:
    """Merge results that workers wrote down and no driver has taken; the project is locked and its stages selected.

    A result is taken if the stage is still defined as it was, would run now, and its deps are what it ran with.

    Args:
        project: The user's project.
        works: Directories with workspaces of dead runs.
        commit: Whether outs are to be in the cache, which is what the dead run must have wanted too.

    Returns:
        Addresses of the stages.

    Raises:
        ProjectError: A result that fits cannot be merged; it stays.
    """
    home = Home(project.place, lambda _text: None, project.is_dep, project.bring_object)
    taken = []
    for task, result in _in_order(project, (pair for work in works for pair in written_down(work))):
        if _take(project, home, task, result, commit=commit):
            taken.append(task.address)
        forget(task)
    return tuple(taken)


def take_over_from_remote(
    project: Project, works: Iterable[Path], warn: Callable[[str], None], *, alone: bool = True
) -> tuple[str, ...]:
    """Merge results that workers on other machines wrote down in the remote; as `take_over`.

    What is of no use is removed there; what is of stages that are not selected now stays for another run, and so does
    what another experiment has made with other params.

    Args:
        project: The user's project, or an experiment's copy of it.
        works: Directories of dead runs.
        warn: Told of what is no result of theirs.
        alone: Whether those, and this run, write to the user's workspace; else they are experiments.

    Raises:
        ProjectError: As `take_over`.
        StorageError: The remote cannot be reached, or refuses.
    """
    assert project.store is not None  # noqa: S101
    home = Home(project.place, warn, project.is_dep, project.bring_object)
    taken = []
    for work in works:
        with results_in_remote(work) as signing_key:
            if signing_key is None:
                continue
            found = {}
            for key, pair in kept_results(project.store, work, project.tree, signing_key):
                if pair is None:
                    warn(_unreadable(work.parent.name, set_aside(project.store, key)))
                else:
                    found[key] = pair
            keys = {id(task): key for key, (task, _) in found.items()}
            left = len(found)
            for task, result in _in_order(project, found.values()):
                fits = _take(project, home, task, result, commit=True)
                if fits:
                    taken.append(task.address)
                if fits or alone or result.state is not StageState.DONE:
                    # Where it stays, nobody looks for it once it is noted below that none is there.
                    with contextlib.suppress(DeniedError):
                        project.store.delete(keys[id(task)])
                    left -= 1
                discard(task.workspace)
            if not left:
                with contextlib.suppress(DeniedError):
                    forget_results(project.store, work.parent.name)
                nothing_in_remote(work)
    return tuple(taken)


def _unreadable(run_id: str, aside: str) -> str:
    return (
        f"what lies in the remote as a result of run {run_id} was not written by a worker of it, or is damaged. It is"
        f" not taken, its stage runs again; it was moved to '{aside}' there. See who may write to the remote."
    )


def forget_written(project: Project, work: Path) -> None:
    """Remove what workers on other machines wrote down in the remote during a run: all of it has a place by now."""
    if project.store is not None:
        with contextlib.suppress(StorageError):  # the next run removes them
            with contextlib.suppress(DeniedError):  # nor could that; nobody looks for them any more
                forget_results(project.store, work.parent.name)
            nothing_in_remote(work)


def _in_order(project: Project, found: Iterable[tuple[StageTask, StageResult]]) -> list[tuple[StageTask, StageResult]]:
    known = [pair for pair in found if project.knows(pair[0].address)]
    return sorted(known, key=lambda pair: project.place(pair[0].address))


def _take(project: Project, home: Home, task: StageTask, result: StageResult, *, commit: bool) -> bool:
    """Merge one result, if it is of use.

    Raises:
        ProjectError: It cannot be merged; it is still where it was.
    """
    entry = result.entry
    if result.state is not StageState.DONE or entry is None or task.commit is not commit:
        return False
    if not _fits(project, task, entry):
        return False
    try:
        result = home.admit(task, result)
        home.bring(task, result)
        project.merge([Merge(task=task, entry=entry, git_added=result.git_added)])
        if not project.is_in_lock(task.address):
            raise ProjectError("dvc.lock does not have it")
    except (OSError, DvcRayError) as error:
        raise ProjectError(
            f"stage '{task.address}' had finished in a run that was killed, and its result cannot be taken over:"
            f" {getattr(error, 'what', error)}",
            f"Mend that and run the same command again; or have it made anew: dvc-ray repro -sf {quote(task.address)}",
        ) from error
    return True


def _fits(project: Project, task: StageTask, entry: Mapping[str, Any]) -> bool:
    with contextlib.suppress(OSError, ProjectError):  # what cannot be told runs again
        return project.fits(task, entry)
    return False
