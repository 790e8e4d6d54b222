"""The settings of a stage as options of a Ray task."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

from dvc_ray.errors import ConfigError
from dvc_ray.executors.ray.messages import first_line
from dvc_ray.executors.ray.task import run
from dvc_ray.values.stage import StageSettings


def check(address: str, settings: StageSettings) -> None:
    """Have Ray check what a stage asks for.

    Raises:
        ConfigError: Ray refuses it.
    """
    prepared(address, settings, dict(settings.label_selector))


def prepared(address: str, settings: StageSettings, labels: Mapping[str, str], near: Any = None) -> Any:
    """The remote function with the options of a stage.

    Args:
        address: The stage.
        settings: What it asks for.
        labels: Labels of the nodes that it may run on.
        near: Ray's strategy for the node to run on if there is room; None: any node.

    Raises:
        ConfigError: Ray refuses the options.
    """
    try:
        return _function().options(
            name=f"stage {address}",
            num_cpus=settings.num_cpus,
            num_gpus=settings.num_gpus or None,
            memory=settings.memory,
            resources=dict(settings.resources) or None,
            accelerator_type=settings.accelerator_type,
            label_selector=dict(labels) or None,
            runtime_env=settings.runtime_env,
            scheduling_strategy=near,
        )
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"Ray refuses its settings: {first_line(error)}", f"Correct 'meta: ray:' of stage '{address}'."
        ) from error


@functools.cache
def _function() -> Any:
    """The remote function, made once per process, because each one is sent to the workers."""
    import ray

    return ray.remote(max_retries=0, num_returns="streaming")(run)
