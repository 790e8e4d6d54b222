"""An experiment's tree beside the user's: filled with the user's files, its results brought back to the user's tree."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable, Iterable, Iterator

from dvc_ray.files import Version
from dvc_ray.paths import files_under, is_under, remove
from dvc_ray.workspace.gate import LeadsOutError, beneath, is_inside
from dvc_ray.workspace.materialise import CODE_LINK_FROM, Putter, stamp
from dvc_ray.workspace.moving import move


class TreeMirror:
    """The user's tree and the tree that an experiment runs in.

    Args:
        home: Root of the user's tree.
        tree: Root of the experiment's tree, in which Git has checked out the tracked files.
        refuse: Called with each path that is not brought into the user's tree, because it leads out of the tree or
            belongs to Git or DVC.
    """

    def __init__(self, home: str, tree: str, refuse: Callable[[str], None]) -> None:
        self._home = home
        self._tree = tree
        self._refuse = refuse
        self._given: dict[str, Version] = {}
        """Untracked files that the experiment's tree was given, with their versions."""
        self._lent: dict[str, Version] = {}
        """Files of the inputs in `linked`, with their versions."""
        self.linked: tuple[str, ...] = ()
        """Inputs that both trees share; relative paths."""

    def fill(self, code: Iterable[str], inputs: Iterable[str]) -> None:
        """Give the experiment's tree what Git does not track: files of the snapshot are copied, inputs are linked.

        Args:
            code: Files that Git does not ignore, including those of submodules.
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
        """Link the files of an input that Git has not checked out: mostly all, otherwise the untracked ones."""
        for file in map(os.path.normpath, files_under(self._home, path)):
            if os.path.basename(file) == ".git" or _exists(self._tree, file):
                continue  # the .git of a submodule leads nowhere in the other tree
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
        """Make files of the user's tree equal to the experiment's: content, mode, or absence."""
        for path in paths:
            source = os.path.join(self._tree, path)
            if os.path.isdir(source) and not os.path.islink(source):
                continue  # a submodule
            if not os.path.lexists(source):
                self._unlink(path)
                continue
            with self._told(path), beneath(self._home, path, make=True) as target:
                if not _same(source, target):
                    _take_mode(source, target)
                    move(source, target)

    def bring(self, paths: Iterable[str], outs: Iterable[str], kept: str) -> tuple[str, ...]:
        """Bring untracked files that the experiment has made, changed or removed into the user's tree.

        Args:
            paths: The untracked files of the experiment's tree, relative; directories do not count.
            outs: Outs, which `move` brings or which stay.
            kept: Directory for files in whose place the user has others that the experiment was not given: those are
                not replaced, as a stage of ``repro`` must not replace them (`ResultInstaller`).

        Returns:
            The files that were put into `kept`; relative paths.
        """
        tops = set(outs)
        taken = tops | set(self.linked)
        gone = [path for path in self._given if not is_under(path, taken) and not _exists(self._tree, path)]
        aside = []
        for path in filter(is_inside, paths):
            known = self._given.get(path) or self._lent.get(path)
            if is_under(path, tops) or (known is not None and known == self._short(self._tree, path)):
                continue
            with self._told(path), beneath(self._home, path, make=True) as target:
                if self._is_others(path, target):
                    move(os.path.join(self._tree, path), os.path.join(kept, path))
                    aside.append(path)
                else:
                    move(os.path.join(self._tree, path), target)
        for path in gone:
            self._unlink(path)
        return tuple(aside)

    def _is_others(self, path: str, target: str) -> bool:
        """Whether the user has a file in this place that the experiment was neither given nor has made."""
        if not os.path.lexists(target) or "__pycache__" in path or _same(os.path.join(self._tree, path), target):
            return False
        if path in self._lent:  # the user's file, which somebody may have changed meanwhile
            return stamp(target).version != self._lent[path]
        return path not in self._given

    def move(self, paths: Iterable[str]) -> None:
        """Move outs into the user's tree; they keep their inodes, so that DVC's records of them stay valid."""
        for path in paths:
            source, home = os.path.join(self._tree, path), os.path.join(self._home, path)
            if os.path.lexists(source) and os.path.realpath(source) != os.path.realpath(home):
                with self._told(path), beneath(self._home, path, make=True) as target:
                    move(source, target)

    def drop(self, paths: Iterable[str]) -> None:
        """Remove stale outs from the user's tree: the new version is in a remote, not in the experiment's tree."""
        for path in paths:
            if not _exists(self._tree, path):
                with contextlib.suppress(FileNotFoundError), self._told(path), beneath(self._home, path) as target:
                    remove(target)

    def _unlink(self, path: str) -> None:
        with contextlib.suppress(OSError), self._told(path), beneath(self._home, path) as target:
            os.unlink(target)

    @contextlib.contextmanager
    def _told(self, path: str) -> Iterator[None]:
        try:
            yield
        except LeadsOutError:
            self._refuse(path)

    def _only_at_home(self, path: str) -> bool:
        return _exists(self._home, path) and not _exists(self._tree, path)

    @staticmethod
    def _short(root: str, path: str) -> Version:
        return stamp(os.path.join(root, path)).version


def stamps_of(root: str, paths: Iterable[str]) -> tuple[tuple[str, Version], ...]:
    """Stamp files and directories of a tree, recursively; the stamps change when somebody writes there.

    Args:
        root: The tree.
        paths: Relative to it.
    """
    found: list[tuple[str, Version]] = []
    for path in paths:
        with contextlib.suppress(OSError):
            found += [(file, stamp(os.path.join(root, file)).version) for file in files_under(root, path)]
    return tuple(found)


def _take_mode(source: str, target: str) -> None:
    """Give a file the mode of the one it replaces, except the executable bits, which are as Git has checked it out."""
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
