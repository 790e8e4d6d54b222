"""An attempt on a machine that shares no disk with the head: what it needs is fetched, what it makes is stored.

The task is turned into one for this node: the same stage on the node's own tree, cache and workspace.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from dvc_ray import environment
from dvc_ray.environment import Sources
from dvc_ray.errors import StorageError
from dvc_ray.live import credentials
from dvc_ray.node.bundles import pack, unpack
from dvc_ray.node.cache import Node
from dvc_ray.node.eviction import Pin, at_work, evict, is_due, remove_old_trees
from dvc_ray.paths import key_name, node_folder
from dvc_ray.repo.remote.remotes import open_remote
from dvc_ray.repo.run.tasks import state_subdir
from dvc_ray.repo.run.worker_run import KnownHashes, Ran
from dvc_ray.runs.results import RemoteResults
from dvc_ray.storage import FOLDER, Objects, probe
from dvc_ray.storage.timeouts import QUICK
from dvc_ray.values.git import GitTemplates
from dvc_ray.values.stage import StageState
from dvc_ray.values.task import FileBundle, Remote, RemoteData, StageResult, StageTask
from dvc_ray.workspace.reuse import lay_aside

_ROOM: Final = 1 << 20
"""Bytes below which a disk counts as full."""
_PROBED: Final[set[Remote]] = set()
"""Remotes that have been found to work from this process."""
_FRESH: Final = 60.0
"""Seconds for which an open remote is used again: to open one costs 0.13 s, most of it boto3's (1.43)."""
_OPEN: Final[dict[Remote, tuple[float, object, Objects]]] = {}
"""Remotes that this process has open: since when, and with which variables."""


@dataclass(slots=True, kw_only=True)
class RemoteAccess:
    """A `DataAccess` through a remote."""

    task: StageTask
    """The task as this node runs it."""
    environ: dict[str, str]
    head: StageTask
    """The task as the head describes it."""
    data: RemoteData
    node: Node
    stores: Mapping[str, Objects]
    changes: Sequence[FileBundle]
    """Files of the tree that differ from the snapshot, and what else the head has sent, the latest first."""
    pin: Pin
    """Keeps objects in the node's cache."""
    held: contextlib.ExitStack
    """Holds `pin`, and the run's folder, which would otherwise be removed as that of a run that has left the node."""
    known: dict[str, str] = field(default_factory=dict)
    """MD5 by path of files that were put into the workspace, relative to it."""

    @classmethod
    def open(cls, task: StageTask, data: RemoteData, bundles: Sequence[FileBundle]) -> RemoteAccess:
        """Prepare a node for an attempt.

        Args:
            task: As the head describes it.
            data: Its data part.
            bundles: The snapshot, Git's state if the task has any, and what was sent with them, in order.

        Raises:
            StorageError: A remote cannot be used.
            OSError: The disk is full, or not writable.
        """
        node = Node(node_folder(os.environ))
        trees = [node.tree(bundle) for bundle in bundles if bundle.lasting]
        written = {data.remotes[0].name, *(name for _, name in data.pushes)}
        stores = {
            remote.name: _probed(remote) if remote.name in written else _opened(remote) for remote in data.remotes
        }
        local = _on_node(task, node, trees)
        with contextlib.ExitStack() as stack:
            pin = stack.enter_context(contextlib.closing(Pin(node.root)))
            stack.enter_context(at_work(Path(local.workspace).parent))
            return cls(
                task=local,
                environ=_environment(task, data, _keys(local.workspace)),
                head=task,
                data=data,
                node=node,
                stores=stores,
                changes=tuple(reversed([bundle for bundle in bundles if not bundle.lasting])),
                pin=pin,
                held=stack.pop_all(),
            )

    def close(self) -> None:
        """Leave the workspace to the next attempt, and keep the cache within its limit."""
        self.held.close()
        _keys(self.task.workspace).unlink(missing_ok=True)
        lay_aside(self.task.workspace)
        remove_old_trees(self.node.root)
        limit = self.data.cache_size
        if limit is not None and is_due(self.node.root):
            evict(self.node.root, self.node.cache, limit)

    def covered(self) -> frozenset[str]:
        """Files that do not come from the tree, relative to it."""
        return frozenset(file.path for sent in self.changes for file in sent.files)

    def fill(self, root: str) -> None:
        """Put into a workspace what the head has sent, and deps from the node's cache or a remote."""
        put: set[str] = set()
        for sent in self.changes:
            unpack(sent, root, [file.path for file in sent.files if file.path not in put])
            put |= {file.path for file in sent.files}
        self.node.fetch(self.data.deps, self.stores, self.pin.add)
        for dep in self.data.deps:
            for path, oid in self.node.link(dep, root, copy=dep.path in self.task.copies):
                self.known[path] = oid

    def hashes(self, given: Iterable[str]) -> KnownHashes:  # noqa: ARG002  the tree is not a user's
        """The hashes of files that came from the node's cache."""
        files = ((os.path.join(self.task.workspace, path), oid) for path, oid in self.known.items())
        return KnownHashes(files=tuple(files))

    def environments(self) -> contextlib.AbstractContextManager[object]:
        """Nothing to do: the environments are the node's own."""
        return contextlib.nullcontext()

    def push(self, ran: Ran) -> None:
        """Store what the stage has made: objects first, the run-cache entry last."""
        self.pin.add(ran.objects.values())
        default = self.data.remotes[0].name
        pushes = dict(self.data.pushes)
        for remote in sorted({*pushes.values()} - {default}):
            oids = [oid for path, oid in ran.objects.items() if pushes.get(path, default) == remote]
            self.node.push(oids, self.stores[remote], None)
        oids = [oid for path, oid in ran.objects.items() if pushes.get(path, default) == default]
        self.node.push(oids, self.stores[default], ran.run_cache)

    def about_missing(self) -> str:
        """The out may be on another node, written by one of the stage's own workers."""
        return (
            f" on {socket.gethostname()}, where the stage ran. If one of its own workers on another node has"
            " written it, bring it home in the stage's program: dvc_ray.fetch(result, PATH)"
        )

    def finish(self, result: StageResult) -> StageResult:
        """Store in the remote what must outlive the node, and pack what goes to the head."""
        if result.state is StageState.FAILED:
            result = replace(result, note=self._full_disk())
        try:
            returned = self._returned_files(result)
        except (StorageError, OSError) as error:
            text = f"what it made cannot be brought home: {error}"
            return replace(result, state=StageState.FAILED, entry=None, error=result.error or text)
        brought = {file.path for file in returned.files}
        result = replace(
            result,
            returned_files=returned,
            created=tuple(path for path in result.created if path in brought),
            hashes=(),  # they are about files of this machine
        )
        with contextlib.suppress(StorageError, OSError):  # the driver usually gets the result and the output anyway
            self._results().write(self.head, result)
            self._store_log()
        return result

    def _full_disk(self) -> str:
        """Say that the node's disk is full, if it is: for lack of space, the command's own message may be lost."""
        if shutil.disk_usage(self.node.root).free >= _ROOM:
            return ""
        return f"; the disk of node {socket.gethostname()} with '{self.node.root}' is full"

    def _returned_files(self, result: StageResult) -> FileBundle:
        """Pack what goes to the head: outs that are asked for, changed files of the snapshot, new files.

        Raises:
            StorageError: A large file cannot be stored.
            OSError: A file cannot be read.
        """
        outs = self.data.bring if result.state is StageState.DONE else ()
        changed = [each.path for each in result.changed]
        return pack(self.task.workspace, [*outs, *changed, *result.created], self._store_large)

    def _store_large(self, path: str, size: int) -> str:
        key = self._results().large(uuid.uuid4().hex)
        self._own_store().put(key, path, size)
        return key

    def _store_log(self) -> None:
        """Store the complete output of the command where it outlives the node.

        Raises:
            StorageError: The store cannot be reached, or refuses.
        """
        log = Path(self.task.log)
        if log.exists():
            name = f"{FOLDER}/runs/{self.task.run_id}/logs/{key_name(self.task.address)}.{self.task.attempt}.log"
            self._own_store().put(name, str(log), log.stat().st_size)
            log.unlink()

    def _results(self) -> RemoteResults:
        return RemoteResults(self._own_store, self.task.run_id, self.data.signing_key)

    def _own_store(self) -> Objects:
        return self.stores[self.data.remotes[0].name]


