"""Carries computed hashes from one place to another, so that no file is hashed twice.

DVC stores the hash of a file under its path. The hash is valid while inode, mtime and size are the same
(dvc_data.hashfile.state). A file that was linked or moved keeps all three; only its path changes.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Iterable, Iterator
from typing import Any

from dvc_ray.files import walk_files


def carry(source_dir: str, target: Any, pairs: Iterable[tuple[str, str]]) -> None:
    """Copy known hashes from one of DVC's state databases to another.

    Args:
        source_dir: Directory of the database to read; need not exist.
        target: The ``State`` to write.
        pairs: Files or directories, each as its path in the source database and the path where it is now;
            directories are copied file by file.
    """
    from dvc.fs import localfs
    from dvc_data.hashfile.state import State

    moved = dict(_files(pairs))
    folder = os.path.join(source_dir, "hashes", "local")
    if not moved or not os.path.isdir(folder):
        return
    infos = {old: localfs.info(new) for old, new in moved.items()}
    source = State()  # given a directory, it would also open a database that is not needed here
    source.hashes = _database(folder, os.stat(os.path.join(folder, "cache.db")).st_ino, os.getpid())
    known = source.get_many(list(moved), localfs, infos)
    target.save_many(((moved[old], found, infos[old]) for old, _, found in known if found), localfs)


@functools.cache
def _database(folder: str, _inode: int, _process: int) -> Any:
    """Open a database of hashes, and keep it open: to open one takes longer than to ask it.

    One that a parent of this process has open is not to be used, nor closed: SQLite would remove the parent's log.
    """
    from dvc_data.hashfile.cache import HashesCache

    return HashesCache(folder)


def holds(note: str, path: str) -> bool:
    """Whether one of DVC's notes of hashes is about the file that is at a path now."""
    from dvc.fs import localfs
    from dvc_data.hashfile.state import State

    try:
        return State()._get(path, note, localfs.info(path)) is not None
    except FileNotFoundError:
        return False


def note(repo: Any, notes: Iterable[tuple[str, str]]) -> None:
    """Give DVC its own notes of hashes: they hold for a file that was moved, and for no other (``State._get``).

    Args:
        repo: The ``dvc.repo.Repo``.
        notes: Absolute path of each file, and the note.
    """
    if found := list(notes):
        repo.state.hashes.set_many(found)


def _files(pairs: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """Expand directories among the pairs; the second path of a pair is the one that exists."""
    for old, new in pairs:
        if os.path.isdir(new):
            yield from ((os.path.join(old, part), os.path.join(new, part)) for part in walk_files(new))
        elif os.path.isfile(new):
            yield old, new


def links(repo: Any, paths: Iterable[str]) -> None:
    """Tell DVC that these outs are checked out, as its own checkout does (``State.save_link``)."""
    for path in paths:
        repo.state.save_link(path, repo.fs)


def know(state: Any, pairs: Iterable[tuple[str, str]]) -> None:
    """Tell a ``State`` the MD5 of files, so that DVC need not hash them.

    Args:
        state: The ``State`` to write.
        pairs: Absolute path and MD5 of each file.
    """
    from dvc.fs import localfs
    from dvc_data.hashfile.hash_info import HashInfo

    items = [(path, HashInfo("md5", oid), localfs.info(path)) for path, oid in pairs]
    if items:
        state.save_many(iter(items), localfs)
