"""A stage workspace: made bare, filled with code and deps, its results brought home.

`materialise` and `changes` run on the worker, `bring_home` on the head.
"""

from dvc_ray.workspace.changes import Changes, find_changes, missed_files
from dvc_ray.workspace.home import Home
from dvc_ray.workspace.materialise import CODE_LIST, Materialised, materialise

__all__ = ["CODE_LIST", "Changes", "Home", "Materialised", "find_changes", "materialise", "missed_files"]
