"""Runs attempts in processes of this machine, forked from the driver when all is imported.

A *nursery* is forked from the driver, and workers from the nursery: the driver may have threads later, when forking
would not be safe any more, and it may have the project open.
"""

from dvc_ray.executors.processes.executor import ProcessExecutor

__all__ = ["ProcessExecutor"]
