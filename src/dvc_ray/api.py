"""The verbs: what the command line and users of the library call."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from dvc_ray import planning
from dvc_ray.driver.data_mode import DataMode, choose
from dvc_ray.errors import ProjectError, RunInterruptedError, StorageError
from dvc_ray.events import Listener, Sink, Stream
from dvc_ray.paths import locations, told
from dvc_ray.redact import Mask
from dvc_ray.repo import Project
from dvc_ray.repo.experiments.stale import reap
from dvc_ray.runs.directory import dead_work, living, open_run
from dvc_ray.settings.sources import resolve
from dvc_ray.values.report import ExperimentResult, Notice, Planned, RunEvent, RunResult, StageReport
from dvc_ray.values.run import ActiveRun, Experiment, OnError, RunRequest, RunSettings
from dvc_ray.values.stage import Action, Plan, StageKind, StageSpec, StageState, Status

if TYPE_CHECKING:
    from dvc_ray.executors.base import Executor
    from dvc_ray.experiments.run import Trial
    from dvc_ray.values.surroundings import Surroundings

__all__ = ["exp_run", "make_exp_plan", "make_plan", "plan", "repro"]


Confirm = Callable[[str], bool]


def repro(
    request: RunRequest | None = None,
    *,
    sinks: Sequence[Sink] = (),
    confirm: Confirm = lambda _question: True,
    executor: Executor | None = None,
) -> RunResult:
    """Reproduce stages of the DVC project around the working directory.

    What it leaves is what ``dvc repro`` leaves. If nothing is to do, Ray is not started.

    Args:
        request: Which stages, and how; default: those of ./dvc.yaml and what they depend on, as the settings say.
        sinks: Called with all that happens, in order and in this thread. One that raises is called no more.
        confirm: Asked before each stage that runs; a stage that may not has failed.
        executor: Where attempts run; default: Ray. Not public: what an executor is may change.

    Returns:
        What became of each stage. A failed stage is in there, not raised.

    Raises:
        DvcRayError: One of its subclasses, before anything has run or because the run cannot go on.
        KeyboardInterrupt: Ctrl-C; what ran has been stopped.
        ReaderGoneError: A sink has raised it; what ran has been stopped.
        RunInterruptedError: Somebody else on the cluster has stopped it, by `dvc_ray.jobs.stop_run`.
    """
    listen = Stream(sinks)
    environ = dict(os.environ)
    with Project.open() as project, contextlib.ExitStack() as stack:
        options = resolve(request or RunRequest(), project.dvc_dir)
        given = None if executor is None and options.address is None else _surroundings()
        executor = _joined(executor, options, listen, stack, project.dvc_dir)
        mode = _mode(executor, listen, stack)
        _look_over(mode, listen)
        reap(project.dvc_dir)
        works = dead_work(project.dvc_dir)
        chosen, taken = _plan(project, options, mode, works=works, listen=listen)
        if taken:
            listen(Notice(text=f"Taken over from a run that was killed: {', '.join(taken)}."))
            if changed := project.finish(ok=True):
                listen(_to_add(changed))
        if chosen.nothing_to_do:
            return _tell_nothing(chosen, listen)
        setting = _Setting(project.dvc_dir, options, mode, listen, confirm, executor, environ, given or _surroundings())
        with _driver(setting) as drive, drive(project, chosen) as result:
            return result


def plan(request: RunRequest | None = None, experiment: Experiment | None = None) -> Plan:
    """Say what `repro` would do and why, or `exp_run` with an experiment; nothing runs, and nothing is saved.

    Args:
        request: Which stages, and how; default: those of ./dvc.yaml and what they depend on, as the settings say.
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
    with Project.open() as project, contextlib.ExitStack() as stack:
        options = resolve(request or RunRequest(), project.dvc_dir)
        mode = _mode(_joined(None, options, _silent, stack, project.dvc_dir), _silent, stack)
        return _plan(project, options, mode, dry=True)[0]


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
        request: Which stages, and how; default: those of ./dvc.yaml and what they depend on, as the settings say.
        sinks: Called with all that happens, in order and in this thread. One that raises is called no more.
        confirm: Asked before each stage that runs; a stage that may not has failed.
        executor: Where attempts run; default: Ray. Not public: what an executor is may change.

    Returns:
        What became of each stage, and of the experiment: None if a stage failed.

    Raises:
        DvcRayError: As `repro`; and if the name is taken or the params do not fit.
        KeyboardInterrupt: Ctrl-C; what ran has been stopped, the workspace is as it was.
        ReaderGoneError: A sink has raised it; as for Ctrl-C.
    """
    listen = Stream(sinks)
    environ, given = dict(os.environ), _surroundings()
    with Project.open() as home, contextlib.ExitStack() as stack:
        options = resolve(request or RunRequest(), home.dvc_dir)
        executor = _joined(executor, options, listen, stack, home.dvc_dir)
        mode = _mode(executor, listen, stack)
        _look_over(mode, listen)
        with _trial(home, experiment, options, mode, listen=listen) as (trial, chosen, taken):
            if taken:
                listen(Notice(text=f"Taken over from an experiment that did not end: {', '.join(taken)}."))
            setting = _Setting(
                home.dvc_dir, options, mode, listen, confirm, executor, environ, given, trial.environ, alone=False
            )
            with _driver(setting) as drive, drive(trial.project, chosen) as result:
                if not result.ok:
                    return ExperimentResult(result, None)
                saved = trial.save(result, chosen, taken)
                listen(saved)
    return ExperimentResult(result, saved)


def make_exp_plan(experiment: Experiment | None = None, request: RunRequest | None = None) -> Plan:
    """Say what `exp_run` would do and why; saves nothing.

    Raises:
        DvcRayError: As `exp_run`, for what can be known beforehand.
    """
    with Project.open() as home, contextlib.ExitStack() as stack:
        options = resolve(request or RunRequest(), home.dvc_dir)
        mode = _mode(_joined(None, options, _silent, stack, home.dvc_dir), _silent, stack)
        with _trial(home, experiment, options, mode, dry=True) as (_, chosen, _taken):
            return chosen


@contextlib.contextmanager
def _trial(
    home: Project,
    experiment: Experiment | None,
    options: RunSettings,
    mode: DataMode,
    *,
    listen: Listener = lambda _event: None,
    dry: bool = False,
) -> Iterator[tuple[Trial, Plan, tuple[str, ...]]]:
    from dvc_ray.experiments.run import begin

    with begin(home, experiment or Experiment(), options, force=options.force, tell=listen) as trial:
        trial.fill()
        works = () if dry else dead_work(home.dvc_dir, alone=False)
        yield (
            trial,
            *_plan(trial.project, options, mode, works=works, listen=listen, alone=False, dry=dry),
        )


def _plan(  # noqa: PLR0913
    project: Project,
    options: RunSettings,
    mode: DataMode,
    *,
    works: Sequence[Path] = (),
    listen: Listener = lambda _event: None,
    alone: bool = True,
    dry: bool = False,
) -> tuple[Plan, tuple[str, ...]]:
    """Plan a run; what runs that were killed had finished (in ``works``) is taken over first.

    Args:
        project: The project.
        options: Which stages, and how.
        mode: How data travels.
        works: Folders of workspaces of dead runs.
        listen: Told what the user should look at.
        alone: Whether the stages write to the user's workspace; else to that of an experiment.
        dry: Nothing will run.
    """
    with project.locked():
        specs = planning.with_runtime_env(project.select(options), options.runtime_env)
        mode.open(project, options, dry=dry)
        taken: tuple[str, ...] = ()
        if works and not options.force:
            from dvc_ray.driver.takeover import take_over

            def warn(text: str) -> None:
                listen(Notice(text=text, level="warning"))

            taken = take_over(project, mode, works, warn, commit=options.commit, alone=alone)
        statuses = {spec.address: _status(project, spec.address, options) for spec in specs}
        chosen = planning.make(_with_untracked(project, specs, statuses, options), statuses, force=options.force)
        if dry:
            chosen = _with_refusals(project, chosen, statuses, options)
        steps = [step for step in chosen.steps if step.action is not Action.SKIP]
        commands = [step.spec.address for step in steps if step.spec.kind is StageKind.COMMAND]
        project.check_data(commands, [step.spec.address for step in steps])
        if commands:
            chosen = replace(chosen, unseen=project.unseen(commands), untracked=project.untracked_code())
    return chosen, taken


def _with_refusals(project: Project, chosen: Plan, statuses: Mapping[str, Status], options: RunSettings) -> Plan:
    """Have a plan that is only shown say what the run would say of the stages that it begins with."""
    if options.allow_missing or options.pull or options.on_error is OnError.IGNORE:
        return chosen  # a run looks at it later
    steps = []
    for step in chosen.steps:
        first = step.wave == 1 and step.action is not Action.SKIP
        refusal = project.refusal(step.spec.address) if first and step.spec.kind is StageKind.COMMAND else ""
        # With nothing before it, what cannot be judged now will not be later.
        reasons = step.reasons if step.judged or not first else ()
        refusal = refusal or ("" if step.judged or not first else ", ".join(statuses[step.spec.address].reasons))
        steps.append(replace(step, reasons=(*reasons, f"will fail: {refusal}")) if refusal else step)
    return replace(chosen, steps=tuple(steps))


def _with_untracked(
    project: Project, specs: Sequence[StageSpec], statuses: Mapping[str, Status], options: RunSettings
) -> tuple[StageSpec, ...]:
    """Find what stages read that one before them may write; looked for where one before them may run."""
    first = planning.first_to_move(specs, statuses, force=options.force) + 1
    later = (replace(spec, untracked=project.untracked(spec.address)) for spec in specs[first:])
    return (*specs[:first], *later)


def _joined(
    executor: Executor | None, options: RunSettings, listen: Listener, stack: contextlib.ExitStack, dvc_dir: str
) -> Executor | None:
    """Join a cluster before anything is decided: whether it shares the disk decides how. A local Ray is not started."""
    if executor is not None or options.address is None:
        return executor
    from dvc_ray.executors.ray import RayExecutor

    joined = RayExecutor(options.address, options.jobs, locations(dvc_dir))
    stack.callback(joined.close)
    if told := joined.cluster.start(options.jobs):
        listen(Notice(text=told))
    return joined


def _surroundings() -> Surroundings:
    """What commands get from the caller beside the environment; to be asked before Ray changes it."""
    from dvc_ray.command import surroundings  # a run with nothing to do needs none: 7 ms

    return surroundings.here()


def _silent(_event: RunEvent) -> None:
    """Listen to a plan that is only shown."""


def _mode(executor: Executor | None, listen: Listener, stack: contextlib.ExitStack) -> DataMode:
    """Choose how data travels; what is left on machines to find that out is gone at the end of the stack."""
    return stack.enter_context(contextlib.closing(choose(executor, listen)))


def _look_over(mode: DataMode, listen: Listener) -> None:
    """Compare machines before anything is planned on them.

    Raises:
        ClusterError: One lacks what stages need.
    """
    if text := mode.look_over():
        listen(Notice(text=text, level="warning"))


def _status(project: Project, address: str, options: RunSettings) -> Status:
    """Status of a stage before the run; what cannot be judged now may be once what is upstream has run."""
    try:
        return project.status(address, allow_missing=options.allow_missing)
    except ProjectError as error:
        return Status(changed=False, reasons=(error.what,), judged=False)


def _to_add(changed: Sequence[str]) -> Notice:
    return Notice(text="To track the changes with git, run:\n\n\tgit add " + " ".join(changed))


def _pushed_anyway(outs: Sequence[str]) -> Notice:
    names = ", ".join(f"'{out}'" for out in outs)
    text = (
        f"goes to the remote in spite of `push: false`: {names}. Data comes from machine to machine that way; an out"
        " with `cache: false` comes here instead."
    )
    return Notice(text=text, level="warning")


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


@dataclass(frozen=True, slots=True)
class _Setting:
    """What a run needs besides its project."""

    dvc_dir: str
    """Of the user's project: where the run's directory is."""
    options: RunSettings
    mode: DataMode
    listen: Stream
    confirm: Confirm
    executor: Executor | None
    environ: Mapping[str, str] = field(repr=False)
    """The caller's."""
    surroundings: Surroundings
    run_environ: Mapping[str, str] = field(default_factory=dict)
    """What the run adds."""
    alone: bool = True


