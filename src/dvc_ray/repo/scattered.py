"""Settling and describing stages that run on machines that share no disk."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from dvc_ray import env
from dvc_ray.errors import ProjectError
from dvc_ray.paths import is_under
from dvc_ray.repo.remotes import open_remote
from dvc_ray.repo.virtual import Virtual
from dvc_ray.storage import FOLDER, Item, Objects, download
from dvc_ray.storage.s3 import credentials, variables
from dvc_ray.values.run import RunOptions
from dvc_ray.values.task import Elsewhere, StageTask

_STEP: Final = 1024


def fill_deps(stage: Any, data: Virtual) -> None:
    """Give the deps of a stage the hashes they have now.

    Raises:
        ProjectError: One is nowhere.
    """
    from dvc_data.hashfile.meta import Meta

    for dep in stage.deps:
        if not data.is_away(dep):
            dep.save()
            if data.differs(dep):
                raise ProjectError(
                    f"stage '{stage.addressing}': dependency '{dep}' is not what the stage that makes it has made;"
                    " other machines have only that.",
                    "Run that stage, too, or put its version back: dvc checkout",
                )
            continue
        dep.hash_info = data.hash_of(dep.fs_path)
        dep.meta = Meta(isexec=data.is_executable(dep.fs_path))  # that of the last run has its hash too, and would win
        if dep.hash_info is None:
            raise ProjectError(
                f"stage '{stage.addressing}': dependency '{dep}' is neither here nor in what others have made.",
                "Make it, or bring it with `dvc pull` or `dvc checkout`.",
            )


def cached_entry(stage: Any, store: Objects, stores: Mapping[str, Objects]) -> dict[str, Any] | None:
    """The entry of dvc.lock for a stage with the deps it has and outs of the remote's run cache, if these are there.

    Only the outs are taken from the cache, as DVC does: the key of an entry leaves out all that is called `size` or
    `nfiles`, a param of that name, too (``dvc.stage.cache._get_cache_hash``, 3.67.1).

    Args:
        stage: The stage.
        store: The remote with the run cache.
        stores: Those of its outs, by the outs' paths as dvc.yaml has them.
    """
    from dvc.schema import COMPILED_LOCK_FILE_STAGE_SCHEMA
    from dvc.stage.cache import _get_cache_hash
    from dvc.stage.serialize import to_single_stage_lockfile
    from dvc.utils.serialize import parse_yaml
    from voluptuous import Invalid

    if not _is_reusable(stage):
        return None
    key = _get_cache_hash(to_single_stage_lockfile(stage), key=True)
    name = store.newest(f"runs/{key[:2]}/{key}")
    if name is None:
        return None
    try:
        entry = COMPILED_LOCK_FILE_STAGE_SCHEMA(parse_yaml(b"".join(store.chunks(name)).decode(), name))
    except (Invalid, UnicodeDecodeError):
        return None  # damaged: as DVC, which removes it
    hashes = {str(out["path"]): str(out.get("md5") or "") for out in entry.get("outs", [])}
    there = all(
        md5 and stores.get(path, store).size(f"files/md5/{md5[:2]}/{md5[2:]}") is not None
        for path, md5 in hashes.items()
    )
    return {**to_single_stage_lockfile(stage), "outs": entry.get("outs", [])} if there else None


def _is_reusable(stage: Any) -> bool:
    """Whether a stage can have an entry in the run cache (``dvc.stage.cache._can_hash``, 3.67.1), by known hashes.

    DVC's own hashes the deps in the workspace for that.
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


@dataclass(frozen=True, slots=True)
class Lack:
    """Data that is in no remote."""

    out: str
    """As DVC shows it."""
    size: str
    """For people; or that it is not here either."""


def lacks(
    stages: Iterable[Any],
    running: Collection[int],
    data: Virtual,
    stores: dict[str, Objects],
    there: set[str],
) -> list[Lack]:
    """Find data that these stages read, none of them makes, and no remote has.

    Args:
        stages: The stages.
        running: Identities (``id``) of those that run.
        data: The project's data.
        stores: Remotes that are open, by name; others are added.
        there: Hashes of what is known to be there; what is found is added.
    """
    outs = {
        out.fs_path: out
        for stage in stages
        for dep in stage.deps
        if dep.protocol == "local"
        for out in data.covering(dep.fs_path)
        if out.use_cache and out.hash_info and id(out.stage) not in running
    }
    found = []
    for out in outs.values():
        if out.stage.is_repo_import:  # DVC pushes it nowhere: it goes with the task
            if not out.exists:
                found.append(Lack(str(out), "not here; bring it with `dvc pull`"))
            continue
        name = out.remote or data.default
        if name not in stores:
            stores[name] = open_remote(data.remote(name))
        oid = data.oid(out)
        if oid in there:
            continue
        if stores[name].size(f"files/md5/{oid[:2]}/{oid[2:]}") is not None:
            there.add(oid)
        else:
            here = os.path.exists(out.cache.oid_to_path(oid)) or out.exists
            size = _readable(out.meta.size) if out.meta.size else "of unknown size"
            found.append(Lack(str(out), size if here else "not here either"))
    return found


