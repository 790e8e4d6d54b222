"""Lists and stops the runs on a cluster, whoever started them and from wherever."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from dvc_ray.errors import BadArgumentError, ClusterError
from dvc_ray.executors.ray import registry
from dvc_ray.executors.ray.connection import Connection
from dvc_ray.paths import project_root
from dvc_ray.settings.failures import did_you_mean
from dvc_ray.settings.sources import resolve
from dvc_ray.values.run import ActiveRun, RunRequest, RunSettings

__all__ = ["list_runs", "stop_run"]

_PATIENCE: Final = 30.0
"""Seconds, after the grace of its commands, within which a run that was asked to stop must end."""
_LOOK_EVERY: Final = 0.5
"""Seconds between checks whether it has ended."""


def list_runs(address: str | None = None) -> tuple[ActiveRun, ...]:
    """Find all runs of dvc-ray on a cluster, the oldest first.

    Args:
        address: Address of the cluster; None: the one of the settings or ``RAY_ADDRESS``.

    Raises:
        BadArgumentError: No cluster is named.
        ClusterError: The cluster cannot be joined.
    """
    with _joined(_settings(address)):
        return tuple(registry.active())


def stop_run(
    run_id: str,
    address: str | None = None,
    *,
    confirm: Callable[[ActiveRun], bool],
    tell: Callable[[str], None] = lambda _text: None,
) -> bool:
    """Stop a run as Ctrl-C stops it where it was started, and wait until it has ended.

    Args:
        run_id: The id of the run.
        address: Address of the cluster; None: the one of the settings or ``RAY_ADDRESS``.
        confirm: Asked before a run of another owner is stopped.
        tell: Called with messages about the progress.

    Returns:
        Whether it was stopped: False if ``confirm`` said no.

    Raises:
        BadArgumentError: There is no such run, or no cluster is named.
        ClusterError: The cluster cannot be joined, or the run's driver does not react.
    """
    options = _settings(address)
    with _joined(options):
        run = _find(run_id, registry.active())
        if run.owner != options.owner and not confirm(run):
            return False
        registry.ask_to_stop(run_id, f"{options.owner} on {socket.gethostname()}")
        tell(f"Asked {run_id} to stop; its commands have {run.grace:g} s to end.")
        _await_end(run)
    return True


def _settings(address: str | None) -> RunSettings:
    root = project_root(Path.cwd())
    options = resolve(RunRequest(address=address), str(root / ".dvc") if root else None)
    if options.address is None:
        raise BadArgumentError(
            "no cluster is named, and a run that started Ray itself is stopped with Ctrl-C where it runs",
            "Give --address, or set RAY_ADDRESS or 'address' in .dvc/ray.toml.",
        )
    return options


@contextlib.contextmanager
def _joined(options: RunSettings) -> Iterator[None]:
    ray = Connection(options.address)
    try:
        ray.wait()
        yield
    finally:
        ray.close()


def _find(run_id: str, there: list[ActiveRun]) -> ActiveRun:
    for run in there:
        if run.run_id == run_id:
            return run
    meant = did_you_mean(run_id, (run.run_id for run in there))
    raise BadArgumentError(f"there is no run '{run_id}' on the cluster.{meant}", "See what there is: dvc-ray job list")


def _await_end(run: ActiveRun) -> None:
    deadline = time.monotonic() + run.grace + _PATIENCE
    while any(other.run_id == run.run_id for other in registry.active()):
        if time.monotonic() > deadline:
            raise ClusterError(
                f"{run.run_id} does not respond: its driver on {run.host} is busy or unreachable",
                f"It stops as soon as it sees the request. To stop it at once, end the dvc-ray process on {run.host}.",
            )
        time.sleep(_LOOK_EVERY)
    registry.forget(run.run_id)  # it may have ended by itself before it saw the request
