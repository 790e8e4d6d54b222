"""Runs attempts as Ray tasks.

A task is a generator (Ray's ``num_returns="streaming"``): it yields that it has started, what the command prints and
at last the result, so that one ordered channel carries all of it, on one machine as on machines that share no disk.
Ray's own retries are off: the driver decides about them.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from dvc_ray.errors import ClusterError, ConfigError, RayDiedError
from dvc_ray.executors import fit
from dvc_ray.executors.locations import Locations, of_entry
from dvc_ray.executors.ray import nodes, runs
from dvc_ray.executors.ray.connection import Connection
from dvc_ray.executors.ray.remote import Placed, attempt_name, look, run
from dvc_ray.executors.waits import SET_UP, wait
from dvc_ray.executors.words import first_line, lacks_package, last_line, pressure
from dvc_ray.live.away import forget, key_of
from dvc_ray.ray_api import autoscaler, scheduling
from dvc_ray.ray_api.names import NODE_ID, accelerators
from dvc_ray.values.run import ActiveRun
from dvc_ray.values.stage import StageSettings, StageState
from dvc_ray.values.task import Lost, Pack, StageResult, StageTask, Stored, Wait, WorkerEvent

_NODES_EVERY: Final = 2.0
"""Seconds between questions which nodes are alive."""
_PATIENCE: Final = 3.0
"""Seconds that an attempt may take to start before it is said what it waits for."""
_WAITS_EVERY: Final = 2.0
"""Seconds between questions what they wait for."""
_WISHES_EVERY: Final = 1.0
"""Seconds between looks whether somebody has asked the run to stop."""
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
        jobs: Attempts at a time that a local Ray has CPUs for, if that is more than it has cores.
        remembered: File with what runs before have left on the cluster's nodes, and this one will; None: neither.
    """

    def __init__(self, address: str | None, jobs: int | None = None, remembered: Path | None = None) -> None:
        self._ray = Connection(address, jobs)
        self._remembered = remembered
        self._local: fit.Node | None = None
        self._function: Any = None
        self._flights: dict[str, _Flight] = {}
        self._lost: list[WorkerEvent] = []
        self._sent: dict[str, Any] = {}
        """Packs in Ray's object store, by id."""
        self._here = ""
        self._shares_disk: bool | None = None
        self._locations = Locations.read(remembered) if remembered else Locations()
        self._known: set[str] = set()
        """Ids of the nodes that were alive when that was asked last."""
        self._nodes_due = 0.0
        """When to ask again which nodes are alive (`time.monotonic`)."""
        self._waits_due = 0.0
        """When to ask again what attempts wait for."""
        self._run_id = ""
        """Of the run that was announced."""
        self._wishes_due = 0.0
        """When to look again whether it is to stop."""

    def warm_up(self, jobs: int | None) -> str:
        """Start or join Ray in the background."""
        return self._ray.begin(jobs)

    def cpus(self) -> float:
        """CPUs of the cluster as it is now."""
        capacity = self._ray.capacity()
        if capacity is not None:
            return capacity
        self._ray.wait()  # first: two threads that import Ray at once may see half of it
        import ray

        return float(ray.cluster_resources().get("CPU", 0))

    def capacity(self) -> float | None:
        """CPUs of the local Ray; None for a cluster, which may grow."""
        return self._ray.capacity()

    def surely_fits(self, settings: StageSettings) -> bool:
        """Judge a stage that asks for CPUs only, without Ray, which then need not be started for the run cache."""
        capacity = self.capacity()
        return fit.is_plain(settings) and (capacity is None or settings.num_cpus <= capacity)

    def check(self, address: str, settings: StageSettings) -> str:
        """Refuse what the local Ray can never place; a cluster may scale up, so there Ray is asked to wait."""
        capacity = self.capacity()
        if capacity is not None and settings.num_cpus > capacity:
            self._refuse(settings, fit.Node(total={"CPU": capacity}))  # without waiting for Ray
        self._refuse_image(settings)
        self._ray.wait()
        self._prepared(address, settings)
        doubt = self._doubt(settings.accelerator_type) if settings.accelerator_type else ""
        self._refuse(settings, self._node(), doubt)
        return doubt

    def _refuse(self, settings: StageSettings, node: fit.Node | None, doubt: str = "") -> None:
        lack = fit.lack(settings, node) if node is not None else None
        if lack is not None:
            of_cpus = isinstance(lack, fit.ResourceLack) and lack.name == fit.CPU
            raise ClusterError(
                f"{lack}: it could never start.{f' {doubt}' if doubt else ''}",
                f"Change it under 'meta: ray:' of the stage{', or raise --jobs' if of_cpus else ''},"
                " or run on a cluster with --address.",
            )

    def _refuse_image(self, settings: StageSettings) -> None:
        if fit.IMAGE in (settings.runtime_env or {}) and self.shares_disk():
            raise ClusterError(
                "its runtime_env names an image: Ray gives a container nothing of this machine's disk but Ray's own"
                " folder, so that it would not find its workspace.",
                "Mount the project's folder: 'runtime_env: {container: {image: IMAGE, run_options: [\"-v DIR:DIR\"]}}';"
                " or run it on other machines, with --address and a remote.",
            )

    def _node(self) -> fit.Node | None:
        """The one node of a local Ray; None for a cluster."""
        if self._ray.address is None and self._local is None:
            import ray

            self._local = fit.Node(total=ray.cluster_resources(), labels=ray.nodes()[0]["Labels"])
        return self._local

    def _doubt(self, accelerator: str) -> str:
        """Name an accelerator that is likely misspelt: on a cluster that may scale up it would be waited for."""
        import ray

        return fit.doubt(accelerator, [*accelerators(), *fit.accelerators(ray.cluster_resources())])

    def shares_disk(self) -> bool:
        """Whether Ray has, and will have, no node but this machine."""
        if self._ray.address is None:
            return True
        self._ray.wait()
        if self._shares_disk is None:
            import ray

            alive, self._here = nodes.alive(), ray.get_runtime_context().get_node_id()
            alone = [node["NodeID"] for node in alive] == [self._here] and alive[0]["Resources"].get("CPU", 0) > 0
            # What it is now, it is for the run: attempts stay on this node, whichever come later.
            self._shares_disk = alone and self._scaling() is None
        return self._shares_disk

    def look_over(self) -> str:
        """Compare what the nodes have with what this machine has; those that come later are not waited for."""
        self._ray.wait()
        return nodes.look_over(self._ray.head)

    def lacking(self, folder: str, mark: str) -> Mapping[str, str]:
        """Ask the nodes; those that come later are asked by the attempts that come to them."""
        self._ray.wait()
        return nodes.lacking(self._ray.head, folder, mark)

    def announced(self, run: ActiveRun) -> contextlib.AbstractContextManager[None]:
        """Let others on the cluster see a run; a local Ray has no others, and need not be there."""
        if self._ray.address is None:
            return contextlib.nullcontext()
        self._ray.wait()
        self._run_id = run.run_id
        return runs.announced(run)

    def who_stops(self) -> str:
        """Look, now and then, whether somebody has asked it to stop."""
        if not self._run_id or time.monotonic() < self._wishes_due:
            return ""
        self._wishes_due = time.monotonic() + _WISHES_EVERY
        try:
            return runs.who_stops(self._run_id)
        except Exception:  # noqa: BLE001  a GCS that is busy, in one of Ray's ways to say so
            return ""

    def submit(self, task: StageTask, settings: StageSettings, packs: Sequence[Pack] = ()) -> None:
        """Hand an attempt to Ray's scheduler."""
        self._ray.wait()
        import ray

        for packed in packs:
            if packed.lasting and packed.id not in self._sent:
                self._sent[packed.id] = ray.put(packed)
        sent = [self._sent[packed.id] if packed.lasting else packed for packed in packs]
        remote = self._prepared(task.address, settings, near=self._near(task.data.deps))
        head = None if self.shares_disk() else look()
        self._flights[task.address] = _Flight(task, settings, remote.remote(task, head, *sent), time.monotonic())

    def _near(self, deps: Sequence[Stored]) -> Any | None:
        """Ray's word for the node that has most of what an attempt reads, unless it would have to wait there."""
        if not deps:
            return None
        self._known = self._known or {node["NodeID"] for node in nodes.alive()}
        node = self._locations.best(deps, self._known)
        return scheduling.prefer(node) if node else None

    def _prepared(self, address: str, settings: StageSettings, *, near: Any = None) -> Any:
        """The remote function with a stage's options, which Ray checks."""
        import ray

        labels = self._placed(dict(settings.label_selector))
        try:
            self._function = self._function or ray.remote(max_retries=0, num_returns="streaming")(run)
            return self._function.options(
                name=f"stage {address}",
                num_cpus=settings.num_cpus,
                num_gpus=settings.num_gpus or None,
                memory=settings.memory,
                resources=dict(settings.resources) or None,
                accelerator_type=settings.accelerator_type,
                label_selector=labels or None,
                runtime_env=settings.runtime_env,
                scheduling_strategy=near,
            )
        except (TypeError, ValueError) as error:
            raise ConfigError(
                f"Ray refuses its settings: {first_line(error)}", f"Correct 'meta: ray:' of stage '{address}'."
            ) from error

    def _placed(self, labels: Mapping[str, str]) -> dict[str, str]:
        """Keep attempts on this node where it is the only one, and off the head where there are others."""
        if self._ray.address is None:
            return dict(labels)
        if self.shares_disk():
            return {**labels, NODE_ID: self._here}
        return {NODE_ID: f"!{self._ray.head}", **labels}

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
            time.sleep(timeout)  # nothing can happen; whoever waits must not spin
        return found

    def waits(self) -> Mapping[str, Wait]:
        """Compare what attempts ask for with the nodes there are and that the autoscaler brings; now and then."""
        now = time.monotonic()
        waiting = [flight for flight in self._flights.values() if not flight.node and now - flight.since > _PATIENCE]
        if not waiting or now < self._waits_due:
            return {}
        self._waits_due = now + _WAITS_EVERY
        if self._ray.address is None:  # nobody else takes CPUs from it
            set_up = Wait(what=SET_UP)
            return {flight.task.address: set_up for flight in waiting if fit.has_environment(flight.settings)}
        there = [
            fit.Node(total=node["Resources"], labels=node["Labels"])
            for node in nodes.alive()
            if node["NodeID"] != self._ray.head
        ]
        found = self._scaling()
        moving = any(flight.node for flight in self._flights.values())
        told = {flight.task.address: wait(flight.settings, there, found, moving=moving) for flight in waiting}
        return {address: text for address, text in told.items() if text is not None}

    @staticmethod
    def _scaling() -> autoscaler.Scaling | None:
        import ray

        try:
            return autoscaler.look(ray.get_runtime_context().gcs_address)
        except Exception:  # noqa: BLE001  a GCS that is busy, in one of Ray's ways to say so
            return None

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
            if event.state is StageState.DONE and not self.shares_disk():
                self._locations.note(flight.node, of_entry(event.entry))
                self._locations.note(flight.node, ((dep.oid, dep.size) for dep in task.data.deps))
            self._forget(task)
        return [event]

    def _end_by(self, flight: _Flight, error: Exception) -> list[WorkerEvent]:
        """Give up an attempt that ended by one of Ray's errors."""
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

        A streaming task whose node loses power is not told to its owner before a connection times out, which takes
        minutes (Ray 2.60); that the node is dead, Ray knows within one.
        """
        if self._ray.address is None or not self._flights or time.monotonic() < self._nodes_due:
            return
        self._nodes_due = time.monotonic() + _NODES_EVERY
        self._known = alive = {node["NodeID"] for node in nodes.alive()}
        for flight in list(self._flights.values()):
            if flight.node and flight.node not in alive:
                self._lost += self._end(flight, "its node is gone")

    def _check_alive(self) -> None:
        """See whether the local Ray is.

        Raises:
            RayDiedError: It is not; its attempts are lost.
        """
        if gone := self._ray.found_dead():
            for flight in list(self._flights.values()):
                self._lost += self._end(flight, "Ray died")
            raise RayDiedError(
                f"Ray has died on this machine: {gone}.",
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
        if not self.shares_disk():  # a worker that was killed has not done it
            with contextlib.suppress(Exception):  # a cluster that is gone has forgotten it, too
                forget(key_of(task.run_id, attempt_name(task)))

    def _force(self, address: str, flight: _Flight) -> None:
        import ray

        if self._flights.get(address) is flight:
            with contextlib.suppress(Exception):  # it may end by itself at the same moment
                ray.cancel(flight.stream, force=True)
