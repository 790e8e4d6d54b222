"""What a worker needs to know of a stage."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from dvc_ray import environment
from dvc_ray.environment import Sources
from dvc_ray.errors import ConfigError, ProjectError
from dvc_ray.paths import is_dvcs_own, outside
from dvc_ray.repo.dvc import hashes
from dvc_ray.repo.dvc.guarded import irregular
from dvc_ray.repo.inputs.ignored import Ignored, makes_environment, opened, without
from dvc_ray.settings.meta_ray import parse
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
    """What the run adds to it."""
    settings: StageSettings
    options: RunSettings
    git: str
    """Where what is Git's of workspaces is kept during the run."""
    surroundings: Surroundings | None = None
    """Likewise the caller's."""
    signing_key: str = field(default="", repr=False)
    """Of the run, to sign what is kept in a remote for it."""


def is_bare(request: Request) -> bool:
    """Whether a workspace is to have nothing of what Git ignores."""
    own = request.settings.bare_workspace
    return request.options.bare_workspace if own is None else own


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy:
    """What an experiment's copy of a project is."""

    of: str
    """Root of the user's own tree."""
    paths: tuple[str, ...] = ()
    """Ignored paths in the copy that each stage is given (``--copy-paths``); absolute."""
    listing: Callable[[], Listing] | None = None
    """Says what is in the user's own tree; None: commands do not see what Git ignores there (``--temp``)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Undeclared:
    """What a stage's workspace has beside what the stage declares."""

    code: tuple[str, ...]
    """Files of the snapshot, relative to the tree; sorted."""
    markers: tuple[str, ...] = ()
    """Those of the code that managers of environments find projects by."""
    ignored: Ignored = field(default_factory=Ignored)
    ask: environment_managers.Ask | None = None
    """Asks managers where environments are; None: the command is to find none of the user's."""
    git: GitTemplates = field(default_factory=GitTemplates)
    """What its ``.git`` is made of; nothing: it has none."""
    git_for_dvc: bool = False
    """Whether DVC asks Git there, too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """What a stage's workspace is given by name, and its outs; relative to the tree."""

    outs: tuple[str, ...]
    links: tuple[str, ...]
    """Deps and includes, and what they lead to."""
    deps: tuple[str, ...]
    copies: tuple[str, ...]
    """Outs that persist, and are there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WayOfData:
    """What of a task depends on where its data is."""

    data: SharedData | RemoteData
    env: Mapping[str, str] = field(repr=False)
    """The environment of its command, as far as the head makes it."""
    surroundings: Surroundings | None = None
    """Of the caller; None: those of the machine that it runs on."""
    legacy: dict[str, Any] = field(default_factory=dict)
    """See `legacy`."""


def inputs(repo: Any, stage: Any, request: Request, copy: Copy | None, *, allow_missing: bool) -> Inputs:
    """Find what a stage's workspace is given by name, and its outs.

    Args:
        repo: The project's ``dvc.repo.Repo``.
        stage: The ``dvc.stage.PipelineStage``.
        request: What the driver decides.
        copy: What an experiment's copy of a project is of; None: this is the user's own.
        allow_missing: Whether deps may be missing here.

    Raises:
        ProjectError: A dep or an include is missing.
    """
    from dvc_ray.repo.inputs.snapshot import tree

    root = tree(repo)
    persisted = _relative(root, (out.fs_path for out in stage.outs if out.persist))
    deps = tuple(_deps(stage, allow_missing=allow_missing))
    named = (*deps, *_includes(stage, request.settings), *(copy.paths if copy else ()))
    return Inputs(
        outs=tuple(_relative(root, (out.fs_path for out in stage.outs))),
        links=tuple(_resolved(root, named)),
        deps=tuple(_relative(root, deps)),
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
        copy: What an experiment's copy of a project is of; None: this is the user's own.
        given: What its workspace is given by name.
        undeclared: What its workspace has beside that.
        way: What depends on where its data is.
    """
    from dvc_ray.repo.inputs.snapshot import tree
    from dvc_ray.values.task import StageTask

    root = tree(repo)
    home = copy.of if copy else root
    persisted = set(_relative(root, (out.fs_path for out in stage.outs if out.persist)))
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


def declared(request: Request) -> dict[str, str]:
    """The variables that a stage declares: those of its ``runtime_env``, then its own."""
    return {**((request.settings.runtime_env or {}).get("env_vars") or {}), **dict(request.settings.env)}


