"""The verbs: what the command line and users of the library call."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from dvc_ray import config, plan
from dvc_ray.errors import BadArgumentError
from dvc_ray.repo import Project
from dvc_ray.values import (
    Notice,
    Plan,
    Planned,
    RunEvent,
    RunOptions,
    RunResult,
    Selection,
    StageReport,
    StageState,
)

if TYPE_CHECKING:
    from dvc_ray.executors.base import Executor

__all__ = ["make_plan", "repro"]

Listener = Callable[[RunEvent], None]


def repro(
    selection: Selection | None = None,
    options: RunOptions | None = None,
    *,
    listen: Listener = lambda _event: None,
    executor: Executor | None = None,
) -> RunResult:
    """Reproduce stages of the DVC project around the working directory.

    What it leaves is what ``dvc repro`` leaves. If nothing is to do, Ray is not started.

    Args:
        selection: Which stages; default: those of ./dvc.yaml and what they depend on.
        options: How the run goes on.
        listen: Told all that happens, in order and in this thread.
        executor: Where attempts run; default: Ray.

    Returns:
        What became of each stage. A failed stage is in there, not raised.

    Raises:
        DvcRayError: One of its subclasses, before anything has run or because the run cannot go on.
        KeyboardInterrupt: Ctrl-C; what ran has been stopped.
    """
    options = options or RunOptions()
    environ = dict(os.environ)  # before Ray changes it
    with Project.open() as project:
        options = config.apply(config.load(project.dvc_dir), options)
        chosen = _plan(project, selection or Selection(), options)
        if chosen.nothing_to_do:
            return _tell_nothing(chosen, listen)
        return _run(project, chosen, options, listen, executor, environ)


def make_plan(selection: Selection | None = None, options: RunOptions | None = None) -> Plan:
    """Say what `repro` would do and why; touches nothing.

    Raises:
        DvcRayError: As `repro`, for what can be known beforehand.
    """
    with Project.open() as project:
        options = config.apply(config.load(project.dvc_dir), options or RunOptions())
        return _plan(project, selection or Selection(), options)


def _plan(project: Project, selection: Selection, options: RunOptions) -> Plan:
    if selection.single_item and not selection.targets:
        raise BadArgumentError("--single-item needs targets", "Name the stages to run, as `dvc repro -s` expects it.")
    with project.locked():
        specs = project.select(selection)
        statuses = {spec.address: project.status(spec.address) for spec in specs}
    return plan.make(specs, statuses, force=options.force)


def _tell_nothing(chosen: Plan, listen: Listener) -> RunResult:
    """End a run that has nothing to do: no directory, no Ray."""
    reports = tuple(
        StageReport(address=step.spec.address, state=StageState.UNCHANGED, reason="unchanged") for step in chosen.steps
    )
    result = RunResult(run_id="", reports=reports, seconds=0.0)
    events: tuple[RunEvent, ...] = (Planned(run_id="", plan=chosen), *reports, result)
    for event in events:
        listen(event)
    return result


def _run(
    project: Project,
    chosen: Plan,
    options: RunOptions,
    listen: Listener,
    executor: Executor | None,
    environ: Mapping[str, str],
) -> RunResult:
    # Not needed to find that nothing is to do, which is what most calls find: 20 ms.
    from dvc_ray.driver import Driver
    from dvc_ray.executors.ray import RayExecutor
    from dvc_ray.journal import open_run

    with contextlib.ExitStack() as stack:
        if executor is None:
            executor = RayExecutor(options.address)
            stack.callback(executor.close)
        run_id, paths = stack.enter_context(open_run(project.dvc_dir))
        listen(Planned(run_id=run_id, plan=chosen))
        driver = Driver(
            run_id=run_id,
            paths=paths,
            project=project,
            executor=executor,
            options=options,
            listen=listen,
            environ=environ,
        )
        try:
            result = driver.run(chosen)
        except Exception:
            project.finish(ok=False)
            raise
        changed = project.finish(ok=not result.failed)
        if changed:
            listen(Notice(text="To track the changes with git, run:\n\n\tgit add " + " ".join(changed)))
        listen(result)  # before Ray is stopped, which takes more than a second
    return result
