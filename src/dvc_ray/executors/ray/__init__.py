"""Attempts as Ray tasks: `executor` hands them over, `task` runs on workers, `connection` joins a Ray or keeps one.

`cluster`, `nodes` and `registry` ask the cluster: what it has, what its nodes see, and which runs use it.
"""

from dvc_ray.executors.ray.executor import RayExecutor

__all__ = ["RayExecutor"]
