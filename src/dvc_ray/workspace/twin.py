"""A second tree beside the user's: given what the user's has, and its results brought back."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterable, Iterator

from dvc_ray.errors import ProjectError
from dvc_ray.paths import is_under, remove
from dvc_ray.workspace.materialise import CODE_LINK_FROM, Putter, files_under, stamp
from dvc_ray.workspace.moving import move

_Stamp = tuple[int, int]


class Twin:
    """The user's tree and one that an experiment runs in.

    Args:
        home: Root of the user's tree.
        tree: Root of the other; Git has checked out there what it tracks.
    """

    def __init__(self, home: str, tree: str) -> None:
        self._home = home
        self._tree = tree
        self._given: dict[str, _Stamp] = {}
        """Files that Git does not track, as they were given."""
        self._lent: dict[str, _Stamp] = {}
        """Files of the inputs, as they were linked."""
        self.linked: tuple[str, ...] = ()
        """Inputs that both trees share; relative paths."""

    def fill(self, code: Iterable[str], inputs: Iterable[str]) -> None:
        """Give it what Git does not track: files of the snapshot are copied, inputs are linked.

        Args:
            code: Files that Git does not ignore, submodules' too.
            inputs: Outs, deps and includes; files or directories, submodules too.
        """
        put = Putter(self._home, self._tree)
        tops = set(inputs)
        for path in code:
            if not is_under(path, tops) and not _exists(self._tree, path):
                with contextlib.suppress(FileNotFoundError):
                    put(path, link_from=CODE_LINK_FROM)
                    self._given[path] = self._short(self._tree, path)
        self.linked = tuple(path for path in sorted(tops) if self._only_at_home(path))
        for path in sorted(tops):
            if _exists(self._home, path):
                self._link(path, put)

    def _link(self, path: str, put: Putter) -> None:
        """Link what Git has not checked out of an input: all of it, mostly; or what lies in it and is not tracked."""
        for file in map(os.path.normpath, files_under(self._home, path)):
            if os.path.basename(file) == ".git" or _exists(self._tree, file):
                continue  # a submodule's leads nowhere in the other tree
            put(file, link_from=0)
            given = self._lent if is_under(path, set(self.linked)) else self._given
            given[file] = self._short(self._tree, file)

    def misses(self, path: str) -> bool:
        """Whether the user's tree has nothing there."""
        return not _exists(self._home, path)

    def shares(self, path: str) -> bool:
        """Whether a file is the same one in both trees."""
        with contextlib.suppress(OSError):
            return os.path.samefile(os.path.join(self._home, path), os.path.join(self._tree, path))
        return False

    def sync(self, paths: Iterable[str]) -> None:
        """Make files of the user's tree what they are in the other: content, mode, or absence."""
        for path in _checked(paths):
            source, target = os.path.join(self._tree, path), os.path.join(self._home, path)
            if os.path.isdir(source) and not os.path.islink(source):
                continue  # a submodule
            if not os.path.lexists(source):
                with contextlib.suppress(OSError):
                    os.unlink(target)
            elif not _same(source, target):
                _take_mode(source, target)
                move(source, target)

    def bring(self, paths: Iterable[str], outs: Iterable[str], kept: str) -> tuple[str, ...]:
        """Take files that Git does not track where the experiment has made, changed or removed them.

        Args:
            paths: What there is of them now, relative; directories do not count.
            outs: Brought by `move`, or left.
            kept: Directory for files that were made where the user has others, which were not given: as a stage of
                ``repro`` must not replace them (`Home`).

        Returns:
            Those that were put there; relative paths.
        """
        tops = set(outs)
        taken = tops | set(self.linked)
        gone = [path for path in self._given if not is_under(path, taken) and not _exists(self._tree, path)]
        aside = []
        for path in _checked(paths):
            internal = path.split("/", 1)[0] in {".dvc", ".git"} or "/.dvc/" in path
            known = self._given.get(path) or self._lent.get(path)
            if internal or is_under(path, tops) or (known is not None and known == self._short(self._tree, path)):
                continue
            source, target = os.path.join(self._tree, path), os.path.join(self._home, path)
            if path in self._lent and _exists(self._home, path) and self._short(self._home, path) != known:
                known = None  # somebody has changed the user's meanwhile
            if known is None and _exists(self._home, path) and "__pycache__" not in path and not _same(source, target):
                target = os.path.join(kept, path)
                aside.append(path)
            move(source, target)
        for path in gone:
            with contextlib.suppress(OSError):
                os.unlink(os.path.join(self._home, path))
        return tuple(aside)

    def move(self, paths: Iterable[str]) -> None:
        """Move outs into the user's tree: what DVC knows of them holds while their inodes are the same."""
        for path in _checked(paths):
            source = os.path.join(self._tree, path)
            if os.path.lexists(source):
                move(source, os.path.join(self._home, path))

    def drop(self, paths: Iterable[str]) -> None:
        """Remove outs of the user's tree whose new version is not in the other but in a remote: they are stale."""
        for path in _checked(paths):
            if not _exists(self._tree, path):
                remove(os.path.join(self._home, path))

    def _only_at_home(self, path: str) -> bool:
        return _exists(self._home, path) and not _exists(self._tree, path)

    @staticmethod
    def _short(root: str, path: str) -> _Stamp:
        return stamp(os.path.join(root, path))[:2]


def stamps_of(root: str, paths: Iterable[str]) -> tuple[tuple[str, _Stamp], ...]:
    """Stamp files and directories of a tree, in all depth: changes when somebody writes there.

    Args:
        root: The tree.
        paths: Relative to it.
    """
    found: list[tuple[str, _Stamp]] = []
    for path in paths:
        with contextlib.suppress(OSError):
            found += [(file, stamp(os.path.join(root, file))[:2]) for file in files_under(root, path)]
    return tuple(found)


def _checked(paths: Iterable[str]) -> Iterator[str]:
    """Let paths through that lie in a tree: whatever says otherwise would have something else of the user replaced.

    Raises:
        ProjectError: One does not.
    """
    for path in paths:
        whole = os.path.normpath(path)
        if os.path.isabs(path) or whole.split(os.sep)[0] in {".", ".."} or os.path.basename(whole) in {".git", ".dvc"}:
            raise ProjectError(f"'{path}' is no file of the project.", "Please report this; nothing was moved.")
        yield path


def _take_mode(source: str, target: str) -> None:
    """Give a file the mode of the one it replaces; executable as Git has checked it out."""
    if not os.path.isfile(target) or os.path.islink(source) or os.path.islink(target):
        return
    mode = stat.S_IMODE(os.stat(target).st_mode) & ~0o111
    executable = os.stat(source).st_mode & 0o100
    os.chmod(source, mode | (mode & 0o444) >> 2 if executable else mode)


def _exists(root: str, path: str) -> bool:
    return os.path.lexists(os.path.join(root, path))


def _same(one: str, other: str) -> bool:
    if not os.path.lexists(other) or os.path.islink(one) != os.path.islink(other):
        return False
    if os.path.islink(one):
        return os.readlink(one) == os.readlink(other)
    if not os.path.isfile(other) or (os.stat(one).st_mode ^ os.stat(other).st_mode) & 0o111:
        return False
    with open(one, "rb") as left, open(other, "rb") as right:
        return left.read() == right.read()
