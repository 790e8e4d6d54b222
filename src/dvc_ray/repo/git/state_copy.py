"""A copy of a Git repository's state, for commands that ask Git: see `dvc_ray.workspace.git_copy`.

Made without the git program, of plain files (gitrepository-layout(5)): the commits, trees and contents stay where they
are, the copy names the place (``objects/info/alternates``). Git reads there and never writes. A copy for machines that
do not see the place has a pack with what answers for them: see `dvc_ray.repo.git.objects`.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from dvc_ray import redact
from dvc_ray.files import walk_files
from dvc_ray.repo.git import objects, tree_files
from dvc_ray.values.git import GitTemplates

_REASON: Final = "dvc-ray: a stage cannot write to Git. What its workspace has is a copy."
_HOOK: Final = f"#!/bin/sh\necho '{_REASON}' >&2\nexit 1\n"
_HOOKS: Final = {
    "pre-commit": _HOOK,
    "pre-push": _HOOK,
    # Every change of a ref goes through this one. It is also told afterwards, and of what it has refused.
    "reference-transaction": _HOOK.replace("\n", '\n[ "$1" = prepared ] || exit 0\n', 1),
}
_INDEX_LOCK: Final = "index.lock"
_LOCKS: Final = (_INDEX_LOCK, "HEAD.lock", "packed-refs.lock", "shallow.lock")
"""With these there, Git and the libraries that do without its program take a file for locked. To read needs no lock."""

_HEAD_LOG: Final = "logs/HEAD"
_LOGS: Final = (_HEAD_LOG, "logs/refs/stash")
"""What Git asks to say where a detached HEAD comes from, and to list stashes."""
_LOG_BYTES: Final = 1 << 14
_CORE: Final = frozenset(
    {"abbrev", "attributesfile", "autocrlf", "bigfilethreshold", "checkroundtripencoding", "eol", "excludesfile"}
    | {"filemode", "ignorecase", "precomposeunicode", "quotepath", "repositoryformatversion", "safecrlf"}
    | {"sparsecheckout", "sparsecheckoutcone", "symlinks"}
)
_EXTENSIONS: Final = frozenset({"objectformat", "compatobjectformat", "partialclone"})
_REMOTE: Final = frozenset({"url", "pushurl", "fetch", "tagopt", "promisor", "partialclonefilter"})
_NOT_SENT: Final = frozenset({("extensions", "partialclone"), ("remote", "promisor"), ("remote", "partialclonefilter")})
"""With these, Git asks a server for contents that it does not have: far more of them where the repository is not."""
_SECTIONS: Final = frozenset(
    {"author", "branch", "color", "column", "committer", "describe", "i18n", "index", "log", "pretty", "push"}
    | {"status", "submodule", "tag", "user", "versionsort"}
)
_RUNS: Final = frozenset({"diff", "filter", "lfs", "merge"})
"""Sections that name programs: of a repository of another owner, they are left out."""
_OWN: Final = (
    # The files are copies, with the time and size of the user's: Git need not read them to know that they are the same.
    (b"checkstat", b"minimal"),
    (b"trustctime", b"false"),
    (b"untrackedcache", b"false"),  # what the index has of it is about another folder, and Git says so each time
    (b"fsmonitor", b"false"),
    (b"bare", b"false"),
    (b"logallrefupdates", b"false"),
)
_OBJECT: Final = re.compile(rb"(?:[0-9a-f]{40}|[0-9a-f]{64})\n")
_PACKED: Final = b"# pack-refs with: peeled sorted \n"
_LINKS: Final = 5
"""How often a ref may point to another one, for Git."""
_UNKNOWN: Final = b"?\n"
"""Stands after the object of a ref that may be a tag or not."""


@dataclass(frozen=True, slots=True)
class _Repository:
    """Where a repository's files are."""

    tree: str
    own: str
    """Its folder of this work tree."""
    common: str
    """Its folder of all work trees; mostly the same."""


