"""Makes a stage workspace a DVC project of its own, and runs DVC's real ``Stage.run`` in it, on a worker."""

from __future__ import annotations

import contextlib
import io
import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dvc_ray.errors import ProjectError
from dvc_ray.files import atomic_write
from dvc_ray.repo.dvc import hashes
from dvc_ray.repo.dvc.failures import culprit, message, watch_no_bars
from dvc_ray.repo.dvc.guarded import guarded
from dvc_ray.values.task import StageTask


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """What DVC has recorded of a stage that ran."""

    entry: dict[str, Any]
    """Its entry of dvc.lock."""
    objects: dict[str, str]
    """Hashes of its outs that are in the cache, by path relative to the workspace."""
    hashes: dict[str, str]
    """DVC's notes of the hashes of files, by path relative to the workspace."""
    run_cache: str | None
    """Path of the stage's entry of the run cache, relative to the cache; None if there is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownHashes:
    """Hashes of files that need not be computed again."""

    state_dir: str = ""
    """Directory of DVC's state database for the place that the files come from; empty if there is none."""
    pairs: tuple[tuple[str, str], ...] = ()
    """Files and directories whose hashes are in that database: the path there, and the path here."""
    files: tuple[tuple[str, str], ...] = ()
    """Absolute path and MD5 of further files."""


Execute = Callable[[Sequence[str], str, Mapping[str, str]], int]
"""Runs an argv in a directory with an environment; returns the exit code."""


def configure(project: str, config: Mapping[str, Mapping[str, Any]]) -> None:
    """Make a directory a DVC project without Git.

    Args:
        project: The directory.
        config: DVC configuration, by section and option.
    """
    from configobj import ConfigObj

    dvc_dir = Path(project, ".dvc")
    for folder in (dvc_dir, dvc_dir / "tmp"):
        if folder.is_symlink():  # Git may track such a link, which leads to the user's folder
            folder.unlink()
        folder.mkdir(parents=True, exist_ok=True)
    written = io.BytesIO()
    ConfigObj(
        {section: dict(options) for section, options in config.items()}, list_values=True, encoding="utf-8"
    ).write(written)
    atomic_write(dvc_dir / "config.local", written.getvalue())  # an existing one may be a link to the user's


def run_stage(task: StageTask, known: KnownHashes, execute: Execute) -> Ran:
    """Run a stage as ``dvc repro --force --single-item`` would, in its workspace.

    Outs and the run-cache entry are in the cache when it returns.

    Args:
        task: The stage, already resolved: its dvc.yaml need not be in the workspace.
        known: Hashes of files that the workspace was given.
        execute: Runs a command of the stage.

    Raises:
        ProjectError: DVC rejects the result: a command failed, an out was not written, …
    """
    from dvc.dvcfile import ProjectFile
    from dvc.exceptions import DvcException
    from dvc.stage.loader import StageLoader
    from dvc.stage.serialize import to_single_stage_lockfile

    from dvc_ray.repo.dvc import workspace_repo

    logging.getLogger("dvc").setLevel(logging.ERROR)  # on a worker nobody reads it
    watch_no_bars()
    project = os.path.normpath(os.path.join(task.workspace, task.project))
    with guarded(), workspace_repo.opened(project) as repo, _commands_by(execute):
        hashes.carry(known.state_dir, repo.state, known.pairs)
        hashes.know(repo.state, known.files)
        given = dict(repo.state.hashes)
        dvcfile = ProjectFile(repo, os.path.join(project, task.dvcfile), verify=False)
        stage = StageLoader.load_stage(dvcfile, task.name, task.definition, task.legacy)
        try:
            with repo.lock:
                stage.run(force=True, no_commit=not task.commit, allow_missing=task.allow_missing)
        except DvcException as error:
            raise ProjectError(message(error)) from error
        except UnicodeError as error:  # a folder has a name in it that is not UTF-8
            raise ProjectError(f"DVC cannot process {culprit(error)}: {message(error)}") from error
        entry = dict(_plain(to_single_stage_lockfile(stage)))
        saved = _run_cache(repo, stage)
        outs = [out for out in stage.outs if out.hash_info and out.is_in_repo and (out.use_cache or saved)]
        objects = {os.path.relpath(out.fs_path, task.workspace): str(out.hash_info.value) for out in outs}
        return Ran(
            entry=entry,
            objects=objects if task.commit else {},
            hashes=workspace_repo.computed(repo, given, task.workspace),
            run_cache=saved,
        )


def _run_cache(repo: Any, stage: Any) -> str | None:
    """Where ``StageCache.save`` has put a stage's entry, relative to the cache (3.67.1)."""
    from dvc.stage.cache import _can_hash, _get_cache_hash, _get_stage_hash
    from dvc.stage.serialize import to_single_stage_lockfile

    if not _can_hash(stage):
        return None
    cache = repo.stage_cache
    path = cache._get_cache_path(_get_stage_hash(stage), _get_cache_hash(to_single_stage_lockfile(stage)))
    return os.path.relpath(path, os.path.dirname(cache.cache_dir)) if os.path.exists(path) else None


@contextlib.contextmanager
def _commands_by(execute: Execute) -> Iterator[None]:
    """Let DVC run commands through ``execute``; a process runs one stage at a time, so the swap is safe."""
    import dvc.stage.run as dvc_run
    from dvc.stage.exceptions import StageCmdFailedError

    def run(executable: str | None, cmd: str, **kwargs: Any) -> None:
        argv = dvc_run._make_cmd(executable, cmd)
        code = execute(argv, str(kwargs["cwd"]), kwargs["env"])
        if code:
            raise StageCmdFailedError(cmd, code)

    original = dvc_run._run
    dvc_run._run = run
    try:
        yield
    finally:
        dvc_run._run = original


def _plain(value: Any) -> Any:
    """Rebuild a value from plain types: the head must be able to read it without DVC's or YAML's own classes."""
    if isinstance(value, dict):
        return {str(key) if isinstance(key, str) else key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    for kind in (bool, int, float, str):
        if isinstance(value, kind):
            return kind(value)
    return value
