"""The files of a Git work tree, read without the git program.

The git program may be missing, as in a slim image; and it refuses a repository of another owner, such as the user's
for root in a container. Telling it not to refuse is no solution: it would run programs that the repository's
configuration names. This module only reads.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from dvc_ray.errors import ProjectError
from dvc_ray.repo.git import ignore_patterns

_LINK: Final = "gitdir: "
_NAME: Final = ".gitignore"


@dataclass(frozen=True, slots=True)
class Names:
    """What ``git ls-files`` lists of a work tree, relative to it."""

    tracked: frozenset[str] = field(repr=False)
    """Names in the index, whether the files exist or not."""
    others: frozenset[str] = field(repr=False)
    """Names not in the index and not ignored; a nested repository is one name, with a slash at its end."""


def git_dir(tree: str) -> str | None:
    """Git's own folder of a work tree; None if there is none that works."""
    found = os.path.join(tree, ".git")
    if os.path.isfile(found):
        with contextlib.suppress(OSError):
            text = os.fsdecode(Path(found).read_bytes())
            if text.startswith(_LINK):
                found = os.path.join(tree, text.removeprefix(_LINK).rstrip("\r\n"))
    common = common_dir(found)
    works = os.path.lexists(os.path.join(found, "HEAD")) and all(
        os.path.isdir(os.path.join(common, part)) for part in ("objects", "refs")
    )
    return os.path.realpath(found) if works else None


def common_dir(directory: str) -> str:
    """Git's folder for the files that all work trees share.

    Args:
        directory: Git's own folder of a work tree.
    """
    with contextlib.suppress(OSError):
        said = os.fsdecode(Path(directory, "commondir").read_bytes()).rstrip("\r\n")
        return os.path.realpath(os.path.join(directory, said))
    return directory


def names(tree: str) -> Names:
    """List a work tree.

    Args:
        tree: Its root. If it is not a repository, though it should be one (a submodule without its ``.git``), none of
            its files is tracked.

    Raises:
        Exception: The index cannot be read; dulwich raises many kinds.
    """
    directory = git_dir(tree)
    tracked = in_index(directory)
    walk = _Walk(Rules(tree), tracked, ancestors(tracked), submodules(directory))
    return Names(tracked, frozenset(walk.found("")))


def ancestors(paths: Iterable[str]) -> frozenset[str]:
    """All folders that some relative paths lie in, except the root."""
    found: set[str] = set()
    for path in paths:
        end = path.rfind("/")
        while end > 0 and path[:end] not in found:
            found.add(path[:end])
            end = path.rfind("/", 0, end)
    return frozenset(found)


def links_above(tree: str, paths: Iterable[str]) -> frozenset[str]:
    """Links among the folders that paths relative to a tree lie in: Git takes files behind a link for deleted."""
    return frozenset(folder for folder in ancestors(paths) if os.path.islink(os.path.join(tree, folder)))


def entries(folder: str) -> list[os.DirEntry[str]]:
    """The entries of a folder; none, as for Git, if the folder cannot be read, or is gone meanwhile."""
    with contextlib.suppress(OSError), os.scandir(folder) as found:
        return list(found)
    return []


class Rules:
    """What Git ignores in a work tree; each .gitignore is read once.

    Args:
        tree: Its root.

    Raises:
        ProjectError: Git's settings, or a pattern file, cannot be read; the methods raise this, too.
    """

    def __init__(self, tree: str) -> None:
        self.tree = tree
        directory = git_dir(tree)
        general, self._case = _of_repository(tree, directory) if directory else ((), True)
        self._files: dict[str, tuple[ignore_patterns.Patterns, ...]] = {"": self._with(general, "")}

    def ignore(self, path: str, *, folder: bool) -> bool:
        """Whether a path is ignored, given that none of its parents is.

        Args:
            path: Relative to the tree.
            folder: Whether it is a folder, not a link to one.
        """
        return ignore_patterns.ignored(self._for(os.path.dirname(path)), os.fsencode(path), folder=folder)

    def ignore_folder(self, path: str) -> bool:
        """Whether a folder is ignored, or lies in one that is.

        Args:
            path: Relative to the tree.
        """
        parent = os.path.dirname(path)
        return bool(parent and self.ignore_folder(parent)) or self.ignore(path, folder=True)

    def _for(self, folder: str) -> tuple[ignore_patterns.Patterns, ...]:
        """The pattern files that count in a folder, the one that counts most last."""
        if folder not in self._files:
            self._files[folder] = self._with(self._for(os.path.dirname(folder)), folder + "/")
        return self._files[folder]

    def _with(self, files: tuple[ignore_patterns.Patterns, ...], base: str) -> tuple[ignore_patterns.Patterns, ...]:
        own = _read(os.path.join(self.tree, base, _NAME), base, case=self._case)
        return (*files, own) if own else files


