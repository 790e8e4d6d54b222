"""Whether a node has what a stage asks for: a pure decision, and its words."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Final

from dvc_ray.settings import labels
from dvc_ray.settings.failures import did_you_mean
from dvc_ray.settings.resources import gib
from dvc_ray.values.stage import StageSettings

ACCELERATOR: Final = "accelerator_type:"
"""Before the name of an accelerator in the name of the resource that stands for it (``ray._common.utils``, 2.60.0)."""

IMAGE: Final = "image_uri"
"""Names an image in a runtime_env: the worker runs in a container."""
CONTAINER: Final = "container"
"""The same, with options for podman (Ray 2.60)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """What a node has, as Ray counts it."""

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


def lack(settings: StageSettings, node: Node) -> str:
    """Say what a node does not have that a stage asks for; empty if it has all."""
    for name, amount in {"CPU": settings.num_cpus, "GPU": settings.num_gpus, **dict(settings.resources)}.items():
        if amount > node.total.get(name, 0):
            return f"it asks for {amount:g} {name}, but this machine has {node.total.get(name, 0):g}"
    if (settings.memory or 0) > node.total.get("memory", 0):
        there = node.total.get("memory", 0)
        return (
            f"it asks for {gib(settings.memory or 0)} of memory, but Ray has {gib(there)} to give on this machine"
            " (of what was free when it started, without its object store)"
        )
    there_are = accelerators(node.total)
    if settings.accelerator_type and settings.accelerator_type not in there_are:
        has = f"has {', '.join(there_are)}" if there_are else "has none that Ray knows"
        return f"it asks for the accelerator '{settings.accelerator_type}', but this machine {has}"
    wanted = dict(settings.label_selector)
    if label := labels.mismatch(wanted, node.labels):
        there_is = f"is {node.labels[label]!r}" if label in node.labels else "has no such label"
        return f"it asks for a node with label '{label}': '{wanted[label]}', but this machine {there_is}"
    return ""


def accelerators(total: Mapping[str, float]) -> list[str]:
    """Names of the accelerators among resources."""
    return sorted(name.removeprefix(ACCELERATOR) for name in total if name.startswith(ACCELERATOR))


def doubt(name: str, known: Collection[str]) -> str:
    """What to say of an accelerator that neither Ray nor the cluster knows; empty for one that is known."""
    if name in known:
        return ""
    return f"Ray knows no accelerator '{name}' ('meta.ray.accelerator_type').{did_you_mean(name, known, any_case=True)}"
