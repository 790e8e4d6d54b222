"""The scheduler loop: stages in their order, as many at a time as there is room for."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from dvc_ray import env, retry
from dvc_ray.driver import explain
from dvc_ray.errors import ClusterError, ConfigError, ProjectError
from dvc_ray.executors.base import Executor
from dvc_ray.paths import RunPaths
from dvc_ray.repo import Merge, Project, Request
from dvc_ray.values import (
    Action,
    Lost,
    Notice,
    OnError,
    Output,
    Plan,
    RunEvent,
    RunOptions,
    RunResult,
    StageKind,
    StageReport,
    StageResult,
    StageState,
    StageTask,
    Started,
    Step,
)
from dvc_ray.worker import forget, written_result
from dvc_ray.workspace import Home, missed_files

_TICK: Final = 0.2
"""Seconds between looks at what cannot wake the loop."""
_STOP_PATIENCE: Final = 10.0
"""Seconds beyond a command's grace in which all must have ended when a run is stopped."""


@dataclass(slots=True)
class _Stage:
    """A stage during a run; the only mutable thing the loop keeps for it."""

    step: Step
    report: StageReport
    tries: retry.Tries = field(default_factory=retry.Tries)
    attempts: int = 0
    task: StageTask | None = None


class Driver:
    """Drives one run.

    Args:
        run_id: Its id.
        paths: Its directory.
        project: The user's project; this is its only writer.
        executor: Where attempts run.
        options: How the run goes on.
        listen: Told all that happens, in this thread.
    """

    def __init__(  # noqa: PLR0913  the parts of a run; nothing would be gained by a bag for them
        self,
        *,
        run_id: str,
        paths: RunPaths,
        project: Project,
        executor: Executor,
        options: RunOptions,
        listen: Callable[[RunEvent], None],
        environ: Mapping[str, str],
    ) -> None:
        self._run_id = run_id
        self._paths = paths
        self._project = project
        self._executor = executor
        self._options = options
        self._listen = listen
        self._environ = {**environ, env.STORAGE: str(paths.storage)}
        self._stages: dict[str, _Stage] = {}
        self._numbers = 0
        self._failed = False
        self._home = Home(project.place, lambda text: listen(Notice(text=text, level="warning")))

    def run(self, chosen: Plan) -> RunResult:
        """Run a plan to its end.

        Raises:
            KeyboardInterrupt: Ctrl-C; what ran has been stopped.
            ClusterError: Ray cannot be started or reached, or can never place a stage.
            ProjectError: Another DVC process holds the project.
        """
        begun = time.monotonic()
        self._stages = {step.spec.address: _Stage(step, _first_report(step)) for step in chosen.steps}
        for stage in self._stages.values():
            self._listen(stage.report)
        try:
            self._loop()
        except BaseException:
            self._stop_all()
            raise
        return RunResult(
            run_id=self._run_id,
            reports=tuple(stage.report for stage in self._stages.values()),
            seconds=time.monotonic() - begun,
        )

    def _loop(self) -> None:
        while True:
            self._block()
            self._advance()
            if self._in_flight():
                self._handle(self._executor.events(_TICK))
            elif not self._ready():
                self._block()
                for stage in self._in(StageState.WAITING):
                    self._say(stage, StageState.BLOCKED, reason="what it depends on did not finish")
                return

    # What may go on

    def _in(self, *states: StageState) -> list[_Stage]:
        return [stage for stage in self._stages.values() if stage.report.state in states]

    def _ready(self) -> list[_Stage]:
        return [
            stage
            for stage in self._in(StageState.WAITING)
            if all(state.is_success for state in self._upstream_states(stage))
        ]

    def _upstream_states(self, stage: _Stage) -> list[StageState]:
        return [self._stages[name].report.state for name in stage.step.spec.upstream]

    def _block(self) -> None:
        """Give up stages that will never be ready."""
        for stage in self._in(StageState.QUEUED) if self._closing else []:
            if stage.task is None:  # between two tries
                self._say(stage, StageState.BLOCKED, reason="another stage failed")
            else:  # still in Ray's queue
                self._executor.stop(stage.step.spec.address)
        for stage in self._in(StageState.WAITING):
            bad = [
                name
                for name in stage.step.spec.upstream
                if (state := self._stages[name].report.state).is_terminal and not state.is_success
            ]
            if bad:
                self._say(stage, StageState.BLOCKED, reason=f"'{bad[0]}' did not finish")
            elif self._closing:
                self._say(stage, StageState.BLOCKED, reason="another stage failed")

    def _in_flight(self) -> list[_Stage]:
        return [stage for stage in self._stages.values() if stage.task is not None]

    @property
    def _closing(self) -> bool:
        """Whether nothing new may start."""
        return self._failed and self._options.on_error is OnError.FAIL

    # On the head: decide again, restore, verify

    def _advance(self) -> None:
        """Take each stage whose upstream is done as far as the head can, and hand it to a worker if it needs one.

        A stage is begun only when there is room for it: DVC removes its outs first.
        """
        for stage in self._in(StageState.QUEUED):
            if stage.task is None and not self._closing and self._has_room(stage):
                self._submit(stage)
        for stage in self._ready():
            if self._closing:
                return
            if self._has_room(stage):
                with self._locked():
                    self._settle(stage)
                if stage.report.state is StageState.QUEUED:
                    self._submit(stage)

    def _settle(self, stage: _Stage) -> None:
        address = stage.step.spec.address
        begun = time.monotonic()
        try:
            reasons = self._reasons(stage)
            if reasons is None:
                self._say(stage, StageState.UNCHANGED, reason="unchanged")
                return
            if stage.step.spec.kind is StageKind.COMMAND:
                self._executor.check(address, stage.step.spec.settings)
            done = self._project.settle(address, force=self._options.force, run_cache=self._options.run_cache)
        except (ProjectError, ClusterError, ConfigError) as error:
            self._fail(stage, str(error))
            return
        if not done:
            if told := self._executor.warm_up(self._options.jobs or 1):
                self._listen(Notice(text=told))
            self._say(stage, StageState.QUEUED, reason=reasons)
            return
        command = stage.step.spec.kind is StageKind.COMMAND
        state = StageState.CACHED if command else StageState.DONE
        self._say(stage, state, reason=reasons, seconds=time.monotonic() - begun)

    def _reasons(self, stage: _Stage) -> str | None:
        """Why the stage runs, in the workspace as it is now; None if it does not."""
        step = stage.step
        upstream_ran = any(state is not StageState.UNCHANGED for state in self._upstream_states(stage))
        if not upstream_ran or self._options.force:
            return ", ".join(step.reasons) if step.action is Action.RUN else None
        status = self._project.status(step.spec.address)
        return ", ".join(status.reasons) if status.changed else None

    # On workers

    def _has_room(self, stage: _Stage) -> bool:
        """Whether an attempt may start beside those in flight.

        A cluster may grow for what waits, so there Ray is given all that is ready.
        """
        if stage.step.spec.kind is not StageKind.COMMAND:
            return True
        others = [other.step.spec.settings for other in self._in_flight()]
        wanted = stage.step.spec.settings.num_cpus
        if len(others) >= (self._options.jobs or len(self._stages)):
            return False
        if not wanted:
            return sum(not other.num_cpus for other in others) < self._driver_limit()
        capacity = self._executor.capacity()
        return capacity is None or not others or wanted + sum(other.num_cpus for other in others) <= capacity

    def _driver_limit(self) -> int:
        """Stages that are Ray drivers themselves at a time: half-placed workers of two of them could wait for ever."""
        return max(1, int(self._executor.cpus()) // 4)

    def _submit(self, stage: _Stage) -> None:
        spec = stage.step.spec
        self._numbers += 1
        stage.attempts += 1
        log = self._paths.log(spec.address, stage.attempts)
        request = Request(
            run_id=self._run_id,
            attempt=stage.attempts,
            workspace=str(self._paths.workspace(self._numbers)),
            log=str(log),
            kept=str(self._paths.kept(spec.address, stage.attempts)),
            env=self._environ,
            settings=spec.settings,
            grace=self._options.grace,
        )
        try:
            task = self._project.task(spec.address, request)
        except ProjectError as error:
            self._fail(stage, str(error))
            return
        stage.report = replace(stage.report, log=explain.shown(log))
        self._executor.submit(task, spec.settings)
        stage.task = task

    def _handle(self, events: Sequence[Started | Output | StageResult | Lost]) -> None:
        done: list[StageResult] = []
        for event in events:
            stage = self._stages[event.address]
            if stage.task is None or event.attempt != stage.attempts:
                continue
            if isinstance(event, Started):
                self._say(stage, StageState.RUNNING, node=event.node)
            elif isinstance(event, Output):
                self._listen(event)
            else:
                end = (written_result(stage.task) or event) if isinstance(event, Lost) else event
                if isinstance(end, StageResult) and end.state is StageState.DONE:
                    done.append(end)
                else:
                    self._ended_badly(stage, end)
        if done:
            self._merge(done)

    def _merge(self, results: Sequence[StageResult]) -> None:
        """Bring finished attempts home and into dvc.lock, in plan order."""
        merges = []
        with self._locked():
            for result in sorted(results, key=lambda result: self._project.place(result.address)):
                stage = self._stages[result.address]
                assert stage.task is not None  # noqa: S101
                assert result.entry is not None  # noqa: S101
                try:
                    self._home.bring(stage.task, result)
                except OSError as error:
                    self._fail(stage, f"its files cannot be brought home: {error}")
                    continue
                self._project.add_code(result.created)
                merges.append((result, Merge(task=stage.task, entry=result.entry)))
            self._project.merge([merge for _, merge in merges])
        for result, _ in merges:
            stage = self._stages[result.address]
            self._release(stage)
            if told := explain.created(result):
                self._listen(Notice(text=told))
            self._say(stage, StageState.DONE, node=result.node, seconds=result.seconds)

    def _ended_badly(self, stage: _Stage, end: StageResult | Lost) -> None:
        settings = stage.step.spec.settings
        if self._closing and isinstance(end, Lost) and stage.report.state is StageState.QUEUED:
            self._release(stage)
            self._say(stage, StageState.BLOCKED, reason="another stage failed")
            return
        if retry.again(end, stage.tries, settings) and not self._closing:
            stage.tries = retry.count(end, stage.tries)
            why = end.why if isinstance(end, Lost) else explain.short(end)
            self._listen(
                Notice(text=f"stage '{end.address}', attempt {end.attempt}: {why}; trying again", level="warning")
            )
            self._release(stage)
            self._say(stage, StageState.QUEUED, reason=stage.report.reason)
            return
        if isinstance(end, StageResult):
            self._leave_partial(stage, end)
            self._fail(stage, explain.short(end), result=end)
        else:
            self._fail(stage, f"its worker was lost: {end.why}")

    def _leave_partial(self, stage: _Stage, result: StageResult) -> None:
        """Leave what a failed command wrote where a command run in the workspace would have left it."""
        assert stage.task is not None  # noqa: S101
        try:
            with self._locked():
                self._home.bring(stage.task, result)
        except OSError as error:
            text = f"what stage '{result.address}' wrote before it failed cannot be brought home: {error}"
            self._listen(Notice(text=text, level="warning"))

    def _fail(self, stage: _Stage, error: str, result: StageResult | None = None) -> None:
        self._failed = True
        tail: tuple[str, ...] = ()
        if stage.task is not None and result is not None:
            tail = explain.last_lines(stage.task.log)
            error += explain.missed(missed_files(stage.task, "\n".join(tail)))
        self._release(stage)
        self._say(
            stage,
            StageState.FAILED,
            error=error,
            tail=tail,
            exit_code=result.exit_code if result else None,
            seconds=result.seconds if result else 0.0,
        )

    def _release(self, stage: _Stage) -> None:
        if stage.task is not None:
            forget(stage.task)
            stage.task = None

    # Stopping

    def _stop_all(self) -> None:
        """End what runs and wait for it; a second Ctrl-C stops the waiting."""
        for stage in self._in_flight():
            self._executor.stop(stage.step.spec.address)
        deadline = time.monotonic() + self._options.grace + _STOP_PATIENCE
        while self._in_flight() and time.monotonic() < deadline:
            for event in self._executor.events(_TICK):
                if isinstance(event, (StageResult, Lost)):
                    self._stopped(self._stages[event.address], event)
        for stage in self._stages.values():
            if not stage.report.state.is_terminal:
                with contextlib.suppress(Exception):  # whoever listens must not keep us from stopping
                    self._say(stage, StageState.BLOCKED if stage.task is None else StageState.STOPPED, reason="stopped")

    def _stopped(self, stage: _Stage, end: StageResult | Lost) -> None:
        """Keep what an attempt has done: all of it if it was finished, else what its command wrote."""
        assert stage.task is not None  # noqa: S101
        result = written_result(stage.task) if isinstance(end, Lost) else end
        with contextlib.suppress(ProjectError, OSError):  # somebody holds the project, or the disk is full
            if result is not None and result.state is StageState.DONE:
                self._merge([result])
                return
            if result is not None:
                self._leave_partial(stage, result)
        self._release(stage)
        self._say(stage, StageState.STOPPED, reason="stopped")

    def _locked(self) -> contextlib.AbstractContextManager[None]:
        """Hold DVC's lock; finished work is not given up because another command holds it for a while."""
        return self._project.locked(
            waiting=lambda: self._listen(Notice(text="Waiting for another DVC command in this project to end."))
        )

    def _say(self, stage: _Stage, state: StageState, **fields: object) -> None:
        stage.report = replace(stage.report, state=state, **fields)  # type: ignore[arg-type]
        self._listen(stage.report)


def _first_report(step: Step) -> StageReport:
    state = StageState.UNCHANGED if step.action is Action.SKIP else StageState.WAITING
    return StageReport(address=step.spec.address, state=state, reason=", ".join(step.reasons))
