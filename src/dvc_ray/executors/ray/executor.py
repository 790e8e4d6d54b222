"""Runs attempts as Ray tasks.

A task is a generator (Ray's ``num_returns="streaming"``): it yields its start, the output of the command and finally
the result, so that one ordered channel carries all of it, whether or not machines share a disk. Ray's own retries are
off: the driver decides on retries.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from dvc_ray.errors import RayDiedError
from dvc_ray.executors.placement import fit
from dvc_ray.executors.placement.locations import Locations, of_entry
from dvc_ray.executors.placement.waits import SET_UP, wait
from dvc_ray.executors.ray import nodes, options
from dvc_ray.executors.ray.cluster import RayCluster
from dvc_ray.executors.ray.connection import Connection
from dvc_ray.executors.ray.messages import lacks_package, last_line, pressure
from dvc_ray.executors.ray.task import Placed, attempt_name, look
from dvc_ray.live.remote import forget, key_of
from dvc_ray.ray_api import scheduling
from dvc_ray.values.stage import StageSettings, StageState
from dvc_ray.values.task import FileBundle, Lost, StageResult, StageTask, Stored, Wait, WorkerEvent

_NODES_EVERY: Final = 2.0
"""Seconds between checks which nodes are alive."""
_PATIENCE: Final = 3.0
"""Seconds that an attempt may take to start before the user is told what it waits for."""
_WAITS_EVERY: Final = 2.0
"""Seconds between checks of what attempts wait for."""
_FORCE_AFTER: Final = 5.0
"""Seconds beyond a command's grace after which a worker that does not answer is killed."""


@dataclass(slots=True)
class _Flight:
    task: StageTask
    settings: StageSettings
    stream: Any
    since: float
    """When it was handed to Ray (`time.monotonic`)."""
    stopping: bool = False
    node: str = ""
    """Id of the node it runs on; empty: not known yet."""


