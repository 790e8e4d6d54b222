"""The runs of a cluster, and the requests that they stop.

Both are kept in the key-value store of the GCS, as Ray has no place where drivers can describe themselves (2.60). A
driver that is killed cannot remove its run; Ray knows whether it lives, as each driver is a Ray job.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Iterator
from typing import Any, Final

from dvc_ray.ray_api import drivers, kv
from dvc_ray.values.run import ActiveRun

_RUNS: Final = "dvc-ray/runs/"
_STOPS: Final = "dvc-ray/stops/"


@contextlib.contextmanager
def announced(run: ActiveRun) -> Iterator[None]:
    """Within a block, let others on the cluster see a run of this process."""
    import ray

    job = ray.get_runtime_context().get_job_id()
    _put(_RUNS + run.run_id, {**dataclasses.asdict(run), "job": job})
    try:
        yield
    finally:
        with contextlib.suppress(Exception):  # a cluster that is gone has no record to remove
            forget(run.run_id)


def active() -> list[ActiveRun]:
    """All runs of the cluster, the oldest first; those whose driver is dead are removed."""
    alive = drivers.living_jobs()
    found = []
    for run_id in _names(_RUNS):
        fields = _get(_RUNS + run_id)
        if fields is None:  # it has ended meanwhile
            continue
        if fields.pop("job") not in alive:
            forget(run_id)
            continue
        known = {field.name: fields[field.name] for field in dataclasses.fields(ActiveRun) if field.name in fields}
        found.append(ActiveRun(**{**known, "stopped_by": stop_requested_by(run_id)}))
    return sorted(found, key=lambda run: run.begun)


def ask_to_stop(run_id: str, by: str) -> None:
    """Ask a run to stop; its driver sees the request within seconds.

    Args:
        run_id: Id of the run.
        by: Who asks, for its owner to read.
    """
    _put(_STOPS + run_id, {"by": by})


def stop_requested_by(run_id: str) -> str:
    """Who has asked a run to stop; empty: nobody."""
    wish = _get(_STOPS + run_id)
    return str(wish["by"]) if wish else ""


def _names(prefix: str) -> list[str]:
    return [key.removeprefix(prefix) for key in kv.keys(prefix)]


def _put(key: str, fields: dict[str, Any]) -> None:
    kv.put(key, json.dumps(fields))


def _get(key: str) -> dict[str, Any] | None:
    found = kv.get(key)
    return None if found is None else json.loads(found)


def forget(run_id: str) -> None:
    """Remove a run that has ended from the cluster."""
    for prefix in (_RUNS, _STOPS):
        kv.delete(prefix + run_id)