@dataclass(frozen=True, slots=True)
class _Walk:
    """Walks a work tree for files that are neither tracked nor ignored; never into an ignored folder."""

    rules: Rules
    tracked: frozenset[str]
    folders: frozenset[str]
    """Folders with something tracked in them."""
    submodules: frozenset[str]
    """Folders that are tracked themselves."""

    def found(self, base: str) -> Iterator[str]:
        """The names under a folder that are neither tracked nor ignored.

        Args:
            base: The folder, with a slash at its end.
        """
        for entry in entries(os.path.join(self.rules.tree, base)):
            path = base + entry.name
            if entry.name == ".git" or path in self.submodules:
                continue
            if path not in self.tracked or entry.is_dir(follow_symlinks=False):
                yield from self._of(entry, path)

    def _of(self, entry: os.DirEntry[str], path: str) -> Iterator[str]:
        is_folder = entry.is_dir(follow_symlinks=False)
        if not is_folder and not entry.is_symlink() and not entry.is_file():
            return  # Git does not list sockets
        if self.rules.ignore(path, folder=is_folder):
            return
        if not is_folder:
            yield path
        elif path not in self.folders and git_dir(entry.path) is not None:
            yield path + "/"
        else:
            yield from self.found(path + "/")


def in_index(directory: str | None) -> frozenset[str]:
    """The names in the index of a repository, which is given by its own folder; none for None."""
    from dulwich.index import Index

    file = os.path.join(directory or "", "index")
    return frozenset(map(os.fsdecode, Index(file))) if directory and os.path.exists(file) else frozenset()


def submodules(directory: str | None) -> frozenset[str]:
    """The names of submodules in the index of a repository, given as for `in_index`."""
    from dulwich.index import Index
    from dulwich.objects import S_ISGITLINK

    file = os.path.join(directory or "", "index")
    if not directory or not os.path.exists(file):
        return frozenset()
    modes = ((path, getattr(entry, "mode", 0)) for path, entry in Index(file).items())
    return frozenset(os.fsdecode(path) for path, mode in modes if S_ISGITLINK(mode))


def _of_repository(tree: str, directory: str) -> tuple[tuple[ignore_patterns.Patterns, ...], bool]:
    """The pattern files outside of the work tree, the one that counts most last; and whether case matters.

    Raises:
        ProjectError: A file with settings cannot be read.
    """
    common = common_dir(directory)
    try:
        named, case = _settings(common, directory)
    except Exception as error:  # dulwich raises many kinds
        raise ProjectError(
            f"Git's settings for '{tree}' cannot be read: {error} (they are in '{common}/config' and in your own"
            " ~/.gitconfig)",
            f"See them as Git does: git -C {shlex.quote(tree)} config --list --show-origin",
        ) from error
    found = (
        _read(os.path.join(tree, named), "", case=case),
        _read(os.path.join(common, "info", "exclude"), "", case=case),
    )
    return tuple(patterns for patterns in found if patterns), case


def _settings(common: str, directory: str) -> tuple[str, bool]:
    """The user's own pattern file, and whether case matters.

    dulwich's ``Repo`` is not used: it refuses extensions that it does not know (1.2.21: those of a partial clone).
    """
    from dulwich.config import ConfigFile, StackedConfig

    files = [os.path.join(directory, "config.worktree"), os.path.join(common, "config")]
    own = [ConfigFile.from_path(file) for file in files if os.path.exists(file)]
    config = StackedConfig([*own, *StackedConfig.default_backends()])
    try:
        named = os.path.expanduser(os.fsdecode(config.get((b"core",), b"excludesFile")))
    except KeyError:
        named = os.path.join(os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config"), "git", "ignore")
    return named, not config.get_boolean((b"core",), b"ignoreCase", default=False)


def _read(file: str, base: str, *, case: bool) -> ignore_patterns.Patterns | None:
    """Read a pattern file; a link in the work tree is not one for Git.

    Raises:
        ProjectError: The file is there, and cannot be read to its end.
    """
    flags = os.O_RDONLY | os.O_NONBLOCK | (os.O_NOFOLLOW if os.path.basename(file) == _NAME else 0)
    try:
        number = os.open(file, flags)
    except OSError:
        return None
    try:
        if not stat.S_ISREG(os.fstat(number).st_mode):  # reading a pipe would wait
            return None
        with open(number, "rb", closefd=False) as stream:
            return ignore_patterns.parse(stream.read(), os.fsencode(base), case=case)
    except (OSError, re.error) as error:
        raise ProjectError(
            f"'{file}', which says what Git ignores, cannot be read: {error}", f"Check it: cat {shlex.quote(file)}"
        ) from error
    finally:
        os.close(number)
