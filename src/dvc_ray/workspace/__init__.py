"""A stage workspace: made bare, filled with code and deps, its results brought home.

`materialise` and `find_changes` run on the worker, `Home`, `Twin` and `missed_files` on the head.
"""

from dvc_ray.workspace.changes import Changes, find_changes, misplaced_outs, missed_files
from dvc_ray.workspace.home import Home
from dvc_ray.workspace.inputs import Content, detach, look, written_in_place
from dvc_ray.workspace.materialise import CODE_LIST, Materialised, materialise
from dvc_ray.workspace.reuse import discard, lay_aside
from dvc_ray.workspace.twin import Twin, stamps_of

__all__ = [
    "CODE_LIST",
    "Changes",
    "Content",
    "Home",
    "Materialised",
    "Twin",
    "detach",
    "discard",
    "find_changes",
    "lay_aside",
    "look",
    "materialise",
    "misplaced_outs",
    "missed_files",
    "stamps_of",
    "written_in_place",
]
