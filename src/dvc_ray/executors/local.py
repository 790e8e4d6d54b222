"""Runs attempts one by one in this process: for tests of the driver, and for pdb."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Sequence

from dvc_ray.values import Lost, StageSettings, StageTask, WorkerEvent
from dvc_ray.worker import run_stage


class LocalExecutor:
    """An `Executor` without Ray; a submitted attempt runs when the driver waits for events."""

    def __init__(self) -> None:
        self._queue: deque[StageTask] = deque()
        self._stopped: set[str] = set()

    def warm_up(self, jobs: int) -> str:
        """Nothing to get ready."""
        return ""

    def cpus(self) -> float:
        """One stage at a time: DVC uses the working directory of the process."""
        return 1

    def capacity(self) -> float | None:
        """Not counted: what is submitted waits for its turn."""
        return None

    def surely_fits(self, settings: StageSettings) -> bool:
        """Resources are not counted here."""
        return True

    def check(self, address: str, settings: StageSettings) -> str:
        """Nor is anything refused."""
        return ""

    def submit(self, task: StageTask, settings: StageSettings) -> None:
        """Queue an attempt."""
        self._queue.append(task)

    def events(self, timeout: float) -> Sequence[WorkerEvent]:
        """Run the next attempt to its end."""
        if not self._queue:
            return []
        task = self._queue.popleft()
        seen: list[WorkerEvent] = []
        if task.address in self._stopped:
            return [Lost(address=task.address, attempt=task.attempt, why="stopped")]
        nested = {"RAY_ADDRESS": os.environ["RAY_ADDRESS"]} if "RAY_ADDRESS" in os.environ else {}
        seen.append(run_stage(task, emit=seen.append, stopped=lambda: task.address in self._stopped, nested=nested))
        return seen

    def stop(self, address: str) -> None:
        """End a queued attempt; a running one cannot be reached, it runs in the driver's own thread."""
        self._stopped.add(address)

    def close(self) -> None:
        """Drop what is queued."""
        self._queue.clear()
