"""Keeps a node's folder from growing for ever. Runs on the worker.

Two signs tell what is in use: an object that is in a workspace has more than one name, and an attempt keeps a locked
file with the names of what it needs for as long as it runs (`Pin`); a process that is gone holds no lock.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import time
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dvc_ray.paths import IN_USE
from dvc_ray.storage import OBJECTS

_PINS: Final = "pins"
_NEW: Final = "pins.new"
_EVICTED: Final = "evicted"
_EVERY: Final = 60.0
"""Seconds between scans of the whole cache."""
_FRESH: Final = 60.0
"""Seconds after its last use for which an object is kept in any case."""
_LOCK: Final = ".lock"
_DAY: Final = 86400.0
_OLD: Final = 3600.0
"""Seconds after which a run that has no attempt on this node any more counts as having left it."""


@dataclass(frozen=True, slots=True)
class _Object:
    used: float
    size: int
    path: str
    oid: str


class Pin:
    """Keeps objects in the cache, whether they are there yet or not, until it is closed or its process is gone.

    Args:
        root: The node's folder.
    """

    def __init__(self, root: Path) -> None:
        new = root / _NEW
        for folder in (new, root / _PINS):
            folder.mkdir(parents=True, exist_ok=True)
        self._evicting = root / _EVICTED
        name = uuid.uuid4().hex
        self._path = root / _PINS / name
        self._file = (new / name).open("w", encoding="ascii")
        fcntl.flock(self._file, fcntl.LOCK_EX)
        (new / name).replace(self._path)  # it is locked before it becomes visible

    def add(self, oids: Iterable[str]) -> None:
        """Keep these, too; waits while objects are being removed, so that those that are there afterwards stay."""
        with self._evicting.open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH)
            self._file.write("".join(f"{oid}\n" for oid in oids))
            self._file.flush()

    def close(self) -> None:
        """Release the objects."""
        self._path.unlink(missing_ok=True)
        self._file.close()


def evict(root: Path, cache: str, limit: int, now: float | None = None) -> int:
    """Remove the least recently used objects until the cache is within its limit.

    Args:
        root: The node's folder.
        cache: Its cache.
        limit: Maximum size of the cache in bytes.
        now: The time; default: now.

    Returns:
        Bytes that were removed.
    """
    now = time.time() if now is None else now
    mark = root / _EVICTED
    with mark.open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return 0  # another process is doing it
        found = sorted(_objects(cache), key=lambda item: item.used)
        kept = _pinned(root)
        excess, removed = sum(item.size for item in found) - limit, 0
        for item in found:
            if removed >= excess or item.used > now - _FRESH:
                break
            if item.oid not in kept and os.stat(item.path).st_nlink == 1:
                os.unlink(item.path)
                removed += item.size
        os.utime(mark)
        return removed


def remove_old_trees(root: Path, now: float | None = None) -> None:
    """Remove snapshots that no attempt has asked for in a day, and what crashed downloads have left of them.

    Args:
        root: The node's folder.
        now: The time; default: now.
    """
    now = time.time() if now is None else now
    trees = root / "trees"
    for path in trees.iterdir() if trees.is_dir() else ():
        with contextlib.suppress(OSError):
            lock = path.with_name(f"{path.name.partition('.')[0]}{_LOCK}")
            if path != lock and lock.stat().st_mtime < now - _DAY:
                shutil.rmtree(path, ignore_errors=True)


def is_due(root: Path) -> bool:
    """Whether the cache has not been scanned for a while."""
    try:
        return (root / _EVICTED).stat().st_mtime < time.time() - _EVERY
    except FileNotFoundError:
        return True


@contextlib.contextmanager
def at_work(folder: Path) -> Iterator[None]:
    """Mark a run's folder as in use, and remove the folders of runs that have left the node."""
    folder.mkdir(parents=True, exist_ok=True)
    with _mark(folder).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)
        for other in folder.parent.iterdir():
            if other != folder:
                _remove_if_left(other)
        yield
        os.utime(_mark(folder))


def _remove_if_left(folder: Path) -> None:
    with contextlib.suppress(OSError), _mark(folder).open("r") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if _mark(folder).stat().st_mtime < time.time() - _OLD:
            shutil.rmtree(folder, ignore_errors=True)


def _mark(folder: Path) -> Path:
    return folder / IN_USE


def _objects(cache: str) -> Iterator[_Object]:
    for folder, _, names in os.walk(os.path.join(cache, OBJECTS)):
        for name in names:
            if name.startswith("."):
                continue  # being downloaded
            path = os.path.join(folder, name)
            with contextlib.suppress(FileNotFoundError):
                found = os.stat(path)
                yield _Object(found.st_atime, found.st_size, path, os.path.basename(folder) + name)


def _pinned(root: Path) -> set[str]:
    """Objects that running attempts need; lists of processes that are gone are removed."""
    found: set[str] = set()
    for path in (root / _PINS).glob("*"):
        with contextlib.suppress(FileNotFoundError), path.open(encoding="ascii") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                found.update(file.read().split())
            else:
                path.unlink()
    return found
