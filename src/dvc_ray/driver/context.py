"""What a run consists of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from dvc_ray.driver.data_mode import DataMode
from dvc_ray.executors.base import Executor
from dvc_ray.paths import RunPaths
from dvc_ray.repo import Project
from dvc_ray.runs.results import ResultStore
from dvc_ray.values.report import RunEvent
from dvc_ray.values.run import RunSettings
from dvc_ray.values.stage import Plan
from dvc_ray.values.surroundings import Surroundings


@dataclass(frozen=True, slots=True, kw_only=True)
class RunContext:
    """One run, for its driver."""

    run_id: str
    paths: RunPaths
    """Its directory."""
    project: Project
    """The user's project; the driver is its only writer."""
    chosen: Plan
    """What to run."""
    executor: Executor
    """Where attempts run."""
    options: RunSettings
    """Settings of the run."""
    listen: Callable[[RunEvent], None]
    """Told all that happens, in the driver's thread."""
    tick: Callable[[], None]
    """Called several times a second while attempts run."""
    confirm: Callable[[str], bool]
    """Asked before each stage that runs."""
    mode: DataMode
    """How data travels."""
    kept: ResultStore
    """Where workers keep their results until they are taken."""
    environ: Mapping[str, str] = field(repr=False)
    """The caller's environment."""
    run_environ: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Variables that the run adds to the environment of commands."""
    surroundings: Surroundings | None = None
    """Process attributes that commands get from the caller."""