def _readable(size: float) -> str:
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if size < _STEP:
            return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.1f} {unit}"
        size /= _STEP
    return f"{size:.1f} TiB"


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
        [Item(key=f"files/md5/{oid[:2]}/{oid[2:]}", path=paths[oid], md5=oid.removesuffix(".dir")) for oid in missing],
    )


def _check_out(out: Any) -> None:
    """Put an out into the workspace; one that DVC does not cache as a copy, as ``StageCache`` does."""
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
    """Outs that lie in the user's workspace afterwards: those that DVC does not cache, metrics and plots, or all."""
    for out in stage.outs:
        if pull or not out.use_cache or out.metric or out.plot:
            yield out


def describe(task: StageTask, stage: Any, data: Virtual, *, pull: bool, options: RunOptions) -> StageTask:
    """Add to a task what a worker needs beyond it.

    Args:
        task: The task, as for a worker that shares the disk; deps that are not in the workspace are not in it.
        stage: Its stage.
        data: The project's data.
        pull: Whether all outs come home.
        options: Of the run.
    """
    kept = [out for out in stage.outs if out.persist and not os.path.lexists(out.fs_path) and out.hash_info]
    paths = [dep.fs_path for dep in stage.deps if dep.protocol == "local"] + [out.fs_path for out in kept]
    found = {os.path.relpath(each.path, task.tree): each for path in paths for each in data.stored(path)}
    fetched = {path for path in found if not is_under(os.path.dirname(path), set(found))}  # the others come with these
    stored = tuple(replace(found[path], path=path) for path in sorted(fetched))
    sent = {
        file for path in (*task.links, *task.copies) for file in _files(task.tree, path) if not is_under(file, fetched)
    }
    pushes = {os.path.relpath(out.fs_path, task.tree): out.remote for out in stage.outs if out.remote}
    wanted = {data.default, *(found.remote for found in stored), *pushes.values()}
    return replace(
        task,
        links=tuple(dict.fromkeys([*task.links, *sorted(fetched)])),
        deps=tuple(dict.fromkeys([*task.deps, *sorted(fetched)])),
        copies=tuple(dict.fromkeys([*task.copies, *(os.path.relpath(out.fs_path, task.tree) for out in kept)])),
        elsewhere=Elsewhere(
            remotes=tuple(data.remote(name) for name in sorted(wanted, key=lambda name: name != data.default)),
            deps=stored,
            ships=tuple(sorted(sent)),
            cache_size=options.node_cache_size,
            store_env=tuple(variables(data.remote(data.default)).items()),
            store_credentials=credentials(data.remote(data.default)),
            secrets=options.secrets,
            pushes=tuple(pushes.items()),
            bring=tuple(os.path.relpath(out.fs_path, task.tree) for out in at_home(stage, pull=False)),
            pull=pull,
        ),
    )


def storage(data: Virtual, run_id: str) -> tuple[tuple[str, str], ...]:
    """The variable that says where checkpoints go: beside the data, if it is in S3, which Ray's storage knows, too."""
    url = data.remote(data.default).url
    return ((env.STORAGE, f"{url.rstrip('/')}/{FOLDER}/runs/{run_id}/storage"),) if url.startswith("s3://") else ()


def _files(tree: str, path: str) -> Iterator[str]:
    """The files and links under a path, or itself; empty folders too."""
    full = os.path.join(tree, path)
    if not os.path.isdir(full) or os.path.islink(full):
        yield path
        return
    for folder, names, files in os.walk(full):
        part = os.path.relpath(folder, tree)
        yield from (os.path.join(part, name) for name in files)
        yield from (os.path.join(part, name) for name in names if os.path.islink(os.path.join(folder, name)))
        if not files and not names:
            yield part
