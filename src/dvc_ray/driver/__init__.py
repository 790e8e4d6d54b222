"""Drives a run: `loop` schedules, `explain` finds the words for what went wrong."""

from dvc_ray.driver.loop import Driver

__all__ = ["Driver"]
