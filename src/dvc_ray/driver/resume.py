"""Taking over what a run had finished that was killed before it could say so."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from pathlib import Path

from dvc_ray.errors import ProjectError
from dvc_ray.repo import Merge, Project
from dvc_ray.values import StageState
from dvc_ray.worker import forget, written_down
from dvc_ray.workspace import Home, forget_results, kept_results, unpack


def take_over(project: Project, works: Iterable[Path], *, commit: bool) -> tuple[str, ...]:
    """Merge results that workers wrote down and no driver has taken; the project is locked and its stages selected.

    A result is taken if the stage is still defined as it was, would run now, and its deps are what it ran with.

    Args:
        project: The user's project.
        works: Directories with workspaces of dead runs.
        commit: Whether outs are to be in the cache, which is what the dead run must have wanted too.

    Returns:
        Addresses of the stages.
    """
    home = Home(project.place, lambda _text: None)
    works = list(works)
    found = [pair for work in works for pair in written_down(work) if project.knows(pair[0].address)]
    if project.store is not None:
        runs = [work.parent.name for work in works]
        kept = [pair for run_id in runs for pair in kept_results(project.store, run_id)]
        found += [pair for pair in kept if project.knows(pair[0].address)]
    taken = []
    for task, result in sorted(found, key=lambda pair: project.place(pair[0].address)):
        with contextlib.suppress(OSError, ProjectError):  # then the stage runs again
            done = result.state is StageState.DONE and result.entry is not None and task.commit is commit
            if done and project.fits(task, result.entry or {}):
                if result.parcel is not None:
                    unpack(result.parcel, task.workspace)
                home.bring(task, result)
                project.merge([Merge(task=task, entry=result.entry or {})])
                taken.append(task.address)
            forget(task)
    if project.store is not None:
        for run_id in runs:
            forget_results(project.store, run_id)
    return tuple(taken)
