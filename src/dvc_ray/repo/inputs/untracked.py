"""Finds deps of unknown origin: a stage that does not declare them may make them."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from functools import cached_property
from pathlib import PurePath
from typing import Any, Final

from dvc_ray.repo.git.tracked import Tracked

_NO_PRODUCTS: Final = frozenset({".git", ".dvc", "__pycache__", ".gitignore"})
"""Names that no stage waits for: DVC takes the first two for no data, Python fills the third, DVC writes the last."""


class Untracked:
    """Finds the deps that no stage makes and neither Git nor DVC tracks, for one run.

    Args:
        repo: A ``dvc.repo.Repo``.
    """

    def __init__(self, repo: Any) -> None:
        self._repo = repo
        self._known: dict[str, bool] = {}
        """Answers by path: many stages have the same deps."""
        self._nested: dict[str, set[str]] = {}
        """By folder, the tracked files of the submodule that the folder lies in, absolute; empty outside of any."""

    def of(self, stage: Any) -> tuple[str, ...]:
        """List such deps of a stage; none if it is frozen or an import from a repository, where deps do not matter."""
        if stage.frozen or stage.is_repo_import:
            return ()
        deps = [dep for dep in stage.deps if dep.protocol == "local"]
        return tuple(dict.fromkeys(str(dep) for dep in deps if self._may_be_product(dep.fs_path)))

    def _may_be_product(self, path: str) -> bool:
        if path not in self._known:
            self._known[path] = not self._is_code(path) and not self._is_made(path) and self._look(path)
        return self._known[path]

    def _is_code(self, path: str) -> bool:
        """Whether a path is a file that Git tracks: a quick test that most paths pass."""
        if self._tracked is None or not self._in_tree(path):
            return False
        try:
            return stat.S_ISREG(os.lstat(path).st_mode) and self._tracked(path)
        except OSError:
            return False

    @cached_property
    def _outs(self) -> set[str]:
        return {out.fs_path for out in self._repo.index.outs if out.protocol == "local"}

    @cached_property
    def _folders_of_outs(self) -> set[str]:
        return {str(folder) for path in self._outs for folder in PurePath(path).parents}

    @cached_property
    def _tracked(self) -> Tracked | None:
        """The files that Git tracks; None where there is no Git."""
        from dvc.scm import NoSCM

        scm = self._repo.scm
        if isinstance(scm, NoSCM):
            return None
        return scm.is_tracked if isinstance(scm.is_tracked, Tracked) else Tracked(scm)

    def _is_made(self, path: str) -> bool:
        """Whether a path is an out of a stage, ``.dvc`` files included, or lies in one."""
        return path in self._outs or any(str(folder) in self._outs for folder in PurePath(path).parents)

    def _look(self, path: str) -> bool:
        if not os.path.exists(path):
            return path not in self._folders_of_outs
        if os.path.isdir(path):
            return self._has_product(path)
        return self._may_be_written(path) and not self._is_kept(path)

    def _has_product(self, folder: str) -> bool:
        if not self._in_tree(folder):
            return _writable(folder) or any(map(_writable, _under(folder)))
        ignored = self._repo.dvcignore.is_ignored_file
        return any(_writable(path) and not ignored(path) for path in self._not_kept(folder))

    def _not_kept(self, folder: str) -> Iterator[str]:
        """Files in a folder of the tree that are neither `_is_kept` nor `_is_made`; fast for many files."""
        if self._tracked is None:
            return
        names = self._tracked.names()
        for top, files, links in _folders(folder, self._outs):
            part = os.path.relpath(top, self._tree)
            base = "" if part == os.curdir else part + os.sep
            nested = self._in_submodule(top)
            yield from (os.path.join(top, name) for name in links if not self._is_kept(os.path.join(top, name)))
            for name in files:
                path = os.path.join(top, name)
                if base + name not in names and path not in nested:
                    yield path

    def _may_be_written(self, path: str) -> bool:
        return _writable(path) or (os.path.islink(path) and _writable(os.path.realpath(path)))

    def _is_kept(self, path: str) -> bool:
        """Whether Git tracks a file, and the target if the file is a link; without Git all files count as code."""
        if self._tracked is None:
            return self._in_tree(path)
        if os.path.islink(path):
            real = os.path.realpath(path)
            if not (self._is_made(real) or self._is_in_index(real) or not _writable(real)):
                return False
        return self._is_in_index(path)

    def _is_in_index(self, path: str) -> bool:
        assert self._tracked is not None  # noqa: S101
        return self._in_tree(path) and (self._tracked(path) or path in self._in_submodule(os.path.dirname(path)))

    def _in_submodule(self, folder: str) -> set[str]:
        """The tracked files of the submodule that a folder lies in, which the tree's index does not list; absolute."""
        if folder not in self._nested:
            if folder == self._tree or not self._in_tree(folder):
                found: set[str] = set()
            elif os.path.lexists(os.path.join(folder, ".git")):
                found = self._submodule(folder)
            else:
                found = self._in_submodule(os.path.dirname(folder))
            self._nested[folder] = found
        return self._nested[folder]

    def _submodule(self, folder: str) -> set[str]:
        """The tracked files of a submodule; empty for a repository that is not a submodule."""
        assert self._tracked is not None  # noqa: S101
        if not self._tracked(folder):
            return set()
        index = type(self._repo.scm.dulwich.repo)(folder).open_index()
        return {os.path.join(folder, os.fsdecode(name)) for name in index}

    @cached_property
    def _tree(self) -> str:
        return str(self._repo.root_dir if self._tracked is None else self._repo.scm.root_dir)

    def _in_tree(self, path: str) -> bool:
        return path == self._tree or path.startswith(self._tree + os.sep)


def _under(folder: str) -> Iterator[str]:
    """All files and links under a folder."""
    for top, files, links in _folders(folder, set()):
        yield from (os.path.join(top, name) for name in (*files, *links))


def _folders(top: str, without: set[str]) -> Iterator[tuple[str, list[str], list[str]]]:
    """A folder and all folders under it, each with the names of its files and of its links.

    Args:
        top: The folder.
        without: Paths that are left out, with all their content.
    """
    files, links, inner = [], [], []
    with contextlib.suppress(OSError), os.scandir(top) as entries:
        for entry in entries:
            if entry.name in _NO_PRODUCTS or entry.path in without:
                continue
            if entry.is_symlink():
                links.append(entry.name)
            elif entry.is_dir(follow_symlinks=False):
                inner.append(entry.path)
            else:
                files.append(entry.name)
    yield top, files, links
    for folder in inner:
        yield from _folders(folder, without)


def _writable(path: str) -> bool:
    """Whether this user can write to a path or replace it; if not, no command of the user can make it."""
    return os.access(path, os.W_OK) or os.access(os.path.dirname(path), os.W_OK)
