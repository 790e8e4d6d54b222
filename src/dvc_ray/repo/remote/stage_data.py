"""Resolves and describes stages that run on machines that share no disk."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from dvc_ray import env
from dvc_ray.errors import ProjectError
from dvc_ray.paths import files_under, is_under
from dvc_ray.repo.remote.data_index import DataIndex
from dvc_ray.repo.remote.pushing import is_cached
from dvc_ray.repo.remote.remotes import folder_of
from dvc_ray.repo.run.tasks import Inputs
from dvc_ray.storage import FOLDER, Item, Objects, download, object_key
from dvc_ray.storage.s3 import credentials, variables
from dvc_ray.values.task import RemoteData

_RUNS: Final = "runs"
"""The folder in which run caches have their entries."""


def fill_deps(stage: Any, data: DataIndex) -> None:
    """Give the deps of a stage their current hashes.

    Raises:
        ProjectError: A dep is nowhere.
    """
    from dvc_data.hashfile.meta import Meta

    for dep in stage.deps:
        if not data.is_away(dep):
            dep.save()
            continue
        dep.hash_info = data.hash_of(dep.fs_path)
        dep.meta = Meta(isexec=data.is_executable(dep.fs_path))  # the last run's meta has a hash, which would win
        if dep.hash_info is None:
            raise ProjectError(
                f"stage '{stage.addressing}': dependency '{dep}' is neither here nor among what other stages make",
                "Make it, or bring it with `dvc pull` or `dvc checkout`.",
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A result of a stage that makes it unnecessary to run the stage."""

    entry: Mapping[str, Any]
    """Entry of dvc.lock, for the stage with its current deps."""
    key: str = ""
    """Key of the entry in the head's run cache that the result is from; empty if it is from elsewhere."""


def cached(stage: Any, repo: Any, store: Objects, has: Callable[[Any, str], bool], *, run_cache: bool) -> Found | None:
    """Look for a result of a stage with its current deps, whose outs are in their remotes or in the head's cache.

    First in dvc.lock, if only outs differ from it, then in the head's run cache, as DVC does (``StageCache.restore``,
    3.67.1); then in the remote's run cache. Only the outs are taken from an entry of a run cache, as DVC does: the key
    of the entry leaves out all that is called `size` or `nfiles`, even a param (``dvc.stage.cache._get_cache_hash``).

    Args:
        stage: The stage.
        repo: Its ``dvc.repo.Repo``.
        store: The remote with the run cache.
        has: Says whether an out's remote has data of a hash.
        run_cache: Whether to look into run caches.
    """
    from dvc.stage.serialize import to_single_stage_lockfile

    if not _is_reusable(stage):
        return None
    outs = {str(out.def_path): out for out in stage.outs}
    for key, entry in _entries(stage, repo, store, run_cache=run_cache):
        hashes = {str(out["path"]): str(out.get("md5") or "") for out in entry.get("outs", [])}
        if all(md5 and (has(outs[path], md5) or is_cached(outs[path], md5)) for path, md5 in hashes.items()):
            return Found(entry={**to_single_stage_lockfile(stage), "outs": entry.get("outs", [])}, key=key)
    return None


def _entries(stage: Any, repo: Any, store: Objects, *, run_cache: bool) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Entries that may be a stage's result, each with the key it has in the head's run cache."""
    from dvc.stage.cache import _get_cache_hash
    from dvc.stage.serialize import to_single_stage_lockfile

    if (locked := _as_locked(stage)) is not None:
        yield "", to_single_stage_lockfile(locked)
    if not run_cache:
        return
    key = _get_cache_hash(to_single_stage_lockfile(stage), key=True)
    names = repo.stage_cache.entries(key)
    if names and (entry := repo.stage_cache._load_cache(key, names[0])):
        yield f"{_RUNS}/{key[:2]}/{key}/{names[0]}", entry
    name = store.newest(f"{_RUNS}/{key[:2]}/{key}")
    if name is not None and (entry := _parsed(store, name)):
        yield "", entry


def _as_locked(stage: Any) -> Any | None:
    """A stage as dvc.lock has it, if that entry is a result for the stage's current command and deps."""
    from dvc.stage import PipelineStage

    if not isinstance(stage, PipelineStage):
        return None
    again = stage.dvcfile.stages[stage.name]  # `stage` itself has the current hashes
    same = [dep.hash_info for dep in again.deps] == [dep.hash_info for dep in stage.deps]
    return again if same and not again.changed_stage() and all(out.hash_info for out in again.outs) else None


def _parsed(store: Objects, name: str) -> Mapping[str, Any] | None:
    """An entry of the remote's run cache; None if it is damaged: DVC would remove such an entry."""
    from dvc.schema import COMPILED_LOCK_FILE_STAGE_SCHEMA
    from dvc.utils.serialize import parse_yaml
    from voluptuous import Invalid

    try:
        found: Mapping[str, Any] = COMPILED_LOCK_FILE_STAGE_SCHEMA(
            parse_yaml(b"".join(store.chunks(name)).decode(), name)
        )
    except (Invalid, UnicodeDecodeError):
        return None
    return found


