"""The verbs themselves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from dvc_ray.api import call as calls
from dvc_ray.api.call import Call
from dvc_ray.repo import Project
from dvc_ray.repo.experiments.stale import reap
from dvc_ray.runs.directory import dead_work
from dvc_ray.values.report import ExperimentResult, Planned, RunEvent, RunResult, StageReport
from dvc_ray.values.run import Experiment, RunRequest
from dvc_ray.values.stage import Plan, StageState

if TYPE_CHECKING:
    from dvc_ray.events import Sink
    from dvc_ray.executors.base import Executor

Confirm = Callable[[str], bool]


def repro(
    request: RunRequest | None = None,
    *,
    sinks: Sequence[Sink] = (),
    confirm: Confirm = lambda _question: True,
    executor: Executor | None = None,
) -> RunResult:
    """Reproduce stages of the DVC project around the working directory.

    It leaves what ``dvc repro`` would leave. If there is nothing to do, Ray is not started.

    Args:
        request: Which stages, and how; default: those of ./dvc.yaml and their dependencies, as the settings say.
        sinks: Called with each event, in order and in this thread. A sink that raises is not called again.
        confirm: Asked before each stage that runs; a stage that is declined counts as failed.
        executor: Where attempts run; default: Ray. Not public: the interface may change.

    Returns:
        The result of each stage. A failed stage is reported there, not raised.

    Raises:
        DvcRayError: One of its subclasses, before anything has run or because the run cannot go on.
        KeyboardInterrupt: Ctrl-C; what ran has been stopped.
        ReaderGoneError: A sink has raised it; what ran has been stopped.
        RunInterruptedError: Somebody on the cluster has stopped the run with `dvc_ray.jobs.stop_run`.
    """
    with Project.open() as project, calls.opened(project, request, sinks, executor) as call:
        reap(project.dvc_dir)
        chosen, taken = call.plan(project, dead_work(project.dvc_dir))
        if taken:
            from dvc_ray.api.run import to_add

            call.say(f"Taken over from a run that was killed: {', '.join(taken)}.")
            call.say(to_add(project.finish(ok=True)))
        if chosen.nothing_to_do:
            return _nothing_done(call, chosen)
        # Loading it takes 20 ms, which most calls save, as they find nothing to do.
        from dvc_ray.api import run as runs

        with runs.opened(call, project, chosen, confirm=confirm) as run:
            result = run.drive()
            run.settle(result)
        return result


def exp_run(
    experiment: Experiment | None = None,
    request: RunRequest | None = None,
    *,
    sinks: Sequence[Sink] = (),
    confirm: Confirm = lambda _question: True,
    executor: Executor | None = None,
) -> ExperimentResult:
    """Run an experiment as ``dvc exp run`` does, but apart from the workspace until it is done.

    Args:
        experiment: What to try, and how to save it.
        request: Which stages, and how; default: those of ./dvc.yaml and their dependencies, as the settings say.
        sinks: Called with each event, in order and in this thread. A sink that raises is not called again.
        confirm: Asked before each stage that runs; a stage that is declined counts as failed.
        executor: Where attempts run; default: Ray. Not public: the interface may change.

    Returns:
        The result of each stage, and the saved experiment: None if a stage failed.

    Raises:
        DvcRayError: As `repro`; also if the name is taken or the params do not fit.
        KeyboardInterrupt: Ctrl-C; what ran has been stopped, the workspace is as it was.
        ReaderGoneError: A sink has raised it; as for Ctrl-C.
    """
    from dvc_ray.api import run as runs
    from dvc_ray.experiments.run import begin

    with (
        Project.open() as home,
        calls.opened(home, request, sinks, executor, in_workspace=False) as call,
        begin(home, experiment or Experiment(), call.options, force=call.options.force, tell=call.listen) as trial,
    ):
        trial.fill()
        chosen, taken = call.plan(trial.project, dead_work(home.dvc_dir, in_workspace=False))
        if taken:
            call.say(f"Taken over from an experiment that did not end: {', '.join(taken)}.")
        with runs.opened(call, trial.project, chosen, confirm=confirm, run_environ=trial.environ) as run:
            result = run.drive()
            saved = trial.save(result, chosen, taken) if result.ok else None
            if saved is not None:
                call.listen(saved)
            run.settle(result)
        return ExperimentResult(result, saved)


def plan(request: RunRequest | None = None, experiment: Experiment | None = None) -> Plan:
    """Say what `repro`, or `exp_run` if an experiment is given, would do and why; nothing runs, and nothing is saved.

    Args:
        request: Which stages, and how; default: those of ./dvc.yaml and their dependencies, as the settings say.
        experiment: What to try; None: the workspace as it is.

    Raises:
        DvcRayError: As `repro` or `exp_run`, for what can be known beforehand.
    """
    return make_plan(request) if experiment is None else make_exp_plan(experiment, request)


def make_plan(request: RunRequest | None = None) -> Plan:
    """Say what `repro` would do and why; touches nothing.

    Raises:
        DvcRayError: As `repro`, for what can be known beforehand.
    """
    with Project.open() as project, calls.opened(project, request, dry=True) as call:
        return call.plan(project)[0]


def make_exp_plan(experiment: Experiment | None = None, request: RunRequest | None = None) -> Plan:
    """Say what `exp_run` would do and why; saves nothing.

    Raises:
        DvcRayError: As `exp_run`, for what can be known beforehand.
    """
    from dvc_ray.experiments.run import begin

    with (
        Project.open() as home,
        calls.opened(home, request, in_workspace=False, dry=True) as call,
        begin(home, experiment or Experiment(), call.options, force=call.options.force) as trial,
    ):
        trial.fill()
        return call.plan(trial.project)[0]


def _nothing_done(call: Call, chosen: Plan) -> RunResult:
    """End a run that has nothing to do: no directory, no Ray."""
    reports = tuple(
        StageReport(address=step.spec.address, state=StageState.UNCHANGED, reason="unchanged") for step in chosen.steps
    )
    result = RunResult(run_id="", reports=reports, seconds=0.0)
    events: tuple[RunEvent, ...] = (Planned(run_id="", plan=chosen), *reports, result)
    for event in events:
        call.listen(event)
    return result
