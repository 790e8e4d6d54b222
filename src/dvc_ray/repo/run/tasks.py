"""Describes a stage for a worker."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from dvc_ray.paths import outside
from dvc_ray.repo.inputs.ignored import Ignored, makes_environment, opened, without
from dvc_ray.repo.run.checks import deps, includes
from dvc_ray.repo.run.stage_paths import relative, resolved
from dvc_ray.values.git import GitTemplates
from dvc_ray.values.run import RunSettings
from dvc_ray.values.stage import StageSettings

if TYPE_CHECKING:
    from dvc_ray.repo.inputs.snapshot import Listing
    from dvc_ray.repo.run import environment_managers
    from dvc_ray.values.surroundings import Surroundings
    from dvc_ray.values.task import RemoteData, SharedData, StageTask


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What the driver decides about an attempt."""

    run_id: str
    attempt: int
    workspace: str
    log: str
    kept: str
    env: Mapping[str, str] = field(repr=False)
    """The caller's environment."""
    run_env: Mapping[str, str] = field(repr=False)
    """Variables that the run adds to the environment."""
    settings: StageSettings
    options: RunSettings
    git: str
    """Directory that keeps the templates of ``.git`` for workspaces during the run."""
    surroundings: Surroundings | None = None
    """What a command gets from the caller besides the environment."""
    signing_key: str = field(default="", repr=False)
    """Key of the run, which signs the files that a remote keeps for the run."""


def is_bare(request: Request) -> bool:
    """Whether a workspace is to have none of the files that Git ignores."""
    own = request.settings.bare_workspace
    return request.options.bare_workspace if own is None else own


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy:
    """What the project of an experiment is a copy of."""

    of: str
    """Root of the user's own tree."""
    paths: tuple[str, ...] = ()
    """Ignored paths in the copy that each stage is given (``--copy-paths``); absolute."""
    listing: Callable[[], Listing] | None = None
    """Lists the user's own tree; None if commands do not see files that Git ignores there (``--temp``)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Undeclared:
    """The content of a stage workspace that the stage does not declare."""

    code: tuple[str, ...]
    """Files of the snapshot, relative to the tree; sorted."""
    markers: tuple[str, ...] = ()
    """Files of the code by which environment managers find projects."""
    ignored: Ignored = field(default_factory=Ignored)
    ask: environment_managers.Ask | None = None
    """Asks managers where environments are; None if the command is to find none of the user's environments."""
    git: GitTemplates = field(default_factory=GitTemplates)
    """Templates of its ``.git``; none if it has no ``.git``."""
    git_for_dvc: bool = False
    """Whether DVC may use Git in the workspace, too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """The files that a stage workspace is given by name, and the outs of the stage; relative to the tree."""

    outs: tuple[str, ...]
    links: tuple[str, ...]
    """Deps and includes, and the targets of links among them."""
    deps: tuple[str, ...]
    copies: tuple[str, ...]
    """Outs with ``persist: true`` that exist."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WayOfData:
    """The parts of a task that depend on where its data is."""

    data: SharedData | RemoteData
    env: Mapping[str, str] = field(repr=False)
    """The environment of its command, as far as the head makes it."""
    surroundings: Surroundings | None = None
    """Those of the caller; None for those of the machine that the task runs on."""
    legacy: dict[str, Any] = field(default_factory=dict)
    """See `legacy`."""


def inputs(repo: Any, stage: Any, request: Request, copy: Copy | None, *, allow_missing: bool) -> Inputs:
    """Find the files that a stage workspace is given by name, and the outs of the stage.

    Args:
        repo: The project's ``dvc.repo.Repo``.
        stage: The ``dvc.stage.PipelineStage``.
        request: What the driver decides.
        copy: What the project is a copy of, for an experiment; None if it is the user's own.
        allow_missing: Whether deps may be missing here.

    Raises:
        ProjectError: A dep or an include is missing.
    """
    from dvc_ray.repo.inputs.snapshot import tree

    root = tree(repo)
    persisted = relative(root, (out.fs_path for out in stage.outs if out.persist))
    there = tuple(deps(stage, allow_missing=allow_missing))
    named = (*there, *includes(stage, request.settings), *(copy.paths if copy else ()))
    return Inputs(
        outs=tuple(relative(root, (out.fs_path for out in stage.outs))),
        links=tuple(resolved(root, named)),
        deps=tuple(relative(root, there)),
        copies=tuple(path for path in persisted if os.path.lexists(os.path.join(root, path))),
    )


