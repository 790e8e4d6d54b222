"""The functions that run on workers, as Ray tasks."""

from __future__ import annotations

import contextlib
import functools
import os
import platform
import queue
import socket
import threading
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib import metadata

from dvc_ray import env
from dvc_ray.command import surroundings
from dvc_ray.executors.placement import fit, versions
from dvc_ray.executors.ray import tokens
from dvc_ray.live.remote import Attempt, forget
from dvc_ray.node import fetch_deps
from dvc_ray.paths import NODE_DIR
from dvc_ray.ray_api import workers
from dvc_ray.values.stage import StageState
from dvc_ray.values.surroundings import Surroundings
from dvc_ray.values.task import FileBundle, RemoteData, StageResult, StageTask, WorkerEvent
from dvc_ray.worker import run_stage


@dataclass(frozen=True, slots=True)
class Placed:
    """A worker has taken an attempt; for the executor only."""

    node: str
    """Id of its node."""


def look() -> versions.Machine:
    """Report the Python and the packages of this machine."""
    return _machine()


@functools.cache
def _machine() -> versions.Machine:
    installed = {}
    for name in versions.PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            installed[name] = metadata.version(name)
    return versions.Machine(name=socket.gethostname(), python=platform.python_version(), packages=installed)


def run(task: StageTask, head: versions.Machine | None, *bundles: FileBundle) -> Iterator[WorkerEvent | Placed]:
    """Run a stage on the worker, in a separate thread, and yield its events as they come.

    Args:
        task: What to run.
        head: Versions on the head, to compare with: this node may have joined after the check. None: it is the head.
        bundles: Files that are sent along.
    """
    import ray

    context = ray.get_runtime_context()
    node = context.get_node_id()
    yield Placed(node)
    around = _surroundings(task)
    if {fit.IMAGE, fit.CONTAINER} & {*context.runtime_env}:
        os.environ.setdefault(NODE_DIR, _beside_ray())
    if head is not None and (text := versions.fatal(head, [look()])):
        yield _refused(task, text)
        return

    events: queue.SimpleQueue[WorkerEvent | BaseException] = queue.SimpleQueue()
    stop = threading.Event()
    cluster = _cluster(task, context.gcs_address, node)

    def work() -> None:
        try:
            ends = run_stage(
                task, emit=events.put, stopped=stop.is_set, cluster=cluster, surroundings=around, bundles=bundles
            )
            events.put(ends)
        except BaseException as error:  # noqa: BLE001  raised again where Ray sees it
            events.put(error)

    thread = threading.Thread(target=work, name="stage")
    thread.start()
    try:
        while True:
            event = _take(events)
            if event is None:
                continue
            if isinstance(event, BaseException):
                raise event
            yield event
            if isinstance(event, StageResult):
                return
    finally:
        stop.set()  # on ray.cancel: the command is ended before the task is
        thread.join()
        if env.ATTEMPT in cluster:
            forget(cluster[env.ATTEMPT])


def _cluster(task: StageTask, address: str, node: str) -> dict[str, str]:
    """Variables with which the stage's own Ray driver joins the cluster, and its workers find the stage's data."""
    found = {env.RAY_ADDRESS: address}
    found |= {name: os.environ[name] for name in tokens.VARIABLES if name in os.environ}
    if isinstance(task.data, RemoteData):  # its own workers may be on nodes that have none of its data
        found[env.ATTEMPT] = _attempt(task, task.data, node).write()
    return found


def _surroundings(task: StageTask) -> Surroundings | None:
    """Process attributes for the command: the caller's, or else those of Ray's own processes on this machine.

    Ray gives workers a higher nice value than itself, and makes the kernel end them first when memory runs out (2.60).
    """
    found = task.surroundings
    if found is None:
        raylet = workers.raylet_pid()
        found = None if raylet is None else surroundings.of_process(raylet)
    if found is not None:
        surroundings.take_oom_score(found)
    return found


def _beside_ray() -> str:
    """A folder of the node that a container sees too: of the node's disk, Ray gives it only Ray's own folder."""
    found = os.path.join(workers.temp_dir(), f"dvc-ray-{os.geteuid()}")
    os.makedirs(found, mode=0o700, exist_ok=True)
    if os.path.islink(found) or os.stat(found).st_uid != os.geteuid():  # all users may write to the folder around it
        raise PermissionError(
            f"'{found}' on {socket.gethostname()} belongs to somebody else: remove it, or name another in {NODE_DIR}"
        )
    return found


def _refused(task: StageTask, text: str) -> StageResult:
    return StageResult(
        address=task.address,
        attempt=task.attempt,
        state=StageState.FAILED,
        node=socket.gethostname(),
        seconds=0.0,
        workspace=task.workspace,
        error=f"its node does not have what stages need: {text}. Install it there (setup_commands of the cluster),"
        " or in the environment or image that its runtime_env names.",
    )


def attempt_name(task: StageTask) -> str:
    """The name of an attempt in the cluster."""
    return f"{task.address}.{task.attempt}"


def _attempt(task: StageTask, data: RemoteData, node: str) -> Attempt:
    """The data that workers of the stage on other nodes need."""
    secret = {name: text for name, text in task.env if name in task.secrets}
    return Attempt(
        node=node,
        run_id=task.run_id,
        name=attempt_name(task),
        project=task.project,
        fetcher=fetch_deps.__name__,
        deps=tuple((dep.path, dep.oid, dep.remote) for dep in data.deps),
        remotes=tuple(asdict(remote) for remote in data.remotes),
        variables={**dict(data.store_env), **secret},
        keys=data.store_credentials,
    )


def _take(events: queue.SimpleQueue[WorkerEvent | BaseException]) -> WorkerEvent | BaseException | None:
    # A bounded wait: ray.cancel interrupts Python code, not a blocked call.
    with contextlib.suppress(queue.Empty):
        return events.get(timeout=0.1)
    return None
