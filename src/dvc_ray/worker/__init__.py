"""Runs one attempt of a stage: a plain function, no Ray in it."""

from dvc_ray.worker.run import run_stage

__all__ = ["run_stage"]
