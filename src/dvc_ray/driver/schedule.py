"""The scheduler loop: stages in their order, as many at a time as there is room for."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Final

from dvc_ray import env, retry
from dvc_ray.driver import explain
from dvc_ray.driver.admission import Limits, Taken, has_room
from dvc_ray.driver.data_mode import DataMode
from dvc_ray.driver.feasibility import Placing
from dvc_ray.driver.install import Results
from dvc_ray.driver.state import Stage, Table
from dvc_ray.driver.turns import Turns, told, written
from dvc_ray.errors import DvcRayError, RayDiedError, RunInterruptedError
from dvc_ray.executors.base import Executor
from dvc_ray.paths import RunPaths
from dvc_ray.repo import Project, Request, refused_by_dvc
from dvc_ray.runs.results import ResultStore
from dvc_ray.values.report import Notice, Output, RunEvent, RunResult
from dvc_ray.values.run import OnError, RunSettings
from dvc_ray.values.stage import Action, Plan, StageKind, StageState
from dvc_ray.values.surroundings import Surroundings
from dvc_ray.values.task import Lost, StageResult, Started
from dvc_ray.workspace import lay_aside, missed_files

_TICK: Final = 0.2
"""Seconds between looks at what cannot wake the loop."""
_STOP_PATIENCE: Final = 10.0
"""Seconds beyond a command's grace in which all must have ended when a run is stopped."""


