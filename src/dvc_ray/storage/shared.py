"""Whether other machines see a folder of this one (NFS, Lustre, EFS): one writes a file there, the others answer to it.

The file, whose name nobody can guess, stays for as long as a run lasts: whoever finds it sees the same folder, also a
machine that has come later.
"""

from __future__ import annotations

import contextlib
import os
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from dvc_ray.errors import StorageError
from dvc_ray.storage.probe import FOLDER

_MARKS: Final = "seen"
"""Folder of marks and of the answers to them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """Who sees a folder."""

    mark: str = ""
    """By which it is known; empty: none was made."""
    lacking: Mapping[str, str] = field(default_factory=dict)
    """Names of machines that do not, and why not."""


Reach = Callable[[str, bool], Seen]
"""Says who sees a folder; the second: whether a mark may be written there."""


def nobody(_folder: str, _write: bool) -> Seen:  # noqa: FBT001  a `Reach`
    """Take no folder for one that others see."""
    return Seen(lacking={"no other machine": "was asked"})


@contextlib.contextmanager
def marked(folder: str) -> Iterator[str]:
    """Mark a folder, which is made if need be; the mark and all answers are gone afterwards.

    Yields:
        The mark.

    Raises:
        StorageError: It cannot be written to.
    """
    mark = uuid.uuid4().hex
    path = _path(folder, mark)
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "x", encoding="ascii") as file:
            file.write(mark)
    except OSError as error:
        raise StorageError(
            f"cannot write to '{folder}', which carries data between machines: {error.strerror}.",
            "See whether it is mounted, and yours to write to.",
        ) from error
    try:
        yield mark
    finally:
        with contextlib.suppress(OSError):  # the file system may have gone meanwhile
            for name in os.listdir(os.path.dirname(path)):
                if name.startswith(mark):
                    os.unlink(os.path.join(os.path.dirname(path), name))


def answer(folder: str, mark: str, name: str) -> str:
    """Say on another machine why it does not see a folder; empty if it does: then its own answer is there.

    Args:
        folder: Which.
        mark: Of the folder; empty: it only has to be there.
        name: What the answer is known by.
    """
    if not mark:
        return "" if os.path.isdir(folder) else "has no such folder"
    if not sees(folder, mark):
        return "does not have what was just written there"
    try:
        with open(_path(folder, f"{mark}.{name}"), "x", encoding="ascii") as file:
            file.write(name)
    except OSError as error:
        return f"cannot write there: {error.strerror}"
    return ""


def is_answered(folder: str, mark: str, name: str) -> bool:
    """Whether an answer of another machine is here."""
    return not mark or os.path.exists(_path(folder, f"{mark}.{name}"))


def sees(folder: str, mark: str) -> bool:
    """Whether this machine sees the folder that was marked."""
    try:
        with open(_path(folder, mark), encoding="ascii") as file:
            return file.read() == mark
    except OSError:
        return False


def _path(folder: str, name: str) -> str:
    return os.path.join(folder, FOLDER, _MARKS, name)
