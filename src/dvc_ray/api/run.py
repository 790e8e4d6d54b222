"""A run: its directory, its driver, and the notices and the clean-up at its end."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from dvc_ray import planning
from dvc_ray.api.call import Call
from dvc_ray.driver.context import RunContext
from dvc_ray.driver.schedule import Driver
from dvc_ray.errors import RunInterruptedError, StorageError
from dvc_ray.events import log
from dvc_ray.executors.base import Executor
from dvc_ray.paths import told
from dvc_ray.redact import Mask
from dvc_ray.repo import Project
from dvc_ray.runs.directory import living, open_run
from dvc_ray.values.report import Notice, Planned, RunResult
from dvc_ray.values.run import ActiveRun, RunSettings
from dvc_ray.values.stage import Action, Plan, Step


class Run:
    """An open run, to be driven and then settled.

    Args:
        call: The call that opened it.
        context: What its driver needs.
    """

    def __init__(self, call: Call, context: RunContext) -> None:
        self._call = call
        self._context = context
        self._retained: Callable[[], str] = str

    def drive(self) -> RunResult:
        """Announce the plan and drive it to its end.

        Raises:
            DvcRayError: The run cannot go on.
            KeyboardInterrupt: Ctrl-C; what ran has been stopped.
        """
        self._announce_plan()
        self._retained = self._call.mode.begin_retention(living(self._call.dvc_dir))
        project = self._context.project
        try:
            with self._context.executor.cluster.announced(self._active()):
                result = Driver(self._context).run()
        except RunInterruptedError:  # as for Ctrl-C
            raise
        except Exception:
            project.finish(ok=False)
            raise
        changed = project.finish(ok=result.ok)
        if self._call.in_workspace:
            self._call.say(to_add(changed))
        self._call.listen(result)
        return result

    def settle(self, result: RunResult) -> None:
        """Clear the result store, as nothing needs its results any more."""
        if result.ok or self._call.in_workspace:  # of a failed experiment, these results are all that is left
            with contextlib.suppress(StorageError):  # the next run removes them
                self._context.kept.clear()
        self._say_once("retention", self._retained())

    def _announce_plan(self) -> None:
        call, chosen = self._call, self._context.chosen
        call.listen(Planned(run_id=self._context.run_id, plan=chosen))
        call.say(planning.say_unseen(chosen.unseen) if chosen.unseen else "")
        self._say_once("untracked", planning.say_untracked(chosen.untracked))
        if pushed := self._context.project.stages.pushed_anyway([step.spec.address for step in _moving(chosen)]):
            call.listen(_pushed_anyway(pushed))

    def _say_once(self, what: str, text: str) -> None:
        """Show a notice that is shown once per project, if there is one."""
        known = told(self._call.dvc_dir, what)
        if text and not known.exists():
            self._call.say(text)
            known.touch()

    def _active(self) -> ActiveRun:
        options = self._call.options
        return ActiveRun(
            run_id=self._context.run_id,
            owner=options.owner,
            host=socket.gethostname(),
            directory=str(Path(self._call.dvc_dir).parent),
            stages=len(_moving(self._context.chosen)),
            begun=time.time(),
            grace=options.grace,
        )


@contextlib.contextmanager
def opened(
    call: Call,
    project: Project,
    chosen: Plan,
    *,
    confirm: Callable[[str], bool],
    run_environ: Mapping[str, str] | None = None,
) -> Iterator[Run]:
    """Open a run: make its directory and its event file, and a Ray executor if there is no executor yet.

    When the run is closed, a local Ray that it started is stopped, which takes more than a second.

    Args:
        call: The call that asks for the run.
        project: The user's project, or an experiment's copy of it.
        chosen: The plan.
        confirm: Asked before each stage that runs.
        run_environ: Variables that the run adds to the environment of commands.

    Raises:
        ProjectError: Another run is under way in this project.
    """
    surroundings = call.surroundings
    with contextlib.ExitStack() as stack:
        executor = call.executor
        if executor is None:
            executor = on_this_machine(call.options)
            stack.callback(executor.close)
        run_id, paths = stack.enter_context(
            open_run(call.dvc_dir, in_workspace=call.in_workspace, owner=call.options.owner)
        )
        stack.enter_context(log.keep(call.listen, paths.events, _mask(call, chosen)))
        context = RunContext(
            run_id=run_id,
            paths=paths,
            project=project,
            chosen=chosen,
            executor=executor,
            options=call.options,
            listen=call.listen,
            tick=call.listen.tick,
            confirm=confirm,
            mode=call.mode,
            kept=call.mode.results(paths.work, project.tree, in_workspace=call.in_workspace),
            environ=call.environ,
            run_environ=run_environ or {},
            surroundings=surroundings,
        )
        yield Run(call, context)


def on_this_machine(options: RunSettings) -> Executor:
    """Make what runs attempts where no cluster is named."""
    if options.local == "ray":
        from dvc_ray.executors.ray import RayExecutor

        return RayExecutor(None, options.jobs)
    from dvc_ray.executors.one_machine import OneMachineExecutor

    return OneMachineExecutor(options.jobs)


def to_add(changed: Sequence[str]) -> str:
    """Say which files the user should add to Git; empty if there are none."""
    return "To track the changes with git, run:\n\n\tgit add " + " ".join(changed) if changed else ""


def _moving(chosen: Plan) -> list[Step]:
    return [step for step in chosen.steps if step.action is not Action.SKIP]


def _mask(call: Call, chosen: Plan) -> Mask:
    """Make a mask of the secrets that commands of the run may get."""
    found: list[Mapping[str, object]] = [call.environ]
    for settings in (step.spec.settings for step in chosen.steps):
        found += [dict(settings.env), (settings.runtime_env or {}).get("env_vars") or {}]
    names = call.options.secrets
    return Mask.of(str(values[name]) for values in found for name in names if name in values)


def _pushed_anyway(outs: Sequence[str]) -> Notice:
    names = ", ".join(f"'{out}'" for out in outs)
    text = (
        f"goes to the remote in spite of `push: false`: {names}. Data comes from machine to machine that way; an out"
        " with `cache: false` comes here instead."
    )
    return Notice(text=text, level="warning")