def commands(stage: Any) -> tuple[str, ...]:
    """The commands of a stage, as ``dvc.stage.run.cmd_run`` splits them."""
    if not stage.cmd:
        return ()
    return tuple(map(str, stage.cmd)) if isinstance(stage.cmd, list) else tuple(stage.cmd.splitlines())


def check_outs(repo: Any, stage: Any) -> None:
    """Refuse before its command runs what ``Output.ignore`` would refuse after it.

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
    """Say which dep or include is missing before outs are removed; DVC would stumble over it later.

    Raises:
        ProjectError: One does not exist, or is nothing that can be read.
    """
    for path in (*_deps(stage), *_includes(stage, settings)):
        if not os.path.exists(path):
            why = f"is a link that leads to nothing: {os.readlink(path)}"
        elif kind := irregular(path):
            why = f"is {kind}, no file or folder"
        else:
            continue
        raise ProjectError(
            f"stage '{stage.addressing}': '{os.path.relpath(path, stage.wdir)}' {why}.",
            "Put what the stage reads in its place, or take it out of dvc.yaml.",
        )


def check_locks(repo: Any) -> None:
    """Refuse the file in which DVC's processes say what they read and write, as they do (``dvc.rwlock``, 3.67.1).

    Raises:
        dvc.exceptions.DvcException: It is broken.
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
    """Refuse what DVC refuses when it takes the values of params (``ParamsDependency.save``, 3.67.1).

    Raises:
        dvc.exceptions.DvcException: A file of params is missing or cannot be read, or has not all of them.
    """
    from dvc.dependency import ParamsDependency

    for dep in stage.deps:
        if isinstance(dep, ParamsDependency):
            if not dep.exists:
                raise dep.DoesNotExistError(dep)
            dep.get_hash()


def carry_home(repo: Any, task: StageTask) -> None:
    """Take over the hashes that a worker computed: for outs now at home, and for deps it read."""
    source_dir = os.path.join(task.workspace, task.project, state_subdir())
    pairs = [(os.path.join(task.workspace, path), os.path.join(task.tree, path)) for path in (*task.outs, *task.links)]
    for folder in databases(source_dir):
        hashes.carry(folder, repo.state, pairs)


def state_subdir() -> str:
    """Where a stage workspace keeps the hashes computed in it, relative to its project."""
    return os.path.join(".dvc", "tmp", "site")


def databases(site_dir: str) -> Iterator[str]:
    """DVC's state databases under a ``core.site_cache_dir`` (``Repo.site_cache_dir``: ``repo/<token>``)."""
    repos = os.path.join(site_dir, "repo")
    if os.path.isdir(repos):
        yield from (entry.path for entry in os.scandir(repos) if entry.is_dir())


