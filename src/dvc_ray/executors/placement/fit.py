"""Whether a node has what a stage asks for: a pure decision, and its messages."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Final

from dvc_ray.ray_api.names import ACCELERATOR
from dvc_ray.settings import labels
from dvc_ray.settings.failures import did_you_mean
from dvc_ray.settings.resources import gib
from dvc_ray.values.stage import StageSettings

CPU: Final = "CPU"
_MEMORY: Final = "memory"
"""Ray's names of resources."""

IMAGE: Final = "image_uri"
"""Names an image in a runtime_env: the worker runs in a container."""
CONTAINER: Final = "container"
"""The same, with options for podman (Ray 2.60)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """The resources and labels of a node, as Ray counts them."""

    total: Mapping[str, float] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)


def has_environment(settings: StageSettings) -> bool:
    """Whether Ray must make an environment before it can start a worker: that may take minutes."""
    return bool({"pip", "uv", "conda", IMAGE, CONTAINER} & {*(settings.runtime_env or {})})


def is_plain(settings: StageSettings) -> bool:
    """Whether a stage asks for CPUs only."""
    return not (
        settings.num_gpus
        or settings.memory is not None
        or settings.resources
        or settings.accelerator_type
        or settings.label_selector
        or settings.runtime_env
    )


@dataclass(frozen=True, slots=True)
class ResourceLack:
    """A node has less of a resource than a stage asks for; memory counts as one, in bytes."""

    name: str
    """Ray's name of it."""
    wanted: float
    there: float

    def __str__(self) -> str:
        """The message for a stage where this machine is the only one."""
        if self.name == _MEMORY:
            return (
                f"it asks for {gib(self.wanted)} of memory, but Ray has {gib(self.there)} to give on this machine"
                " (of what was free when it started, without its object store)"
            )
        return f"it asks for {self.wanted:g} {self.name}, but this machine has {self.there:g}"


@dataclass(frozen=True, slots=True)
class AcceleratorLack:
    """A node has other accelerators than a stage asks for."""

    wanted: str
    there: tuple[str, ...]

    def __str__(self) -> str:
        """The message for a stage where this machine is the only one."""
        has = f"has {', '.join(self.there)}" if self.there else "has none that Ray knows"
        return f"it asks for the accelerator '{self.wanted}', but this machine {has}"


@dataclass(frozen=True, slots=True)
class LabelLack:
    """A node has another label than a stage asks for."""

    name: str
    wanted: str
    there: str | None
    """None: it has no such label."""

    def __str__(self) -> str:
        """The message for a stage where this machine is the only one."""
        has = "has no such label" if self.there is None else f"is {self.there!r}"
        return f"it asks for a node with label '{self.name}': '{self.wanted}', but this machine {has}"


Lack = ResourceLack | AcceleratorLack | LabelLack
"""Something that a stage asks for and a node lacks."""


def lack(settings: StageSettings, node: Node) -> Lack | None:
    """Find something that a stage asks for and a node lacks; None if it has all."""
    asked = {CPU: settings.num_cpus, "GPU": settings.num_gpus, **dict(settings.resources)}
    asked[_MEMORY] = settings.memory or 0
    for name, amount in asked.items():
        if amount > (there := node.total.get(name, 0)):
            return ResourceLack(name, amount, there)
    known = accelerators(node.total)
    if settings.accelerator_type and settings.accelerator_type not in known:
        return AcceleratorLack(settings.accelerator_type, tuple(known))
    wanted = dict(settings.label_selector)
    if label := labels.mismatch(wanted, node.labels):
        return LabelLack(label, wanted[label], node.labels.get(label))
    return None


def accelerators(total: Mapping[str, float]) -> list[str]:
    """Names of the accelerators among resources."""
    return sorted(name.removeprefix(ACCELERATOR) for name in total if name.startswith(ACCELERATOR))


def doubt(name: str, known: Collection[str]) -> str:
    """A message about an accelerator that neither Ray nor the cluster knows; empty for one that is known."""
    if name in known:
        return ""
    return f"Ray knows no accelerator '{name}' ('meta.ray.accelerator_type').{did_you_mean(name, known, any_case=True)}"
