"""The environment of a command that shares the user's disk."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from dvc_ray import environment
from dvc_ray.environment import Sources
from dvc_ray.repo.run.tasks import Copy, Inputs, Request, Undeclared, commands

if TYPE_CHECKING:
    from dvc_ray.repo.run import environment_managers


def declared(request: Request) -> dict[str, str]:
    """The variables that a stage declares: those of its ``runtime_env``, then its own."""
    return {**((request.settings.runtime_env or {}).get("env_vars") or {}), **dict(request.settings.env)}


def environment_of(
    repo: Any, stage: Any, request: Request, copy: Copy | None, given: Inputs, undeclared: Undeclared
) -> dict[str, str]:
    """The environment of a command that shares the user's disk.

    Args:
        repo: The project's ``dvc.repo.Repo``.
        stage: The stage.
        request: What the driver decides.
        copy: What the project is a copy of, for an experiment; None if it is the user's own.
        given: The stage's inputs.
        undeclared: What the stage's workspace has besides.
    """
    from dvc.utils import fix_env

    from dvc_ray.repo.inputs.snapshot import tree
    from dvc_ray.repo.run import environment_managers, python_path

    root = tree(repo)
    home = copy.of if copy else root
    sources = Sources(
        caller=environment.of_caller(fix_env(dict(request.env))), declared=declared(request), run=request.run_env
    )
    added: dict[str, str] = {}
    used: tuple[str, ...] = ()
    projects: tuple[str, ...] = ()
    if undeclared.ask is not None:
        ground = _ground(stage, undeclared.markers, given.outs, root if copy and copy.listing is None else home)
        ground = replace(ground, environ=environment.merge(sources))
        if added := dict(environment_managers.variables(ground, undeclared.ask)):
            projects = environment_managers.projects(ground)
        used = python_path.environments(
            environment_managers.folders(ground), environment.merge(replace(sources, managers=added))
        )
    so_far = {**sources.caller, **added}
    if path := python_path.python_path((root, home), request.workspace, so_far, used, projects):
        added["PYTHONPATH"] = path
    return environment.merge(replace(sources, managers=added))


def _ground(stage: Any, markers: Iterable[str], outs: Iterable[str], home: str) -> environment_managers.Ground:
    """The facts about a stage's commands on which environment managers depend."""
    from dvc_ray.repo.inputs.snapshot import tree
    from dvc_ray.repo.run import environment_managers

    wdir = os.path.relpath(stage.wdir, tree(stage.repo))
    folders = environment_managers.upwards(wdir)
    near = (os.path.normpath(os.path.join(folder, name)) for folder in folders for name in environment_managers.FILES)
    return environment_managers.Ground(
        home=home,
        wdir=wdir,
        commands=tuple(command[: environment_managers.LOOKED_AT] for command in commands(stage)),
        files=frozenset(
            (
                *markers,
                *(path for path in near if os.path.exists(os.path.join(home, path))),  # Git may ignore them
            )
        ),
        outs=frozenset(outs),
        environ={},
    )
