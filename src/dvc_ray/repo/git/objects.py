"""The objects that a copy of a Git repository needs to answer on a machine that does not have the repository.

Commits answer ``rev-parse``, ``log``, ``describe`` and ``rev-list``; the trees of HEAD and the index answer ``status``;
blobs are only needed to show differences. So the copy has the commits of the history, the trees of HEAD, and the blobs
of files that differ, or may differ during the run. All are in one pack (gitformat-pack(5)), written without the git
program.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import struct
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from dvc_ray.repo.dvc import workspace_config

COMMITS: Final = 50_000
"""How many commits are copied; an older history is cut off, as in a shallow clone."""
BYTES: Final = 32 << 20
"""Most bytes of all commits, and most bytes of all blobs, before they are compressed."""
_COMMIT, _TREE, _BLOB, _TAG = range(1, 5)
"""The numbers that a pack has for kinds of objects."""
_SHA: Final = 40
_ASSUMED: Final = 0x8000
"""Flag of an index entry whose file Git takes for unchanged, whatever it is: to search the file, Git reads the blob."""
_SKIPPED: Final = 0x4000
"""Flag of an index entry that is left out of the work tree on purpose; one of the flags of version 3."""
_EXECUTABLE: Final = 0o100

_Read = Callable[[bytes], tuple[int, bytes]]
_Objects = dict[bytes, tuple[int, bytes]]
"""Kind and content, by hexadecimal name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A repository and its work tree."""

    tree: str
    index: str
    """The index file, which need not exist."""
    stores: tuple[str, ...]
    """Folders with objects."""
    head: bytes
    """The commit of HEAD; hexadecimal."""
    refs: Mapping[bytes, bytes]
    """Refs by name: the line or lines that ``packed-refs`` has of the ref, or ``ref:`` and another ref."""
    shallow: frozenset[bytes]
    """Commits whose parents are missing."""
    changing: Callable[[str], bool]
    """Whether a file, by its path relative to the tree, may be written in the run."""


@dataclass(frozen=True, slots=True)
class Packed:
    """The refs and shallow commits that a copy must have to match its objects."""

    refs: dict[bytes, bytes]
    shallow: frozenset[bytes]


def write(source: Source, folder: str) -> Packed:
    """Write a pack.

    Args:
        source: The repository.
        folder: Git's folder in the copy.

    Returns:
        Refs whose commits are in the pack, and commits whose parents are not.

    Raises:
        Exception: An object is missing or broken; dulwich raises many kinds.
    """
    with contextlib.ExitStack() as stack:
        read = _reader(source.stores, stack)
        commits, shallow = _history(read, source.head, source.shallow)
        refs, tags = _kept(read, source.refs, commits)
        trees, files = _trees(read, commits[source.head])
        found: _Objects = {sha: (_COMMIT, text) for sha, text in commits.items()}
        found |= {sha: (_TAG, text) for sha, text in tags.items()}
        found |= {sha: (_TREE, text) for sha, text in trees.items()}
        found |= _contents(read, {sha: path for path, sha in _differing(source, files)})
    _write_pack(found, os.path.join(folder, "objects", "pack"))
    return Packed(refs, shallow)


def _reader(stores: Iterable[str], stack: contextlib.ExitStack) -> _Read:
    from dulwich.object_store import DiskObjectStore

    opened: list[Any] = [DiskObjectStore(store) for store in stores]
    for store in opened:
        stack.callback(store.close)

    def read(sha: bytes) -> tuple[int, bytes]:
        for store in opened:
            with contextlib.suppress(KeyError):
                kind, text = store.get_raw(sha)
                return int(kind), bytes(text)
        raise KeyError(sha)

    return read


def _history(read: _Read, head: bytes, shallow: frozenset[bytes]) -> tuple[dict[bytes, bytes], frozenset[bytes]]:
    """As many commits as may be copied, the nearest to HEAD first; and those of them whose parents are not copied."""
    found: dict[bytes, bytes] = {}
    size = 0
    waiting = deque([head])
    while waiting and len(found) < COMMITS and size < BYTES:
        sha = waiting.popleft()
        if sha not in found:
            text = found[sha] = read(sha)[1]
            size += len(text)
            waiting += [] if sha in shallow else _parents(text)
    return found, frozenset(sha for sha, text in found.items() if any(one not in found for one in _parents(text)))


def _parents(commit: bytes) -> list[bytes]:
    lines = commit.partition(b"\n\n")[0].split(b"\n")
    return [line[7:] for line in lines[1:] if line.startswith(b"parent ")]


def _kept(
    read: _Read, refs: Mapping[bytes, bytes], commits: Mapping[bytes, bytes]
) -> tuple[dict[bytes, bytes], dict[bytes, bytes]]:
    """Refs to commits that are copied, and the tag objects that refs name."""
    kept: dict[bytes, bytes] = {}
    tags: dict[bytes, bytes] = {}
    for name, text in refs.items():
        sha, inner = text[:_SHA], text[_SHA + 1 :].strip()
        if sha in commits:
            kept[name] = sha + b"\n"
        elif inner.startswith(b"^") and inner[1:] in commits:
            tags |= _tag(read, sha)
            kept[name] = text
    for name, text in refs.items():
        if text.startswith(b"ref: ") and text[5:].strip() in kept:
            kept[name] = text
    return kept, tags


def _tag(read: _Read, sha: bytes) -> Iterator[tuple[bytes, bytes]]:
    """A tag object, the tag object that it points to, and so on."""
    while (found := read(sha))[0] == _TAG:
        yield sha, found[1]
        sha = found[1].partition(b"\n")[0].removeprefix(b"object ")


def _trees(read: _Read, commit: bytes) -> tuple[dict[bytes, bytes], dict[bytes, bytes]]:
    """The trees of a commit, and the blobs in them by path."""
    trees: dict[bytes, bytes] = {}
    files: dict[bytes, bytes] = {}
    waiting = [(b"", commit.partition(b"\n")[0].removeprefix(b"tree "))]
    while waiting:
        base, sha = waiting.pop()
        text = trees[sha] = trees[sha] if sha in trees else read(sha)[1]
        for mode, name, inner in _entries(text):
            if mode == b"40000":
                waiting.append((base + name + b"/", inner))
            elif mode != b"160000":
                files[base + name] = inner
    return trees, files


def _entries(tree: bytes) -> Iterator[tuple[bytes, bytes, bytes]]:
    at = 0
    while at < len(tree):
        end = tree.index(b"\0", at)
        mode, _, name = tree[at:end].partition(b" ")
        at = end + 1 + _SHA // 2
        yield mode, name, tree[end + 1 : at].hex().encode()


def _contents(read: _Read, wanted: Mapping[bytes, bytes]) -> Iterator[tuple[bytes, tuple[int, bytes]]]:
    """As many blobs as may be copied; a blob that is missing (in a partial clone) is missing in the copy, too.

    Args:
        read: Reads an object.
        wanted: The blobs, each with its path.
    """
    room = BYTES
    for sha, path in wanted.items():
        with contextlib.suppress(KeyError):
            kind, text = read(sha)
            if kind == _BLOB and len(text) <= room and not _is_secret(path, text):
                room -= len(text)
                yield sha, (kind, text)


def _is_secret(path: bytes, text: bytes) -> bool:
    """Whether a blob is a DVC configuration with secrets; other machines get the file without these."""
    return workspace_config.is_config(os.fsdecode(path)) and workspace_config.without_secrets(text) != text


def _differing(source: Source, committed: Mapping[bytes, bytes]) -> Iterator[tuple[bytes, bytes]]:
    """Paths and blobs that Git needs to compare HEAD, the index and the work tree, now or later in the run."""
    if not os.path.exists(source.index):
        return
    entries = _index(source.index)
    for path in committed.keys() - entries.keys():
        yield path, committed[path]
    written = int(os.stat(source.index).st_mtime)
    for path, stages in entries.items():
        if len(stages) > 1 or committed.get(path, stages[0].sha) != stages[0].sha:
            yield from ((path, bytes(each.sha)) for each in stages)
            if path in committed:
                yield path, committed[path]
        elif path not in committed or _may_differ(source, os.fsdecode(path), stages[0], written):
            yield path, bytes(stages[0].sha)


def _index(file: str) -> dict[bytes, list[Any]]:
    """Entries by path; several for a path that is in conflict."""
    from dulwich.index import Index

    found: dict[bytes, list[Any]] = {}
    for path, entry in Index(file).items():
        sides = [getattr(entry, side, None) for side in ("ancestor", "this", "other")]
        stages: list[Any] = [entry] if hasattr(entry, "sha") else [side for side in sides if side is not None]
        if stages and stat.S_IFMT(stages[0].mode) in {stat.S_IFREG, stat.S_IFLNK}:
            found[path] = stages
    return found


def _may_differ(source: Source, path: str, entry: Any, written: int) -> bool:
    """Whether Git would take a file of the work tree, or its copy, for different from the index."""
    if entry.extended_flags & _SKIPPED:
        return False
    if stat.S_ISLNK(entry.mode) or entry.flags & _ASSUMED or source.changing(path):  # a copied link has another mtime
        return True
    full = os.path.join(source.tree, path)
    try:
        found = os.lstat(full)
    except OSError:
        return True
    time = int(entry.mtime[0] if isinstance(entry.mtime, tuple) else entry.mtime)
    known = (entry.size, time, entry.mode & _EXECUTABLE)
    if known != (found.st_size & 0xFFFFFFFF, int(found.st_mtime), found.st_mode & _EXECUTABLE):
        return True
    # Git reads files that were written in the same second as the index, or later (racy-git).
    return time >= written and found.st_size <= BYTES and _blob(full) != entry.sha


def _blob(path: str) -> bytes:
    """The name of a file's content as a blob."""
    with open(path, "rb") as file:
        text = file.read()
    return hashlib.sha1(b"blob %d\0" % len(text) + text, usedforsecurity=False).hexdigest().encode()


