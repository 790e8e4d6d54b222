"""The environment of a stage's command: the sources of its variables, and which of them wins. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, fields
from typing import Final

from dvc_ray import env

Variables = Mapping[str, str]

_OF_CONDA: Final = ("CONDA_", "_CONDA_", "_CE_")
_OF_RAY: Final = ("RAY_", "SPT_NOENV", "OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES", "PYTHONBREAKPOINT")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """The sources of variables; if two set the same variable, the later one in this list wins.

    The head merges `caller` to `run` into the environment of the task, which the worker passes as `head`.
    """

    store: Variables = field(default_factory=dict)
    """Endpoint and region of the default remote, for S3 clients other than ours; only where no disk is shared."""
    machine: Variables = field(default_factory=dict)
    """The node's own variables (`of_machine`); only where no disk is shared."""
    caller: Variables = field(default_factory=dict)
    """Variables of the process that called dvc-ray (`of_caller`, `crossing`)."""
    managers: Variables = field(default_factory=dict)
    """Variables that tell environment managers and Python where the user's project is; only on a shared disk."""
    declared: Variables = field(default_factory=dict)
    """Variables that the stage declares: ``env_vars`` of its ``runtime_env``, then ``env`` of ``meta.ray``."""
    run: Variables = field(default_factory=dict)
    """Variables of the run: those that DVC sets for an experiment, and where checkpoints go."""
    head: Variables = field(default_factory=dict)
    """The task's environment."""
    node: Variables = field(default_factory=dict)
    """Corrections made on the node: a file with the keys of the remote, a SHELL that exists there."""
    python: Variables = field(default_factory=dict)
    """Variables of the stage's own Python environment (`of_python`)."""
    ray: Variables = field(default_factory=dict)
    """Variables that Ray has set for the resources of the stage."""
    cluster: Variables = field(default_factory=dict)
    """Variables with which a Ray driver that the command starts joins the cluster."""
    stage: Variables = field(default_factory=dict)
    """Variables that DVC and dvc-ray set for the stage."""


def merge(sources: Sources) -> dict[str, str]:
    """Merge all sources into one environment."""
    found: dict[str, str] = {}
    for source in fields(sources):
        found.update(getattr(sources, source.name))
    return found


def of_caller(environ: Variables) -> dict[str, str]:
    """Select the caller's variables for a command on a shared disk: all but those that name the caller's repository."""
    return env.without_git(environ)


def crossing(environ: Variables, secrets: Collection[str]) -> dict[str, str]:
    """Select the caller's variables for a command on another machine: the shell, DVC's own, and the named secrets."""
    shell = {"SHELL": environ["SHELL"]} if environ.get("SHELL") else {}
    own = {name: text for name, text in environ.items() if name.startswith(env.TO_OTHER_MACHINES)}
    return {**shell, **own, **{name: environ[name] for name in secrets if name in environ}}


def of_machine(environ: Variables) -> dict[str, str]:
    """Select the node's own variables, without those that Ray has added.

    OMP_NUM_THREADS, which Ray sets to the CPUs that the stage asks for, and CUDA_VISIBLE_DEVICES are kept on purpose.
    """
    return {name: text for name, text in environ.items() if not name.startswith("RAY_")}


@dataclass(frozen=True, slots=True, kw_only=True)
class Python:
    """The Python that runs a worker."""

    prefix: str
    """``sys.prefix``"""
    base_prefix: str
    """``sys.base_prefix``"""
    environ: Variables
    """The worker's own environment."""


def of_python(python: Python, head_prefix: str, so_far: Variables) -> dict[str, str]:
    """Put the Python of the stage's own environment first in PATH, if its ``runtime_env`` has made one.

    Ray starts a worker of a conda environment with ``conda activate`` (``ray._private.runtime_env.conda``, 2.60). The
    command then gets conda's variables, too, and those that packages of the environment need.

    Args:
        python: The worker's Python.
        head_prefix: ``sys.prefix`` of the driver; if the worker's is the same, the stage has no environment of its own.
        so_far: The command's environment before these variables are added.
    """
    if python.prefix == head_prefix:
        return {}
    first = {"PATH": ":".join(filter(None, [f"{python.prefix}/bin", so_far.get("PATH")]))}
    if python.environ.get("CONDA_PREFIX") == python.prefix:
        activated = {
            name: text
            for name, text in python.environ.items()
            if name.startswith(_OF_CONDA) or (name not in so_far and not name.startswith(_OF_RAY))
        }
        return {**activated, **first}
    return {**first, "VIRTUAL_ENV": python.prefix} if python.prefix != python.base_prefix else first
