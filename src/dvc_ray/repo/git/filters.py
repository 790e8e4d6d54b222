"""Files whose bytes in the work tree are not those that Git stores: because of LFS, other filters, or line ends.

To set up an experiment, DVC stashes and restores the workspace with libraries that do not apply filters (DVC 3.67.1).
Afterwards the user's files would have the bytes that Git stores, and in the experiment's directory they do.
"""

from __future__ import annotations

import contextlib
import filecmp
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence

from dvc_ray.files import Stamp, Version
from dvc_ray.repo.git import worktree

_ATTRIBUTES = ("filter", "text", "eol", "ident", "working-tree-encoding")
_NONE = {"unspecified", "unset"}


def filtered(tree: str) -> tuple[str, ...]:
    """Tracked files that a filter or a conversion may apply to; relative to the tree.

    Raises:
        ProjectError: Git cannot say.
    """
    listed = worktree.ask(tree, "ls-files", "-z")
    done = worktree.ask(tree, "check-attr", "-z", "--stdin", *_ATTRIBUTES, said=listed).split(b"\0")
    triples = zip(done[0::3], done[1::3], done[2::3], strict=False)
    found = dict.fromkeys(os.fsdecode(path) for path, _, value in triples if os.fsdecode(value) not in _NONE)
    return tuple(path for path in found if os.path.isfile(os.path.join(tree, path)))


@contextlib.contextmanager
def kept(tree: str, paths: Sequence[str], aside: str) -> Iterator[None]:
    """Restore files after the block, byte for byte, and make Git's index know that they have not changed.

    Args:
        tree: The tree that the paths are relative to.
        paths: The files.
        aside: Existing directory on the same file system, best where Git does not look.
    """
    with tempfile.TemporaryDirectory(dir=aside, prefix="kept-") as folder:
        names = {path: os.path.join(folder, str(number)) for number, path in enumerate(paths)}
        for path, name in names.items():
            _link(os.path.join(tree, path), name)
        put_back = []
        try:
            yield
        finally:
            for path, name in names.items():
                target = os.path.join(tree, path)
                if not os.path.isfile(target) or not _is_same(name, target):
                    os.replace(name, target)
                    put_back.append(path)
            refresh(tree, put_back)


def give(home: str, tree: str, paths: Sequence[str]) -> dict[str, Version]:
    """Copy to another work tree the user's files that differ only because of a filter.

    Git is told not to look at these files there, because its index has the right blobs already.

    Args:
        home: The user's tree.
        tree: The other one.
        paths: Files that a filter may apply to; relative to both.

    Returns:
        Modification time (ns) and size of each that was given.

    Raises:
        ProjectError: Git refuses.
    """
    both = [path for path in paths if os.path.isfile(os.path.join(tree, path))]
    there = _in_index(tree, both)
    given = {}
    for path, blob in _cleaned(home, both).items():
        source, target = os.path.join(home, path), os.path.join(tree, path)
        if there.get(path) == blob and not _is_same(source, target):
            shutil.copy2(source, target)
            given[path] = Stamp.of(os.stat(target)).version
    if given:
        worktree.ask(tree, "update-index", "--skip-worktree", "-z", "--stdin", said=_joined(given))
    return given


def refresh(tree: str, paths: Sequence[str]) -> None:
    """Update the sizes in Git's index of files that differ from the index only because of a filter.

    Git takes a file for changed, without reading it, if its size is not that in the index.

    Raises:
        ProjectError: Git refuses.
    """
    known = _in_index(tree, paths)
    if same := [path for path, blob in _cleaned(tree, paths).items() if known.get(path) == blob]:
        worktree.ask(tree, "update-index", "-z", "--stdin", said=_joined(same))


def notice(tree: str, given: dict[str, Version]) -> None:
    """Make Git look again at files that have changed since `give`.

    Raises:
        ProjectError: Git refuses.
    """
    changed = []
    for path, stamp in given.items():
        with contextlib.suppress(FileNotFoundError):
            if Stamp.of(os.stat(os.path.join(tree, path))).version == stamp:
                continue
        changed.append(path)
    if changed:
        worktree.ask(tree, "update-index", "--no-skip-worktree", "-z", "--stdin", said=_joined(changed))


def _cleaned(tree: str, paths: Sequence[str]) -> dict[str, str]:
    """Hash of the blob that Git would make of each file."""
    # Git reads names line by line here; a file with a line end in its name is left as it is.
    there = [path for path in paths if "\n" not in path and os.path.isfile(os.path.join(tree, path))]
    if not there:
        return {}
    said = "".join(f"{path}\n" for path in there)
    found = worktree.ask(tree, "hash-object", "--stdin-paths", said=os.fsencode(said)).split()
    return {path: blob.decode() for path, blob in zip(there, found, strict=True)}


def _in_index(tree: str, paths: Sequence[str]) -> dict[str, str]:
    """Hash of the blob that Git's index has for each file."""
    if not paths:
        return {}
    entries = (line.partition("\t") for line in worktree.paths(tree, "ls-files", "-s", "-z"))
    wanted = set(paths)
    return {path: head.split()[1] for head, _, path in entries if path in wanted}


def _joined(paths: Iterable[str]) -> bytes:
    return b"".join(os.fsencode(path) + b"\0" for path in paths)


def _is_same(one: str, other: str) -> bool:
    return os.path.samefile(one, other) or filecmp.cmp(one, other, shallow=False)


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
