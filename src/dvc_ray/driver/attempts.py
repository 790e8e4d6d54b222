"""Attempts of stages: submitted, merged when they end, tried again or given up."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

from dvc_ray import env, retry
from dvc_ray.driver import explain
from dvc_ray.driver.context import RunContext
from dvc_ray.driver.feasibility import Feasibility
from dvc_ray.driver.install import ResultMerger
from dvc_ray.driver.state import RunState, Stage
from dvc_ray.driver.turns import Turns, told, written
from dvc_ray.errors import DvcRayError
from dvc_ray.repo import Request, refused_by_dvc
from dvc_ray.values.report import Notice, Output
from dvc_ray.values.run import OnError
from dvc_ray.values.stage import StageState
from dvc_ray.values.task import Lost, StageResult, Started
from dvc_ray.workspace import lay_aside, missed_files


class Attempts:
    """The attempts of one run.

    Args:
        run: The run.
        table: Its stages.
        results: Merges results into the workspace.
        placing: Warns of later stages that can never be placed.
    """

    def __init__(self, run: RunContext, table: RunState, results: ResultMerger, placing: Feasibility) -> None:
        self._run = run
        self._table = table
        self._results = results
        self._placing = placing
        self._run_environ = {**run.run_environ, env.STORAGE: str(run.paths.storage)}
        self._numbers = 0
        self._told_own_ray = False
        self.turns = Turns(table, run.project.concerns)
        """Which stages read what others write."""
        self.stopping = False
        """Whether the run is being stopped: then no stage is decided again."""

    def submit(self, stage: Stage) -> None:
        """Hand an attempt of a stage to the executor."""
        spec = stage.step.spec
        settings = retry.grown(spec.settings, stage.tries)
        self._numbers += 1
        stage.attempts += 1
        log = self._run.paths.log(spec.address, stage.attempts)
        request = Request(
            run_id=self._run.run_id,
            attempt=stage.attempts,
            workspace=str(self._run.paths.workspace(self._numbers)),
            log=str(log),
            kept=str(self._run.paths.kept(spec.address, stage.attempts)),
            env=self._run.environ,
            run_env=self._run_environ,
            settings=settings,
            options=self._run.options,
            git=str(self._run.paths.git),
            surroundings=self._run.surroundings,
            signing_key=self._run.kept.signing_key,
        )
        try:
            task = self._run.project.stages.task(spec.address, request)
        except DvcRayError as error:
            with self._results.locked():
                self.refuse(stage, error)
            return
        stage.report = replace(stage.report, log=explain.shown(log))
        try:
            bundles = self._run.mode.bundles(task)
        except OSError as error:
            self.fail(stage, f"its files cannot be sent: {error}", lost=True)
            return
        self._results.given(task)
        self.turns.begin(stage)
        stage.begun = time.time()
        self._run.executor.submit(task, settings, bundles)
        self._table.start(stage, task)
        waiting = (one.step.spec for one in self._table if one.state is StageState.WAITING)
        self._placing.foresee(waiting)

    def handle(self, events: Sequence[Started | Output | StageResult | Lost]) -> None:
        """Process events of attempts."""
        ends: list[tuple[Stage, StageResult | Lost]] = []
        for event in events:
            stage = self._table[event.address]
            if stage.task is None or event.attempt != stage.attempts or stage.held is not None:
                continue
            if isinstance(event, Started):
                self._table.say(stage, StageState.RUNNING, node=event.node)
            elif isinstance(event, Output):
                self._run.mode.keep_output(stage.task, event.text)
                self._run.listen(event)
            else:
                ends.append((stage, (self._run.kept.read(stage.task) or event) if isinstance(event, Lost) else event))
        self._tell_own_ray([stage.address for stage, end in ends if isinstance(end, StageResult) and end.own_ray])
        self.take(ends)

    def _tell_own_ray(self, addresses: Sequence[str]) -> None:
        """Say once that a stage has a Ray of its own, which may not be what is wanted."""
        if addresses and not self._told_own_ray:
            self._told_own_ray = True
            self._run.listen(Notice(text=explain.own_ray(addresses[0])))

    def take(self, ends: Sequence[tuple[Stage, StageResult | Lost]]) -> None:
        """Process ended attempts in plan order: what one has written may make the result of another useless."""
        done: list[StageResult] = []
        for stage, end in sorted(ends, key=lambda pair: self._run.project.stages.place(pair[0].address)):
            if written(end) and done:
                self.merge(done)
                done = []
            if stage.stale:
                self._drop(stage, end, stage.stale)
            elif first := self.turns.waits_for(stage, end):
                self._hold(stage, end, first)
            elif self.turns.is_overtaken(stage, end):
                self._drop(stage, end, "another stage wrote what it writes")
            elif isinstance(end, StageResult) and end.state is StageState.DONE:
                done.append(end)
                if written(end):
                    self.merge(done)
                    done = []
            else:
                self._ended_badly(stage, end)
        if done:
            self.merge(done)

    def _hold(self, stage: Stage, end: StageResult | Lost, first: str) -> None:
        """Leave what an attempt has written where it is: other stages read it, and would see it too early."""
        stage.held = end
        waiting_for = f"'{first}' to end, which comes before it, as other stages read what it wrote"
        if stage.report.waiting_for != waiting_for:
            self._table.say(stage, StageState.RUNNING, waiting_for=waiting_for)

    def _drop(self, stage: Stage, end: StageResult | Lost, why: str) -> None:
        """Run a stage again whose attempt had begun too early."""
        self.forget_run(stage, end)
        self.release(stage)
        stage.last = True
        self._table.wait([stage], why)

    def forget_run(self, stage: Stage, end: StageResult | Lost) -> None:
        """Remove from the run cache what an attempt has put there."""
        if isinstance(end, StageResult) and end.entry:
            with self._results.locked():
                self._run.project.stages.forget_run(stage.address, end.entry, stage.begun)

    def _reopen(self, stage: Stage) -> None:
        """Decide stages again that come later in the plan and have not seen what this one wrote."""
        paths = self._results.wrote(stage.address)
        late = self.turns.note(stage, paths) if paths else []
        if self.stopping or not late:
            return
        lost = self._table.reopen(late, f"'{stage.address}' wrote what it reads")
        if lost:
            self._run.listen(Notice(text=told(stage, lost, paths), level="warning"))
        self._results.take_back([(each.address, each.begun) for each in lost if each.task is None])
        for each in lost:
            if each.task is not None and each.held is None:
                self._run.executor.stop(each.address)

    def tell_waits(self) -> None:
        """Say what stages in Ray's queue wait for; fail those that would wait for ever."""
        for address, wait in self._run.executor.waits().items():
            stage = self._table.flying(address)
            if stage is None or stage.state is not StageState.QUEUED:
                continue
            if wait.never:
                self._run.executor.stop(address)
                why = f"{wait.what}: it could never start. Change it under 'meta: ray:' of the stage."
                self.fail(stage, why, lost=True)
            elif wait.what != stage.report.waiting_for:
                self._table.say(stage, StageState.QUEUED, waiting_for=wait.what)

    def merge(self, results: Sequence[StageResult]) -> None:
        """Merge finished attempts into the workspace and dvc.lock."""
        done = [(task, result) for result in results if (task := self._table[result.address].task) is not None]
        ends = self._results.merge(done)
        for _, result in sorted(done, key=lambda pair: self._run.project.stages.place(pair[0].address)):
            stage = self._table[result.address]
            if refused := ends.get(result.address):
                self.fail(stage, refused.why, keep=refused.keep, lost=True)
                continue
            self.release(stage)
            if told := explain.created(result):
                self._run.listen(Notice(text=told))
            self._table.say(stage, StageState.DONE, node=result.node, seconds=result.seconds)
            self._reopen(stage)

    def _ended_badly(self, stage: Stage, end: StageResult | Lost) -> None:
        assert stage.task is not None  # noqa: S101
        settings = stage.step.spec.settings
        if isinstance(end, Lost):
            self._run.mode.put_right(stage.task)
        ended = isinstance(end, StageResult) and end.state is StageState.STOPPED
        if self._table.closed(stage) and (ended or (isinstance(end, Lost) and stage.state is StageState.QUEUED)):
            if isinstance(end, StageResult):  # it had started before it was taken out of Ray's queue
                self._results.leave_partial(stage.task, end)
            self.release(stage)
            self._table.say(stage, StageState.BLOCKED, reason="another stage failed")
            return
        delay = retry.again(end, stage.tries, settings)
        if delay is not None and not self._table.closed(stage):
            stage.count(end, delay)
            text = explain.trying_again(end, retry.grown(settings, stage.tries), delay)
            self._run.listen(Notice(text=text, level="warning"))
            self.release(stage)
            self._table.say(stage, StageState.QUEUED, reason=stage.report.reason, node="")
            return
        if isinstance(end, StageResult):
            self._results.leave_partial(stage.task, end)
            self.fail(stage, explain.short(end) + end.note, result=end, lost=end.exit_code is None)
            self._reopen(stage)
        else:
            self.fail(stage, explain.lost(end), lost=True)

    def refuse(self, stage: Stage, error: DvcRayError) -> None:
        """Fail a stage that cannot run; with ``--ignore-errors`` DVC goes on without the outs of its last run.

        The project must be locked.
        """
        theirs = refused_by_dvc(error)
        if theirs and self._run.options.on_error is OnError.IGNORE:
            self._run.project.stages.remove_outs(stage.address)
        self.fail(stage, str(error), exception=error, lost=not theirs)

    def fail(
        self,
        stage: Stage,
        error: str,
        result: StageResult | None = None,
        *,
        lost: bool = False,
        keep: bool = False,
        exception: DvcRayError | None = None,
    ) -> None:
        """Record and report that a stage has failed.

        Args:
            stage: The stage.
            error: Why, for the user.
            result: The result of its attempt, if there is one.
            lost: Whether its outs are still those of the last run.
            keep: Whether the next run may take its result over.
            exception: The error that kept it from running.
        """
        self._table.note_failure(stage, lost=lost)
        tail: tuple[str, ...] = ()
        if stage.task is not None and result is not None:
            tail = explain.last_lines(stage.task.log)
            said = "\n".join(tail)
            error += explain.missed(missed_files(stage.task, said)) + explain.about_git(
                stage.address, tail, result.git_written, partial=stage.task.git.partial
            )
            error += explain.about_links(tail) + explain.full_disk(stage.task.tree)
        self.release(stage, keep=keep)
        self._table.say(
            stage,
            StageState.FAILED,
            error=error,
            tail=tail,
            exit_code=result.exit_code if result else None,
            seconds=result.seconds if result else 0.0,
            exception=exception,
        )

    def release(self, stage: Stage, *, keep: bool = False) -> None:
        """Give back what the attempt of a stage holds; with ``keep``, its result stays for the next run."""
        if stage.task is not None:
            if not keep:
                lay_aside(stage.task.workspace)
                self._run.kept.taken(stage.task)
            self._table.end(stage)
