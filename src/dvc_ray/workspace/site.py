"""An attempt on a node that shares no disk with the head: what it needs is brought, what it makes is stored.

The task is turned into one for this node: the same stage on a tree, a cache and a workspace of the node's own.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from dvc_ray.errors import DeniedError, StorageError
from dvc_ray.live import credentials
from dvc_ray.paths import key_name, node_folder
from dvc_ray.repo.bare import Ran
from dvc_ray.repo.remotes import open_remote
from dvc_ray.repo.tasks import state_subdir
from dvc_ray.storage import FOLDER, Objects, probe
from dvc_ray.storage.patience import QUICK
from dvc_ray.values.git import GitTemplates
from dvc_ray.values.stage import StageState
from dvc_ray.values.task import Pack, Remote, StageResult, StageTask
from dvc_ray.workspace import letter
from dvc_ray.workspace.node import Node
from dvc_ray.workspace.pack import pack, unpack
from dvc_ray.workspace.reuse import lay_aside
from dvc_ray.workspace.upkeep import Pin, evict, is_due, remove_old_trees

_LARGE: Final = "files"
"""Folder of large files among the results."""
_AT_A_TIME: Final = 16
"""Objects that are removed at the same time."""
_ROOM: Final = 1 << 20
"""Bytes below which a disk counts as full."""
_PROBED: Final[set[Remote]] = set()
"""Remotes that have been found to work from this process."""
_FRESH: Final = 60.0
"""Seconds for which an open remote is used again: to open one costs 0.13 s, most of it boto3's (1.43)."""
_OPEN: Final[dict[Remote, tuple[float, object, Objects]]] = {}
"""Remotes that this process has open: since when, with what surroundings."""


