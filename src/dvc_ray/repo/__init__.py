"""The only room that calls DVC. Its internals are used here and nowhere else.

On the head, `Project` is the project that a run reads and writes, and its `stages` say of each selected stage what DVC
says of it. On a worker, `run.worker_run` makes a stage workspace a DVC project of its own and runs DVC's real
``Stage.run`` in it.

What only a worker (`run.worker_run`, `run.cache_damage`), an experiment (`experiments`) or the demo
(`dvc.new_project`) needs is imported from its module: a run that finds nothing to do should not pay for it.
"""

from dvc_ray.repo.dvc.failures import refused_by_dvc
from dvc_ray.repo.project import Project
from dvc_ray.repo.run.tasks import Request
from dvc_ray.repo.write.record import Merge

__all__ = ["Merge", "Project", "Request", "refused_by_dvc"]
