"""Files on disk: stamps that tell whether one has changed, atomic writes, listing the files below a folder.

Not safe where a hostile project may have planted links: there, `workspace.gate` opens paths folder by folder, from
directory handles.
"""

from __future__ import annotations

import contextlib
import os
import stat
import uuid
from collections.abc import Collection, Iterator
from typing import NamedTuple

Version = tuple[int, int]
"""Modification time (ns) and size: all that a copy has in common with its original."""


class Stamp(NamedTuple):
    """Identifies one state of a file; equal stamps mean that the file was neither written to nor replaced.

    A stamp always has modification time, size and inode, which DVC and Git compare as well: a file rewritten within one
    tick of the file system's clock mostly has another size, a replaced file another inode. They miss a write of the
    same number of bytes after which the time is set back (``touch -r``); the change time catches it. The device is left
    out: a network disk may get another one when it is mounted again.

    Compare only stamps that were made with the same arguments.
    """

    mtime_ns: int
    size: int
    inode: int
    mode: int = 0
    """Kind and permissions; 0 if they do not count."""
    ctime_ns: int = 0
    """Change time; 0 if it does not count."""

    @classmethod
    def of(cls, found: os.stat_result, *, mode: bool = False, ctime: bool = False) -> Stamp:
        """Make a stamp from a stat result.

        Args:
            found: The stat result.
            mode: Whether another mode, or a link in place of a file, counts as a change.
            ctime: Whether the change time counts: no command can set it back, but a new hard link or a rename
                changes it, too.
        """
        return cls(
            found.st_mtime_ns,
            found.st_size,
            found.st_ino,
            found.st_mode if mode else 0,
            found.st_ctime_ns if ctime else 0,
        )

    @classmethod
    def at(cls, path: str, *, follow: bool = True, mode: bool = False) -> Stamp | None:
        """Stamp what is at a path; None if nothing is there, or nothing that can be examined.

        Args:
            path: The path.
            follow: Whether to stamp the target of a link rather than the link.
            mode: As for `of`.
        """
        with contextlib.suppress(OSError):
            return cls.of(os.stat(path, follow_symlinks=follow), mode=mode)
        return None

    @property
    def version(self) -> Version:
        """The part that a copy which keeps the time shares: for comparisons across trees and machines, and in JSON."""
        return self.mtime_ns, self.size


@contextlib.contextmanager
def replacing(path: str) -> Iterator[str]:
    """Create or replace a file in one step when the block ends, so that nobody sees half of it.

    A link at the path is replaced, not followed. If the block raises, for example because the disk is full, the old
    file is unchanged. The new file survives if the process is killed afterwards, but not a loss of power: it is not
    synced to the disk, as all that is written this way can be made again.

    Args:
        path: The file; its folder exists.

    Yields:
        A path in the same folder, at which the block creates the file. Its name begins with a dot and ends in ``.tmp``.

    Raises:
        OSError: The file cannot be put in place.
    """
    temporary = os.path.join(os.path.dirname(path), f".{uuid.uuid4().hex}.tmp")
    try:
        yield temporary
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def atomic_write(path: str | os.PathLike[str], data: bytes, *, like: os.stat_result | None = None) -> None:
    """Write a file whole or not at all, as `replacing` does.

    Args:
        path: The file; its folder exists.
        data: Its content.
        like: Stat result of a file whose mode, and where possible owner, the file gets; None: owner and mode of any
            new file, by the umask.

    Raises:
        OSError: The file cannot be written; the old one is unchanged.
    """
    with replacing(os.fspath(path)) as temporary:
        with open(temporary, "xb") as file:
            file.write(data)
        if like is not None:
            with contextlib.suppress(OSError):  # not root, or a root that does not know this user
                os.chown(temporary, like.st_uid, like.st_gid)
            os.chmod(temporary, stat.S_IMODE(like.st_mode))  # after chown, which clears set-user-ID


def walk_files(root: str, path: str = "", *, skip: Collection[str] = (), empty: bool = False) -> Iterator[str]:
    """List the files and links below a folder, relative to the root: folder by folder from the top, sorted by name.

    Links to folders count as files: they are not followed. A folder that cannot be read, or that disappears meanwhile,
    counts as empty.

    Args:
        root: What the paths are relative to.
        path: The folder to begin in, relative to the root; empty: the root.
        skip: Names of folders, and of links to folders, to leave out with all their content.
        empty: Whether to list folders as well that are empty or hold only skipped ones.
    """
    for folder, names, files in os.walk(os.path.join(root, path)):
        part = os.path.relpath(folder, root)
        base = "" if part == os.curdir else part
        names[:] = sorted(name for name in names if name not in skip)
        links = [name for name in names if os.path.islink(os.path.join(folder, name))]
        yield from (os.path.join(base, name) for name in sorted([*files, *links]))
        if empty and not files and not names:
            yield part
