"""Runs attempts as Ray tasks.

A task is a generator (Ray's ``num_returns="streaming"``): it yields that it has started, what the command prints and
at last the result, so that one ordered channel carries all of it, on one machine as on machines that share no disk.
Ray's own retries are off: the driver decides about them.
"""

from __future__ import annotations

import contextlib
import logging
import os
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from dvc_ray.errors import ClusterError, ConfigError, RayDiedError
from dvc_ray.executors import fit
from dvc_ray.executors.locations import Locations, of_entry
from dvc_ray.executors.ray import nodes, scaling
from dvc_ray.executors.ray.remote import Placed, attempt_name, look, run
from dvc_ray.executors.ray.starting import (
    forget_ray,
    local_cpus,
    probe,
    start_janitor,
    take_back_sigterm,
    vital_processes,
)
from dvc_ray.executors.waits import Scaling, wait
from dvc_ray.executors.words import first_line, last_line, pressure
from dvc_ray.live.away import forget, key_of
from dvc_ray.values.stage import StageSettings, StageState
from dvc_ray.values.task import Elsewhere, Lost, Pack, StageResult, StageTask, Wait, WorkerEvent

_HEAD: Final = "node:__internal_head__"
"""Resource that the head node has (Ray 2.60)."""
_NODES_EVERY: Final = 2.0
"""Seconds between questions which nodes are alive."""
_PATIENCE: Final = 3.0
"""Seconds that an attempt may take to start before it is said what it waits for."""
_WAITS_EVERY: Final = 2.0
"""Seconds between questions what they wait for."""
_START_PATIENCE: Final = 10.0
"""Seconds to wait for Ray's start to end when the run is over before that."""
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

    def __init__(self, address: str | None, jobs: int = 1, remembered: Path | None = None) -> None:
        self._address = address
        self._remembered = remembered
        self._jobs = jobs
        self._janitor: subprocess.Popen[bytes] | None = None
        self._thread: threading.Thread | None = None
        self._ready = threading.Event()
        self._leave = threading.Event()
        self._failure: BaseException | None = None
        self._local: fit.Node | None = None
        self._remote: Any = None
        self._flights: dict[str, _Flight] = {}
        self._lost: list[WorkerEvent] = []
        self._vital: dict[str, subprocess.Popen[bytes]] = {}
        self._dead = False
        self._sent: dict[str, Any] = {}
        """Packs in Ray's object store, by id."""
        self._head = ""
        self._here = ""
        self._shares_disk: bool | None = None
        self._locations = Locations.read(remembered) if remembered else Locations()
        self._known: set[str] = set()
        """Ids of the nodes that were alive when that was asked last."""
        self._nodes_due = 0.0
        """When to ask again which nodes are alive (`time.monotonic`)."""
        self._waits_due = 0.0
        """When to ask again what attempts wait for."""

    def warm_up(self, jobs: int) -> str:
        """Start or join Ray in the background: it takes seconds, in which the head prepares the first stages."""
        if self._thread is not None:
            return ""
        self._jobs = jobs
        self._thread = threading.Thread(target=self._hold_ray, name="dvc-ray-cluster", daemon=True)
        self._thread.start()
        if self._address is not None:
            return f"Joining Ray at {self._address}."
        return f"Starting Ray on this machine with {local_cpus(jobs)} CPUs."

    def cpus(self) -> float:
        """CPUs of the cluster as it is now."""
        if self._address is None:
            return local_cpus(self._jobs)
        import ray

        self._await_ready()
        return float(ray.cluster_resources().get("CPU", 0))

    def capacity(self) -> float | None:
        """CPUs of the local Ray; None for a cluster, which may grow."""
        return local_cpus(self._jobs) if self._address is None else None

    def surely_fits(self, settings: StageSettings) -> bool:
        """Judge a stage that asks for CPUs only, without Ray, which then need not be started for the run cache."""
        capacity = self.capacity()
        return fit.is_plain(settings) and (capacity is None or settings.num_cpus <= capacity)

    def check(self, address: str, settings: StageSettings) -> str:
        """Refuse what the local Ray can never place; a cluster may scale up, so there Ray is asked to wait."""
        capacity = self.capacity()
        if capacity is not None and settings.num_cpus > capacity:
            self._refuse(settings, fit.Node(total={"CPU": capacity}))  # without waiting for Ray
        self._await_ready()
        self._prepared(address, settings)
        doubt = self._doubt(settings.accelerator_type) if settings.accelerator_type else ""
        self._refuse(settings, self._node(), doubt)
        return doubt

    def _refuse(self, settings: StageSettings, node: fit.Node | None, doubt: str = "") -> None:
        lack = fit.lack(settings, node) if node is not None else ""
        if lack:
            raise ClusterError(
                f"{lack}: it could never start.{f' {doubt}' if doubt else ''}",
                f"Change it under 'meta: ray:' of the stage{', or raise --jobs' if ' CPU,' in lack else ''},"
                " or run on a cluster with --address.",
            )

    def _node(self) -> fit.Node | None:
        """The one node of a local Ray; None for a cluster."""
        if self._address is None and self._local is None:
            import ray

            self._local = fit.Node(total=ray.cluster_resources(), labels=ray.nodes()[0]["Labels"])
        return self._local

    def _doubt(self, accelerator: str) -> str:
        """Name an accelerator that is likely misspelt: on a cluster that may scale up it would be waited for."""
        import ray
        from ray.util.accelerators import accelerators

        known = [name for key, name in vars(accelerators).items() if key[0].isupper() and isinstance(name, str)]
        return fit.doubt(accelerator, [*known, *fit.accelerators(ray.cluster_resources())])

    def shares_disk(self) -> bool:
        """Whether Ray has, and will have, no node but this machine."""
        if self._address is None:
            return True
        self._await_ready()
        if self._shares_disk is None:
            import ray

            alive, self._here = nodes.alive(), ray.get_runtime_context().get_node_id()
            alone = [node["NodeID"] for node in alive] == [self._here] and alive[0]["Resources"].get("CPU", 0) > 0
            # What it is now, it is for the run: attempts stay on this node, whichever come later.
            self._shares_disk = alone and self._scaling() is None
        return self._shares_disk

    def look_over(self) -> str:
        """Compare what the nodes have with what this machine has; those that come later are not waited for."""
        self._await_ready()
        return nodes.look_over(self._head)

    def submit(self, task: StageTask, settings: StageSettings, packs: Sequence[Pack] = ()) -> None:
        """Hand an attempt to Ray's scheduler."""
        import ray

        self._await_ready()
        sent: list[Any] = list(packs)
        if sent:  # what many attempts need, a node fetches once
            known = self._sent.get(packs[0].id)
            sent[0] = self._sent[packs[0].id] = ray.put(packs[0]) if known is None else known
        near = self._near(task.elsewhere) if task.elsewhere is not None else None
        remote = self._prepared(task.address, settings, elsewhere=task.elsewhere is not None, near=near)
        head = look() if task.elsewhere else None
        self._flights[task.address] = _Flight(task, settings, remote.remote(task, head, *sent), time.monotonic())

    def _near(self, elsewhere: Elsewhere) -> Any | None:
        """Ray's word for the node that has most of what an attempt reads, unless it would have to wait there."""
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        self._known = self._known or {node["NodeID"] for node in nodes.alive()}
        node = self._locations.best(elsewhere.deps, self._known)
        # The last is not public, though long there (2.54, 2.60): without it a task waits for a node that is busy.
        return NodeAffinitySchedulingStrategy(node, soft=True, _spill_on_unavailable=True) if node else None

    def _prepared(self, address: str, settings: StageSettings, *, elsewhere: bool = False, near: Any = None) -> Any:
        """The remote function with a stage's options, which Ray checks."""
        labels = dict(settings.label_selector)
        if self._shares_disk:
            labels[nodes.NODE_ID] = self._here
        elif elsewhere and nodes.NODE_ID not in labels:
            labels[nodes.NODE_ID] = f"!{self._head}"
        try:
            return self._remote.options(
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
        if self._address is None or not waiting or now < self._waits_due:
            return {}
        self._waits_due = now + _WAITS_EVERY
        there = [
            fit.Node(total=node["Resources"], labels=node["Labels"])
            for node in nodes.alive()
            if node["NodeID"] != self._head
        ]
        found = self._scaling()
        moving = any(flight.node for flight in self._flights.values())
        told = {flight.task.address: wait(flight.settings, there, found, moving=moving) for flight in waiting}
        return {address: text for address, text in told.items() if text is not None}

    @staticmethod
    def _scaling() -> Scaling | None:
        import ray

        try:
            return scaling.look(ray.get_runtime_context().gcs_address)
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
        self._leave.set()
        if self._thread is not None:
            # A thread that is still in ray.init cannot be interrupted; what it starts, the janitor ends.
            self._thread.join(None if self._ready.is_set() else _START_PATIENCE)

    def _next(self, flight: _Flight) -> list[WorkerEvent]:
        import ray

        task = flight.task
        try:
            event: WorkerEvent | Placed = ray.get(next(flight.stream))
        except StopIteration:
            return self._end(flight, "its worker ended without a result")
        except ray.exceptions.OutOfMemoryError as error:
            return self._end(flight, f"Ray's memory monitor ended its worker: {pressure(error)}", out_of_memory=True)
        except ray.exceptions.RayError as error:
            return self._end(flight, "stopped" if flight.stopping else last_line(error))
        if isinstance(event, Placed):
            flight.node = event.node
            return []
        if isinstance(event, StageResult):
            if event.state is StageState.DONE and task.elsewhere is not None:
                self._locations.note(flight.node, of_entry(event.entry))
                self._locations.note(flight.node, ((dep.oid, dep.size) for dep in task.elsewhere.deps))
            self._forget(task)
        return [event]

    def _check_nodes(self) -> None:
        """Give up attempts on nodes that Ray has found dead.

        A streaming task whose node loses power is not told to its owner before a connection times out, which takes
        minutes (Ray 2.60); that the node is dead, Ray knows within one.
        """
        if self._address is None or not self._flights or time.monotonic() < self._nodes_due:
            return
        self._nodes_due = time.monotonic() + _NODES_EVERY
        self._known = alive = {node["NodeID"] for node in nodes.alive()}
        for flight in list(self._flights.values()):
            if flight.node and flight.node not in alive:
                self._lost += self._end(flight, "its node is gone")

    def _check_alive(self) -> None:
        """Find out that the local Ray is dead before Ray does, which hangs and after a minute aborts the process.

        Raises:
            RayDiedError: It is; its attempts are lost.
        """
        gone = next((name for name, process in self._vital.items() if process.poll() is not None), None)
        if gone is None or self._dead:
            return
        self._dead = True
        forget_ray()
        if self._janitor is not None and self._janitor.stdin is not None:
            self._janitor.stdin.close()
            self._janitor.wait()
        for flight in list(self._flights.values()):
            self._lost += self._end(flight, "Ray died")
        raise RayDiedError(
            f"Ray has died on this machine: its {gone} ended with {self._vital[gone].returncode}.",
            "What is finished is kept: run the same command again. A machine without memory left is a common reason.",
        )

    def _end(self, flight: _Flight, why: str, *, out_of_memory: bool = False) -> list[WorkerEvent]:
        task = flight.task
        self._forget(task)
        return [Lost(address=task.address, attempt=task.attempt, why=why, out_of_memory=out_of_memory)]

    def _forget(self, task: StageTask) -> None:
        del self._flights[task.address]
        if task.elsewhere is not None:  # a worker that was killed has not done it
            with contextlib.suppress(Exception):  # a cluster that is gone has forgotten it, too
                forget(key_of(task.run_id, attempt_name(task)))

    def _force(self, address: str, flight: _Flight) -> None:
        import ray

        if self._flights.get(address) is flight:
            with contextlib.suppress(Exception):  # it may end by itself at the same moment
                ray.cancel(flight.stream, force=True)

    def _await_ready(self) -> None:
        self.warm_up(self._jobs)
        self._ready.wait()
        take_back_sigterm()
        if self._failure is not None:
            raise ClusterError(
                f"cannot {'start Ray on this machine' if self._address is None else f'join Ray at {self._address}'}:"
                f" {first_line(self._failure)}",
                "Try it: ray status" if self._address else "See why with `dvc-ray repro -v`.",
            ) from self._failure

    def _hold_ray(self) -> None:
        """Start Ray, keep it and stop it, in one thread.

        Ray ties the processes it starts to its starter by the parent-death signal, and for Linux the parent is the
        thread: they would die with a thread that only starts them.
        """
        try:
            self._connect()
        except BaseException as error:  # noqa: BLE001  raised again in the thread that waits
            self._failure = error
        self._ready.set()
        self._leave.wait()
        if not self._dead:
            with contextlib.suppress(Exception):  # a cluster that is gone already is what we want
                import ray

                ray.shutdown()
        if self._janitor is not None:
            self._janitor.communicate()

    def _connect(self) -> None:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        import ray

        quiet = {"log_to_driver": False, "logging_level": logging.ERROR, "configure_logging": True}
        if self._address is None:
            # Socket paths may have 107 bytes: the directory must be short.
            directory = tempfile.mkdtemp(prefix="dvc-ray-", dir="/tmp")
            self._janitor = start_janitor(directory)
            ray.init(
                address="local",
                num_cpus=local_cpus(self._jobs),
                include_dashboard=False,
                _temp_dir=directory,
                _system_config={
                    "worker_niceness": 0,
                    # Ray starts as many workers at a time as there are cores, and each mostly waits: all at once.
                    "worker_maximum_startup_concurrency": local_cpus(self._jobs),
                },
                **quiet,
            )
            self._vital = vital_processes()
        else:
            probe(self._address)
            # Nodes get this dvc-ray, whatever they have: driver and workers must speak one language.
            ours = {"py_modules": [str(Path(__file__).parents[2])], "excludes": ["**/__pycache__", "*.pyc"]}
            ray.init(address=self._address, runtime_env=ours, **quiet)
            self._head = next((node["NodeID"] for node in ray.nodes() if _HEAD in node["Resources"]), "")
        self._remote = ray.remote(max_retries=0, num_returns="streaming")(run)
