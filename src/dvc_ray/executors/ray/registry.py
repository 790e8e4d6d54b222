"""The runs of a cluster: who has one, and the wish that it stops.

Both are kept in the key-value store of the GCS, as Ray has no place for what drivers say of themselves (2.60). A driver
that is killed cannot take its run out; whether it lives, Ray knows, as each driver is a Ray job.
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
    """Let others on the cluster see a run of this process, for as long as the block runs."""
    import ray

    job = ray.get_runtime_context().get_job_id()
    _put(_RUNS + run.run_id, {**dataclasses.asdict(run), "job": job})
    try:
        yield
    finally:
        with contextlib.suppress(Exception):  # a cluster that is gone has forgotten it, too
            forget(run.run_id)


def active() -> list[ActiveRun]:
    """All runs of the cluster, the oldest first; those whose driver is dead are taken out."""
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
    """Wish that a run stops; its driver sees it within seconds.

    Args:
        run_id: Of the run.
        by: Who wishes it, for its owner to read.
    """
    _put(_STOPS + run_id, {"by": by})


def stop_requested_by(run_id: str) -> str:
    """Who wishes that a run stops; empty: nobody."""
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
    """Take a run that has ended out of the cluster."""
    for prefix in (_RUNS, _STOPS):
        kv.delete(prefix + run_id)
