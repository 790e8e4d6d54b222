"""The environment of a stage's command: which variables it has, from where, and which of two wins. Pure."""

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
    """Where variables come from. Of two sources that set the same variable, the later one in this list wins.

    The head merges `caller` to `run` into the task's environment, which is `head` on the worker.
    """

    store: Variables = field(default_factory=dict)
    """The default remote's endpoint and region, for other clients than ours; where no disk is shared."""
    machine: Variables = field(default_factory=dict)
    """The node's own: see `of_machine`; where no disk is shared."""
    caller: Variables = field(default_factory=dict)
    """Those of whoever called dvc-ray: see `of_caller` and `crossing`."""
    managers: Variables = field(default_factory=dict)
    """What tells managers of environments, and Python, where the user's project is; on a shared disk."""
    declared: Variables = field(default_factory=dict)
    """What the stage declares: ``env_vars`` of its ``runtime_env``, then ``env`` of ``meta.ray``."""
    run: Variables = field(default_factory=dict)
    """The run's: DVC's own of an experiment, and where checkpoints go."""
    head: Variables = field(default_factory=dict)
    """The task's environment."""
    node: Variables = field(default_factory=dict)
    """What is put right on a node: a file with keys of the remote, a SHELL that is there."""
    python: Variables = field(default_factory=dict)
    """Of the stage's own Python: see `of_python`."""
    ray: Variables = field(default_factory=dict)
    """Those that Ray has set for what the stage asked for."""
    cluster: Variables = field(default_factory=dict)
    """With which the command's own Ray driver joins the cluster."""
    stage: Variables = field(default_factory=dict)
    """DVC's and dvc-ray's own of the stage."""


def merge(sources: Sources) -> dict[str, str]:
    """Make an environment of all sources."""
    found: dict[str, str] = {}
    for source in fields(sources):
        found.update(getattr(sources, source.name))
    return found


def of_caller(environ: Variables) -> dict[str, str]:
    """What a command on a shared disk gets of the caller's: all but Git's, as its workspace is in no repository."""
    return env.without_git(environ)


def crossing(environ: Variables, secrets: Collection[str]) -> dict[str, str]:
    """What a command on another machine gets of the caller's: its shell, DVC's own, and secrets by name."""
    shell = {"SHELL": environ["SHELL"]} if environ.get("SHELL") else {}
    own = {name: text for name, text in environ.items() if name.startswith(env.TO_OTHER_MACHINES)}
    return {**shell, **own, **{name: environ[name] for name in secrets if name in environ}}


def of_machine(environ: Variables) -> dict[str, str]:
    """A node's own variables without what Ray has added.

    Ray sets OMP_NUM_THREADS to the CPUs that the stage asks for, and CUDA_VISIBLE_DEVICES: that is as it should be.
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
    """Put the Python of the stage's own environment first, if its ``runtime_env`` has made one.

    Ray begins a worker in a conda environment by ``conda activate`` (``ray._private.runtime_env.conda``, 2.60): then
    also conda's variables are given, and those that packages of the environment need.

    Args:
        python: That of the worker.
        head_prefix: ``sys.prefix`` of the driver: the same means that the stage has no environment of its own.
        so_far: The command's environment without this.
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