def definition(repo: Any, stage: Any) -> dict[str, Any]:
    """The resolved stage as it would stand in dvc.yaml without templating; means the same in any place."""
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

    DVC keeps that form for what has not changed (``Output.update_legacy_hash_name``, 3.67.1).
    """
    entry = stage.dvcfile.lockfile_contents.get("stages", {}).get(stage.name) or {}
    items = [item for key in ("deps", "outs") for item in entry.get(key) or ()]
    return deepcopy(dict(entry)) if any("md5" in item and "hash" not in item for item in items) else {}


def _inside(repo: Any, stage: Any, item: Any) -> Any:
    """Make an absolute path into the project relative: the project is elsewhere on a worker."""
    if isinstance(item, dict):
        return {_inside(repo, stage, path): value for path, value in item.items()}
    if os.path.isabs(item) and repo.fs.isin(item, repo.root_dir):
        return os.path.relpath(item, stage.wdir)
    return item


def _deps(stage: Any, *, allow_missing: bool = False) -> Iterator[str]:
    from dvc.dependency import ParamsDependency

    for dep in stage.deps:
        _check_own(stage, dep.fs_path, "deps")
        if os.path.lexists(dep.fs_path):
            yield dep.fs_path
        elif not isinstance(dep, ParamsDependency) and not allow_missing:
            raise ProjectError(
                f"stage '{stage.addressing}': dependency '{dep}' does not exist.",
                "Make it, or bring it with `dvc pull` or `dvc checkout`.",
            ) from dep.DoesNotExistError(dep)


def _includes(stage: Any, settings: StageSettings) -> Iterator[str]:
    for path in settings.include:
        full = os.path.normpath(os.path.join(stage.wdir, path))
        _check_own(stage, full, "meta.ray.include")
        if not os.path.lexists(full):
            raise ProjectError(
                f"stage '{stage.addressing}': '{path}' of 'meta.ray.include' does not exist.",
                f"Make it, or take it out of dvc.yaml. Looked for: {full}",
            )
        yield full


def _check_own(stage: Any, path: str, where: str) -> None:
    """Refuse to give a stage what DVC keeps for itself and the user, asked for by name or by way of a link.

    Raises:
        ProjectError: The path is that.
    """
    from dvc_ray.repo.inputs.snapshot import tree

    root = tree(stage.repo)  # which may lie in a .dvc itself: an experiment's does
    real = os.path.relpath(os.path.realpath(path), os.path.realpath(root))
    if is_dvcs_own(os.path.relpath(path, root)) or is_dvcs_own(real):
        raise ProjectError(
            f"stage '{stage.addressing}': '{os.path.relpath(path, stage.wdir)}' of '{where}' is DVC's own. It may hold"
            " keys, and a stage's workspace has one of its own.",
            "Take it out of dvc.yaml. Give a command what it needs as a param, or in 'meta: {ray: {env: {...}}}'.",
        )


def inside(root: str, paths: Iterable[str]) -> tuple[str, ...]:
    """Paths in a tree, relative to it, each once; those outside are left out. Also what they are by way of links."""
    named = list(paths)
    real = set(map(os.path.realpath, named)) - {*named}
    return tuple(dict.fromkeys((*_relative(root, named), *_relative(os.path.realpath(root), sorted(real)))))


def touched(stage: Any) -> Iterator[str]:
    """What a stage reads or writes, declared in any way."""
    yield from (item.fs_path for item in (*stage.deps, *stage.outs) if item.protocol == "local")
    section = (stage.meta or {}).get("ray") if isinstance(stage.meta, dict) else None
    if section:
        include: tuple[str, ...] = ()
        with contextlib.suppress(ConfigError):  # it is told of stages that are to run
            include = parse(stage.addressing, stage.meta).include
        yield from (os.path.normpath(os.path.join(stage.wdir, path)) for path in include)


def concerns(root: str, stage: Any) -> Iterator[str]:
    """What decides whether a stage runs: its outs, and its deps unless it is frozen; relative to the tree."""
    items = stage.outs if stage.frozen else [*stage.deps, *stage.outs]
    paths = [item.fs_path for item in items if item.fs_path and os.path.isabs(item.fs_path)]
    yield from _relative(root, {*paths, *map(os.path.realpath, paths)})


def _relative(root: str, paths: Iterable[str]) -> Iterator[str]:
    """Paths relative to the tree; what lies outside is reached where it is and needs no link."""
    yield from (os.path.relpath(path, root) for path in paths if not is_outside(root, path))


def is_outside(root: str, path: str) -> bool:
    """Whether a path does not lie in a tree."""
    part = os.path.relpath(path, root)
    return part == os.pardir or part.startswith(os.pardir + os.sep)


def _resolved(root: str, paths: Iterable[str]) -> Iterator[str]:
    """As `_relative`; of a path that is or goes through a link within the tree, what it leads to as well."""
    for path in paths:
        real = os.path.realpath(path)
        if real == os.path.normpath(path) or os.path.islink(path):
            yield from _relative(root, [path])
        # An absolute link leads there from anywhere: into the cache, with cache.type symlink.
        needless = os.path.islink(path) and os.path.isabs(os.readlink(path))
        if real != os.path.normpath(path) and not needless:
            yield from _relative(os.path.realpath(root), [real])


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


def environment_of(
    repo: Any, stage: Any, request: Request, copy: Copy | None, given: Inputs, undeclared: Undeclared
) -> dict[str, str]:
    """The environment of a command that shares the user's disk.

    Args:
        repo: The project's ``dvc.repo.Repo``.
        stage: The stage.
        request: What the driver decides.
        copy: What an experiment's copy of a project is of.
        given: What its workspace is given by name.
        undeclared: What its workspace has beside that.
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
    """What the command of a stage runs on, as far as managers of environments look at it."""
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
