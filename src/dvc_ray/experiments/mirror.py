"""A second tree beside the user's: given what the user's has, and its results brought back."""

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
    """The user's tree and one that an experiment runs in.

    Args:
        home: Root of the user's tree.
        tree: Root of the other; Git has checked out there what it tracks.
        refuse: Told what is not brought into the user's tree because it would land elsewhere, or in what is Git's or
            DVC's.
    """

    def __init__(self, home: str, tree: str, refuse: Callable[[str], None]) -> None:
        self._home = home
        self._tree = tree
        self._refuse = refuse
        self._given: dict[str, Version] = {}
        """Files that Git does not track, as they were given."""
        self._lent: dict[str, Version] = {}
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
        """Take files that Git does not track where the experiment has made, changed or removed them.

        Args:
            paths: What there is of them now, relative; directories do not count.
            outs: Brought by `move`, or left.
            kept: Directory for files that were made where the user has others, which were not given: as a stage of
                ``repro`` must not replace them (`ResultInstaller`).

        Returns:
            Those that were put there; relative paths.
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
        """Whether what is in the place of a file is not what the experiment was given, and not what it has made."""
        if not os.path.lexists(target) or "__pycache__" in path or _same(os.path.join(self._tree, path), target):
            return False
        if path in self._lent:  # the user's own, which somebody may have changed meanwhile
            return stamp(target).version != self._lent[path]
        return path not in self._given

    def move(self, paths: Iterable[str]) -> None:
        """Move outs into the user's tree: what DVC knows of them holds while their inodes are the same."""
        for path in paths:
            source, home = os.path.join(self._tree, path), os.path.join(self._home, path)
            if os.path.lexists(source) and os.path.realpath(source) != os.path.realpath(home):
                with self._told(path), beneath(self._home, path, make=True) as target:
                    move(source, target)

    def drop(self, paths: Iterable[str]) -> None:
        """Remove outs of the user's tree whose new version is not in the other but in a remote: they are stale."""
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
    """Stamp files and directories of a tree, in all depth: changes when somebody writes there.

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
