"""The only room that calls DVC; DVC's internals are used here and nowhere else.

On the head, `Project` is the project that a run reads and writes, and its `stages` ask DVC about each selected stage.
On a worker, `run.worker_run` makes a stage workspace a DVC project of its own and runs DVC's real ``Stage.run`` in it.

Names that only a worker (`run.worker_run`, `run.cache_damage`), an experiment (`experiments`) or the demo
(`dvc.new_project`) needs are imported from their modules: a run that finds nothing to do should not pay for them.
"""

from dvc_ray.repo.dvc.failures import refused_by_dvc
from dvc_ray.repo.project import Project
from dvc_ray.repo.run.tasks import Request
from dvc_ray.repo.write.record import Merge

__all__ = ["Merge", "Project", "Request", "refused_by_dvc"]