def make(  # noqa: PLR0913  the parts that a task is made of
    repo: Any,
    stage: Any,
    request: Request,
    copy: Copy | None,
    *,
    given: Inputs,
    undeclared: Undeclared,
    way: WayOfData,
) -> StageTask:
    """Describe one attempt of a stage.

    Args:
        repo: The project's ``dvc.repo.Repo``.
        stage: The ``dvc.stage.PipelineStage``.
        request: What the driver decides.
        copy: What the project is a copy of, for an experiment; None if it is the user's own.
        given: The stage's inputs.
        undeclared: What the stage's workspace has besides.
        way: The parts of the task that depend on where its data is.
    """
    from dvc_ray.repo.inputs.snapshot import tree
    from dvc_ray.values.task import StageTask

    root = tree(repo)
    home = copy.of if copy else root
    persisted = set(relative(root, (out.fs_path for out in stage.outs if out.persist)))
    ignored = without(undeclared.ignored, (*given.outs, *given.links))
    if makes_environment(commands(stage)):
        ignored = opened(home, ignored)
    return StageTask(
        run_id=request.run_id,
        address=stage.addressing,
        attempt=request.attempt,
        name=stage.name,
        dvcfile=os.path.relpath(stage.path, repo.root_dir),
        definition=definition(repo, stage),
        tree=root,
        home=home,
        temporary=copy is not None and copy.listing is None,
        project=os.path.relpath(repo.root_dir, root),
        cwd=os.path.relpath(os.getcwd(), root),
        code=outside(undeclared.code, set(given.outs) - persisted),
        links=given.links,
        deps=given.deps,
        copies=given.copies,
        ignored=ignored.links,
        folders=ignored.folders,
        outs=given.outs,
        config=_config(repo, request.workspace, with_git=undeclared.git_for_dvc),
        git=undeclared.git,
        env=tuple(way.env.items()),
        secrets=request.options.secrets,
        env_from_ray=("CUDA_VISIBLE_DEVICES",) if request.settings.num_gpus else (),
        workspace=request.workspace,
        log=request.log,
        kept=request.kept,
        prefix=sys.prefix,
        timeout=request.settings.timeout,
        grace=request.options.grace,
        commit=request.options.commit,
        allow_missing=request.options.allow_missing,
        surroundings=way.surroundings,
        legacy=way.legacy,
        data=way.data,
    )


def commands(stage: Any) -> tuple[str, ...]:
    """The commands of a stage, as ``dvc.stage.run.cmd_run`` splits them."""
    if not stage.cmd:
        return ()
    return tuple(map(str, stage.cmd)) if isinstance(stage.cmd, list) else tuple(stage.cmd.splitlines())


def state_subdir() -> str:
    """Where a stage workspace keeps the hashes computed in it, relative to its project."""
    return os.path.join(".dvc", "tmp", "site")


def definition(repo: Any, stage: Any) -> dict[str, Any]:
    """The resolved stage as it would stand in dvc.yaml without templating; valid wherever the project is."""
    found = deepcopy(stage.dvcfile.resolver.resolve_one(stage.name)[stage.name])
    found.pop("meta", None)
    if "wdir" in found:
        found["wdir"] = os.path.relpath(stage.wdir, os.path.dirname(stage.path))
    for key in ("deps", "outs", "metrics", "plots"):
        if isinstance(found.get(key), list):
            found[key] = [_inside(repo, stage, item) for item in found[key]]
    return dict(found)


def legacy(stage: Any) -> dict[str, Any]:
    """The entry of dvc.lock that the stage was loaded from, if it has hashes in DVC 2's form: without ``hash: md5``.

    DVC keeps that form for deps and outs that have not changed (``Output.update_legacy_hash_name``, 3.67.1).
    """
    entry = stage.dvcfile.lockfile_contents.get("stages", {}).get(stage.name) or {}
    items = [item for key in ("deps", "outs") for item in entry.get(key) or ()]
    return deepcopy(dict(entry)) if any("md5" in item and "hash" not in item for item in items) else {}


def _inside(repo: Any, stage: Any, item: Any) -> Any:
    """Make an absolute path into the project relative: on a worker the project has another path."""
    if isinstance(item, dict):
        return {_inside(repo, stage, path): value for path, value in item.items()}
    if os.path.isabs(item) and repo.fs.isin(item, repo.root_dir):
        return os.path.relpath(item, stage.wdir)
    return item


def _config(repo: Any, workspace: str, *, with_git: bool) -> dict[str, dict[str, Any]]:
    """DVC configuration of a stage workspace: the project's cache, nothing of its remotes or secrets."""
    from dvc_ray.repo.inputs.snapshot import tree

    project = os.path.normpath(os.path.join(workspace, os.path.relpath(repo.root_dir, tree(repo))))
    core: dict[str, Any] = {"site_cache_dir": os.path.join(project, state_subdir()), "analytics": False}
    if not with_git:
        core["no_scm"] = True
    if jobs := repo.config["core"].get("checksum_jobs"):
        core["checksum_jobs"] = jobs
    cache: dict[str, Any] = {"dir": repo.cache.local_cache_dir}
    for option in ("type", "shared"):
        if found := repo.config["cache"].get(option):
            cache[option] = ",".join(found) if isinstance(found, (list, tuple)) else found
    return {"core": core, "cache": cache}
