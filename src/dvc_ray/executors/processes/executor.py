"""Runs attempts in worker processes of this machine."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Final

from dvc_ray import env
from dvc_ray.errors import ClusterError
from dvc_ray.executors.processes import memory
from dvc_ray.executors.processes.cluster import LocalCpus
from dvc_ray.executors.processes.messages import Order, Stop
from dvc_ray.executors.processes.nursery import Nursery
from dvc_ray.executors.this_machine import local_cpus
from dvc_ray.settings.resources import gib
from dvc_ray.values.stage import StageSettings
from dvc_ray.values.task import FileBundle, Lost, StageResult, StageTask, Wait, WorkerEvent

_FORCE_AFTER: Final = 5.0
"""Seconds beyond a command's grace after which a worker that does not answer is killed."""
_LOOK_EVERY: Final = 1.0
"""Seconds between looks at the memory and at attempts that are to end."""
_TOO_FULL: Final = 0.95
"""Share of the memory above which the last attempt is ended: what Ray's memory monitor ends one at (2.60)."""
_TO_SAY_HOW: Final = 1.0
"""Seconds that it may take until it is known how a worker has ended."""


@dataclass(slots=True)
class _Worker:
    number: int
    connection: Connection
    task: StageTask | None = None
    """Its attempt; None: it is free."""
    begun: float = 0.0
    """When it was given the attempt (`time.monotonic`)."""
    stopping: float | None = None
    """When it is killed if it has not ended the attempt by then; None: it is not to end."""
    why: str = ""
    """Why it was killed."""


class ProcessExecutor:
    """An `Executor` of processes on this machine; the driver decides how many attempts run at a time.

    Args:
        jobs: Attempts at a time that there are CPUs for, if that is more than there are cores.
    """

    def __init__(self, jobs: int | None = None) -> None:
        self.cluster = LocalCpus(local_cpus(jobs), self._started)
        self._nursery: Nursery | None = None
        self._workers: list[_Worker] = []
        self._look_due = 0.0

    def submit(self, task: StageTask, settings: StageSettings, bundles: Sequence[FileBundle] = ()) -> None:
        """Give an attempt to a free worker, or to a new one.

        Raises:
            ClusterError: No process can be started.
        """
        del settings  # the driver counts CPUs
        joins = {env.RAY_ADDRESS: os.environ[env.RAY_ADDRESS]} if env.RAY_ADDRESS in os.environ else {}
        worker = self._hand_over(Order(task=task, bundles=tuple(bundles), cluster=joins))
        worker.task, worker.begun, worker.stopping, worker.why = task, time.monotonic(), None, ""

    def _hand_over(self, order: Order) -> _Worker:
        while True:
            free = self._free()
            worker = free or self._new()
            try:
                worker.connection.send(order)
            except OSError as error:  # it has ended just now
                self._drop(worker)
                if free is None:
                    raise _not_started(error) from error
            else:
                return worker

    def events(self, timeout: float) -> Sequence[WorkerEvent]:
        """Wait for the next events of any attempt."""
        self._look()
        busy = {worker.connection: worker for worker in self._workers if worker.task is not None}
        if not busy:
            time.sleep(timeout)  # nothing can happen; whoever waits must not spin
            return []
        found: list[WorkerEvent] = []
        for ready in wait(list(busy), timeout):
            found += self._hear(busy[ready])  # type: ignore[index]
        return found

    def is_busy(self) -> bool:
        """Whether an attempt is in flight."""
        return any(worker.task is not None for worker in self._workers)

    def waits(self) -> Mapping[str, Wait]:
        """What is submitted runs at once."""
        return {}

    def stop(self, address: str) -> None:
        """Ask a worker to end its command."""
        for worker in self._workers:
            task = worker.task
            if task is not None and task.address == address and worker.stopping is None:
                worker.stopping = time.monotonic() + task.grace + _FORCE_AFTER
                try:
                    worker.connection.send(Stop(address=task.address, attempt=task.attempt))
                except OSError:  # it is gone, which the next look at events finds
                    return

    def close(self) -> None:
        """End the workers. One that still runs an attempt is killed: whoever closes has no time to wait any more."""
        for worker in self._workers:
            if worker.task is not None and self._nursery is not None:
                self._nursery.kill(worker.number)
            worker.connection.close()
        self._workers = []
        if self._nursery is not None:
            self._nursery.close(_FORCE_AFTER)
            self._nursery = None

    def _started(self) -> Nursery:
        if self._nursery is None or not self._nursery.is_alive():
            try:
                self._nursery = Nursery()
            except OSError as error:
                raise _not_started(error) from error
            self._workers = [worker for worker in self._workers if worker.task is not None]
        return self._nursery

    def _free(self) -> _Worker | None:
        for worker in [worker for worker in self._workers if worker.task is None]:
            if not worker.connection.poll():  # a free one has nothing to say: it is gone
                return worker
            self._drop(worker)
        return None

    def _new(self) -> _Worker:
        try:
            worker = _Worker(*self._started().worker())
        except OSError as error:  # the nursery has ended just now, or there are too many open files
            raise _not_started(error) from error
        self._workers.append(worker)
        return worker

    def _hear(self, worker: _Worker) -> list[WorkerEvent]:
        """Take all that a worker has told."""
        found: list[WorkerEvent] = []
        try:
            while worker.task is not None and worker.connection.poll():
                found.append(worker.connection.recv())
                if isinstance(found[-1], StageResult | Lost):
                    worker.task = None
        except (EOFError, OSError):
            found.append(self._lost(worker))
        return found

    def _lost(self, worker: _Worker) -> Lost:
        assert worker.task is not None  # noqa: S101
        task, is_full = worker.task, bool(worker.why)
        why = worker.why or ("stopped" if worker.stopping is not None else self._how(worker))
        self._drop(worker)
        return Lost(address=task.address, attempt=task.attempt, why=why, out_of_memory=is_full)

    def _how(self, worker: _Worker) -> str:
        code = self._nursery.ended(worker.number, _TO_SAY_HOW) if self._nursery is not None else None
        if code is None:
            return "its worker process ended without a result"
        how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        return f"its worker process ended by {how}"

    def _drop(self, worker: _Worker) -> None:
        worker.connection.close()
        self._workers.remove(worker)

    def _look(self) -> None:
        """Kill workers that do not end, and the last one where memory runs out."""
        now = time.monotonic()
        if now < self._look_due or self._nursery is None:
            return
        self._look_due = now + _LOOK_EVERY
        busy = [worker for worker in self._workers if worker.task is not None]
        for worker in busy:
            if worker.stopping is not None and now > worker.stopping:
                self._nursery.kill(worker.number)
        there = memory.look()
        if busy and there.share > _TOO_FULL:
            last = max(busy, key=lambda worker: worker.begun)
            last.why = f"memory ran out, {gib(there.used)} of {gib(there.total)} were used: the last stage was ended"
            self._nursery.kill(last.number)


def _not_started(error: OSError) -> ClusterError:
    return ClusterError(
        f"cannot start a process for a stage: {error.strerror or error}",
        "See whether this shell allows more processes and open files (`ulimit -u`, `ulimit -n`), and run it again.",
    )
