"""Refuses, before a command runs, errors that DVC would notice later."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any

from dvc_ray.errors import ProjectError
from dvc_ray.paths import is_dvcs_own
from dvc_ray.repo.dvc.guarded import irregular
from dvc_ray.values.stage import StageSettings


def check_outs(repo: Any, stage: Any) -> None:
    """Refuse, before the command of a stage runs, outs that ``Output.ignore`` would refuse after it.

    Raises:
        dvc.output.OutputAlreadyTrackedError: Git tracks a cached out.
    """
    from dvc.output import OutputAlreadyTrackedError
    from dvc.scm import NoSCM

    if isinstance(repo.scm, NoSCM):
        return
    for out in stage.outs:
        if out.use_scm_ignore and repo.scm.is_tracked(out.fspath):
            raise OutputAlreadyTrackedError(out)


def check_inputs(stage: Any, settings: StageSettings) -> None:
    """Refuse a stage with a missing dep or include before its outs are removed; DVC would fail only later.

    Raises:
        ProjectError: A dep or an include does not exist, or is not a file or folder that can be read.
    """
    for path in (*deps(stage), *includes(stage, settings)):
        if not os.path.exists(path):
            why = f"is a link that leads to nothing: {os.readlink(path)}"
        elif kind := irregular(path):
            why = f"is {kind}, not a file or folder"
        else:
            continue
        raise ProjectError(
            f"stage '{stage.addressing}': '{os.path.relpath(path, stage.wdir)}' {why}",
            "Put what the stage reads in its place, or take it out of dvc.yaml.",
        )


def check_locks(repo: Any) -> None:
    """Refuse a broken file of DVC's locks on paths that are read or written, as DVC does (``dvc.rwlock``, 3.67.1).

    Raises:
        dvc.exceptions.DvcException: The file is broken.
    """
    from dvc import rwlock
    from voluptuous import Invalid

    path = os.path.join(repo.tmp_dir, rwlock.RWLOCK_FILE)
    try:
        with open(path, encoding="utf-8") as file:
            rwlock.SCHEMA(json.load(file))
    except FileNotFoundError:
        pass
    except json.JSONDecodeError as error:
        raise rwlock.RWLockFileCorruptedError(path) from error
    except Invalid as error:
        raise rwlock.RWLockFileFormatError(path) from error


def check_params(stage: Any) -> None:
    """Refuse params that DVC refuses when it reads their values (``ParamsDependency.save``, 3.67.1).

    Raises:
        dvc.exceptions.DvcException: A params file is missing, cannot be read, or lacks a param.
    """
    from dvc.dependency import ParamsDependency

    for dep in stage.deps:
        if isinstance(dep, ParamsDependency):
            if not dep.exists:
                raise dep.DoesNotExistError(dep)
            dep.get_hash()


def deps(stage: Any, *, allow_missing: bool = False) -> Iterator[str]:
    """The absolute paths of a stage's deps that exist.

    Raises:
        ProjectError: A dep does not exist, or is one of DVC's own files.
    """
    from dvc.dependency import ParamsDependency

    for dep in stage.deps:
        _check_own(stage, dep.fs_path, "deps")
        if os.path.lexists(dep.fs_path):
            yield dep.fs_path
        elif not isinstance(dep, ParamsDependency) and not allow_missing:
            raise ProjectError(
                f"stage '{stage.addressing}': dependency '{dep}' does not exist",
                "Make it, or bring it with `dvc pull` or `dvc checkout`.",
            ) from dep.DoesNotExistError(dep)


def includes(stage: Any, settings: StageSettings) -> Iterator[str]:
    """The absolute paths that ``include`` of ``meta.ray`` names.

    Raises:
        ProjectError: A path does not exist, or is one of DVC's own files.
    """
    for path in settings.include:
        full = os.path.normpath(os.path.join(stage.wdir, path))
        _check_own(stage, full, "meta.ray.include")
        if not os.path.lexists(full):
            raise ProjectError(
                f"stage '{stage.addressing}': '{path}' of 'meta.ray.include' does not exist",
                f"Make it, or take it out of dvc.yaml. Looked for: {full}",
            )
        yield full


def _check_own(stage: Any, path: str, where: str) -> None:
    """Refuse to give a stage one of DVC's own files, named directly or reached by a link.

    Raises:
        ProjectError: The path is one of DVC's own files.
    """
    from dvc_ray.repo.inputs.snapshot import tree

    root = tree(stage.repo)  # an experiment's root lies in a .dvc itself
    real = os.path.relpath(os.path.realpath(path), os.path.realpath(root))
    if is_dvcs_own(os.path.relpath(path, root)) or is_dvcs_own(real):
        raise ProjectError(
            f"stage '{stage.addressing}': '{os.path.relpath(path, stage.wdir)}' of '{where}' is DVC's own: it may hold"
            " keys, and a stage's workspace has one of its own",
            "Take it out of dvc.yaml. Give a command what it needs as a param, or in 'meta: {ray: {env: {...}}}'.",
        )
