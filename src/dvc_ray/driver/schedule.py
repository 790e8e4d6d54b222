"""The scheduler loop: stages in their order, as many at a time as there is room for."""

from __future__ import annotations

import contextlib
import time
from typing import Final

from dvc_ray.driver.admission import Limits, Reserved, has_room, is_full
from dvc_ray.driver.attempts import Attempts
from dvc_ray.driver.context import RunContext
from dvc_ray.driver.feasibility import Feasibility
from dvc_ray.driver.install import ResultMerger
from dvc_ray.driver.state import RunState, Stage
from dvc_ray.driver.stopping import Stopping
from dvc_ray.errors import DvcRayError, RayDiedError, RunInterruptedError
from dvc_ray.values.report import Notice, RunResult
from dvc_ray.values.run import OnError
from dvc_ray.values.stage import Action, StageKind, StageState

_TICK: Final = 0.2
"""Seconds between checks of what cannot wake the loop."""


class Driver:
    """Drives one run.

    Args:
        run: The run.
    """

    def __init__(self, run: RunContext) -> None:
        self._run = run
        self._table = RunState(run.chosen, run.options.on_error, run.listen)
        self._placing = Feasibility(run.executor.cluster, run.project, run.listen)
        self._results = ResultMerger(run.project, run.listen, self._table.may_run_again, run.mode.fetch)
        self._attempts = Attempts(run, self._table, self._results, self._placing)
        self._all_commands = all(stage.step.spec.kind is StageKind.COMMAND for stage in self._table)
        self._drivers = any(not stage.step.spec.settings.num_cpus for stage in self._table)

    def run(self) -> RunResult:
        """Run the plan to its end.

        Raises:
            KeyboardInterrupt: Ctrl-C; running attempts have been stopped.
            RunInterruptedError: Another user of the cluster has stopped the run.
            ClusterError: Ray cannot be started or reached, or can never place a stage.
            ProjectError: Another DVC process holds the project.
        """
        begun = time.monotonic()
        self._pull_run_cache()
        try:
            self._loop()
        except BaseException:
            Stopping(self._run, self._table, self._results, self._attempts).stop()
            raise
        finally:
            with contextlib.suppress(Exception):  # the listener may be gone
                self._results.tell_edited()
        return RunResult(
            run_id=self._run.run_id,
            reports=tuple(stage.report for stage in self._table),
            seconds=time.monotonic() - begun,
            in_remote=self._run.mode.in_remote,
            pulled=self._run.options.pull,
            ignores_errors=self._run.options.on_error is OnError.IGNORE,
        )

    def _pull_run_cache(self) -> None:
        if self._run.options.pull and self._run.options.run_cache:
            with self._results.locked():
                if told := self._run.project.stages.pull_run_cache():
                    self._run.listen(Notice(text=told, level="warning"))

    def _loop(self) -> None:
        table = self._table
        while True:
            if who := self._run.executor.cluster.stop_requested_by():
                raise RunInterruptedError(f"stopped by {who}", "What is finished is kept: run the same command again.")
            while table.take_stale():  # a stage that is resolved on the head may let others go on at once
                self._attempts.take([(stage, stage.held) for stage in table.in_flight() if stage.held is not None])
                self._block()
                self._advance()
            if table.in_flight():
                events = self._run.executor.events(_TICK)
                self._attempts.handle(events)
                self._attempts.tell_waits()
                self._run.tick()
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
                self._run.executor.stop(stage.address)
        while doomed := table.doomed():
            for stage, bad in doomed:
                table.say(stage, StageState.BLOCKED, reason=f"'{bad}' did not finish")
        for stage in filter(table.closed, table.among(StageState.WAITING)):
            table.say(stage, StageState.BLOCKED, reason="another stage failed")

    def _advance(self) -> None:
        """Take each stage whose upstream is done as far as the head can, and hand it to a worker if it needs one.

        A stage is begun only when there is room for it.
        """
        due = [stage for stage in self._table.between_tries() if stage.not_before <= time.monotonic()]
        taken = Reserved.by(stage.claim for stage in self._table.in_flight() if stage.held is None)
        limits = self._limits()
        for stage in [*due, *self._table.ready()]:
            if self._table.closed(stage):
                continue
            command = stage.step.spec.kind is StageKind.COMMAND
            if command and is_full(taken, limits):
                if self._all_commands:
                    break
                continue
            if command and not has_room(stage.claim, taken, limits):
                taken.reserve(stage.claim)
                continue
            if stage.state is StageState.WAITING:
                with self._results.locked():
                    self._resolve(stage)
            if stage.state is StageState.QUEUED:
                self._attempts.submit(stage)
            if stage.task is not None:
                taken.start(stage.claim)

    def _resolve(self, stage: Stage) -> None:
        address = stage.address
        stage.begun = time.time()
        begun = time.monotonic()
        try:
            reasons = self._reasons(stage)
            if reasons is None:
                self._table.unchanged(stage)
                return
            if self._run.options.pull and not self._forced(stage) and self._run.project.stages.pull(address):
                self._table.unchanged(stage, "unchanged, its data was pulled")
                return
            self._placing.check(stage.step.spec, self._run.options, force=self._forced(stage))
            if not self._run.confirm(f"Going to reproduce stage: '{address}'. Are you sure you want to continue?"):
                self._attempts.fail(stage, "reproduction aborted by the user")
                return
            done = self._run.project.stages.resolve_on_head(address, self._run.options, force=self._forced(stage))
        except RayDiedError:
            raise
        except DvcRayError as error:
            self._attempts.refuse(stage, error)
            return
        if not done:
            if told := self._run.executor.cluster.start(self._run.options.jobs, stage.step.spec.settings):
                self._run.listen(Notice(text=told))
            self._table.say(stage, StageState.QUEUED, reason=reasons)
            return
        command = stage.step.spec.kind is StageKind.COMMAND
        state = StageState.CACHED if command else StageState.DONE
        self._table.say(stage, state, reason=reasons, seconds=time.monotonic() - begun)

    def _reasons(self, stage: Stage) -> str | None:
        """Why the stage runs, in the workspace as it is now; None if it does not."""
        step = stage.step
        if self._run.options.force or not self._table.must_look(stage):
            return ", ".join(step.reasons) if step.action is Action.RUN else None
        status = self._run.project.stages.status(step.spec.address, allow_missing=self._run.options.allow_missing)
        if not status.changed:
            return "something it depends on has run" if self._forced(stage) else None
        return ", ".join(status.reasons)

    def _forced(self, stage: Stage) -> bool:
        """Whether a stage runs even if it has not changed, by the rules of ``dvc.repo.reproduce``."""
        ran = {StageState.DONE, StageState.CACHED}
        return self._run.options.force or (
            self._run.options.force_downstream and any(state in ran for state in self._table.upstream_states(stage))
        )

    def _limits(self) -> Limits:
        """What all attempts together may take."""
        return Limits(
            attempts=self._run.options.jobs or len(self._table),
            num_cpus=self._run.executor.cluster.capacity(),
            drivers=self._driver_limit() if self._drivers else 0,
        )

    def _driver_limit(self) -> int:
        """Maximum number of stages that use Ray themselves: two with half their workers placed could wait for ever."""
        return max(1, int(self._run.executor.cluster.cpus()) // 4)
