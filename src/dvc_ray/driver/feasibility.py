"""Whether stages can ever be placed: checked before DVC removes their outs, and early for later stages."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from dvc_ray import retry
from dvc_ray.errors import ClusterError, ConfigError
from dvc_ray.executors.base import Cluster
from dvc_ray.repo import Project
from dvc_ray.values.report import Notice
from dvc_ray.values.run import RunSettings
from dvc_ray.values.stage import StageKind, StageSpec


class Feasibility:
    """Asks the cluster, and before it the run cache: a stage that is restored needs no node.

    Args:
        cluster: Where attempts would run.
        project: Whose run cache may have results.
        listen: Receives notices for the user.
    """

    def __init__(self, cluster: Cluster, project: Project, listen: Callable[[Notice], None]) -> None:
        self._cluster = cluster
        self._project = project
        self._listen = listen
        self._told: set[str] = set()
        self._foreseen = False

    def check(self, spec: StageSpec, options: RunSettings, *, force: bool) -> None:
        """Refuse a stage that can never be placed, unless the run cache has its result; the project must be locked.

        Raises:
            ClusterError: No node has what it asks for.
            ConfigError: What it asks for makes no sense.
            ProjectError: A dep is missing.
        """
        if spec.kind is not StageKind.COMMAND or self._cluster.surely_fits(retry.largest(spec.settings)):
            return
        if force or not self._project.stages.restorable(spec.address, options):
            self._warm_up(spec, options)
            self._ask(spec)

    def foresee(self, specs: Iterable[StageSpec]) -> None:
        """Warn, once, of later stages that can never be placed; call it when the executor is ready.

        Only a warning: when their turn comes, the run cache may have their results.
        """
        if self._foreseen:
            return
        self._foreseen = True
        for spec in specs:
            if spec.kind is StageKind.COMMAND and not self._cluster.surely_fits(retry.largest(spec.settings)):
                try:
                    self._ask(spec)
                except (ClusterError, ConfigError) as error:
                    text = f"stage '{spec.address}' will not be able to run: {error.what}"
                    self._listen(Notice(text=f"{text} Only the run cache could give its result.", level="warning"))

    def _warm_up(self, spec: StageSpec, options: RunSettings) -> None:
        """Start Ray, and say so, as it takes seconds; not for a stage that asks for more CPUs than there can be."""
        capacity = self._cluster.capacity()
        if capacity is None or retry.largest(spec.settings).num_cpus <= capacity:
            told = self._cluster.start(options.jobs, spec.settings)
            if told:
                self._listen(Notice(text=told))

    def _ask(self, spec: StageSpec) -> None:
        last = retry.largest(spec.settings)
        told = self._cluster.check(spec.address, spec.settings)
        if last != spec.settings:
            try:
                self._cluster.check(spec.address, last)
            except ClusterError as error:
                number = spec.settings.retries.max + 1
                raise ClusterError(f"its attempt {number}: {error.what}", error.hint) from error
        if told and told not in self._told:
            self._told.add(told)
            self._listen(Notice(text=told, level="warning"))
