"""A stage workspace: created, filled with code and deps, its results installed.

`materialise` and `find_changes` run on the worker, `ResultInstaller` and `missed_files` on the head.
"""

from dvc_ray.workspace.changes import Changes, find_changes, misplaced_outs, missed_files, stale_outs
from dvc_ray.workspace.environments import Environments
from dvc_ray.workspace.gate import is_inside
from dvc_ray.workspace.git_copy import added as added_to_git
from dvc_ray.workspace.git_copy import written as written_to_git
from dvc_ray.workspace.ignored_links import Followed, own
from dvc_ray.workspace.inputs import Content, detach, look, written_in_place
from dvc_ray.workspace.install import ResultInstaller
from dvc_ray.workspace.materialise import CODE_LIST, Materialised, materialise
from dvc_ray.workspace.reuse import discard, lay_aside
from dvc_ray.workspace.undo import Undo

__all__ = [
    "CODE_LIST",
    "Changes",
    "Content",
    "Environments",
    "Followed",
    "Materialised",
    "ResultInstaller",
    "Undo",
    "added_to_git",
    "detach",
    "discard",
    "find_changes",
    "is_inside",
    "lay_aside",
    "look",
    "materialise",
    "misplaced_outs",
    "missed_files",
    "own",
    "stale_outs",
    "written_in_place",
    "written_to_git",
]