def _is_reusable(stage: Any) -> bool:
    """Whether a stage can have an entry in the run cache (``dvc.stage.cache._can_hash``, 3.67.1), by known hashes.

    DVC's own function hashes the deps in the workspace for that.
    """
    if stage.is_callback or stage.always_changed or not (stage.cmd and stage.deps and stage.outs):
        return False
    deps = all(dep.protocol == "local" and dep.def_path and (dep.hash_info or _is_params(dep)) for dep in stage.deps)
    return deps and all(
        out.protocol == "local" and out.def_path and not out.persist and out.is_in_repo for out in stage.outs
    )


def _is_params(dep: Any) -> bool:
    from dvc.dependency import ParamsDependency

    return isinstance(dep, ParamsDependency)


def bring(out: Any, store: Objects) -> None:
    """Bring an out's data from a remote into the workspace, through the local cache."""
    oid = str(out.hash_info.value)
    _into_cache(out, [oid], store)
    if out.hash_info.isdir:
        from dvc_data.hashfile.tree import Tree

        tree = Tree.load(out.cache, out.hash_info)
        _into_cache(out, [str(hash_info.value) for _, (_, hash_info) in tree.iteritems()], store)
    _check_out(out)


def _into_cache(out: Any, oids: list[str], store: Objects) -> None:
    paths = {oid: str(out.cache.oid_to_path(oid)) for oid in oids}
    missing = [oid for oid, path in paths.items() if not os.path.exists(path)]
    download(
        store,
        [Item(key=object_key(oid), path=paths[oid], md5=oid.removesuffix(".dir")) for oid in missing],
    )


def _check_out(out: Any) -> None:
    """Put an out into the workspace; an out that DVC does not cache is copied, as ``StageCache`` does."""
    if out.use_cache:
        out.checkout(force=True)
        return
    from dvc_data.hashfile import load
    from dvc_data.hashfile.checkout import checkout

    before = out.cache.cache_types
    out.cache.cache_types = ["copy"]
    try:
        checkout(out.fs_path, out.fs, load(out.cache, out.hash_info), out.cache, force=True, state=out.repo.state)
    finally:
        out.cache.cache_types = before


def at_home(stage: Any, *, pull: bool) -> Iterator[Any]:
    """Outs that are to lie in the user's workspace: those that DVC does not cache, metrics and plots; or all."""
    for out in stage.outs:
        if pull or not out.use_cache or out.metric or out.plot:
            yield out


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What a worker on another machine is to do besides running a stage."""

    pull: bool
    """Whether all outs are brought into the user's workspace."""
    cache_size: int | None
    """Most bytes that the node's cache may have; None for no limit."""
    signing_key: str = field(repr=False)
    """Key of the run, which signs the files that the remote keeps for the run."""


def describe(stage: Any, tree: str, given: Inputs, data: DataIndex, wanted: Wanted) -> tuple[Inputs, RemoteData]:
    """Describe what a worker fetches from remotes and what the head sends.

    Args:
        stage: The stage.
        tree: Root of the tree, which paths are relative to.
        given: The inputs of the stage's workspace that are here.
        data: The project's data.
        wanted: What the worker is to do besides.

    Returns:
        All inputs of the stage's workspace, here or not; and the data part of the task.
    """
    kept = [out for out in stage.outs if out.persist and not os.path.lexists(out.fs_path) and out.hash_info]
    paths = [dep.fs_path for dep in stage.deps if dep.protocol == "local"] + [out.fs_path for out in kept]
    found = {os.path.relpath(each.path, tree): each for path in paths for each in data.stored(path)}
    fetched = {path for path in found if not is_under(os.path.dirname(path), set(found))}  # the others lie in these
    stored = tuple(replace(found[path], path=path) for path in sorted(fetched))
    shipped = {file for path in given.links for file in files_under(tree, path)}
    shipped |= {file for path in given.copies for file in files_under(tree, path, skip=())}
    sent = {file for file in shipped if not is_under(file, fetched)}
    pushes = {os.path.relpath(out.fs_path, tree): out.remote for out in stage.outs if out.remote}
    remotes = {data.default, *(found.remote for found in stored), *pushes.values()}
    all_given = replace(
        given,
        links=tuple(dict.fromkeys([*given.links, *sorted(fetched)])),
        deps=tuple(dict.fromkeys([*given.deps, *sorted(fetched)])),
        copies=tuple(dict.fromkeys([*given.copies, *(os.path.relpath(out.fs_path, tree) for out in kept)])),
    )
    return all_given, RemoteData(
        remotes=tuple(data.remote(name) for name in sorted(remotes, key=lambda name: name != data.default)),
        deps=stored,
        ships=tuple(sorted(sent)),
        cache_size=wanted.cache_size,
        store_env=tuple(variables(data.remote(data.default)).items()),
        store_credentials=credentials(data.remote(data.default)),
        signing_key=wanted.signing_key,
        pushes=tuple(pushes.items()),
        bring=tuple(os.path.relpath(out.fs_path, tree) for out in at_home(stage, pull=False)),
        pull=wanted.pull,
    )


def storage(data: DataIndex, run_id: str) -> dict[str, str]:
    """The variable that says where checkpoints go: beside the data, in S3 or a folder, as a path for Ray's storage."""
    remote = data.remote(data.default)
    place = remote.url if remote.url.startswith("s3://") else folder_of(remote)
    return {env.STORAGE: f"{place.rstrip('/')}/{FOLDER}/runs/{run_id}/storage"} if place else {}
