"""Whether other machines see a folder of this one (NFS, Lustre, EFS): one writes a mark there, the others answer it.

The mark, a file whose name nobody can guess, stays for as long as a run lasts: a machine that finds it sees the same
folder, also a machine that joins later.
"""

from __future__ import annotations

import contextlib
import os
import socket
import stat
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeVar

from dvc_ray.errors import StorageError, UnreachableError
from dvc_ray.storage.probe import FOLDER, WITHIN, bounded

_MARKS: Final = "seen"
"""Folder of marks and of the answers to them."""
_READ: Final = stat.S_IRUSR | stat.S_IRGRP | stat.S_IROTH
_Found = TypeVar("_Found")


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """Which machines see a folder."""

    mark: str = ""
    """The mark in the folder; empty: none was made."""
    lacking: Mapping[str, str] = field(default_factory=dict)
    """Machines that do not see the folder, by name, and why not."""


Reach = Callable[[str, bool], Seen]
"""Says which machines see a folder; the second argument: whether a mark may be written there."""


def nobody(_folder: str, _write: bool) -> Seen:  # noqa: FBT001  a `Reach`
    """Answer that no other machine sees the folder."""
    return Seen(lacking={"no other machine": "was asked"})


@contextlib.contextmanager
def marked(folder: str) -> Iterator[str]:
    """Mark a folder, which is made if it is missing; the mark and all answers are removed afterwards.

    Yields:
        The mark.

    Raises:
        StorageError: The folder cannot be written to, or its file system does not answer.
    """
    mark = uuid.uuid4().hex
    in_time(folder, lambda: _mark(folder, mark))
    try:
        yield mark
    finally:
        with contextlib.suppress(OSError, StorageError):  # the file system may have gone meanwhile
            in_time(folder, lambda: _forget(folder, mark))


def is_there(folder: str) -> bool:
    """Whether there is such a folder on this machine.

    Raises:
        UnreachableError: Its file system does not answer.
    """
    return in_time(folder, lambda: os.path.isdir(folder))


def answer(folder: str, mark: str, name: str) -> str:
    """Say, on another machine, why it does not see a folder; empty if it does, and has written its answer there.

    Args:
        folder: The folder.
        mark: The mark of the folder; empty: the folder only has to exist.
        name: Name of the answer.
    """
    try:
        return bounded(lambda: _answer(folder, mark, name), WITHIN)
    except TimeoutError:
        return f"does not hear from its file system within {WITHIN:g} s"


def is_answered(folder: str, mark: str, name: str) -> bool:
    """Whether this machine sees the answer of another one.

    Raises:
        UnreachableError: The file system does not answer.
    """
    return not mark or in_time(folder, lambda: os.path.exists(_path(folder, f"{mark}.{name}")))


def sees(folder: str, mark: str) -> bool:
    """Whether this machine sees the folder that was marked.

    Raises:
        UnreachableError: Its file system does not answer.
    """
    return in_time(folder, lambda: _sees(folder, mark))


def make_folder(path: str, store: str) -> None:
    """Make a folder in a store, and those above it, with the group and the permissions of the store's own folder.

    With the umask alone, the first user would keep others of the group out of the folder.

    Raises:
        OSError: The folder cannot be made.
    """
    os.makedirs(store, exist_ok=True)
    known = os.stat(store)
    part = store
    for name in os.path.relpath(path, store).split(os.sep):
        part = os.path.join(part, name)
        try:
            os.mkdir(part)
        except FileExistsError:
            continue
        with contextlib.suppress(OSError):  # a group that we are not in, a file system without modes
            os.chown(part, -1, known.st_gid)
        with contextlib.suppress(OSError):
            os.chmod(part, stat.S_IMODE(known.st_mode) | stat.S_IRWXU)


def in_time(folder: str, act: Callable[[], _Found]) -> _Found:
    """Do something in a folder whose file system may hang.

    Raises:
        UnreachableError: The file system hangs.
    """
    try:
        return bounded(act, WITHIN)
    except TimeoutError as error:
        raise UnreachableError(
            f"'{folder}', seen from {socket.gethostname()}: its file system does not answer within {WITHIN:g} s",
            "Check there that `ls` of that folder returns, and that the server it is mounted from is up.",
        ) from error


def _mark(folder: str, mark: str) -> None:
    path = _path(folder, mark)
    try:
        make_folder(os.path.dirname(path), folder)
        _write(path, mark)
        with contextlib.suppress(OSError):
            os.chmod(
                path, stat.S_IMODE(os.stat(folder).st_mode) & _READ | stat.S_IRUSR
            )  # others must be able to read it
    except OSError as error:
        where = str(error.filename or os.path.dirname(path))
        inside = f" ('{where}')" if where != folder else ""
        raise StorageError(
            f"cannot write to '{folder}', which carries data between machines: {error.strerror}{inside}",
            "Check that it is mounted, and that you may write to it.",
        ) from error


def _forget(folder: str, mark: str) -> None:
    inside = os.path.dirname(_path(folder, mark))
    for name in os.listdir(inside):
        if name.startswith(mark):
            with contextlib.suppress(OSError):  # an answer of another user, in a folder with a sticky bit
                os.unlink(os.path.join(inside, name))


def _answer(folder: str, mark: str, name: str) -> str:
    if not mark:
        return "" if os.path.isdir(folder) else "has no such folder"
    if not _sees(folder, mark):
        return "does not have what was just written there"
    try:
        _write(_path(folder, f"{mark}.{name}"), name)
    except OSError as error:
        return f"cannot write to {os.path.dirname(_path('', mark))} there: {error.strerror}"
    return ""


def _sees(folder: str, mark: str) -> bool:
    try:
        with open(_path(folder, mark), encoding="ascii") as file:
            return file.read() == mark
    except OSError:
        return False


def _write(path: str, text: str) -> None:
    with open(path, "x", encoding="ascii") as file:
        file.write(text)


def _path(folder: str, name: str) -> str:
    return os.path.join(folder, FOLDER, _MARKS, name)
