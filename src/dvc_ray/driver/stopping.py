"""Stopping a run: what runs is ended, what is finished is kept."""

from __future__ import annotations

import contextlib
import time
from typing import Final

from dvc_ray.driver.attempts import Attempts
from dvc_ray.driver.context import RunContext
from dvc_ray.driver.install import ResultMerger
from dvc_ray.driver.state import RunState, Stage
from dvc_ray.errors import DvcRayError
from dvc_ray.values.report import Notice
from dvc_ray.values.stage import StageState
from dvc_ray.values.task import Lost, StageResult

_TICK: Final = 0.2
"""Seconds to wait for events at a time."""
_PATIENCE: Final = 10.0
"""Seconds, beyond the grace of a command, in which all attempts must end."""


class Stopping:
    """Stops one run.

    Args:
        run: The run.
        table: Its stages.
        results: Merges results into the workspace.
        attempts: Its attempts.
    """

    def __init__(self, run: RunContext, table: RunState, results: ResultMerger, attempts: Attempts) -> None:
        self._run = run
        self._table = table
        self._results = results
        self._attempts = attempts

    def stop(self) -> None:
        """Stop what runs and wait for it; a second Ctrl-C ends the wait."""
        self._attempts.stopping = True
        self._keep_held()
        self._end_running()
        self._keep_written()  # results whose merge was interrupted
        self._wait_for_ends()
        self._keep_written()
        self._tell_the_rest()

    def _keep_held(self) -> None:
        for stage in self._table.in_flight():
            if stage.held is not None:
                self._keep(stage, stage.held)

    def _end_running(self) -> None:
        running = self._table.in_flight()
        if running:
            with contextlib.suppress(Exception):
                names = ", ".join(stage.address for stage in running)
                self._run.listen(Notice(text=f"Stopping {names}. Press Ctrl-C again to stop at once."))
        for stage in running:
            self._run.executor.stop(stage.address)

    def _wait_for_ends(self) -> None:
        deadline = time.monotonic() + self._run.options.grace + _PATIENCE
        while self._table.in_flight() and time.monotonic() < deadline:
            for event in self._run.executor.events(_TICK):
                ended = self._table.flying(event.address)
                if ended is not None and isinstance(event, (StageResult, Lost)):
                    self._keep(ended, event)

    def _keep_written(self) -> None:
        for stage in self._table.in_flight():
            if stage.task is not None and (result := self._run.kept.read(stage.task)):
                self._keep(stage, result)

    def _tell_the_rest(self) -> None:
        for stage in self._table:
            if not stage.state.is_terminal:
                state = StageState.BLOCKED if stage.task is None else StageState.STOPPED
                with contextlib.suppress(Exception):  # a listener that fails must not prevent the stop
                    self._table.say(stage, state, reason="stopped")

    def _keep(self, stage: Stage, end: StageResult | Lost) -> None:
        """Keep the work of an attempt: all of it if it finished, otherwise what its command wrote."""
        assert stage.task is not None  # noqa: S101
        result = self._run.kept.read(stage.task) if isinstance(end, Lost) else end
        done = result is not None and result.state is StageState.DONE
        if stage.stale or self._attempts.turns.comes_early(stage, end):
            with contextlib.suppress(DvcRayError, OSError):  # another process holds the project
                self._attempts.forget_run(stage, end)
            self._attempts.release(stage)
            self._table.say(stage, StageState.STOPPED, reason="stopped; it had begun too early")
            return
        try:
            if result is not None and done:
                self._attempts.merge([result])
                return
            if result is not None:
                self._results.leave_partial(stage.task, result)
        except (DvcRayError, OSError):  # another process holds the project, or the disk is full
            self._attempts.release(stage, keep=done)
            reason = "stopped; its command had finished, the next run takes its result over" if done else "stopped"
            self._table.say(stage, StageState.STOPPED, reason=reason)
            return
        self._attempts.release(stage)
        self._table.say(stage, StageState.STOPPED, reason="stopped")
