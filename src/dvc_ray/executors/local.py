"""Runs attempts one by one in this process: for tests of the driver, and for pdb."""

from __future__ import annotations

import os
import socket
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext

from dvc_ray.values.run import ActiveRun
from dvc_ray.values.stage import StageSettings
from dvc_ray.values.task import Lost, Pack, StageTask, Wait, WorkerEvent
from dvc_ray.worker import run_stage


class LocalExecutor:
    """An `Executor` without Ray; a submitted attempt runs when the driver waits for events.

    Args:
        apart: Whether attempts run as on a machine that does not share the head's disk.
        shared: A folder that this machine sees all the same.
    """

    def __init__(self, *, apart: bool = False, shared: str | None = None) -> None:
        self._apart = apart
        self._shared = shared
        self._queue: deque[tuple[StageTask, Sequence[Pack]]] = deque()
        self._stopped: set[str] = set()

    def warm_up(self, jobs: int | None) -> str:
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

    def shares_disk(self) -> bool:
        """Whether the disk is this machine's own, which it is taken not to be with ``apart``."""
        return not self._apart

    def look_over(self) -> str:
        """It is this machine."""
        return ""

    def lacking(self, folder: str, mark: str) -> Mapping[str, str]:
        """It sees what it was made to see."""
        if self._shared is None or os.path.commonpath([self._shared, folder]) != self._shared:
            return {socket.gethostname(): "is as another machine"}
        return {}

    def announced(self, run: ActiveRun) -> AbstractContextManager[None]:
        """Nobody else uses this process."""
        return nullcontext()

    def who_stops(self) -> str:
        """So nobody asks."""
        return ""

    def submit(self, task: StageTask, settings: StageSettings, packs: Sequence[Pack] = ()) -> None:
        """Queue an attempt."""
        self._queue.append((task, packs))

    def events(self, timeout: float) -> Sequence[WorkerEvent]:
        """Run the next attempt to its end."""
        if not self._queue:
            return []
        task, packs = self._queue.popleft()
        seen: list[WorkerEvent] = []
        if task.address in self._stopped:
            self._stopped.discard(task.address)
            return [Lost(address=task.address, attempt=task.attempt, why="stopped")]
        cluster = {"RAY_ADDRESS": os.environ["RAY_ADDRESS"]} if "RAY_ADDRESS" in os.environ else {}
        stopped = self._stopped
        seen.append(
            run_stage(task, emit=seen.append, stopped=lambda: task.address in stopped, cluster=cluster, packs=packs)
        )
        return seen

    def waits(self) -> Mapping[str, Wait]:
        """What is submitted is run as soon as somebody asks for events."""
        return {}

    def stop(self, address: str) -> None:
        """End a queued attempt; a running one cannot be reached, it runs in the driver's own thread."""
        self._stopped.add(address)

    def close(self) -> None:
        """Drop what is queued."""
        self._queue.clear()
