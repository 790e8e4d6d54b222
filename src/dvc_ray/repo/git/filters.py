"""Files whose bytes in the work tree are not those that Git keeps: LFS pointers and other filters, line ends.

DVC sets an experiment up by stashing the workspace and restoring it, through libraries that know no filters: afterwards
the user's files would be what Git keeps of them, and so they are in the experiment's directory (DVC 3.67.1).
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
    """Have files be afterwards what they are now, byte for byte, and Git's index know that.

    Args:
        tree: What the paths are relative to.
        paths: The files.
        aside: Existing directory on the same file system, best outside of what Git looks at.
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
    """Give another work tree the bytes that the user's has, where only a filter makes the difference.

    Git is told not to look at these files there: what it would take in is right already.

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
    """Have Git's index know the sizes of files that are what it has, but for their filter.

    It takes a file for changed without a look at it if only the size is another.

    Raises:
        ProjectError: Git refuses.
    """
    known = _in_index(tree, paths)
    if same := [path for path, blob in _cleaned(tree, paths).items() if known.get(path) == blob]:
        worktree.ask(tree, "update-index", "-z", "--stdin", said=_joined(same))


def notice(tree: str, given: dict[str, Version]) -> None:
    """Have Git look at files again that have changed since they were given.

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
    # Git takes names from its input line by line here; one with a line end in it is left as it is.
    there = [path for path in paths if "\n" not in path and os.path.isfile(os.path.join(tree, path))]
    if not there:
        return {}
    said = "".join(f"{path}\n" for path in there)
    found = worktree.ask(tree, "hash-object", "--stdin-paths", said=os.fsencode(said)).split()
    return {path: blob.decode() for path, blob in zip(there, found, strict=True)}


def _in_index(tree: str, paths: Sequence[str]) -> dict[str, str]:
    """Hash of the blob that Git has of each file."""
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
