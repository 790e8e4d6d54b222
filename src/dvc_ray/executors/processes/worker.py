"""A worker process: runs the attempts that its driver sends, one at a time, until the driver is gone."""

from __future__ import annotations

from multiprocessing.connection import Connection

from dvc_ray.executors.processes.messages import Order, Stop
from dvc_ray.values.task import Lost, StageTask, WorkerEvent
from dvc_ray.worker import run_stage


def serve(connection: Connection) -> None:
    """Run attempts until the other end is closed.

    An attempt that runs then is stopped; its result is kept where the next run finds it (`run_stage`).

    Args:
        connection: To the driver, which sends `Order` and `Stop`, and is sent events.
    """
    driver = _Driver(connection)
    while (order := driver.next_order()) is not None:
        driver.emit(_run(order, driver))


def _run(order: Order, driver: _Driver) -> WorkerEvent:
    task = order.task
    try:
        return run_stage(
            task,
            emit=driver.emit,
            stopped=lambda: driver.stops(task),
            cluster=order.cluster,
            bundles=order.bundles,
        )
    except Exception as error:  # noqa: BLE001  a bug of ours: the driver says it, this worker goes on
        return Lost(address=task.address, attempt=task.attempt, why=f"{type(error).__name__}: {error}")


class _Driver:
    """The driver, as a worker has it."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._gone = False
        self._stopped: set[Stop] = set()

    def next_order(self) -> Order | None:
        """Wait for the next attempt; None: the driver is gone."""
        while not self._gone:
            try:
                message = self._connection.recv()
            except (EOFError, OSError):
                return None
            if isinstance(message, Order):
                self._stopped.clear()
                return message
        return None

    def emit(self, event: WorkerEvent) -> None:
        """Tell an event; never fails: a driver that is gone is found out by `stops`."""
        try:
            self._connection.send(event)
        except OSError:
            self._gone = True

    def stops(self, task: StageTask) -> bool:
        """Whether an attempt is to end."""
        try:
            while not self._gone and self._connection.poll():
                message = self._connection.recv()
                if isinstance(message, Stop):
                    self._stopped.add(message)
        except (EOFError, OSError):
            self._gone = True
        return self._gone or Stop(address=task.address, attempt=task.attempt) in self._stopped
