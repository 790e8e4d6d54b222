"""The only room that calls DVC. Its internals are used here and nowhere else.

On the head, `Project` answers what a run asks of a DVC project. On a worker, `bare` makes a stage workspace a DVC
project of its own and runs DVC's real ``Stage.run`` in it.
"""

from dvc_ray.repo import damage
from dvc_ray.repo.bare import configure, run_stage
from dvc_ray.repo.experiments import Lab, open_lab
from dvc_ray.repo.making import commit, create, metrics
from dvc_ray.repo.project import Merge, Project
from dvc_ray.repo.tasks import Request

__all__ = [
    "Lab",
    "Merge",
    "Project",
    "Request",
    "commit",
    "configure",
    "create",
    "damage",
    "metrics",
    "open_lab",
    "run_stage",
]
