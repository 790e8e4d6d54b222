"""Drives a run: `loop` schedules, `explain` finds words for what went wrong, `resume` takes over what was finished."""

from dvc_ray.driver.loop import Driver

__all__ = ["Driver"]
