"""A stage workspace: made bare, filled with code and deps, its results brought home.

`materialise` and `find_changes` run on the worker, `Home` and `missed_files` on the head.
"""

from dvc_ray.workspace.changes import Changes, find_changes, missed_files
from dvc_ray.workspace.home import Home
from dvc_ray.workspace.materialise import CODE_LIST, Materialised, materialise

__all__ = ["CODE_LIST", "Changes", "Home", "Materialised", "find_changes", "materialise", "missed_files"]