def prepare(
    tree: str,
    repositories: Iterable[str],
    directory: str,
    also: str | None = None,
    changing: Callable[[str], bool] | None = None,
    *,
    adding: bool = False,
) -> GitTemplates:
    """Copy the state of a work tree's repository, and of those within it.

    What cannot be copied, a repository of another kind for example, is left out; see `GitTemplates`.

    Args:
        tree: Root of the work tree.
        repositories: Others within it, relative to it.
        directory: An empty one to write to; it has to stay while there are workspaces.
        also: Root of the work tree that this one is a copy of: its refs, settings and objects are there too.
        changing: Says of a path whether it may be written in the run; then the copy is one that can be sent to another
            machine. None: it is for this one.
        adding: Whether commands may add files to the index.
    """
    places = []
    for number, path in enumerate(("", *repositories)):
        if os.path.lexists(os.path.join(tree, path, ".git")) or path:
            folder = os.path.join(directory, str(number))
            found = [place for root in (tree, also) if root is not None and (place := _open(root, path)) is not None]
            inside = _inside(changing, path) if changing is not None else None
            is_copied = _copied(found, folder, inside)
            if is_copied and adding:
                os.unlink(os.path.join(folder, _INDEX_LOCK))
            places.append((path, folder if is_copied else ""))
    return GitTemplates(tuple(places), adding=adding, partial=changing is not None)


def _inside(changing: Callable[[str], bool], base: str) -> Callable[[str], bool]:
    return lambda path: changing(os.path.join(base, path))


def _open(tree: str, path: str) -> _Repository | None:
    root = os.path.join(tree, path)
    own = tree_files.git_dir(root)
    return _Repository(os.path.realpath(root), own, tree_files.common_dir(own)) if own is not None else None


def _copied(found: Sequence[_Repository], folder: str, changing: Callable[[str], bool] | None) -> bool:
    """Make a template of a repository and the one it is a copy of; False if there is none, or it cannot be copied."""
    if not found:
        return False
    try:
        _copy(found, folder, changing)
    except (OSError, ValueError):
        shutil.rmtree(folder, ignore_errors=True)
        return False
    return True


def _copy(found: Sequence[_Repository], folder: str, changing: Callable[[str], bool] | None) -> None:
    first, last = found[0], found[-1]
    for part in ("objects/info", "info", "hooks", "refs"):
        os.makedirs(os.path.join(folder, part))
    _write(folder, "config", _config(last, sent=changing is not None))
    _write(folder, "HEAD", _head(first.own))
    refs = _refs(found)
    stores = tuple(dict.fromkeys(store for each in found for store in _stores(os.path.join(each.common, "objects"))))
    shallow = frozenset(line for repository in found for line in _read(repository.common, "shallow").split())
    if changing is None:
        _write(folder, "objects/info/alternates", b"".join(os.fsencode(store) + b"\n" for store in stores))
    else:
        refs, shallow = _packed_up(found, _source(first, refs, stores, shallow, changing), folder)
    _write_refs(refs, folder)
    texts = {
        "shallow": b"".join(commit + b"\n" for commit in sorted(shallow)),
        "info/attributes": _read(last.common, "info/attributes"),
        "info/grafts": _read(last.common, "info/grafts"),
        "info/sparse-checkout": _read(first.own, "info/sparse-checkout"),
        **{name: _end(_read(first.own, name)) for name in _LOGS if changing is None or name == _HEAD_LOG},
    }
    for name, text in texts.items():
        if text:
            _write(folder, name, text)
    _write(folder, "info/exclude", _read(last.common, "info/exclude"))
    _refuse(folder)
    if changing is not None:
        _be_as_always(folder)
    _copy_index(first.own, folder)


def _source(
    first: _Repository,
    refs: Mapping[bytes, bytes],
    stores: tuple[str, ...],
    shallow: frozenset[bytes],
    changing: Callable[[str], bool],
) -> objects.Source:
    head = _head(first.own)
    for _ in range(_LINKS):
        head = refs.get(head[5:].strip(), b"") if head.startswith(b"ref: ") else head
    if not _OBJECT.match(head):
        raise ValueError(head)  # a branch without a commit
    return objects.Source(
        tree=first.tree,
        index=os.path.join(first.own, "index"),
        stores=stores,
        head=head.split()[0],
        refs=refs,
        shallow=shallow,
        changing=changing,
    )


def _packed_up(
    found: Sequence[_Repository], source: objects.Source, folder: str
) -> tuple[dict[bytes, bytes], frozenset[bytes]]:
    """Write the objects; the refs to them, and the commits whose parents are not among them.

    Raises:
        ValueError: One is missing or broken, or the history is not what the commits say.
    """
    if any(_read(repository.common, "info/grafts") for repository in found):
        raise ValueError("info/grafts")
    try:
        packed = objects.write(source, folder)
    except OSError:
        raise
    except Exception as error:  # one of dulwich's many kinds
        raise ValueError(str(error)) from error
    return packed.refs, packed.shallow


