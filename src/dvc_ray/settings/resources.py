"""What a stage asks of Ray, as text for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dvc_ray.values.stage import StageSettings


def amounts(settings: StageSettings) -> dict[str, str]:
    """List what may grow with the attempt, by key of ``meta.ray``: ``4 CPU``, ``1 GPU``, ``2.0 GiB``; zeros, too."""
    return {
        "num_cpus": f"{settings.num_cpus:g} CPU",
        "num_gpus": f"{settings.num_gpus:g} GPU",
        "memory": gib(settings.memory or 0),
    }


def others(settings: StageSettings) -> list[str]:
    """List all that does not grow: ``2 disk``, ``accelerator A100``, ``region=eu``."""
    accelerator = [f"accelerator {settings.accelerator_type}"] if settings.accelerator_type else []
    labels = (f"{label}={choice}" for label, choice in settings.label_selector)
    return [*(f"{amount:g} {name}" for name, amount in settings.resources), *accelerator, *labels]


def gib(amount: float) -> str:
    """Return a number of bytes as text: ``2.0 GiB``."""
    return f"{amount / 2**30:.1f} GiB"