@dataclass(slots=True)
class Site:
    """A node's part in an attempt."""

    task: StageTask
    """The task as this node runs it."""
    head: StageTask
    """As the head describes it."""
    node: Node
    stores: Mapping[str, Objects]
    changes: Sequence[Pack]
    """Files of the tree that differ from the snapshot, and what else the head has sent, the last first."""
    pin: Pin
    known: dict[str, str] = field(default_factory=dict)
    """MD5 by path of files that were put into the workspace, relative to it."""

    @classmethod
    def of(cls, task: StageTask, packs: Sequence[Pack]) -> Site:
        """Prepare a node for an attempt.

        Args:
            task: As the head describes it; its `elsewhere` is set.
            packs: The snapshot, Git's state if the task has any, and what was sent beside them, in order.

        Raises:
            StorageError: A remote cannot be used.
            OSError: The disk is full, or not ours to write to.
        """
        assert task.elsewhere is not None  # noqa: S101
        node = Node(node_folder(os.environ))
        tree, *git = [node.tree(packed) for packed in packs if packed.lasting]
        workspace = node.workspace(task.run_id)
        written = {task.elsewhere.remotes[0].name, *(name for _, name in task.elsewhere.pushes)}
        stores = {
            remote.name: _probed(remote) if remote.name in written else _opened(remote)
            for remote in task.elsewhere.remotes
        }
        core = {
            **task.config["core"],
            "site_cache_dir": os.path.join(workspace, task.project, state_subdir()),
        }
        local = replace(
            task,
            tree=tree,
            git=_unpacked(task.git, git),
            workspace=workspace,
            log=f"{workspace}.log",
            state_dir="",
            env=tuple(_environment(task, _keys(workspace)).items()),
            config={**task.config, "core": core, "cache": {"dir": node.cache, "type": "reflink,hardlink,copy"}},
        )
        return cls(
            head=task,
            task=local,
            node=node,
            stores=stores,
            changes=tuple(reversed([packed for packed in packs if not packed.lasting])),
            pin=Pin(node.root),
        )

    def close(self) -> None:
        """Leave the workspace to the next attempt, and keep the cache within its bound."""
        assert self.task.elsewhere is not None  # noqa: S101
        _keys(self.task.workspace).unlink(missing_ok=True)
        lay_aside(self.task.workspace)
        self.pin.close()
        remove_old_trees(self.node.root)
        limit = self.task.elsewhere.cache_size
        if limit is not None and is_due(self.node.root):
            evict(self.node.root, self.node.cache, limit)

    def full_disk(self) -> str:
        """Say that the node's disk is full, if it is: what the command said of it may have found no room either."""
        if shutil.disk_usage(self.node.root).free >= _ROOM:
            return ""
        return f"; the disk of node {socket.gethostname()} with '{self.node.root}' is full"

    def covered(self) -> frozenset[str]:
        """Files that do not come from the tree, relative to it."""
        return frozenset(file.path for sent in self.changes for file in sent.files)

    def fill(self, root: str) -> None:
        """Put into a workspace what does not come from the tree.

        Raises:
            StorageError: A dep cannot be brought.
            OSError: The disk is full.
        """
        assert self.task.elsewhere is not None  # noqa: S101
        put: set[str] = set()
        for sent in self.changes:
            unpack(sent, root, [file.path for file in sent.files if file.path not in put])
            put |= {file.path for file in sent.files}
        self.node.fetch(self.task.elsewhere.deps, self.stores, self.pin.add)
        for dep in self.task.elsewhere.deps:
            for path, oid in self.node.link(dep, root, copy=dep.path in self.task.copies):
                self.known[path] = oid

    def push(self, ran: Ran) -> None:
        """Store what the stage has made: objects first, the run-cache entry last.

        Raises:
            StorageError: A remote cannot be reached, or refuses.
        """
        assert self.task.elsewhere is not None  # noqa: S101
        self.pin.add(ran.objects.values())
        default = self.task.elsewhere.remotes[0].name
        elsewhere = dict(self.task.elsewhere.pushes)
        for remote in sorted({*elsewhere.values()} - {default}):
            oids = [oid for path, oid in ran.objects.items() if elsewhere.get(path, default) == remote]
            self.node.push(oids, self.stores[remote], None)
        oids = [oid for path, oid in ran.objects.items() if elsewhere.get(path, default) == default]
        self.node.push(oids, self.stores[default], ran.run_cache)

    def parcel(self, result: StageResult) -> Pack:
        """Take up what comes home: outs that are asked for, files of the snapshot that changed, new ones.

        Raises:
            OSError: A file cannot be read.
        """
        assert self.task.elsewhere is not None  # noqa: S101
        outs = self.task.elsewhere.bring if result.state is StageState.DONE else ()
        changed = [each.path for each in result.changed]
        return pack(self.task.workspace, [*outs, *changed, *result.created], self._store_large)

    def _store_large(self, path: str, size: int) -> str:
        key = f"{_results(self.task.run_id)}/{_LARGE}/{uuid.uuid4().hex}"
        self._own_store().put(key, path, size)
        return key

    def store_log(self) -> None:
        """Keep all that the command printed where it outlives the node.

        Raises:
            StorageError: The store cannot be reached, or refuses.
        """
        log = Path(self.task.log)
        if log.exists():
            name = f"{FOLDER}/runs/{self.task.run_id}/logs/{key_name(self.task.address)}.{self.task.attempt}.log"
            self._own_store().put(name, str(log), log.stat().st_size)
            log.unlink()

    def write_down(self, result: StageResult) -> None:
        """Keep a result where the driver, or the next run, finds it if it never hears of it.

        Raises:
            StorageError: The store cannot be reached, or refuses.
        """
        assert self.head.elsewhere is not None  # noqa: S101
        self._own_store().write(
            _result_key(self.head), letter.write(self.head, result, self.head.elsewhere.signing_key)
        )

    def placed(self) -> Iterable[tuple[str, str]]:
        """Absolute paths of files whose MD5 is known, with it."""
        return ((os.path.join(self.task.workspace, path), oid) for path, oid in self.known.items())

    def _own_store(self) -> Objects:
        assert self.task.elsewhere is not None  # noqa: S101
        return self.stores[self.task.elsewhere.remotes[0].name]


def _unpacked(git: GitTemplates, folders: Sequence[str]) -> GitTemplates:
    """What a workspace's ``.git`` is made of, where it is on this node."""
    here = ((path, os.path.join(folders[0], os.path.basename(folder)) if folder else "") for path, folder in git.places)
    return GitTemplates(tuple(here), adding=git.adding)


def _probed(remote: Remote) -> Objects:
    """Open a remote that works from here; that it does not, is found out in seconds.

    Raises:
        StorageError: It does not.
    """
    if remote not in _PROBED:
        probe(open_remote(remote, QUICK))
        _PROBED.add(remote)
    return _opened(remote)


