"""A copy of a Git repository's state, for commands that ask Git: see `dvc_ray.workspace.git_copy`.

The copy is made of plain files (gitrepository-layout(5)), without the git program. Commits, trees and blobs stay where
they are; the copy names their folder (``objects/info/alternates``), which Git reads and never writes. A copy for
machines that do not see the folder has a pack instead: see `dvc_ray.repo.git.objects`.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from dvc_ray import redact
from dvc_ray.repo.git import objects
from dvc_ray.repo.git.config_copy import config_of
from dvc_ray.repo.git.refs import _OBJECT, MOST_LINKS, head_of, refs_of, write_refs
from dvc_ray.repo.git.repository import Repository, open_at, read, stores_of, write
from dvc_ray.values.git import GitTemplates

_REASON: Final = "dvc-ray: a stage cannot write to Git. What its workspace has is a copy."
_HOOK: Final = f"#!/bin/sh\necho '{_REASON}' >&2\nexit 1\n"
_HOOKS: Final = {
    "pre-commit": _HOOK,
    "pre-push": _HOOK,
    # Git runs this one for every change of a ref, and once more afterwards, even after a refusal.
    "reference-transaction": _HOOK.replace("\n", '\n[ "$1" = prepared ] || exit 0\n', 1),
}
_INDEX_LOCK: Final = "index.lock"
_LOCKS: Final = (_INDEX_LOCK, "HEAD.lock", "packed-refs.lock", "shallow.lock")
"""With these files, Git, and libraries that do without its program, take a file for locked. Reading needs no lock."""

_HEAD_LOG: Final = "logs/HEAD"
_LOGS: Final = (_HEAD_LOG, "logs/refs/stash")
"""Logs that Git reads to say where a detached HEAD comes from, and to list stashes."""
_LOG_BYTES: Final = 1 << 14


def prepare(
    tree: str,
    repositories: Iterable[str],
    directory: str,
    also: str | None = None,
    changing: Callable[[str], bool] | None = None,
    *,
    adding: bool = False,
) -> GitTemplates:
    """Copy the state of a work tree's repository, and of the repositories within it.

    A repository that cannot be copied, for example one of another kind, is left out; see `GitTemplates`.

    Args:
        tree: Root of the work tree.
        repositories: The repositories within it, relative to the root.
        directory: An empty directory to write to; it has to stay while there are workspaces.
        also: Root of the work tree that this one is a copy of: its refs, settings and objects are copied, too.
        changing: Says whether a path may be written in the run; the copy can then be sent to another machine. None for
            a copy for this machine.
        adding: Whether commands may add files to the index.
    """
    places = []
    for number, path in enumerate(("", *repositories)):
        if os.path.lexists(os.path.join(tree, path, ".git")) or path:
            folder = os.path.join(directory, str(number))
            found = [place for root in (tree, also) if root is not None and (place := open_at(root, path)) is not None]
            inside = _inside(changing, path) if changing is not None else None
            is_copied = _copied(found, folder, inside)
            if is_copied and adding:
                os.unlink(os.path.join(folder, _INDEX_LOCK))
            places.append((path, folder if is_copied else ""))
    return GitTemplates(tuple(places), adding=adding, partial=changing is not None)


def _inside(changing: Callable[[str], bool], base: str) -> Callable[[str], bool]:
    return lambda path: changing(os.path.join(base, path))


def _copied(found: Sequence[Repository], folder: str, changing: Callable[[str], bool] | None) -> bool:
    """Make a template of a repository and of its original; returns False if there is none, or it cannot be copied."""
    if not found:
        return False
    try:
        _copy(found, folder, changing)
    except (OSError, ValueError):
        shutil.rmtree(folder, ignore_errors=True)
        return False
    return True


def _copy(found: Sequence[Repository], folder: str, changing: Callable[[str], bool] | None) -> None:
    first, last = found[0], found[-1]
    for part in ("objects/info", "info", "hooks", "refs"):
        os.makedirs(os.path.join(folder, part))
    write(folder, "config", config_of(last, sent=changing is not None))
    write(folder, "HEAD", head_of(first.own))
    refs = refs_of(found)
    stores = tuple(dict.fromkeys(store for each in found for store in stores_of(os.path.join(each.common, "objects"))))
    shallow = frozenset(line for repository in found for line in read(repository.common, "shallow").split())
    if changing is None:
        write(folder, "objects/info/alternates", b"".join(os.fsencode(store) + b"\n" for store in stores))
    else:
        refs, shallow = _packed_up(found, _source(first, refs, stores, shallow, changing), folder)
    write_refs(refs, folder)
    texts = {
        "shallow": b"".join(commit + b"\n" for commit in sorted(shallow)),
        "info/attributes": read(last.common, "info/attributes"),
        "info/grafts": read(last.common, "info/grafts"),
        "info/sparse-checkout": read(first.own, "info/sparse-checkout"),
        **{name: _end(read(first.own, name)) for name in _LOGS if changing is None or name == _HEAD_LOG},
    }
    for name, text in texts.items():
        if text:
            write(folder, name, text)
    write(folder, "info/exclude", read(last.common, "info/exclude"))
    _refuse(folder)
    if changing is not None:
        _be_as_always(folder)
    _copy_index(first.own, folder)


def _source(
    first: Repository,
    refs: Mapping[bytes, bytes],
    stores: tuple[str, ...],
    shallow: frozenset[bytes],
    changing: Callable[[str], bool],
) -> objects.Source:
    head = head_of(first.own)
    for _ in range(MOST_LINKS):
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
    found: Sequence[Repository], source: objects.Source, folder: str
) -> tuple[dict[bytes, bytes], frozenset[bytes]]:
    """Write the objects; returns the refs to them, and the commits whose parents are not among them.

    Raises:
        ValueError: An object is missing or broken, or grafts change the history.
    """
    if any(read(repository.common, "info/grafts") for repository in found):
        raise ValueError("info/grafts")
    try:
        packed = objects.write(source, folder)
    except OSError:
        raise
    except Exception as error:  # dulwich raises many kinds
        raise ValueError(str(error)) from error
    return packed.refs, packed.shallow


def _be_as_always(folder: str) -> None:
    """Give all files one mtime, so that files that have not changed since the last run are not sent again."""
    for inner, _, names in os.walk(folder):
        for name in names:
            os.utime(os.path.join(inner, name), (0, 0))


def _copy_index(directory: str, folder: str) -> None:
    for name in os.listdir(directory):
        if name == "index" or name.startswith("sharedindex."):
            shutil.copy2(os.path.join(directory, name), os.path.join(folder, name))  # its mtime counts, too


def _refuse(folder: str) -> None:
    """Add locks and hooks that stop writers."""
    for name in _LOCKS:
        write(folder, name, f"{_REASON}\n".encode())
    for name, script in _HOOKS.items():
        write(folder, f"hooks/{name}", script.encode())
        os.chmod(os.path.join(folder, "hooks", name), 0o755)  # noqa: S103  Git runs it


def _end(text: bytes) -> bytes:
    """The last lines of a log, without passwords: ``git pull URL`` logs its command, an old ``git clone`` the URL."""
    return redact.bare(text if len(text) < _LOG_BYTES else text[-_LOG_BYTES:].partition(b"\n")[2])
