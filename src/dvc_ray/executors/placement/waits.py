"""What an attempt that has not started waits for: a pure decision, and its messages."""

from __future__ import annotations

from collections.abc import Sequence

from dvc_ray.executors.placement import fit
from dvc_ray.ray_api.autoscaler import Scaling
from dvc_ray.ray_api.names import ACCELERATOR
from dvc_ray.settings.resources import gib, others
from dvc_ray.values.stage import StageSettings
from dvc_ray.values.task import Wait

SET_UP = "Ray to set up its runtime_env"


def wait(
    settings: StageSettings, nodes: Sequence[fit.Node], scaling: Scaling | None, *, moving: bool = False
) -> Wait | None:
    """Say what an attempt waits for.

    Args:
        settings: What it asks for.
        nodes: Nodes that are there and that it may run on.
        scaling: None: the cluster has no autoscaler, or one that reports nothing (Ray's first).
        moving: Whether other attempts of the run are running; then it is not worth saying that this one waits its turn.

    Returns:
        None if there is nothing worth saying.
    """
    asked = amounts(settings)
    if any(not fit.lack(settings, node) for node in nodes):
        if fit.has_environment(settings):  # Ray does not tell which of the two
            return Wait(what=f"{SET_UP}, or for {asked} to be free{_coming(scaling)}")
        return None if moving else Wait(what=f"{asked} to be free{_coming(scaling)}")
    if scaling is None:
        return Wait(what=f"a node with {asked}: the cluster has none, and no autoscaler says that one will come")
    if demand(settings) in scaling.impossible:
        return Wait(what=f"no node type of the cluster has {asked}", never=True)
    return Wait(what=f"a node with {asked}{_coming(scaling)}")


def demand(settings: StageSettings) -> dict[str, float]:
    """What an attempt asks for, in the form that Ray's autoscaler uses."""
    found = {"CPU": settings.num_cpus, "GPU": settings.num_gpus, "memory": float(settings.memory or 0)}
    found |= dict(settings.resources)
    if settings.accelerator_type:
        found[f"{ACCELERATOR}{settings.accelerator_type}"] = 0.001  # as Ray requests it
    return {name: amount for name, amount in found.items() if amount}


def amounts(settings: StageSettings) -> str:
    """What an attempt asks for, as a text: ``4 CPUs, 1 GPU, 2.0 GiB of memory``."""
    parts = [_counted(settings.num_cpus, "CPU"), _counted(settings.num_gpus, "GPU")]
    memory = f"{gib(settings.memory)} of memory" if settings.memory else ""
    return ", ".join(filter(None, (*parts, memory, *others(settings)))) or "room for a process"


def _counted(number: float, name: str) -> str:
    return f"{number:g} {name}{'' if number == 1 else 's'}" if number else ""


def _coming(scaling: Scaling | None) -> str:
    if scaling is None:
        return ""
    if scaling.launching:
        return f" ({_counted(scaling.launching, 'node')} being launched)"
    return f" (the last launch failed: {scaling.failed})" if scaling.failed else ""
