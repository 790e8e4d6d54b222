"""Attempts as Ray tasks: `executor` hands them over, `remote` runs on workers, `connection` joins a Ray or keeps one.

`nodes`, `scaling` and `runs` ask the cluster: who is there, what comes, who else uses it.
"""

from dvc_ray.executors.ray.executor import RayExecutor

__all__ = ["RayExecutor"]
