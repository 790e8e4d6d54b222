"""Runs attempts one by one in this process: for a debugger, and for tests of the driver."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Mapping, Sequence

from dvc_ray.executors.this_machine import ThisMachine
from dvc_ray.values.stage import StageSettings
from dvc_ray.values.task import FileBundle, Lost, StageTask, Wait, WorkerEvent
from dvc_ray.worker import run_stage


class LocalExecutor:
    """An `Executor` without Ray; a submitted attempt runs when the driver waits for events.

    Args:
        apart: Whether attempts run as on a machine that does not share the head's disk.
        shared: A folder that this machine shares with the head even so.
        attached: Whether commands get the terminal of this process: see `dvc_ray.command.attached`.
    """

    def __init__(self, *, apart: bool = False, shared: str | None = None, attached: bool = False) -> None:
        self._attached = attached
        self.cluster = ThisMachine(apart=apart, shared=shared)
        self._queue: deque[tuple[StageTask, Sequence[FileBundle]]] = deque()
        self._stopped: set[str] = set()

    def submit(self, task: StageTask, settings: StageSettings, bundles: Sequence[FileBundle] = ()) -> None:
        """Queue an attempt."""
        self._queue.append((task, bundles))

    def events(self, timeout: float) -> Sequence[WorkerEvent]:
        """Run the next attempt to its end."""
        if not self._queue:
            return []
        task, bundles = self._queue.popleft()
        seen: list[WorkerEvent] = []
        if task.address in self._stopped:
            self._stopped.discard(task.address)
            return [Lost(address=task.address, attempt=task.attempt, why="stopped")]
        cluster = {"RAY_ADDRESS": os.environ["RAY_ADDRESS"]} if "RAY_ADDRESS" in os.environ else {}
        stopped = self._stopped
        seen.append(
            run_stage(
                task,
                emit=seen.append,
                stopped=lambda: task.address in stopped,
                cluster=cluster,
                bundles=bundles,
                attached=self._attached,
            )
        )
        return seen

    def waits(self) -> Mapping[str, Wait]:
        """Nothing: an attempt runs as soon as the driver asks for events."""
        return {}

    def stop(self, address: str) -> None:
        """End a queued attempt; a running one cannot be reached, because it runs in the driver's own thread."""
        self._stopped.add(address)

    def close(self) -> None:
        """Drop queued attempts."""
        self._queue.clear()
