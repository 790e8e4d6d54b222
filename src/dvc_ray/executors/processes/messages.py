"""What the driver and its worker processes send each other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from dvc_ray.values.task import FileBundle, StageTask


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """To a worker: run an attempt."""

    task: StageTask
    bundles: tuple[FileBundle, ...] = ()
    cluster: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Variables with which the command's own Ray driver joins a cluster."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """To a worker: end an attempt."""

    address: str
    attempt: int