class RayExecutor:
    """An `Executor` on a Ray cluster.

    Args:
        address: Cluster to join; None: start a local Ray and stop it in `close`.
        jobs: Attempts at a time; a local Ray has that many CPUs, if they are more than its cores.
        remembered: File in which runs keep what is on the cluster's nodes, read and written; None: neither.
    """

    def __init__(self, address: str | None, jobs: int | None = None, remembered: Path | None = None) -> None:
        self._ray = Connection(address, jobs)
        self.cluster = RayCluster(self._ray)
        self._remembered = remembered
        self._flights: dict[str, _Flight] = {}
        self._lost: list[WorkerEvent] = []
        self._sent: dict[str, Any] = {}
        """Bundles in Ray's object store, by id."""
        self._locations = Locations.read(remembered) if remembered else Locations()
        self._known: set[str] = set()
        """Ids of the nodes that were alive at the last check."""
        self._nodes_due = 0.0
        """When to ask again which nodes are alive (`time.monotonic`)."""
        self._waits_due = 0.0
        """When to ask again what attempts wait for."""

    def submit(self, task: StageTask, settings: StageSettings, bundles: Sequence[FileBundle] = ()) -> None:
        """Hand an attempt to Ray's scheduler."""
        self._ray.wait()
        import ray

        for bundle in bundles:
            if bundle.lasting and bundle.id not in self._sent:
                self._sent[bundle.id] = ray.put(bundle)
        sent = [self._sent[bundle.id] if bundle.lasting else bundle for bundle in bundles]
        labels = self.cluster.placed(dict(settings.label_selector))
        remote = options.prepared(task.address, settings, labels, self._near(task.data.deps))
        head = None if self.cluster.shares_disk() else look()
        self._flights[task.address] = _Flight(task, settings, remote.remote(task, head, *sent), time.monotonic())

    def _near(self, deps: Sequence[Stored]) -> Any | None:
        """Ray's strategy for the node that has most of what an attempt reads, unless it would have to wait there."""
        if not deps:
            return None
        self._known = self._known or {node["NodeID"] for node in nodes.alive()}
        node = self._locations.best(deps, self._known)
        return scheduling.prefer(node) if node else None

    def events(self, timeout: float) -> Sequence[WorkerEvent]:
        """Wait for the next events of any attempt."""
        import ray

        self._check_alive()
        self._check_nodes()
        found, self._lost = self._lost, []
        streams = {flight.stream: address for address, flight in self._flights.items()}
        if streams and not found:
            ready, _ = ray.wait(list(streams), num_returns=1, timeout=timeout, fetch_local=True)
            if ready:
                ready, _ = ray.wait(list(streams), num_returns=len(streams), timeout=0, fetch_local=True)
            for stream in ready:
                found += self._next(self._flights[streams[stream]])
        elif not found:
            time.sleep(timeout)  # no attempt is in flight; the caller must not spin
        return found

    def waits(self) -> Mapping[str, Wait]:
        """Compare, now and then, what attempts ask for with the nodes that exist or that the autoscaler adds."""
        now = time.monotonic()
        waiting = [flight for flight in self._flights.values() if not flight.node and now - flight.since > _PATIENCE]
        if not waiting or now < self._waits_due:
            return {}
        self._waits_due = now + _WAITS_EVERY
        if self.cluster.is_local:  # nobody else takes CPUs from it
            set_up = Wait(what=SET_UP)
            return {flight.task.address: set_up for flight in waiting if fit.has_environment(flight.settings)}
        there = [
            fit.Node(total=node["Resources"], labels=node["Labels"])
            for node in nodes.alive()
            if node["NodeID"] != self.cluster.head
        ]
        found = self.cluster.scaling()
        moving = any(flight.node for flight in self._flights.values())
        told = {flight.task.address: wait(flight.settings, there, found, moving=moving) for flight in waiting}
        return {address: text for address, text in told.items() if text is not None}

    def stop(self, address: str) -> None:
        """Cancel an attempt: Ray interrupts the worker, which ends its command."""
        import ray

        flight = self._flights.get(address)
        if flight is not None and not flight.stopping:
            flight.stopping = True
            ray.cancel(flight.stream, force=False, recursive=True)
            timer = threading.Timer(flight.task.grace + _FORCE_AFTER, self._force, args=(address, flight))
            timer.daemon = True
            timer.start()

    def close(self) -> None:
        """Stop the local Ray, or leave the cluster."""
        if self._remembered and self._known:
            self._locations.write(self._remembered, self._known)
        self._ray.close()

    def _next(self, flight: _Flight) -> list[WorkerEvent]:
        import ray

        task = flight.task
        try:
            event: WorkerEvent | Placed = ray.get(next(flight.stream))
        except StopIteration:
            return self._end(flight, "its worker ended without a result")
        except ray.exceptions.RayError as error:
            return self._end_by(flight, error)
        if isinstance(event, Placed):
            flight.node = event.node
            return []
        if isinstance(event, StageResult):
            if event.state is StageState.DONE and not self.cluster.shares_disk():
                self._locations.note(flight.node, of_entry(event.entry))
                self._locations.note(flight.node, ((dep.oid, dep.size) for dep in task.data.deps))
            self._forget(task)
        return [event]

    def _end_by(self, flight: _Flight, error: Exception) -> list[WorkerEvent]:
        """End an attempt that has failed with one of Ray's errors."""
        import ray

        if isinstance(error, ray.exceptions.OutOfMemoryError):
            return self._end(flight, f"Ray's memory monitor ended its worker: {pressure(error)}", out_of_memory=True)
        reason = last_line(error)
        if isinstance(error, ray.exceptions.RuntimeEnvSetupError):
            return self._end(flight, f"its runtime_env cannot be set up: {reason}", no_environment=True)
        if lacks_package(error):
            return self._end(flight, f"its environment lacks a package: {reason}", no_environment=True)
        return self._end(flight, "stopped" if flight.stopping else reason)

    def _check_nodes(self) -> None:
        """Give up attempts on nodes that Ray has found dead.

        When a node loses power, the owner of a streaming task on it is not told before a connection times out, which
        takes minutes (Ray 2.60); Ray knows within one minute that the node is dead.
        """
        if self.cluster.is_local or not self._flights or time.monotonic() < self._nodes_due:
            return
        self._nodes_due = time.monotonic() + _NODES_EVERY
        self._known = alive = {node["NodeID"] for node in nodes.alive()}
        for flight in list(self._flights.values()):
            if flight.node and flight.node not in alive:
                self._lost += self._end(flight, "its node is gone")

    def _check_alive(self) -> None:
        """Check that the local Ray is alive.

        Raises:
            RayDiedError: It is dead; its attempts are lost.
        """
        if gone := self._ray.found_dead():
            for flight in list(self._flights.values()):
                self._lost += self._end(flight, "Ray died")
            raise RayDiedError(
                f"Ray has died on this machine: {gone}",
                "What is finished is kept: run the same command again. A machine without memory left is a common"
                " reason.",
            )

    def _end(
        self, flight: _Flight, why: str, *, out_of_memory: bool = False, no_environment: bool = False
    ) -> list[WorkerEvent]:
        task = flight.task
        self._forget(task)
        lost = Lost(
            address=task.address,
            attempt=task.attempt,
            why=why,
            out_of_memory=out_of_memory,
            no_environment=no_environment,
        )
        return [lost]

    def _forget(self, task: StageTask) -> None:
        del self._flights[task.address]
        if not self.cluster.shares_disk():  # a worker that was killed has not done this
            with contextlib.suppress(Exception):  # a cluster that is gone has no record to remove
                forget(key_of(task.run_id, attempt_name(task)))

    def _force(self, address: str, flight: _Flight) -> None:
        import ray

        if self._flights.get(address) is flight:
            with contextlib.suppress(Exception):  # it may end by itself at the same moment
                ray.cancel(flight.stream, force=True)