def _mask(setting: _Setting, chosen: Plan) -> Mask:
    """A mask of the secrets that commands of a run may get."""
    found: list[Mapping[str, object]] = [setting.environ]
    for settings in (step.spec.settings for step in chosen.steps):
        found += [dict(settings.env), (settings.runtime_env or {}).get("env_vars") or {}]
    names = setting.options.secrets
    return Mask.of(str(values[name]) for values in found for name in names if name in values)


def _tell_once(setting: _Setting, what: str, text: str) -> None:
    """Tell what is told once a project; nothing if there is nothing to tell."""
    known = told(setting.dvc_dir, what)
    if text and not known.exists():
        setting.listen(Notice(text=text))
        known.touch()


@contextlib.contextmanager
def _driver(setting: _Setting) -> Iterator[Callable[[Project, Plan], contextlib.AbstractContextManager[RunResult]]]:
    """Open a run and its executor; yields what drives a plan, then Ray is stopped: that takes more than a second.

    What is to happen with the result happens in its context: only then are the workers' own notes of it removed.
    """
    # Not needed to find that nothing is to do, which is what most calls find: 20 ms.
    from dvc_ray.driver.context import RunContext
    from dvc_ray.driver.schedule import Driver
    from dvc_ray.events import log
    from dvc_ray.executors.ray import RayExecutor

    listen = setting.listen
    with contextlib.ExitStack() as stack:
        executor = setting.executor
        if executor is None:
            executor = RayExecutor(setting.options.address, setting.options.jobs)
            stack.callback(executor.close)
        run_id, paths = stack.enter_context(open_run(setting.dvc_dir, alone=setting.alone, owner=setting.options.owner))

        @contextlib.contextmanager
        def drive(project: Project, chosen: Plan) -> Iterator[RunResult]:
            stack.enter_context(log.keep(listen, paths.events, _mask(setting, chosen)))
            listen(Planned(run_id=run_id, plan=chosen))
            if chosen.unseen:
                listen(Notice(text=planning.say_unseen(chosen.unseen)))
            _tell_once(setting, "untracked", planning.say_untracked(chosen.untracked))
            steps = [step for step in chosen.steps if step.action is not Action.SKIP]
            if pushed := project.pushed_anyway([step.spec.address for step in steps]):
                listen(_pushed_anyway(pushed))
            kept = setting.mode.results(paths.work, project.tree, alone=setting.alone)
            run_context = RunContext(
                run_id=run_id,
                paths=paths,
                project=project,
                chosen=chosen,
                executor=executor,
                options=setting.options,
                listen=listen,
                environ=setting.environ,
                confirm=setting.confirm,
                mode=setting.mode,
                kept=kept,
                run_environ=setting.run_environ,
                surroundings=setting.surroundings,
            )
            retained = setting.mode.begin_retention(living(setting.dvc_dir))
            run = ActiveRun(
                run_id=run_id,
                owner=setting.options.owner,
                host=socket.gethostname(),
                directory=str(Path(setting.dvc_dir).parent),
                stages=len(steps),
                begun=time.time(),
                grace=setting.options.grace,
            )
            try:
                with executor.cluster.announced(run):
                    result = Driver(run_context).run()
            except RunInterruptedError:  # as Ctrl-C
                raise
            except Exception:
                project.finish(ok=False)
                raise
            changed = project.finish(ok=result.ok)
            if changed and setting.alone:
                listen(_to_add(changed))
            listen(result)
            yield result
            if result.ok or setting.alone:  # of an experiment that failed nothing else is left
                with contextlib.suppress(StorageError):  # the next run removes them
                    kept.clear()
            _tell_once(setting, "retention", retained())

        yield drive