def _be_as_always(folder: str) -> None:
    """Give files one time, so that nobody sends again what has not changed since the last run."""
    for inner, _, names in os.walk(folder):
        for name in names:
            os.utime(os.path.join(inner, name), (0, 0))


def _copy_index(directory: str, folder: str) -> None:
    for name in os.listdir(directory):
        if name == "index" or name.startswith("sharedindex."):
            shutil.copy2(os.path.join(directory, name), os.path.join(folder, name))  # its time counts, too


def _refuse(folder: str) -> None:
    """Have writers find locks, and hooks."""
    for name in _LOCKS:
        _write(folder, name, f"{_REASON}\n".encode())
    for name, script in _HOOKS.items():
        _write(folder, f"hooks/{name}", script.encode())
        os.chmod(os.path.join(folder, "hooks", name), 0o755)  # noqa: S103  Git runs it


def _end(text: bytes) -> bytes:
    """The last lines of a log; ``git pull URL`` writes the whole command into it, an old ``git clone`` the URL."""
    return redact.bare(text if len(text) < _LOG_BYTES else text[-_LOG_BYTES:].partition(b"\n")[2])


def _head(directory: str) -> bytes:
    path = os.path.join(directory, "HEAD")
    return b"ref: " + os.fsencode(os.readlink(path)) + b"\n" if os.path.islink(path) else Path(path).read_bytes()


def _refs(found: Sequence[_Repository]) -> dict[bytes, bytes]:
    """All refs, by name; what tags are of, as far as that is known."""
    refs: dict[bytes, bytes] = {}
    for repository in reversed(found):  # the last ones count
        refs |= _packed(repository)
        for place in dict.fromkeys((repository.common, repository.own)):
            refs |= dict(_loose(place))
    return refs | _peeled(found, refs)


def _write_refs(refs: Mapping[bytes, bytes], folder: str) -> None:
    """Write all refs into one file, but those that point to another, and those that cannot stand there."""
    lines = [_PACKED]
    for name, text in sorted(refs.items()):
        if text.startswith(b"ref: ") or text.endswith(_UNKNOWN):
            _write(folder, os.fsdecode(name), text.removesuffix(_UNKNOWN))
        else:
            lines.append(text.replace(b"\n", b" " + name + b"\n", 1))
    _write(folder, "packed-refs", b"".join(lines))


def _packed(repository: _Repository) -> dict[bytes, bytes]:
    """Refs by name: the object, and in a line of its own what a tag there points to."""
    text = _read(repository.common, "packed-refs")
    unknown = b"" if b" peeled " in text.partition(b"\n")[0] else _UNKNOWN
    entries = re.finditer(rb"^([0-9a-f]+) ([^\n]+)\n(\^[0-9a-f]+\n)?", text, re.MULTILINE)
    return {entry[2]: entry[1] + b"\n" + (entry[3] or unknown) for entry in entries}


def _loose(directory: str) -> Iterator[tuple[bytes, bytes]]:
    """Refs that are files: the object, or ``ref:`` and another ref."""
    for path in walk_files(directory, "refs"):
        with contextlib.suppress(OSError):
            text = Path(directory, path).read_bytes().rstrip() + b"\n"
            if not path.endswith(".lock") and (_OBJECT.fullmatch(text) or text.startswith(b"ref: ")):
                unknown = _UNKNOWN if _OBJECT.fullmatch(text) else b""
                yield os.fsencode(path), text + unknown


def _peeled(found: Sequence[_Repository], refs: Mapping[bytes, bytes]) -> dict[bytes, bytes]:
    """Of refs of which it is not known whether they name a tag object, what is found out."""
    from dulwich.object_store import DiskObjectStore

    known: dict[bytes, bytes] = {}
    with contextlib.ExitStack() as stack:
        stores = [DiskObjectStore(os.path.join(repository.common, "objects")) for repository in found]
        for store in stores:
            stack.callback(store.close)
        for name, text in refs.items():
            first = text.removesuffix(_UNKNOWN)
            if first == text:
                continue
            if not name.startswith(b"refs/tags/"):  # of others, a reader of the file takes nothing for granted
                known[name] = first
                continue
            try:
                inner = _inner(stores, first.strip())
            except Exception:  # noqa: BLE001, S112  one of dulwich's many kinds: an object of another hash, a broken one
                continue
            known[name] = first + (b"^" + inner + b"\n" if inner != first.strip() else b"")
    return known


