"""The refs of repositories, read from files, and written as one packed file."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from dvc_ray.files import walk_files
from dvc_ray.repo.git.repository import UNKNOWN, Repository, read, write

_OBJECT: Final = re.compile(rb"(?:[0-9a-f]{40}|[0-9a-f]{64})\n")


PACKED: Final = b"# pack-refs with: peeled sorted \n"


MOST_LINKS: Final = 5
"""How many times Git follows a ref that points to another ref."""


def head_of(directory: str) -> bytes:
    """The content of HEAD."""
    path = os.path.join(directory, "HEAD")
    return b"ref: " + os.fsencode(os.readlink(path)) + b"\n" if os.path.islink(path) else Path(path).read_bytes()


def refs_of(found: Sequence[Repository]) -> dict[bytes, bytes]:
    """All refs by name, with the objects that tags point to, as far as these are known."""
    refs: dict[bytes, bytes] = {}
    for repository in reversed(found):  # so that the first one counts
        refs |= _packed(repository)
        for place in dict.fromkeys((repository.common, repository.own)):
            refs |= dict(_loose(place))
    return refs | _peeled(found, refs)


def write_refs(refs: Mapping[bytes, bytes], folder: str) -> None:
    """Write all refs into one file; those that point to another, or cannot stand there, into files of their own."""
    lines = [PACKED]
    for name, text in sorted(refs.items()):
        if text.startswith(b"ref: ") or text.endswith(UNKNOWN):
            write(folder, os.fsdecode(name), text.removesuffix(UNKNOWN))
        else:
            lines.append(text.replace(b"\n", b" " + name + b"\n", 1))
    write(folder, "packed-refs", b"".join(lines))


def _packed(repository: Repository) -> dict[bytes, bytes]:
    """Packed refs by name: the object, and for a tag, in a second line, the object that the tag points to."""
    text = read(repository.common, "packed-refs")
    unknown = b"" if b" peeled " in text.partition(b"\n")[0] else UNKNOWN
    entries = re.finditer(rb"^([0-9a-f]+) ([^\n]+)\n(\^[0-9a-f]+\n)?", text, re.MULTILINE)
    return {entry[2]: entry[1] + b"\n" + (entry[3] or unknown) for entry in entries}


def _loose(directory: str) -> Iterator[tuple[bytes, bytes]]:
    """Refs that are files, by name: the object, or ``ref:`` and another ref."""
    for path in walk_files(directory, "refs"):
        with contextlib.suppress(OSError):
            text = Path(directory, path).read_bytes().rstrip() + b"\n"
            if not path.endswith(".lock") and (_OBJECT.fullmatch(text) or text.startswith(b"ref: ")):
                unknown = UNKNOWN if _OBJECT.fullmatch(text) else b""
                yield os.fsencode(path), text + unknown


def _peeled(found: Sequence[Repository], refs: Mapping[bytes, bytes]) -> dict[bytes, bytes]:
    """Find out, for refs that may or may not name a tag object, what they name; without those where that fails."""
    from dulwich.object_store import DiskObjectStore

    known: dict[bytes, bytes] = {}
    with contextlib.ExitStack() as stack:
        stores = [DiskObjectStore(os.path.join(repository.common, "objects")) for repository in found]
        for store in stores:
            stack.callback(store.close)
        for name, text in refs.items():
            first = text.removesuffix(UNKNOWN)
            if first == text:
                continue
            if not name.startswith(b"refs/tags/"):  # of other refs, readers of packed-refs assume nothing
                known[name] = first
                continue
            try:
                inner = _inner(stores, first.strip())
            except Exception:  # noqa: BLE001, S112  dulwich raises many kinds: for another hash, for a broken object
                continue
            known[name] = first + (b"^" + inner + b"\n" if inner != first.strip() else b"")
    return known


def _inner(stores: Sequence[Any], sha: bytes) -> bytes:
    """The object that a tag object, or a tag of a tag, points to."""
    from dulwich.objects import Tag

    for store in stores:
        if sha in store:
            found = store[sha]
            return _inner(stores, bytes(found.object[1])) if isinstance(found, Tag) else sha
    raise KeyError(sha)
