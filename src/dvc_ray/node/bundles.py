"""Files of a tree as one value, for a machine that does not have the tree."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Final

from dvc_ray.files import Version
from dvc_ray.paths import files_under
from dvc_ray.repo.dvc import workspace_config
from dvc_ray.values.task import BundledFile, FileBundle

LARGE: Final = 4 << 20
"""Bytes above which a file need not travel in memory."""


def pack(
    tree: str, paths: Iterable[str], store: Callable[[str, int], str] | None = None, whole: Collection[str] = ()
) -> FileBundle:
    """Pack files; sockets and the like, of which a copy would be useless, are left out.

    Args:
        tree: What the paths are relative to.
        paths: Files, links and folders with all that is in them; what does not exist is left out.
        store: Uploads a large file, given its size in bytes; returns the object's key. None: all files go in memory.
        whole: Files that are packed unchanged, because they were asked for by name; other DVC settings lose their
            secrets.

    Raises:
        OSError: A file cannot be read.
        StorageError: A large file cannot be stored.
    """
    files: dict[str, BundledFile] = {}
    for path in paths:
        if os.path.lexists(os.path.join(tree, path)):
            for file in files_under(tree, path):
                taken = _take(tree, file, store)
                if taken is not None:
                    files[file] = taken if file in whole else _public(taken)
    return FileBundle(id=_digest(files.values()), files=tuple(files.values()))


def unpack(
    bundle: FileBundle,
    root: str,
    wanted: Iterable[str] | None = None,
    bring: Callable[[str, str], None] | None = None,
) -> None:
    """Write files, with the modes and times they had.

    Args:
        bundle: The files.
        root: Where to write them; nothing outside of it is written to.
        wanted: Paths of the files to write; None: all.
        bring: Downloads the object of a key to a file.

    Raises:
        OSError: A file cannot be written, or would be outside of the root.
        StorageError: An object cannot be downloaded.
    """
    only = None if wanted is None else set(wanted)
    for file in bundle.files:
        if only is None or file.path in only:
            _put(root, file, bring)


def stamps_of_bundle(bundle: FileBundle) -> Mapping[str, Version]:
    """Modification time (ns) and size of each file when it was packed."""
    return {file.path: (file.mtime_ns, len(file.data)) for file in bundle.files}


def _take(tree: str, path: str, store: Callable[[str, int], str] | None) -> BundledFile | None:
    full = os.path.join(tree, path)
    found = os.lstat(full)
    if stat.S_ISLNK(found.st_mode):
        return BundledFile(path=path, mode=found.st_mode, mtime_ns=0, data=os.fsencode(os.readlink(full)))
    if stat.S_ISDIR(found.st_mode):
        return BundledFile(path=path, mode=found.st_mode, mtime_ns=0, data=b"")
    if not stat.S_ISREG(found.st_mode):
        return None
    if store is not None and found.st_size > LARGE:
        key = store(full, found.st_size)
        return BundledFile(path=path, mode=found.st_mode, mtime_ns=found.st_mtime_ns, data=b"", key=key)
    with open(full, "rb") as file:
        return BundledFile(path=path, mode=found.st_mode, mtime_ns=found.st_mtime_ns, data=file.read())


def _public(file: BundledFile) -> BundledFile:
    if not workspace_config.is_config(file.path) or not stat.S_ISREG(file.mode):
        return file
    return replace(file, data=workspace_config.without_secrets(file.data))


def _put(root: str, file: BundledFile, bring: Callable[[str, str], None] | None) -> None:
    target = os.path.join(root, file.path)
    folder = os.path.dirname(target)
    real = os.path.realpath(root)
    if os.path.commonpath([os.path.realpath(folder), real]) != real:  # checked before missing folders are made
        raise PermissionError(f"'{file.path}' leads out of '{root}'")
    os.makedirs(folder, exist_ok=True)
    if os.path.islink(target):  # otherwise the target of the link would be written
        os.unlink(target)
    if file.key:
        assert bring is not None  # noqa: S101
        bring(file.key, target)
        os.chmod(target, stat.S_IMODE(file.mode))
        os.utime(target, ns=(file.mtime_ns, file.mtime_ns))
    elif stat.S_ISLNK(file.mode):
        os.symlink(os.fsdecode(file.data), target)
    elif stat.S_ISDIR(file.mode):
        os.makedirs(target, exist_ok=True)
    else:
        with open(target, "wb") as written:
            written.write(file.data)
        os.chmod(target, stat.S_IMODE(file.mode))
        os.utime(target, ns=(file.mtime_ns, file.mtime_ns))


def _digest(files: Iterable[BundledFile]) -> str:
    """Digest of names, modes, times and contents: equal bundles have the same name on a node."""
    found = hashlib.sha256()
    for part in _parts(files):
        found.update(len(part).to_bytes(8, "big"))
        found.update(part)
    return found.hexdigest()[:32]


def _parts(files: Iterable[BundledFile]) -> Iterator[bytes]:
    for file in sorted(files, key=lambda file: file.path):
        yield os.fsencode(file.path)
        yield f"{file.mode:o} {file.mtime_ns} {file.key}".encode()
        yield file.data
