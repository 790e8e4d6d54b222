"""Taking over results that a run had finished before it was killed."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from pathlib import Path
from shlex import quote

from dvc_ray.driver.data_mode import DataMode
from dvc_ray.errors import DvcRayError, ProjectError
from dvc_ray.repo import Merge, Project
from dvc_ray.runs.results import Kept
from dvc_ray.values.stage import StageState
from dvc_ray.workspace import ResultInstaller, discard


def take_over(
    project: Project,
    mode: DataMode,
    works: Iterable[Path],
    warn: Callable[[str], None],
    *,
    commit: bool,
    in_workspace: bool = True,
) -> tuple[str, ...]:
    """Merge results that workers kept and no driver has taken; the project must be locked and its stages selected.

    A result is taken if the definition of its stage has not changed, the stage would run now, and its deps are those
    that it ran with. Useless results are removed. Those of stages that are not selected now stay for another run, and
    so do those that another experiment has made with other params.

    Args:
        project: The user's project, or an experiment's copy of it.
        mode: Where results were kept.
        works: Workspace folders of dead runs.
        warn: Receives warnings for the user.
        commit: Whether outs go into the cache; a result of a run with another setting is not taken.
        in_workspace: Whether the dead runs and this one write to the user's workspace; otherwise they are experiments.

    Returns:
        Addresses of the stages.

    Raises:
        ProjectError: A result that fits cannot be merged; it stays.
        StorageError: The remote cannot be reached, or refuses.
    """
    home = ResultInstaller(project.stages.place, warn, project.is_dep, mode.fetch)
    taken = []
    with contextlib.ExitStack() as stack:
        stores = [store for work in works for store in stack.enter_context(mode.dead_results(work, project.tree))]
        kept = {store: list(store.kept()) for store in stores}
        found = [(store, each) for store in stores for each in kept[store] if each.task.address in project.stages]
        for store, each in sorted(found, key=lambda pair: project.stages.place(pair[1].task.address)):
            fits = _take(project, home, each, commit=commit)
            if fits:
                taken.append(each.task.address)
            if fits or in_workspace or each.result.state is not StageState.DONE:
                store.forget(each.key)
                kept[store].remove(each)
            discard(each.task.workspace)
        for store in stores:
            if not kept[store]:
                store.clear()
    return tuple(taken)


def _take(project: Project, home: ResultInstaller, kept: Kept, *, commit: bool) -> bool:
    """Merge one result, if it fits.

    Raises:
        ProjectError: It cannot be merged; it is still where it was.
    """
    task, result, entry = kept.task, kept.result, kept.result.entry
    if result.state is not StageState.DONE or entry is None or task.commit is not commit:
        return False
    if not _fits(project, kept):
        return False
    try:
        result = home.admit(task, result)
        home.bring(task, result)
        project.merge([Merge(task=task, entry=entry, hashes=result.hashes, git_added=result.git_added)])
        if not project.stages.is_in_lock(task.address):
            raise ProjectError("DVC did not take it into dvc.lock")
    except (OSError, DvcRayError) as error:
        raise ProjectError(
            f"stage '{task.address}' had finished in a run that was killed, and its result cannot be taken over:"
            f" {getattr(error, 'what', error)}",
            f"Fix that and run the same command again; or make it again: dvc-ray repro -sf {quote(task.address)}",
        ) from error
    return True


def _fits(project: Project, kept: Kept) -> bool:
    assert kept.result.entry is not None  # noqa: S101
    with contextlib.suppress(OSError, ProjectError):  # a stage that cannot be compared runs again
        return project.stages.fits(kept.task, kept.result.entry)
    return False