def _on_node(task: StageTask, node: Node, trees: Sequence[str]) -> StageTask:
    """Turn a task into one for this node.

    Args:
        task: As the head describes it.
        node: The node.
        trees: Where this node has the snapshot, and Git's state if the task has any.
    """
    workspace = node.workspace(task.run_id)
    core = {**task.config["core"], "site_cache_dir": os.path.join(workspace, task.project, state_subdir())}
    return replace(
        task,
        tree=trees[0],
        git=_unpacked(task.git, trees[1:]),
        workspace=workspace,
        log=f"{workspace}.log",
        config={**task.config, "core": core, "cache": {"dir": node.cache, "type": "reflink,hardlink,copy"}},
    )


def _unpacked(git: GitTemplates, folders: Sequence[str]) -> GitTemplates:
    """The templates of a workspace's ``.git``, where they are on this node."""
    here = ((path, os.path.join(folders[0], os.path.basename(folder)) if folder else "") for path, folder in git.places)
    return replace(git, places=tuple(here))


def _probed(remote: Remote) -> Objects:
    """Open a remote that works from here; one that does not is found out in seconds.

    Raises:
        StorageError: It does not work.
    """
    if remote not in _PROBED:
        probe(open_remote(remote, QUICK))
        _PROBED.add(remote)
    return _opened(remote)


def _opened(remote: Remote) -> Objects:
    """Open a remote, or reuse one that was opened a moment ago; keys that expire are renewed in both cases.

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


def _keys(workspace: str) -> Path:
    return Path(f"{workspace}.credentials")


def _environment(task: StageTask, data: RemoteData, keys: Path) -> dict[str, str]:
    """The node's own environment, what the head sends, and what other clients need to use the remote."""
    sources = Sources(store=dict(data.store_env), machine=environment.of_machine(os.environ), head=dict(task.env))
    found = environment.merge(sources)
    node = credentials.give(data.store_credentials, keys, found)
    if not os.path.exists(found.get("SHELL", "")):
        node["SHELL"] = next(path for path in ("/bin/bash", "/bin/sh") if os.path.exists(path))
    return environment.merge(replace(sources, node=node))
