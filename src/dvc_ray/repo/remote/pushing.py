"""Finds data that stages read and only the head has, and pushes it to where other machines look for it."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from dvc_ray.errors import ProjectError
from dvc_ray.repo.remote.data_index import DataIndex
from dvc_ray.repo.remote.remotes import open_remote
from dvc_ray.storage import Item, Objects, lacking, object_key, upload

_STEP: Final = 1024
_DIR: Final = ".dir"


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """Data that a stage reads and that no stage of the run is going to make."""

    out: Any
    """The out that it is, or is a part of."""
    path: str
    """Absolute."""
    hash_info: Any | None
    """Hash of the data that the stage is to read; None if the data is nowhere."""
    edited: bool
    """Whether the hash is that of the data in the workspace and differs from the known hash of the out."""


def needs(stages: Sequence[Any], running: Collection[int], data: DataIndex, *, hashed: bool = False) -> Iterator[Need]:
    """Find the data that stages read and that no stage of the run makes.

    Args:
        stages: The stages.
        running: Identities (``id``) of the stages that have yet to make or commit their outs.
        data: The project's data.
        hashed: Whether the deps have their current hashes, so that these need not be computed again.
    """
    now = dict(_hashes(stages, data)) if hashed else {}
    pieces = {
        path: out
        for stage in stages
        for dep in stage.deps
        if data.is_data(dep)
        for path, out in data.pieces(dep.fs_path)
        if id(out.stage) not in running
    }
    for path, out in pieces.items():
        known = data.known(out, path)
        found = known if not os.path.lexists(path) else now.get(path) or data.lying(out, path)
        yield Need(out=out, path=path, hash_info=found, edited=found != known)


def _hashes(stages: Iterable[Any], data: DataIndex) -> Iterator[tuple[str, Any]]:
    """Current hashes of deps, by path; without deps that are partly elsewhere, or have a hash in DVC 2's form."""
    for dep in (dep for stage in stages for dep in stage.deps):
        if data.is_data(dep) and dep.hash_info and dep.hash_info.name == "md5" and not data.is_away(dep):
            yield dep.fs_path, dep.hash_info