def _write_pack(objects: _Objects, folder: str) -> None:
    os.makedirs(folder)
    whole = bytearray(b"PACK" + struct.pack(">LL", 2, len(objects)))
    places: list[tuple[bytes, int, int]] = []
    for sha, (kind, text) in objects.items():
        piece = _header(kind, len(text)) + zlib.compress(text)
        places.append((bytes.fromhex(sha.decode()), zlib.crc32(piece), len(whole)))
        whole += piece
    whole += _sum(whole)
    name = hashlib.sha1(whole, usedforsecurity=False).hexdigest()
    for ending, content in ((".pack", whole), (".idx", _table(sorted(places), bytes(whole[-20:])))):
        with open(os.path.join(folder, f"pack-{name}{ending}"), "wb") as file:
            file.write(content)


def _header(kind: int, size: int) -> bytes:
    """Kind and size of an object: four bits of the size in the first byte, seven in each other, the lowest first."""
    found = bytearray()
    here, size = kind << 4 | size & 15, size >> 4
    while size:
        found.append(here | 0x80)
        here, size = size & 0x7F, size >> 7
    found.append(here)
    return bytes(found)


def _table(places: list[tuple[bytes, int, int]], pack: bytes) -> bytes:
    """The pack's index, version 2: where each object is."""
    counts = [0] * 256
    for sha, _, _ in places:
        counts[sha[0]] += 1
    sums = [sum(counts[: number + 1]) for number in range(256)]
    text = b"\377tOc" + struct.pack(">L256L", 2, *sums) + b"".join(sha for sha, _, _ in places)
    text += struct.pack(f">{len(places)}L", *(crc for _, crc, _ in places))
    text += struct.pack(f">{len(places)}L", *(place for _, _, place in places)) + pack
    return text + _sum(text)


def _sum(text: bytes | bytearray) -> bytes:
    return hashlib.sha1(text, usedforsecurity=False).digest()
