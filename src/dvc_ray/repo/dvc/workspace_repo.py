"""A stage workspace as a repository of DVC's: one process uses it once, so nothing of it need last or be locked."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from typing import Any, Self

from dvc_data.hashfile.state import State

from dvc_ray.repo.dvc.shared_run_cache import SharedRunCache


@contextlib.contextmanager
def opened(project: str) -> Iterator[Any]:
    """Open the repository of a stage workspace.

    Its hashes are in memory instead of two SQLite databases, and nothing is locked: together a fifth of a stage's
    time (3.67.1). DVC needs no Git here, whatever the command sees of it: it looks neither at tracked files nor at
    .gitignore.

    Args:
        project: Root of the DVC project in the workspace.

    Yields:
        The ``dvc.repo.Repo``.
    """
    from dvc.repo import Repo

    with _unlocked(), _in_memory():
        repo = Repo(project, config={"core": {"no_scm": True}})
        repo.stage_cache = SharedRunCache(repo)
        repo._reset = partial(_reset_but_config, repo)
        with contextlib.closing(repo):
            yield repo


def _reset_but_config(repo: Any) -> None:
    """Forget what a command may have changed, as DVC does around each; to read the configuration again takes 5 ms."""
    config = repo.config
    type(repo)._reset(repo)
    repo.__dict__["config"] = config


def computed(repo: Any, known: Mapping[str, str], tree: str) -> dict[str, str]:
    """Return DVC's notes of the hashes that it has computed, of files in a tree: by path relative to that.

    Args:
        repo: What `opened` has yielded.
        known: Notes that it was given, by absolute path.
        tree: Root of the tree.
    """
    top = tree + os.sep
    notes = repo.state.hashes
    return {path.removeprefix(top): notes[path] for path in notes if path.startswith(top) and path not in known}


class _Memory(dict[str, Any]):
    """Stands in for the ``Cache`` and the ``HashesCache`` of a ``State`` (dvc_data.hashfile.cache)."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Keep it."""

    def close(self) -> None:
        """Keep it."""

    def get_many(self, keys: Iterable[str]) -> Iterator[tuple[str, Any]]:
        """Look several keys up; None for one that is not there."""
        return ((key, self.get(key)) for key in keys)

    def set_many(self, items: Iterable[tuple[str, Any]]) -> None:
        """Put several values in."""
        self.update(items)


class _State(State):  # type: ignore[misc]
    def __init__(self, root_dir: str | None = None, tmp_dir: str | None = None, ignore: Any = None) -> None:
        super().__init__(root_dir, None, ignore)
        self.tmp_dir = tmp_dir
        self.links = _Memory()
        self.hashes = _Memory()


@contextlib.contextmanager
def _in_memory() -> Iterator[None]:
    import dvc_data.hashfile.state as module  # from where `Repo.__init__` takes it

    original = module.State
    module.State = _State
    try:
        yield
    finally:
        module.State = original


@contextlib.contextmanager
def _unlocked() -> Iterator[None]:
    """Neither the repository's lock nor the one on what a stage reads and writes (``dvc.stage.decorators``)."""
    from dvc import lock, rwlock

    original, locked = lock.make_lock, rwlock.rwlock
    lock.make_lock = lambda *_arguments, **_options: lock.LockNoop()
    rwlock.rwlock = lambda *_arguments, **_options: contextlib.nullcontext()
    try:
        yield
    finally:
        lock.make_lock, rwlock.rwlock = original, locked
