"""One command of a stage, and all that it starts."""

from dvc_ray.command.process import Command, End, Ended, run

__all__ = ["Command", "End", "Ended", "run"]
