"""The part of a repository's configuration that a copy of its state has."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import Final

from dvc_ray import redact
from dvc_ray.repo.git.repository import Repository

_CORE: Final = frozenset(
    {"abbrev", "attributesfile", "autocrlf", "bigfilethreshold", "checkroundtripencoding", "eol", "excludesfile"}
    | {"filemode", "ignorecase", "precomposeunicode", "quotepath", "repositoryformatversion", "safecrlf"}
    | {"sparsecheckout", "sparsecheckoutcone", "symlinks"}
)


_EXTENSIONS: Final = frozenset({"objectformat", "compatobjectformat", "partialclone"})


_REMOTE: Final = frozenset({"url", "pushurl", "fetch", "tagopt", "promisor", "partialclonefilter"})


_NOT_SENT: Final = frozenset({("extensions", "partialclone"), ("remote", "promisor"), ("remote", "partialclonefilter")})
"""With these, Git asks a server for contents that it does not have: far more on a machine without the repository."""


_SECTIONS: Final = frozenset(
    {"author", "branch", "color", "column", "committer", "describe", "i18n", "index", "log", "pretty", "push"}
    | {"status", "submodule", "tag", "user", "versionsort"}
)


_RUNS: Final = frozenset({"diff", "filter", "lfs", "merge"})
"""Sections that name programs: they are left out if the repository has another owner."""


_OWN: Final = (
    # Files are copies with the mtime and size of the user's files: Git need not read them to know that they are equal.
    (b"checkstat", b"minimal"),
    (b"trustctime", b"false"),
    (b"untrackedcache", b"false"),  # the index has it for another folder, about which Git warns each time
    (b"fsmonitor", b"false"),
    (b"bare", b"false"),
    (b"logallrefupdates", b"false"),
)


_Section = tuple[bytes, ...]


def config_of(repository: Repository, *, sent: bool) -> bytes:
    """The settings that change Git's answers, and our own; no secrets, and nothing that leads to the user's tree.

    Raises:
        ValueError: A repository of this kind cannot be copied.
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


def _settings(repository: Repository) -> Iterator[tuple[_Section, bytes, bytes]]:
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


def _is_ours(repository: Repository) -> bool:
    """Whether Git would run the programs that a repository's settings name: not if it has another owner."""
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
