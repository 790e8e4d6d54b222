"""Results in a remote, where machines that share no disk with the head keep them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Final

from dvc_ray.errors import DeniedError, StorageError
from dvc_ray.paths import RunPaths, key_name
from dvc_ray.runs.results import codec
from dvc_ray.runs.results.base import Kept
from dvc_ray.storage import FOLDER, Objects
from dvc_ray.values.task import StageResult, StageTask

_LARGE: Final = "files"
"""Folder of large files among the results."""
_LARGEST: Final = 1 << 30
"""Most bytes of a result: a larger object was not written by us, as large files are stored beside it."""
_AT_A_TIME: Final = 16
"""Objects that are removed at the same time."""


class RemoteResults:
    """A `ResultStore` in a remote.

    Args:
        open_store: Opens the remote, or gives the one that is open.
        run_id: Id of the run.
        signing_key: Key of the run, with which its results are signed.
        work: The run's folder of workspaces, if this machine is the head.
        tree: Root of the tree that results are brought to, if this machine is the head.
        open_quickly: Opens the remote with short time-outs, if it may be out of reach; default: `open_store`.
        warn: Called with a text about an object that no worker of the run has written, and where it is now.
        cleared: Called when no results of the run are left.
    """

    def __init__(  # noqa: PLR0913
        self,
        open_store: Callable[[], Objects],
        run_id: str,
        signing_key: str,
        *,
        work: Path | None = None,
        tree: str = "",
        open_quickly: Callable[[], Objects] | None = None,
        warn: Callable[[str], None] = lambda _text: None,
        cleared: Callable[[], None] = lambda: None,
    ) -> None:
        self._open = open_store
        self._open_quickly = open_quickly or open_store
        self._run_id = run_id
        self.signing_key = signing_key
        self._work = work or Path()
        self._tree = tree
        self._warn = warn
        self._cleared = cleared
        self._folder = f"{FOLDER}/runs/{run_id}/results"

    def write(self, task: StageTask, result: StageResult) -> None:
        """Store a result where the driver, or the next run, finds it if the worker's answer never arrives."""
        self._open().write(self._key(task), codec.sign(codec.encode(task, result), self.signing_key))

    def large(self, name: str) -> str:
        """Key of a large file that a result names."""
        return f"{self._folder}/{_LARGE}/{name}"

    def read(self, task: StageTask) -> StageResult | None:
        """Read the result that a worker stored before the worker, or its answer, was lost."""
        with contextlib.suppress(StorageError):
            found = self._read(self._open_quickly(), self._key(task))
            if found is not None and found[1].attempt == task.attempt:
                return replace(found[1], workspace=task.workspace)
        return None

    def kept(self) -> Iterator[Kept]:
        """Read all results that no driver has taken; an object that is not a result is moved away, with a warning."""
        store, paths = self._open(), RunPaths(self._work.parent)
        for number, key in enumerate(store.keys(self._folder)):
            if key.startswith(f"{self._folder}/{_LARGE}/"):
                continue
            found = self._read(store, key)
            if found is None:
                self._warn(_unreadable(self._run_id, _set_aside(store, key)))
                continue
            task, result = found
            workspace = str(self._work / f"kept-{number}")
            kept = str(paths.kept(task.address, task.attempt))
            task = replace(task, tree=self._tree, home=self._tree, workspace=workspace, kept=kept)
            yield Kept(key=key, task=task, result=replace(result, workspace=workspace))

    def taken(self, task: StageTask) -> None:
        """Do nothing: a request for each stage would delay the driver, so `clear` removes all together."""

    def forget(self, key: str) -> None:
        """Remove a result; if that is denied, it stays, but is not looked for once the run's note of it is removed."""
        with contextlib.suppress(DeniedError):
            self._open().delete(key)

    def clear(self) -> None:
        """Remove all results of the run, and the large files that they name."""
        store = self._open()
        with (
            contextlib.suppress(DeniedError),
            ThreadPoolExecutor(_AT_A_TIME, thread_name_prefix="dvc-ray-forget") as pool,
        ):
            list(pool.map(store.delete, list(store.keys(self._folder))))
        self._cleared()

    def _key(self, task: StageTask) -> str:
        return f"{self._folder}/{key_name(task.address)}.{task.attempt}"

    def _read(self, store: Objects, key: str) -> tuple[StageTask, StageResult] | None:
        body = codec.signed(_small(store, key), self.signing_key)
        return None if body is None else codec.decode(body)


def _set_aside(store: Objects, key: str) -> str:
    """Move an object that is not a result to where nobody looks for results; return its new key."""
    aside = f"{FOLDER}/unreadable/{key.removeprefix(FOLDER).strip('/')}"
    store.write(aside, _small(store, key))
    with contextlib.suppress(DeniedError):
        store.delete(key)
    return aside


def _small(store: Objects, key: str) -> bytes:
    """Read an object, but not much more of it than a result may have."""
    found = bytearray()
    for piece in store.chunks(key):
        found += piece
        if len(found) > _LARGEST:
            break
    return bytes(found)


def _unreadable(run_id: str, aside: str) -> str:
    return (
        f"what lies in the remote as a result of run {run_id} was not written by a worker of it, or is damaged. It is"
        f" not taken, its stage runs again; it was moved to '{aside}' there. See who may write to the remote."
    )
