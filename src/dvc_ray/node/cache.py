"""A node that shares no disk with the head: its cache of objects, its trees, its workspaces. Runs on the worker.

<node folder>/
    cache/files/md5/xx/…   objects, laid out as DVC's cache: a stage workspace uses it as one
    cache/runs/…           run-cache entries of stages that ran here
    trees/<bundle id>/     snapshots, never changed once they are there
    fetching/              locks of processes that download objects
    work/<run id>/         stage workspaces
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dvc_ray.errors import StorageError
from dvc_ray.node.bundles import unpack
from dvc_ray.storage import Item, Objects, download, object_key, upload
from dvc_ray.values.task import FileBundle, Stored

_DIR: Final = ".dir"
_EXECUTABLE: Final = 0o755
_DAMAGED: Final = "Remove it from the remote and from the node's cache, and push it again from where the data is."


@dataclass(frozen=True, slots=True)
class Node:
    """A node's disk.

    Args:
        root: Its folder.
    """

    root: Path

    @property
    def cache(self) -> str:
        """The DVC cache of stage workspaces."""
        return str(self.root / "cache")

    def tree(self, bundle: FileBundle) -> str:
        """A directory with a snapshot; made once, even if several processes ask for it at the same time."""
        target = self.root / "trees" / bundle.id
        target.parent.mkdir(parents=True, exist_ok=True)
        with _held(target.with_name(f"{bundle.id}.lock")):  # opening the lock file marks the tree as in use
            if not target.exists():
                temporary = target.with_name(f"{bundle.id}.{uuid.uuid4().hex}")
                temporary.mkdir()
                unpack(bundle, str(temporary))
                temporary.replace(target)
        return str(target)

    def workspace(self, run_id: str) -> str:
        """A path for a new workspace; short, because commands make sockets in it."""
        parent = self.root / "work" / run_id
        parent.mkdir(parents=True, exist_ok=True)
        return str(parent / uuid.uuid4().hex[:8])

    def fetch(
        self, deps: Iterable[Stored], stores: Mapping[str, Objects], pin: Callable[[Iterable[str]], None]
    ) -> None:
        """Bring what is missing into the cache.

        Args:
            deps: What is needed.
            stores: The remotes, by name.
            pin: Called with what is needed before it is looked for, so that nobody removes it.

        Raises:
            ObjectMissingError: A remote does not have an object.
            CorruptObjectError: An object is not what its name says.
            StorageError: A remote cannot be reached, or refuses.
        """
        wanted: dict[str, set[str]] = {}
        for dep in deps:
            wanted.setdefault(dep.remote, set()).add(dep.oid)
        for remote, oids in wanted.items():
            pin(oids)
            self._bring(stores[remote], [oid for oid in oids if oid.endswith(_DIR)])
            inside = {oid for oid in oids if oid.endswith(_DIR) for oid in self._entries(oid).values()}
            pin(inside)
            self._bring(stores[remote], sorted(inside | {oid for oid in oids if not oid.endswith(_DIR)}))

    def link(self, dep: Stored, root: str, *, copy: bool = False) -> Iterator[tuple[str, str]]:
        """Put a dep into a workspace, as hard links to the cache's objects, or copies where there are no links.

        Args:
            dep: The dep.
            root: The workspace.
            copy: Whether the command may write to it.

        Yields:
            Each file's path relative to the workspace, and its MD5.
        """
        if not dep.oid.endswith(_DIR):
            target = os.path.join(root, dep.path)
            _link(self._path(dep.oid), target, copy=copy or dep.executable)
            if dep.executable:
                os.chmod(target, _EXECUTABLE)
            yield dep.path, dep.oid
            return
        os.makedirs(os.path.join(root, dep.path), exist_ok=True)
        for part, oid in self._entries(dep.oid).items():
            path = os.path.join(dep.path, part)
            _link(self._path(oid), os.path.join(root, path), copy=copy)
            yield path, oid

    def push(self, oids: Sequence[str], store: Objects, entry: str | None) -> None:
        """Store objects of the cache: files first, then directories, which name them, and a run-cache entry last.

        Args:
            oids: The objects; for directories, their files are stored too.
            store: The store.
            entry: Path of the run-cache entry, relative to the cache.

        Raises:
            StorageError: The store cannot be reached, or refuses.
        """
        dirs = [oid for oid in oids if oid.endswith(_DIR)]
        # A directory that is in the store is there with its files.
        missing = [oid for oid in dirs if store.size(object_key(oid)) is None]
        inside = {oid for each in missing for oid in self._entries(each).values()}
        plain = {oid for oid in oids if not oid.endswith(_DIR)}
        upload(store, [self._item(oid) for oid in sorted(inside | plain)])
        upload(store, [self._item(oid) for oid in missing])
        if entry is not None:
            store.write(entry, Path(self.cache, entry).read_bytes())

    def _bring(self, store: Objects, oids: Sequence[str]) -> None:
        if not (missing := self._missing(oids)):
            return
        with contextlib.ExitStack() as stack:  # waits for what another stage is downloading
            folder = self.root / "fetching"
            folder.mkdir(parents=True, exist_ok=True)
            for part in sorted({oid[:2] for oid in missing}):  # all take locks in this order: no deadlock
                stack.enter_context(_held(folder / part))
            download(
                store,
                [
                    Item(key=object_key(oid), path=self._path(oid), md5=oid.removesuffix(_DIR))
                    for oid in self._missing(missing)
                ],
            )

    def _missing(self, oids: Iterable[str]) -> list[str]:
        return [oid for oid in oids if not os.path.exists(self._path(oid))]

    def _entries(self, oid: str) -> dict[str, str]:
        """MD5 of each file of a directory, by path relative to it (``dvc_data.hashfile.tree.Tree.as_list``, 3.18)."""
        try:
            listed = json.loads(Path(self._path(oid)).read_text(encoding="utf-8"))
            found = {str(entry["relpath"]): str(entry["md5"]) for entry in listed}
        except (ValueError, KeyError, TypeError) as error:
            raise StorageError(
                f"object '{object_key(oid)}' is not a list of a directory's files: {error}", _DAMAGED
            ) from error
        if strange := [path for path in found if os.path.isabs(path) or ".." in path.split("/")]:
            raise StorageError(f"object '{object_key(oid)}' names a file outside its directory: {strange[0]}", _DAMAGED)
        return found

    def _item(self, oid: str) -> Item:
        path = self._path(oid)
        return Item(key=object_key(oid), path=path, size=os.stat(path).st_size)

    def _path(self, oid: str) -> str:
        return os.path.join(self.cache, *object_key(oid).split("/"))


def _link(source: str, target: str, *, copy: bool) -> None:
    os.makedirs(os.path.dirname(target), exist_ok=True)
    os.utime(source, (time.time(), os.stat(source).st_mtime))  # eviction goes by the time of the last use
    if os.path.lexists(target):
        return
    if not copy:
        with contextlib.suppress(OSError):  # another file system, or one without links
            os.link(source, target)
            return
    shutil.copyfile(source, target)


@contextlib.contextmanager
def _held(path: Path) -> Iterator[None]:
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
