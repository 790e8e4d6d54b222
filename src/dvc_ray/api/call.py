"""How a call of a verb begins: with its settings, and with the machines that its stages run on."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from dvc_ray import planning
from dvc_ray.api import plans
from dvc_ray.driver.data_mode import DataMode, choose
from dvc_ray.events import Sink, Stream
from dvc_ray.paths import locations
from dvc_ray.repo import Project
from dvc_ray.settings.sources import resolve
from dvc_ray.values.report import Notice
from dvc_ray.values.run import RunRequest, RunSettings
from dvc_ray.values.stage import Plan

if TYPE_CHECKING:  # most calls find nothing to do, and need none of these
    from dvc_ray.executors.base import Executor
    from dvc_ray.values.surroundings import Surroundings


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A call of a verb, opened."""

    dvc_dir: str
    """The ``.dvc`` of the user's project, in which the run's directory is."""
    options: RunSettings
    listen: Stream
    executor: Executor | None
    """None: a local Ray, which has not been started yet."""
    mode: DataMode
    environ: Mapping[str, str] = field(repr=False)
    """The environment of the caller."""
    in_workspace: bool
    """Whether stages write to the user's workspace; False for an experiment."""
    dry: bool
    """Whether nothing will run."""
    before_ray: Surroundings | None
    """What commands get from the caller beside the environment, if it had to be read early."""

    @property
    def surroundings(self) -> Surroundings:
        """What commands get from the caller beside the environment."""
        return self.before_ray or _surroundings()

    def plan(self, project: Project, works: Sequence[Path] = ()) -> tuple[Plan, tuple[str, ...]]:
        """Plan a run, after taking over the stages that killed runs had finished.

        Args:
            project: The user's project, or an experiment's copy of it.
            works: Workspace folders of dead runs.

        Returns:
            The plan, and the stages that were taken over.

        Raises:
            DvcRayError: A stage cannot be selected, judged or taken over.
        """
        with project.locked():
            specs = planning.with_runtime_env(project.select(self.options), self.options.runtime_env)
            self.mode.open(project, self.options, dry=self.dry)
            taken = self._take_over(project, works) if works and not self.options.force else ()
            return plans.make(project, specs, self.options, dry=self.dry), taken

    def _take_over(self, project: Project, works: Sequence[Path]) -> tuple[str, ...]:
        from dvc_ray.driver.takeover import take_over

        return take_over(
            project, self.mode, works, self.warn, commit=self.options.commit, in_workspace=self.in_workspace
        )

    def say(self, text: str) -> None:
        """Tell the user, if there is something to tell."""
        if text:
            self.listen(Notice(text=text))

    def warn(self, text: str) -> None:
        """Warn the user, if there is something to warn of."""
        if text:
            self.listen(Notice(text=text, level="warning"))


@contextlib.contextmanager
def opened(
    project: Project,
    request: RunRequest | None,
    sinks: Sequence[Sink] = (),
    executor: Executor | None = None,
    *,
    in_workspace: bool = True,
    dry: bool = False,
) -> Iterator[Call]:
    """Open a call: resolve the settings, join the cluster and compare its machines; a local Ray is not started.

    Args:
        project: The user's project.
        request: Which stages, and how; None: all defaults.
        sinks: Called with each event.
        executor: Where attempts run; None: Ray.
        in_workspace: Whether stages write to the user's workspace.
        dry: Whether nothing will run.

    Raises:
        ConfigError: A setting is wrong.
        ClusterError: The cluster cannot be joined, or a machine lacks what stages need.
    """
    listen, environ = Stream(sinks), dict(os.environ)
    with contextlib.ExitStack() as stack:
        options = resolve(request or RunRequest(), project.dvc_dir)
        # Joining Ray and setting up an experiment change these before the run is opened.
        early = not dry and (executor is not None or options.address is not None or not in_workspace)
        before_ray = _surroundings() if early else None
        executor = _joined(executor, options, listen, stack, project.dvc_dir)
        call = Call(
            dvc_dir=project.dvc_dir,
            options=options,
            listen=listen,
            executor=executor,
            mode=stack.enter_context(contextlib.closing(choose(executor, listen))),
            environ=environ,
            in_workspace=in_workspace,
            dry=dry,
            before_ray=before_ray,
        )
        if not dry:
            call.warn(call.mode.look_over())  # before anything is planned on them
        yield call


def _joined(
    executor: Executor | None,
    options: RunSettings,
    listen: Callable[[Notice], None],
    stack: contextlib.ExitStack,
    dvc_dir: str,
) -> Executor | None:
    """Join the cluster first: whether it shares the disk decides how the call goes on."""
    if executor is not None or options.address is None:
        return executor
    from dvc_ray.executors.ray import RayExecutor

    joined = RayExecutor(options.address, options.jobs, locations(dvc_dir))
    stack.callback(joined.close)
    if told := joined.cluster.start(options.jobs):
        listen(Notice(text=told))
    return joined


def _surroundings() -> Surroundings:
    from dvc_ray.command import surroundings  # a run with nothing to do needs none: 7 ms

    return surroundings.here()
