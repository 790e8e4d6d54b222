"""Attempts as Ray tasks: `executor` hands them over, `remote` runs on workers, `starting` keeps a local Ray."""

from dvc_ray.executors.ray.executor import RayExecutor

__all__ = ["RayExecutor"]
