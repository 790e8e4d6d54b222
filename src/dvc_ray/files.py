"""Files of a disk: what tells whether one has changed, writing one whole, listing those below a folder.

Not for what a hostile project may have put in the way: `workspace.gate` opens folder by folder, below handles.
"""

from __future__ import annotations

import contextlib
import os
import stat
import uuid
from collections.abc import Collection, Iterator
from dataclasses import dataclass

Version = tuple[int, int]
"""Modification time (ns) and size: all that a copy has in common with the file it was made of."""


@dataclass(frozen=True, slots=True)
class Stamp:
    """What tells one state of a file from another; equal: nobody has written to it or put another in its place.

    Modification time, size and inode always, as DVC and Git compare them: a file rewritten within one tick of the
    file system's clock has mostly another size, one that was replaced another inode. They miss whoever writes as many
    bytes and sets the time back (``touch -r``); the change time does not. The device is left out: that of a network
    disk may be another one when it is mounted again.

    Stamps are compared only with those that were made with the same arguments.
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
        """Stamp a file that has been looked at.

        Args:
            found: What the system said of it.
            mode: Whether another mode is a change, and a link in place of a file.
            ctime: Whether whatever happens to it is a change: no command can set this time back, but a second name
                for the file or a rename changes it, too.
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
        """Stamp what is at a path; None where nothing is, or nothing that can be looked at.

        Args:
            path: The path.
            follow: Whether what a link leads to is stamped rather than the link.
            mode: As for `of`.
        """
        with contextlib.suppress(OSError):
            return cls.of(os.stat(path, follow_symlinks=follow), mode=mode)
        return None

    @property
    def version(self) -> Version:
        """What a copy that keeps the time has, too: for comparing across trees, machines and values in JSON."""
        return self.mtime_ns, self.size


@contextlib.contextmanager
def replacing(path: str) -> Iterator[str]:
    """Make a file that takes the place of another, or of none, when the block ends: nobody sees half of it.

    A link at the path is replaced, not followed. If the block raises, the old file is as it was, whatever was missing:
    room on the disk, too. The new one survives a process that is killed then, not the loss of power: it is not forced
    to the disk, which nothing here needs, as all can be made again.

    Args:
        path: The file; its folder exists.

    Yields:
        A path in the same folder, of a file that does not exist and is to be made by the block. Its name begins with a
        dot and ends in ``.tmp``.

    Raises:
        OSError: It cannot be put there.
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
        like: Of the file whose owner and mode it is to have, the owner as far as that can be; None: those of any
            new file, by the umask.

    Raises:
        OSError: It cannot be written; what was there is there.
    """
    with replacing(os.fspath(path)) as temporary:
        with open(temporary, "xb") as file:
            file.write(data)
        if like is not None:
            with contextlib.suppress(OSError):  # not root, or one that knows no such user
                os.chown(temporary, like.st_uid, like.st_gid)
            os.chmod(temporary, stat.S_IMODE(like.st_mode))  # after the owner, whose change takes set-user-ID away


def walk_files(root: str, path: str = "", *, skip: Collection[str] = (), empty: bool = False) -> Iterator[str]:
    """The files and links below a folder, relative to the root: folder by folder, each before those in it, by name.

    Links to folders are files here: they are not followed. A folder that cannot be read has nothing in it, and one
    that goes meanwhile.

    Args:
        root: What the paths are relative to.
        path: The folder to begin in, relative to the root; empty: the root.
        skip: Names of folders, and of links to some, that are left out with all that is in them.
        empty: Whether folders that have nothing in them, but for what is skipped, are named, too.
    """
    for folder, names, files in os.walk(os.path.join(root, path)):
        part = os.path.relpath(folder, root)
        base = "" if part == os.curdir else part
        names[:] = sorted(name for name in names if name not in skip)
        links = [name for name in names if os.path.islink(os.path.join(folder, name))]
        yield from (os.path.join(base, name) for name in sorted([*files, *links]))
        if empty and not files and not names:
            yield part
