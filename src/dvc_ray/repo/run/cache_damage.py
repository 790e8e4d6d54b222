"""Finds cached objects that a command has written to."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Any

File = tuple[int, int]
"""Device and inode."""


def find(project: str, written: set[File]) -> dict[File, str]:
    """Find, among files that were written to, cached objects whose content no longer has the hash that is their name.

    With ``cache.type`` hardlink or symlink, a file of the workspace is a name of the cached object. DVC makes objects
    read-only, which does not keep the superuser from writing to them, and trusts a read-only object without looking
    at it (``LocalHashFileDB.check``, dvc-data 3.18).

    Args:
        project: A DVC project that uses the cache.
        written: The files that were written to.

    Returns:
        Path of each damaged object, by file; the caller should remove these, as DVC removes a corrupt object.
    """
    from dvc.fs import localfs
    from dvc.repo import Repo
    from dvc_data.hashfile.hash import hash_file

    found = {}
    with contextlib.closing(Repo(project)) as repo:
        for odb, path, file in _objects(repo, written):
            oid = os.path.basename(os.path.dirname(path)) + os.path.basename(path)
            _, actual = hash_file(path, localfs, odb.hash_name)
            if actual.value != oid:
                found[file] = path
    return found


def _objects(repo: Any, wanted: set[File]) -> Iterator[tuple[Any, str, File]]:
    """Find cached objects by inode, which a directory listing tells without a system call for each file."""
    inodes = {inode for _, inode in wanted}
    for odb in (repo.cache.local, repo.cache.legacy):
        for folder in _entries(odb.path):
            for entry in _entries(folder.path) if len(folder.name) == 2 else ():
                if entry.inode() in inodes:
                    found = os.stat(entry.path)
                    if (found.st_dev, found.st_ino) in wanted:
                        yield odb, entry.path, (found.st_dev, found.st_ino)


def _entries(folder: str) -> Iterator[os.DirEntry[str]]:
    with contextlib.suppress(FileNotFoundError, NotADirectoryError), os.scandir(folder) as entries:
        yield from entries