class Remotes:
    """The remotes of a project, and the objects that they are known to have.

    Args:
        data: The project's data.
        store: The default remote, open.
        tell: Called with a sentence about what is pushed.
    """

    def __init__(self, data: DataIndex, store: Objects, tell: Callable[[str], None]) -> None:
        self._data = data
        self._stores: dict[str, Objects] = {data.default: store}
        self._there: set[tuple[str, str]] = set()
        """Remote and hash of each object that was found in the remote, or pushed to it in this run."""
        self._tell = tell

    def of(self, out: Any) -> Objects:
        """The remote that an out's data is in, open.

        Raises:
            StorageError: The remote cannot be used.
        """
        return self._store(self._data.remote_of(out))

    def note(self, out: Any) -> None:
        """Remember that an out's data has come to its remote."""
        self._there.add((self._data.remote_of(out), str(out.hash_info.value)))

    def has(self, out: Any, oid: str) -> bool:
        """Whether an out's remote has an object; a remote that has a directory's list has its files, too.

        Raises:
            StorageError: The remote cannot be queried.
        """
        name = self._data.remote_of(out)
        if (name, oid) not in self._there and self._store(name).size(object_key(oid)) is not None:
            self._there.add((name, oid))
        return (name, oid) in self._there

    def check(self, found: Iterable[Need]) -> None:
        """Check that other machines will be able to read all the data: it is in a remote, or can be pushed.

        Raises:
            ProjectError: Some data is nowhere.
            StorageError: A remote cannot be queried.
        """
        lacks = [need for need in found if not self._can_be_had(need)]
        if unmade := [need for need in lacks if need.hash_info is None]:
            names = dict.fromkeys(need.out.stage.addressing for need in unmade)
            raise ProjectError(
                f"stages need data that is not here, and nothing says what it was: {_listed(unmade)}",
                f"Make it: dvc-ray repro {' '.join(names)}{_unfrozen(unmade)}",
            )
        if lacks:
            raise ProjectError(
                "stages need data that is neither here nor in the remote, where other machines would find it:"
                f" {_listed(lacks)}",
                f"Bring it with `dvc pull`, or push it from where it is: dvc push {' '.join(_named(lacks))}",
            )

    def push(self, found: Iterable[Need]) -> None:
        """Push the data that other machines would not find.

        Raises:
            ProjectError: Some data is nowhere.
            StorageError: A remote refuses the request, or cannot be reached.
            OSError: A file cannot be read.
        """
        wanted = list(found)
        self.check(wanted)
        loads = [load for need in wanted if (load := self._load(need))]
        self._send(loads)

    def give(self, outs: Mapping[str, Any], entry: Mapping[str, Any], key: str) -> None:
        """Push the outs that an entry of the head's run cache names, then the entry, as a worker does.

        Args:
            outs: The outs by their paths in the entry.
            entry: The entry.
            key: Key of the entry, in the run cache here and in the remote.

        Raises:
            StorageError: A remote refuses the request, or cannot be reached.
            OSError: A file cannot be read.
        """
        oids = {str(out["path"]): str(out["md5"]) for out in entry.get("outs", [])}
        absent = {path: oid for path, oid in oids.items() if not self.has(outs[path], oid)}
        self._send([_Load.of(outs[path], oid, asked=oid) for path, oid in absent.items()])
        store = self._store(self._data.default)
        if key and store.size(key) is None:
            with open(self._data.cached(key), "rb") as file:
                store.write(key, file.read())

    def _can_be_had(self, need: Need) -> bool:
        if need.hash_info is None:
            return False
        if need.out.stage.is_repo_import:  # DVC does not push such data: it travels with the task
            return os.path.lexists(need.path)
        if need.edited or os.path.lexists(need.path) or is_cached(need.out, self._data.oid(need.out)):
            return True
        return self.has(need.out, self._data.oid(need.out))

    def _load(self, need: Need) -> _Load | None:
        """The objects to push for a need; None if there is nothing to push."""
        if need.out.stage.is_repo_import or need.hash_info is None:
            return None
        oid = str(need.hash_info.value) if need.edited else self._data.oid(need.out)
        self._data.as_it_is(need.path, need.hash_info if need.edited else None)
        if self.has(need.out, oid):
            return None
        asked = oid
        if not is_cached(need.out, oid):
            found = self._data.commit(need.out, need.path)
            oid = str(found.value)
            self._data.as_it_is(need.path, found)
        return _Load.of(need.out, oid, asked=asked)

    def _send(self, loads: Iterable[_Load]) -> None:
        """Push objects, files first, then the directories that name them."""
        by_remote: dict[str, list[_Load]] = {}
        for load in loads:
            by_remote.setdefault(self._data.remote_of(load.out), []).append(load)
        for name, wanted in by_remote.items():
            store = self._store(name)
            files = {load: load.files if load.is_missing else tuple(lacking(store, load.files)) for load in wanted}
            named = [f"'{load.out}' ({_readable(sum(item.size or 0 for item in files[load]))})" for load in wanted]
            kept = " in spite of `push: false`" if any(not load.out.can_push for load in wanted) else ""
            self._tell(f"Pushing to remote '{name}'{kept}, where other machines look for it: {', '.join(named)}.")
            upload(store, list({item.key: item for load in wanted for item in files[load]}.values()), ask=False)
            upload(store, [load.folder for load in wanted if load.folder], ask=False)
            self._there |= {(name, load.oid) for load in wanted}

    def _store(self, name: str) -> Objects:
        if name not in self._stores:
            self._stores[name] = open_remote(self._data.remote(name))
        return self._stores[name]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Load:
    """Objects of the head's cache that are to be pushed."""

    out: Any
    oid: str
    files: tuple[Item, ...]
    folder: Item | None
    """The list of a directory's files, if it is one."""
    is_missing: bool
    """Whether the remote is known to lack the files; about a directory, it is asked for the list only."""

    @classmethod
    def of(cls, out: Any, oid: str, *, asked: str) -> _Load:
        files = [oid] if not oid.endswith(_DIR) else _inside(out, oid)
        folder = _item(out, oid) if oid.endswith(_DIR) else None
        items = tuple(_item(out, file) for file in dict.fromkeys(files))
        return cls(out=out, oid=oid, files=items, folder=folder, is_missing=folder is None and asked == oid)


def is_cached(out: Any, oid: str) -> bool:
    """Whether the head's cache has an object; for a directory, with all its files."""
    if not os.path.exists(_path(out, oid)):
        return False
    return not oid.endswith(_DIR) or all(os.path.exists(_path(out, file)) for file in _inside(out, oid))


def _inside(out: Any, oid: str) -> list[str]:
    from dvc_data.hashfile.hash_info import HashInfo
    from dvc_data.hashfile.tree import Tree

    tree = Tree.load(_cache(out), HashInfo("md5", oid))
    return [str(hash_info.value) for _, (_, hash_info) in tree.iteritems()]


def _item(out: Any, oid: str) -> Item:
    path = _path(out, oid)
    return Item(key=object_key(oid), path=path, size=os.stat(path).st_size)


def _path(out: Any, oid: str) -> str:
    return str(_cache(out).oid_to_path(oid))


def _cache(out: Any) -> Any:
    return out.repo.cache.repo


def _named(found: Iterable[Need]) -> list[str]:
    return list(dict.fromkeys(str(need.out) for need in found))


def _listed(found: Iterable[Need]) -> str:
    sizes = {str(need.out): need.out.meta.size if need.out.meta else None for need in found}
    return ", ".join(f"'{name}' ({_readable(size)})" if size else f"'{name}'" for name, size in sizes.items())


def _unfrozen(found: Iterable[Need]) -> str:
    names = dict.fromkeys(need.out.stage.addressing for need in found if need.out.stage.frozen)
    return f" (frozen: first `dvc unfreeze {' '.join(names)}`)" if names else ""


def _readable(size: float) -> str:
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if size < _STEP:
            return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.1f} {unit}"
        size /= _STEP
    return f"{size:.1f} TiB"
