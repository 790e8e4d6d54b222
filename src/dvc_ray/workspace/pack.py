"""Files of a tree as one value, for a machine that does not have the tree."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterable, Iterator, Mapping

from dvc_ray.values import Pack, PackedFile
from dvc_ray.workspace.materialise import files_under


def pack(tree: str, paths: Iterable[str]) -> Pack:
    """Take files up.

    Args:
        tree: What the paths are relative to.
        paths: Files, links and folders with all that is in them; what does not exist is left out.

    Raises:
        OSError: A file cannot be read.
    """
    files: dict[str, PackedFile] = {}
    for path in paths:
        if os.path.lexists(os.path.join(tree, path)):
            for file in files_under(tree, path):
                files[file] = _take(tree, file)
    return Pack(id=_digest(files.values()), files=tuple(files.values()))


def unpack(packed: Pack, root: str, wanted: Iterable[str] | None = None) -> None:
    """Write files, with the modes and times they had.

    Args:
        packed: The files.
        root: Where.
        wanted: Which of them; None: all.

    Raises:
        OSError: A file cannot be written.
    """
    only = None if wanted is None else set(wanted)
    for file in packed.files:
        if only is None or file.path in only:
            _put(root, file)


def stamps_of_pack(packed: Pack) -> Mapping[str, tuple[int, int]]:
    """Modification time (ns) and size of each file when it was taken up."""
    return {file.path: (file.mtime_ns, len(file.data)) for file in packed.files}


def _take(tree: str, path: str) -> PackedFile:
    full = os.path.join(tree, path)
    found = os.lstat(full)
    if stat.S_ISLNK(found.st_mode):
        return PackedFile(path=path, mode=found.st_mode, mtime_ns=0, data=os.fsencode(os.readlink(full)))
    if stat.S_ISDIR(found.st_mode):
        return PackedFile(path=path, mode=found.st_mode, mtime_ns=0, data=b"")
    with open(full, "rb") as file:
        return PackedFile(path=path, mode=found.st_mode, mtime_ns=found.st_mtime_ns, data=file.read())


def _put(root: str, file: PackedFile) -> None:
    target = os.path.join(root, file.path)
    os.makedirs(os.path.dirname(target), exist_ok=True)
    if stat.S_ISLNK(file.mode):
        os.symlink(os.fsdecode(file.data), target)
    elif stat.S_ISDIR(file.mode):
        os.makedirs(target, exist_ok=True)
    else:
        with open(target, "wb") as written:
            written.write(file.data)
        os.chmod(target, stat.S_IMODE(file.mode))
        os.utime(target, ns=(file.mtime_ns, file.mtime_ns))


def _digest(files: Iterable[PackedFile]) -> str:
    """Of names, modes, times and contents: what is the same has the same name on a node."""
    found = hashlib.sha256()
    for part in _parts(files):
        found.update(len(part).to_bytes(8, "big"))
        found.update(part)
    return found.hexdigest()[:32]


def _parts(files: Iterable[PackedFile]) -> Iterator[bytes]:
    for file in sorted(files, key=lambda file: file.path):
        yield os.fsencode(file.path)
        yield f"{file.mode:o} {file.mtime_ns}".encode()
        yield file.data