def _opened(remote: Remote) -> Objects:
    """Open a remote, or give the one that was opened a moment ago; keys that end are renewed in either.

    Raises:
        StorageError: There are no credentials, or its options make no sense.
    """
    now = time.monotonic()
    surroundings = {name: text for name, text in os.environ.items() if name.startswith("AWS_") or name == "HOME"}
    since, known, store = _OPEN.get(remote, (0.0, None, None))
    if store is None or known != surroundings or now - since > _FRESH:
        store = open_remote(remote)
        _OPEN[remote] = now, surroundings, store
    return store


def kept_result(task: StageTask) -> StageResult | None:
    """Read what a worker elsewhere wrote down before it was lost, or its answer was. On the head."""
    assert task.elsewhere is not None  # noqa: S101
    with contextlib.suppress(StorageError):
        store = open_remote(task.elsewhere.remotes[0], QUICK)
        found = letter.read(_small(store, _result_key(task)), task.elsewhere.signing_key)
        if found is not None and found[1].attempt == task.attempt:
            return replace(found[1], workspace=task.workspace)
    return None


def kept_results(
    store: Objects, work: Path, tree: str, signing_key: str
) -> Iterator[tuple[str, tuple[StageTask, StageResult] | None]]:
    """Read all that workers of a run wrote down and nobody has taken. On the head.

    Args:
        store: Where.
        work: Folder for their workspaces, in the folder of the run.
        tree: The user's tree, which the results are for.
        signing_key: Of the run.

    Yields:
        The key of each, and its task and the result, both with places of this machine; None for what is no result that
        a worker of the run has written.

    Raises:
        StorageError: The store cannot be reached, or refuses.
    """
    for number, key in enumerate(store.keys(_results(work.parent.name))):
        if f"/{_LARGE}/" in key:
            continue
        found = letter.read(_small(store, key), signing_key)
        if found is None:
            yield key, None
        else:
            place, kept = str(work / f"kept-{number}"), str(work.parent / "kept" / str(number))
            task = replace(found[0], tree=tree, home=tree, workspace=place, kept=kept, log="", state_dir="")
            yield key, (task, replace(found[1], workspace=place))


def set_aside(store: Objects, key: str) -> str:
    """Move what is no result to where nobody looks for one; where that is.

    Raises:
        StorageError: The store cannot be reached, or refuses.
    """
    aside = f"{FOLDER}/unreadable/{key.removeprefix(FOLDER).strip('/')}"
    store.write(aside, _small(store, key))
    with contextlib.suppress(DeniedError):
        store.delete(key)
    return aside


def _small(store: Objects, key: str) -> bytes:
    """Read an object, but no more of it than a result may have."""
    found = bytearray()
    for piece in store.chunks(key):
        found += piece
        if len(found) > letter.LARGEST:
            break
    return bytes(found)


def forget_results(store: Objects, run_id: str) -> None:
    """Remove what workers of a run wrote down.

    Raises:
        StorageError: The store cannot be reached, or refuses.
    """
    with ThreadPoolExecutor(_AT_A_TIME, thread_name_prefix="dvc-ray-forget") as pool:
        list(pool.map(store.delete, list(store.keys(_results(run_id)))))


def _result_key(task: StageTask) -> str:
    return f"{_results(task.run_id)}/{key_name(task.address)}.{task.attempt}"


def _results(run_id: str) -> str:
    return f"{FOLDER}/runs/{run_id}/results"


def _keys(workspace: str) -> Path:
    return Path(f"{workspace}.credentials")


def _environment(task: StageTask, keys: Path) -> dict[str, str]:
    """The node's own environment without what Ray has added, and what the stage declares.

    Ray sets OMP_NUM_THREADS to the CPUs that the stage asks for, and CUDA_VISIBLE_DEVICES: that is as it should be.
    """
    node = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    assert task.elsewhere is not None  # noqa: S101
    found = {**dict(task.elsewhere.store_env), **node, **dict(task.env)}
    found |= credentials.give(task.elsewhere.store_credentials, keys, found)
    if not os.path.exists(found.get("SHELL", "")):
        found["SHELL"] = next(path for path in ("/bin/bash", "/bin/sh") if os.path.exists(path))
    return found
