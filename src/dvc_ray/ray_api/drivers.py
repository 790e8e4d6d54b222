"""Which drivers a cluster has."""

from __future__ import annotations


def living_jobs() -> set[str]:
    """Return the ids of the Ray jobs whose driver is alive: ``ray.get_runtime_context().get_job_id()`` in the driver.

    ``ray._private.state.jobs``, the same in 2.54.0 and 2.60.0. The public ``ray.util.state.list_jobs`` needs a
    dashboard, which a local Ray and the default install lack. Without it, runs of killed drivers stay in
    `dvc-ray job list`.
    """
    from ray._private.state import jobs

    return {str(job["JobID"]) for job in jobs() if not job["IsDead"]}