def _inner(stores: Sequence[Any], sha: bytes) -> bytes:
    """What a tag object, and a tag of a tag, is of."""
    from dulwich.objects import Tag

    for store in stores:
        if sha in store:
            found = store[sha]
            return _inner(stores, bytes(found.object[1])) if isinstance(found, Tag) else sha
    raise KeyError(sha)


def _stores(store: str) -> Iterator[str]:
    """A store of objects, and all that it names: Git does not follow relative paths further than once."""
    seen: dict[str, None] = {}
    waiting = [store]
    while waiting:
        store = os.path.realpath(waiting.pop(0))
        if "\n" in store or store.startswith(('"', "#")):
            raise ValueError(store)  # such a path would have to be quoted
        if store not in seen and os.path.isdir(store):
            seen[store] = None
            lines = os.fsdecode(_read(store, "info/alternates")).splitlines()
            waiting += [os.path.join(store, line) for line in lines if line and line[0] != "#"]
    yield from seen


_Section = tuple[bytes, ...]


def _config(repository: _Repository, *, sent: bool) -> bytes:
    """The settings that change what Git answers, and ours; no secrets, and nothing that leads to the user's tree.

    Raises:
        ValueError: The repository is of a kind that this copy cannot be.
    """
    text: dict[_Section, list[tuple[bytes, bytes]]] = {(b"core",): [*_OWN], (b"gc",): [(b"auto", b"0")]}
    trusted = _is_ours(repository)
    for section, key, value in _settings(repository):
        name = (section[0].decode().lower(), key.decode().lower())
        if name == ("extensions", "refstorage") and value != b"files":
            raise ValueError(value)
        if sent and name in _NOT_SENT:
            continue
        if sent and name == ("extensions", "objectformat") and value != b"sha1":
            raise ValueError(value)
        if _is_wanted(*name, trusted=trusted):
            text.setdefault(section, []).append((key, value))
    return b"".join(_section(section, pairs) for section, pairs in text.items())


def _settings(repository: _Repository) -> Iterator[tuple[_Section, bytes, bytes]]:
    """Section, key and value of each setting of a repository."""
    from dulwich.config import ConfigFile

    for path in (os.path.join(repository.common, "config"), os.path.join(repository.own, "config.worktree")):
        if os.path.exists(path):
            config = ConfigFile.from_path(path)
            for section in config.sections():
                for key, value in config.items(section):
                    yield section, key, value


def _is_wanted(section: str, key: str, *, trusted: bool) -> bool:
    if section == "core":
        return key in _CORE
    if section == "extensions":
        return key in _EXTENSIONS
    if section == "remote":
        return key in _REMOTE
    return (section in _SECTIONS or (trusted and section in _RUNS)) and not redact.named(key)


def _is_ours(repository: _Repository) -> bool:
    """Whether Git would run the programs that a repository's settings name: not those of another owner."""
    ours = {os.geteuid()}
    if os.geteuid() == 0:
        ours.add(int(os.environ.get("SUDO_UID", "0")))
    return all(os.stat(path).st_uid in ours for path in (repository.tree, repository.own))


def _section(section: _Section, pairs: Iterable[tuple[bytes, bytes]]) -> bytes:
    inner = b" " + _quoted(section[1]) if len(section) > 1 else b""
    return b"[" + section[0] + inner + b"]\n" + b"".join(b"\t%b = %b\n" % (key, _quoted(value)) for key, value in pairs)


def _quoted(value: bytes) -> bytes:
    public = redact.bare(value)
    escaped = public.replace(b"\\", b"\\\\").replace(b'"', b'\\"').replace(b"\n", b"\\n").replace(b"\t", b"\\t")
    return b'"' + escaped + b'"'


def _read(folder: str, name: str) -> bytes:
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        return Path(folder, name).read_bytes()
    return b""


def _write(folder: str, name: str, text: bytes) -> None:
    path = os.path.join(folder, name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(text)
