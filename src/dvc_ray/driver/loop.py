"""The scheduler loop: stages in their order, as many at a time as there is room for."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from dvc_ray import env, retry
from dvc_ray.driver import explain
from dvc_ray.driver.board import Board
from dvc_ray.driver.placing import Placing
from dvc_ray.driver.room import Claim, Limits, Taken, has_room
from dvc_ray.errors import DvcRayError, ProjectError, RayDiedError
from dvc_ray.executors.base import Executor
from dvc_ray.paths import RunPaths
from dvc_ray.repo import Merge, Project, Request
from dvc_ray.values import (
    GRACE,
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
    claim: Claim
    """What its next attempt takes, or the one in flight."""
    tries: retry.Tries = field(default_factory=retry.Tries)
    attempts: int = 0
    task: StageTask | None = None
    not_before: float = 0.0
    """When it may be tried again (`time.monotonic`)."""

    @classmethod
    def of(cls, step: Step) -> _Stage:
        """A stage at the beginning."""
        state = StageState.UNCHANGED if step.action is Action.SKIP else StageState.WAITING
        report = StageReport(address=step.spec.address, state=state, reason=", ".join(step.reasons))
        return cls(step, report, Claim.of(step.spec.group, step.spec.settings))

    def count(self, end: StageResult | Lost) -> None:
        """Note that an attempt has ended badly."""
        self.tries = retry.count(end, self.tries)
        self.claim = Claim.of(self.step.spec.group, retry.grown(self.step.spec.settings, self.tries))


class Driver:
    """Drives one run.

    Args:
        run_id: Its id.
        paths: Its directory.
        project: The user's project; this is its only writer.
        executor: Where attempts run.
        options: How the run goes on.
        listen: Told all that happens, in this thread.
        environ: The environment of commands.
        confirm: Asked before each stage that runs.
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
        confirm: Callable[[str], bool],
    ) -> None:
        self._confirm = confirm
        self._run_id = run_id
        self._paths = paths
        self._project = project
        self._executor = executor
        self._options = options
        self._grace = GRACE if options.grace is None else options.grace
        self._listen = listen
        self._placing = Placing(executor, project, listen)
        self._environ = {**environ, env.STORAGE: str(paths.storage)}
        self._stages: dict[str, _Stage] = {}
        self._board = Board({}, {}, self._goes_on)
        self._flying: dict[str, _Stage] = {}
        self._stale = True
        """Whether something has changed since the last look at what may go on."""
        self._numbers = 0
        self._failed: int | None = None
        """Place in the plan of the first stage that failed."""
        self._home = Home(project.place, lambda text: listen(Notice(text=text, level="warning")))

    def run(self, chosen: Plan) -> RunResult:
        """Run a plan to its end.

        Raises:
            KeyboardInterrupt: Ctrl-C; what ran has been stopped.
            ClusterError: Ray cannot be started or reached, or can never place a stage.
            ProjectError: Another DVC process holds the project.
        """
        begun = time.monotonic()
        self._stages = {step.spec.address: _Stage.of(step) for step in chosen.steps}
        self._board = Board(
            {name: stage.step.spec.upstream for name, stage in self._stages.items()},
            {name: stage.report.state for name, stage in self._stages.items()},
            self._goes_on,
            {name: stage.step.spec.after for name, stage in self._stages.items()},
        )
        for stage in self._stages.values():
            self._listen(stage.report)
        self._pull_run_cache()
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

    def _pull_run_cache(self) -> None:
        if self._options.pull and self._options.run_cache:
            with self._locked():
                if told := self._project.pull_run_cache():
                    self._listen(Notice(text=told, level="warning"))

    def _loop(self) -> None:
        while True:
            while self._stale:  # what the head settles itself may let others go on at once
                self._stale = False
                self._block()
                self._advance()
            self._stale = True
            if self._flying:
                events = self._executor.events(_TICK)
                # What has only started or printed something lets nothing else go on; time that has passed may.
                self._stale = not events
                self._handle(events)
            elif between := self._between_tries():
                due = min(stage.not_before for stage in between) - time.monotonic()
                time.sleep(max(0.0, min(due, _TICK)))
            elif not self._ready():
                self._block()
                for stage in self._in(StageState.WAITING):
                    self._say(stage, StageState.BLOCKED, reason="what it depends on did not finish")
                return

    # What may go on

    def _in(self, state: StageState) -> list[_Stage]:
        return [self._stages[name] for name in self._board.members(state)]

    def _ready(self) -> list[_Stage]:
        return [self._stages[name] for name in self._board.ready()]

    def _goes_on(self, state: StageState) -> bool:
        """Whether what depends on a stage in this state may run."""
        return state.is_success or (state is StageState.FAILED and self._options.on_error is OnError.IGNORE)

    def _upstream_states(self, stage: _Stage) -> list[StageState]:
        return [self._stages[name].report.state for name in stage.step.spec.upstream]

    def _block(self) -> None:
        """Give up stages that will never be ready."""
        for stage in filter(self._closed, self._in(StageState.QUEUED)):
            if stage.task is None:  # between two tries
                self._say(stage, StageState.BLOCKED, reason="another stage failed")
            else:  # still in Ray's queue
                self._executor.stop(stage.step.spec.address)
        while doomed := self._board.doomed():
            for stage in map(self._stages.__getitem__, doomed):
                bad = next(
                    name
                    for name in stage.step.spec.upstream
                    if (state := self._stages[name].report.state).is_terminal and not self._goes_on(state)
                )
                self._say(stage, StageState.BLOCKED, reason=f"'{bad}' did not finish")
        for stage in filter(self._closed, self._in(StageState.WAITING)):
            self._say(stage, StageState.BLOCKED, reason="another stage failed")

    def _between_tries(self) -> list[_Stage]:
        return [stage for stage in self._in(StageState.QUEUED) if stage.task is None]

    def _in_flight(self) -> list[_Stage]:
        return list(self._flying.values())

    def _closed(self, stage: _Stage) -> bool:
        """Whether a stage may not start any more: an earlier one failed, after which ``dvc repro`` would have ended."""
        if self._failed is None or self._options.on_error is not OnError.FAIL:
            return False
        return self._project.place(stage.step.spec.address) > self._failed

    # On the head: decide again, restore, verify

    def _advance(self) -> None:
        """Take each stage whose upstream is done as far as the head can, and hand it to a worker if it needs one.

        A stage is begun only when there is room for it: DVC removes its outs first.
        """
        due = [stage for stage in self._between_tries() if stage.not_before <= time.monotonic()]
        taken = Taken.by(stage.claim for stage in self._in_flight())
        limits = self._limits()
        for stage in [*due, *self._ready()]:
            if self._closed(stage):
                continue
            command = stage.step.spec.kind is StageKind.COMMAND
            if command and not has_room(stage.claim, taken, limits):
                taken.reserve(stage.claim)
                continue
            if stage.report.state is StageState.WAITING:
                with self._locked():
                    self._settle(stage)
            if stage.report.state is StageState.QUEUED:
                self._submit(stage)
            if stage.task is not None:
                taken.start(stage.claim)

    def _settle(self, stage: _Stage) -> None:
        address = stage.step.spec.address
        begun = time.monotonic()
        try:
            reasons = self._reasons(stage)
            if reasons is None:
                self._say(stage, StageState.UNCHANGED, reason="unchanged")
                return
            if self._options.pull and not self._forced(stage) and self._project.pull(address):
                self._say(stage, StageState.UNCHANGED, reason="unchanged, its data was pulled")
                return
            self._placing.check(stage.step.spec, self._options, force=self._forced(stage))
            if not self._confirm(f"Going to reproduce stage: '{address}'. Are you sure you want to continue?"):
                self._fail(stage, "reproduction aborted by the user")
                return
            done = self._project.settle(address, self._options, force=self._forced(stage))
        except RayDiedError:
            raise
        except DvcRayError as error:
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
        before = [*self._upstream_states(stage), *(self._stages[name].report.state for name in step.spec.after)]
        upstream_ran = any(state is not StageState.UNCHANGED for state in before)
        if (step.judged and not upstream_ran) or self._options.force:
            return ", ".join(step.reasons) if step.action is Action.RUN else None
        status = self._project.status(step.spec.address, allow_missing=self._options.allow_missing)
        if not status.changed:
            return "something it depends on has run" if self._forced(stage) else None
        return ", ".join(status.reasons)

    def _forced(self, stage: _Stage) -> bool:
        """Whether a stage runs changed or not, as ``dvc.repo.reproduce`` has it."""
        ran = {StageState.DONE, StageState.CACHED}
        return self._options.force or (
            self._options.force_downstream and any(state in ran for state in self._upstream_states(stage))
        )

    # On workers

    def _limits(self) -> Limits:
        """What all attempts together may take."""
        drivers = any(not stage.step.spec.settings.num_cpus for stage in self._stages.values())
        return Limits(
            attempts=self._options.jobs or len(self._stages),
            num_cpus=self._executor.capacity(),
            drivers=self._driver_limit() if drivers else 0,
        )

    def _driver_limit(self) -> int:
        """Stages that are Ray drivers themselves at a time: half-placed workers of two of them could wait for ever."""
        return max(1, int(self._executor.cpus()) // 4)

    def _submit(self, stage: _Stage) -> None:
        spec = stage.step.spec
        settings = retry.grown(spec.settings, stage.tries)
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
            settings=settings,
            options=self._options,
            grace=self._grace,
        )
        try:
            task = self._project.task(spec.address, request)
        except ProjectError as error:
            self._fail(stage, str(error))
            return
        stage.report = replace(stage.report, log=explain.shown(log))
        self._executor.submit(task, settings)
        stage.task = task
        self._flying[spec.address] = stage
        waiting = (one.step.spec for one in self._stages.values() if one.report.state is StageState.WAITING)
        self._placing.foresee(waiting)

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
        ended = isinstance(end, StageResult) and end.state is StageState.STOPPED
        if self._closed(stage) and (ended or (isinstance(end, Lost) and stage.report.state is StageState.QUEUED)):
            if isinstance(end, StageResult):  # it had started when it was taken out of Ray's queue
                self._leave_partial(stage, end)
            self._release(stage)
            self._say(stage, StageState.BLOCKED, reason="another stage failed")
            return
        delay = retry.again(end, stage.tries, settings)
        if delay is not None and not self._closed(stage):
            stage.count(end)
            stage.not_before = time.monotonic() + delay
            text = explain.trying_again(end, retry.grown(settings, stage.tries), delay)
            self._listen(Notice(text=text, level="warning"))
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
        place = self._project.place(stage.step.spec.address)
        self._failed = place if self._failed is None else min(place, self._failed)
        tail: tuple[str, ...] = ()
        if stage.task is not None and result is not None:
            tail = explain.last_lines(stage.task.log)
            said = "\n".join(tail)
            error += explain.missed(missed_files(stage.task, said)) + explain.no_git(tail)
            error += explain.full_disk(stage.task.tree)
        self._release(stage)
        self._say(
            stage,
            StageState.FAILED,
            error=error,
            tail=tail,
            exit_code=result.exit_code if result else None,
            seconds=result.seconds if result else 0.0,
        )

    def _release(self, stage: _Stage, *, keep: bool = False) -> None:
        if stage.task is not None:
            if not keep:
                forget(stage.task)
            stage.task = None
            del self._flying[stage.step.spec.address]
            self._stale = True

    # Stopping

    def _stop_all(self) -> None:
        """End what runs and wait for it; a second Ctrl-C stops the waiting."""
        if running := self._in_flight():
            with contextlib.suppress(Exception):
                names = ", ".join(stage.step.spec.address for stage in running)
                self._listen(Notice(text=f"Stopping {names}. Press Ctrl-C again to stop at once."))
        for stage in self._in_flight():
            self._executor.stop(stage.step.spec.address)
        deadline = time.monotonic() + self._grace + _STOP_PATIENCE
        self._take_written()  # what was interrupted between an attempt's end and its merge
        while self._in_flight() and time.monotonic() < deadline:
            for event in self._executor.events(_TICK):
                if isinstance(event, (StageResult, Lost)) and event.address in self._flying:
                    self._stopped(self._flying[event.address], event)
        self._take_written()
        for stage in self._stages.values():
            if not stage.report.state.is_terminal:
                with contextlib.suppress(Exception):  # whoever listens must not keep us from stopping
                    self._say(stage, StageState.BLOCKED if stage.task is None else StageState.STOPPED, reason="stopped")

    def _take_written(self) -> None:
        for stage in self._in_flight():
            if stage.task is not None and (result := written_result(stage.task)):
                self._stopped(stage, result)

    def _stopped(self, stage: _Stage, end: StageResult | Lost) -> None:
        """Keep what an attempt has done: all of it if it was finished, else what its command wrote."""
        assert stage.task is not None  # noqa: S101
        result = written_result(stage.task) if isinstance(end, Lost) else end
        done = result is not None and result.state is StageState.DONE
        try:
            if result is not None and done:
                self._merge([result])
                return
            if result is not None:
                self._leave_partial(stage, result)
        except (DvcRayError, OSError):  # somebody holds the project, or the disk is full
            self._release(stage, keep=done)
            reason = "stopped; its command had finished, the next run takes its result over" if done else "stopped"
            self._say(stage, StageState.STOPPED, reason=reason)
            return
        self._release(stage)
        self._say(stage, StageState.STOPPED, reason="stopped")

    def _locked(self) -> contextlib.AbstractContextManager[None]:
        """Hold DVC's lock; finished work is not given up because another command holds it for a while."""
        return self._project.locked(
            waiting=lambda: self._listen(Notice(text="Waiting for another DVC command in this project to end."))
        )

    def _say(self, stage: _Stage, state: StageState, **fields: object) -> None:
        stage.report = replace(stage.report, state=state, **fields)  # type: ignore[arg-type]
        self._board.move(stage.step.spec.address, state)
        self._stale = self._stale or state is not StageState.RUNNING
        self._listen(stage.report)