class Driver:
    """Drives one run.

    Args:
        run_id: Its id.
        paths: Its directory.
        project: The user's project; this is its only writer.
        chosen: What to run.
        executor: Where attempts run.
        options: How the run goes on.
        listen: Told all that happens, in this thread.
        environ: The environment of commands.
        confirm: Asked before each stage that runs.
        surroundings: What else they get from the caller.
        mode: How data travels.
        kept: Where workers keep their results until they are taken.
        run_environ: What the run adds to the environment of commands.
    """

    def __init__(  # noqa: PLR0913  the parts of a run; nothing would be gained by a bag for them
        self,
        *,
        run_id: str,
        paths: RunPaths,
        project: Project,
        chosen: Plan,
        executor: Executor,
        options: RunSettings,
        listen: Callable[[RunEvent], None],
        environ: Mapping[str, str],
        confirm: Callable[[str], bool],
        mode: DataMode,
        kept: ResultStore,
        run_environ: Mapping[str, str] | None = None,
        surroundings: Surroundings | None = None,
    ) -> None:
        self._mode = mode
        self._kept = kept
        self._surroundings = surroundings
        self._confirm = confirm
        self._run_id = run_id
        self._paths = paths
        self._project = project
        self._executor = executor
        self._options = options
        self._listen = listen
        self._placing = Placing(executor.cluster, project, listen)
        self._environ = environ
        self._run_environ = {**(run_environ or {}), env.STORAGE: str(paths.storage)}
        self._numbers = 0
        self._table = Table(chosen, options.on_error, listen)
        self._results = Results(project, listen, self._table.may_run_again, mode.fetch)
        self._turns = Turns(self._table, project.concerns)
        self._stopping = False

    def run(self) -> RunResult:
        """Run the plan to its end.

        Raises:
            KeyboardInterrupt: Ctrl-C; what ran has been stopped.
            RunInterruptedError: Somebody else on the cluster has stopped it.
            ClusterError: Ray cannot be started or reached, or can never place a stage.
            ProjectError: Another DVC process holds the project.
        """
        begun = time.monotonic()
        self._pull_run_cache()
        try:
            self._loop()
        except BaseException:
            self._stop_all()
            raise
        finally:
            with contextlib.suppress(Exception):  # nobody may be listening any more
                self._results.tell_edited()
        return RunResult(
            run_id=self._run_id,
            reports=tuple(stage.report for stage in self._table),
            seconds=time.monotonic() - begun,
            in_remote=self._mode.in_remote,
            pulled=self._options.pull,
            ignores_errors=self._options.on_error is OnError.IGNORE,
        )

    def _pull_run_cache(self) -> None:
        if self._options.pull and self._options.run_cache:
            with self._results.locked():
                if told := self._project.pull_run_cache():
                    self._listen(Notice(text=told, level="warning"))

    def _loop(self) -> None:
        table = self._table
        while True:
            if who := self._executor.cluster.who_stops():
                raise RunInterruptedError(f"stopped by {who}", "What is finished is kept: run the same command again.")
            while table.take_stale():  # what the head settles itself may let others go on at once
                self._take([(stage, stage.held) for stage in table.in_flight() if stage.held is not None])
                self._block()
                self._advance()
            if table.in_flight():
                events = self._executor.events(_TICK)
                self._handle(events)
                self._tell_waits()
                # What has only started or printed something lets nothing else go on; time that has passed may.
                if not events:
                    table.touch()
            elif between := table.between_tries():
                due = min(stage.not_before for stage in between) - time.monotonic()
                time.sleep(max(0.0, min(due, _TICK)))
                table.touch()
            elif not table.ready():
                self._block()
                for stage in table.among(StageState.WAITING):
                    table.say(stage, StageState.BLOCKED, reason="what it depends on did not finish")
                return
            else:
                table.touch()

    def _block(self) -> None:
        """Give up stages that will never be ready."""
        table = self._table
        for stage in filter(table.closed, table.among(StageState.QUEUED)):
            if stage.task is None:  # between two tries
                table.say(stage, StageState.BLOCKED, reason="another stage failed")
            else:  # still in Ray's queue
                self._executor.stop(stage.address)
        while doomed := table.doomed():
            for stage, bad in doomed:
                table.say(stage, StageState.BLOCKED, reason=f"'{bad}' did not finish")
        for stage in filter(table.closed, table.among(StageState.WAITING)):
            table.say(stage, StageState.BLOCKED, reason="another stage failed")

    # On the head: decide again, restore, verify

    def _advance(self) -> None:
        """Take each stage whose upstream is done as far as the head can, and hand it to a worker if it needs one.

        A stage is begun only when there is room for it.
        """
        due = [stage for stage in self._table.between_tries() if stage.not_before <= time.monotonic()]
        taken = Taken.by(stage.claim for stage in self._table.in_flight() if stage.held is None)
        limits = self._limits()
        for stage in [*due, *self._table.ready()]:
            if self._table.closed(stage):
                continue
            command = stage.step.spec.kind is StageKind.COMMAND
            if command and not has_room(stage.claim, taken, limits):
                taken.reserve(stage.claim)
                continue
            if stage.state is StageState.WAITING:
                with self._results.locked():
                    self._settle(stage)
            if stage.state is StageState.QUEUED:
                self._submit(stage)
            if stage.task is not None:
                taken.start(stage.claim)

    def _settle(self, stage: Stage) -> None:
        address = stage.address
        stage.begun = time.time()
        begun = time.monotonic()
        try:
            reasons = self._reasons(stage)
            if reasons is None:
                self._table.unchanged(stage)
                return
            if self._options.pull and not self._forced(stage) and self._project.pull(address):
                self._table.unchanged(stage, "unchanged, its data was pulled")
                return
            self._placing.check(stage.step.spec, self._options, force=self._forced(stage))
            if not self._confirm(f"Going to reproduce stage: '{address}'. Are you sure you want to continue?"):
                self._fail(stage, "reproduction aborted by the user")
                return
            done = self._project.settle(address, self._options, force=self._forced(stage))
        except RayDiedError:
            raise
        except DvcRayError as error:
            self._refuse(stage, error)
            return
        if not done:
            if told := self._executor.cluster.start(self._options.jobs):
                self._listen(Notice(text=told))
            self._table.say(stage, StageState.QUEUED, reason=reasons)
            return
        command = stage.step.spec.kind is StageKind.COMMAND
        state = StageState.CACHED if command else StageState.DONE
        self._table.say(stage, state, reason=reasons, seconds=time.monotonic() - begun)

    def _reasons(self, stage: Stage) -> str | None:
        """Why the stage runs, in the workspace as it is now; None if it does not."""
        step = stage.step
        if self._options.force or not self._table.must_look(stage):
            return ", ".join(step.reasons) if step.action is Action.RUN else None
        status = self._project.status(step.spec.address, allow_missing=self._options.allow_missing)
        if not status.changed:
            return "something it depends on has run" if self._forced(stage) else None
        return ", ".join(status.reasons)

    def _forced(self, stage: Stage) -> bool:
        """Whether a stage runs changed or not, as ``dvc.repo.reproduce`` has it."""
        ran = {StageState.DONE, StageState.CACHED}
        return self._options.force or (
            self._options.force_downstream and any(state in ran for state in self._table.upstream_states(stage))
        )

    # On workers

    def _limits(self) -> Limits:
        """What all attempts together may take."""
        drivers = any(not stage.step.spec.settings.num_cpus for stage in self._table)
        return Limits(
            attempts=self._options.jobs or len(self._table),
            num_cpus=self._executor.cluster.capacity(),
            drivers=self._driver_limit() if drivers else 0,
        )

    def _driver_limit(self) -> int:
        """Stages that are Ray drivers themselves at a time: half-placed workers of two of them could wait for ever."""
        return max(1, int(self._executor.cluster.cpus()) // 4)

    def _submit(self, stage: Stage) -> None:
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
            run_env=self._run_environ,
            settings=settings,
            options=self._options,
            git=str(self._paths.git),
            surroundings=self._surroundings,
            signing_key=self._kept.signing_key,
        )
        try:
            task = self._project.task(spec.address, request)
        except DvcRayError as error:
            with self._results.locked():
                self._refuse(stage, error)
            return
        stage.report = replace(stage.report, log=explain.shown(log))
        try:
            packs = self._mode.bundles(task)
        except OSError as error:
            self._fail(stage, f"its files cannot be sent: {error}", lost=True)
            return
        self._results.given(task)
        self._turns.begin(stage)
        stage.begun = time.time()
        self._executor.submit(task, settings, packs)
        self._table.start(stage, task)
        waiting = (one.step.spec for one in self._table if one.state is StageState.WAITING)
        self._placing.foresee(waiting)

    def _handle(self, events: Sequence[Started | Output | StageResult | Lost]) -> None:
        ends: list[tuple[Stage, StageResult | Lost]] = []
        for event in events:
            stage = self._table[event.address]
            if stage.task is None or event.attempt != stage.attempts or stage.held is not None:
                continue
            if isinstance(event, Started):
                self._table.say(stage, StageState.RUNNING, node=event.node)
            elif isinstance(event, Output):
                self._mode.keep_output(stage.task, event.text)
                self._listen(event)
            else:
                ends.append((stage, (self._kept.read(stage.task) or event) if isinstance(event, Lost) else event))
        self._take(ends)

    def _take(self, ends: Sequence[tuple[Stage, StageResult | Lost]]) -> None:
        """Take what attempts have left, in plan order: what one has written may make another's of no use."""
        done: list[StageResult] = []
        for stage, end in sorted(ends, key=lambda pair: self._project.place(pair[0].address)):
            if written(end) and done:
                self._merge(done)
                done = []
            if stage.stale:
                self._drop(stage, end, stage.stale)
            elif first := self._turns.waits_for(stage, end):
                self._hold(stage, end, first)
            elif self._turns.is_overtaken(stage, end):
                self._drop(stage, end, "another stage wrote what it writes")
            elif isinstance(end, StageResult) and end.state is StageState.DONE:
                done.append(end)
                if written(end):
                    self._merge(done)
                    done = []
            else:
                self._ended_badly(stage, end)
        if done:
            self._merge(done)

    def _hold(self, stage: Stage, end: StageResult | Lost, first: str) -> None:
        """Leave what an attempt has written where it is: others read it, and would see it too early."""
        stage.held = end
        waiting_for = f"'{first}' to end, which comes before it, as other stages read what it wrote"
        if stage.report.waiting_for != waiting_for:
            self._table.say(stage, StageState.RUNNING, waiting_for=waiting_for)

    def _drop(self, stage: Stage, end: StageResult | Lost, why: str) -> None:
        """Have a stage run again whose attempt had begun too early."""
        self._forget(stage, end)
        self._release(stage)
        stage.last = True
        self._table.wait([stage], why)

    def _forget(self, stage: Stage, end: StageResult | Lost) -> None:
        """Take out of the run cache what an attempt has put there."""
        if isinstance(end, StageResult) and end.entry:
            with self._results.locked():
                self._project.forget_run(stage.address, end.entry, stage.begun)

    def _reopen(self, stage: Stage) -> None:
        """Have stages decided again that come after one in the plan and have not seen what it wrote."""
        paths = self._results.wrote(stage.address)
        late = self._turns.note(stage, paths) if paths else []
        if self._stopping or not late:
            return
        lost = self._table.reopen(late, f"'{stage.address}' wrote what it reads")
        if lost:
            self._listen(Notice(text=told(stage, lost, paths), level="warning"))
        self._results.take_back([(each.address, each.begun) for each in lost if each.task is None])
        for each in lost:
            if each.task is not None and each.held is None:
                self._executor.stop(each.address)

    def _tell_waits(self) -> None:
        """Say what stages in Ray's queue wait for; give up what would wait for ever."""
        for address, wait in self._executor.waits().items():
            stage = self._table.flying(address)
            if stage is None or stage.state is not StageState.QUEUED:
                continue
            if wait.never:
                self._executor.stop(address)
                why = f"{wait.what}: it could never start. Change it under 'meta: ray:' of the stage."
                self._fail(stage, why, lost=True)
            elif wait.what != stage.report.waiting_for:
                self._table.say(stage, StageState.QUEUED, waiting_for=wait.what)

    def _merge(self, results: Sequence[StageResult]) -> None:
        done = [(task, result) for result in results if (task := self._table[result.address].task) is not None]
        ends = self._results.merge(done)
        for _, result in sorted(done, key=lambda pair: self._project.place(pair[0].address)):
            stage = self._table[result.address]
            if refused := ends.get(result.address):
                self._fail(stage, refused.why, keep=refused.keep, lost=True)
                continue
            self._release(stage)
            if told := explain.created(result):
                self._listen(Notice(text=told))
            self._table.say(stage, StageState.DONE, node=result.node, seconds=result.seconds)
            self._reopen(stage)

    def _ended_badly(self, stage: Stage, end: StageResult | Lost) -> None:
        assert stage.task is not None  # noqa: S101
        settings = stage.step.spec.settings
        if isinstance(end, Lost):
            self._mode.put_right(stage.task)
        ended = isinstance(end, StageResult) and end.state is StageState.STOPPED
        if self._table.closed(stage) and (ended or (isinstance(end, Lost) and stage.state is StageState.QUEUED)):
            if isinstance(end, StageResult):  # it had started when it was taken out of Ray's queue
                self._results.leave_partial(stage.task, end)
            self._release(stage)
            self._table.say(stage, StageState.BLOCKED, reason="another stage failed")
            return
        delay = retry.again(end, stage.tries, settings)
        if delay is not None and not self._table.closed(stage):
            stage.count(end, delay)
            text = explain.trying_again(end, retry.grown(settings, stage.tries), delay)
            self._listen(Notice(text=text, level="warning"))
            self._release(stage)
            self._table.say(stage, StageState.QUEUED, reason=stage.report.reason, node="")
            return
        if isinstance(end, StageResult):
            self._results.leave_partial(stage.task, end)
            self._fail(stage, explain.short(end) + end.note, result=end, lost=end.exit_code is None)
            self._reopen(stage)
        else:
            self._fail(stage, explain.lost(end), lost=True)

    def _refuse(self, stage: Stage, error: DvcRayError) -> None:
        """Fail a stage that cannot run; with ``--ignore-errors`` DVC goes on without the outs of its last run.

        Needs the project locked.
        """
        theirs = refused_by_dvc(error)
        if theirs and self._options.on_error is OnError.IGNORE:
            self._project.remove_outs(stage.address)
        self._fail(stage, str(error), exception=error, lost=not theirs)

    def _fail(
        self,
        stage: Stage,
        error: str,
        result: StageResult | None = None,
        *,
        lost: bool = False,
        keep: bool = False,
        exception: DvcRayError | None = None,
    ) -> None:
        self._table.note_failure(stage, lost=lost)
        tail: tuple[str, ...] = ()
        if stage.task is not None and result is not None:
            tail = explain.last_lines(stage.task.log)
            said = "\n".join(tail)
            error += explain.missed(missed_files(stage.task, said)) + explain.about_git(
                stage.address, tail, result.git_written, partial=stage.task.git.partial
            )
            error += explain.about_links(tail) + explain.full_disk(stage.task.tree)
        self._release(stage, keep=keep)
        self._table.say(
            stage,
            StageState.FAILED,
            error=error,
            tail=tail,
            exit_code=result.exit_code if result else None,
            seconds=result.seconds if result else 0.0,
            exception=exception,
        )

    def _release(self, stage: Stage, *, keep: bool = False) -> None:
        if stage.task is not None:
            if not keep:
                lay_aside(stage.task.workspace)
                self._kept.taken(stage.task)
            self._table.end(stage)

    # Stopping

    def _stop_all(self) -> None:
        """End what runs and wait for it; a second Ctrl-C stops the waiting."""
        self._stopping = True
        for stage in self._table.in_flight():
            if stage.held is not None:
                self._stopped(stage, stage.held)
        if running := self._table.in_flight():
            with contextlib.suppress(Exception):
                names = ", ".join(stage.address for stage in running)
                self._listen(Notice(text=f"Stopping {names}. Press Ctrl-C again to stop at once."))
        for stage in self._table.in_flight():
            self._executor.stop(stage.address)
        deadline = time.monotonic() + self._options.grace + _STOP_PATIENCE
        self._take_written()  # what was interrupted between an attempt's end and its merge
        while self._table.in_flight() and time.monotonic() < deadline:
            for event in self._executor.events(_TICK):
                ended = self._table.flying(event.address)
                if ended is not None and isinstance(event, (StageResult, Lost)):
                    self._stopped(ended, event)
        self._take_written()
        for stage in self._table:
            if not stage.state.is_terminal:
                with contextlib.suppress(Exception):  # whoever listens must not keep us from stopping
                    self._table.say(
                        stage, StageState.BLOCKED if stage.task is None else StageState.STOPPED, reason="stopped"
                    )

    def _take_written(self) -> None:
        for stage in self._table.in_flight():
            if stage.task is not None and (result := self._kept.read(stage.task)):
                self._stopped(stage, result)

    def _stopped(self, stage: Stage, end: StageResult | Lost) -> None:
        """Keep what an attempt has done: all of it if it was finished, else what its command wrote."""
        assert stage.task is not None  # noqa: S101
        result = self._kept.read(stage.task) if isinstance(end, Lost) else end
        done = result is not None and result.state is StageState.DONE
        if stage.stale or self._turns.comes_early(stage, end):
            with contextlib.suppress(DvcRayError, OSError):  # somebody holds the project
                self._forget(stage, end)
            self._release(stage)
            self._table.say(stage, StageState.STOPPED, reason="stopped; it had begun too early")
            return
        try:
            if result is not None and done:
                self._merge([result])
                return
            if result is not None:
                self._results.leave_partial(stage.task, result)
        except (DvcRayError, OSError):  # somebody holds the project, or the disk is full
            self._release(stage, keep=done)
            reason = "stopped; its command had finished, the next run takes its result over" if done else "stopped"
            self._table.say(stage, StageState.STOPPED, reason=reason)
            return
        self._release(stage)
        self._table.say(stage, StageState.STOPPED, reason="stopped")
