"""The files of a Git work tree, read without the git program.

There may be none, as in a slim image; and it refuses a repository of another owner, as root of a container is for the
user's. That it is asked not to refuse is no way: it would run programs that the repository's configuration names.
Nothing here does more than read.
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
    """In the index, there or not."""
    others: frozenset[str] = field(repr=False)
    """Not in the index and not ignored; a repository of its own is one name, with a slash at its end."""


def git_dir(tree: str) -> str | None:
    """Git's own folder of a work tree; None if it has none that works."""
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
    """Where Git keeps what is not of one work tree alone.

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
        tree: Its root. If it is no repository, though it should be one (a submodule without its ``.git``), nothing of
            it is tracked.

    Raises:
        Exception: The index cannot be read; of dulwich's many kinds.
    """
    directory = git_dir(tree)
    tracked = in_index(directory)
    walk = _Walk(Rules(tree), tracked, ancestors(tracked), submodules(directory))
    return Names(tracked, frozenset(walk.found("")))


def ancestors(paths: Iterable[str]) -> frozenset[str]:
    """All folders that some relative paths lie in, but the root."""
    found: set[str] = set()
    for path in paths:
        end = path.rfind("/")
        while end > 0 and path[:end] not in found:
            found.add(path[:end])
            end = path.rfind("/", 0, end)
    return frozenset(found)


def links_above(tree: str, paths: Iterable[str]) -> frozenset[str]:
    """Of the folders that paths relative to a tree lie in, those that are links: Git takes what is behind for gone."""
    return frozenset(folder for folder in ancestors(paths) if os.path.islink(os.path.join(tree, folder)))


def entries(folder: str) -> list[os.DirEntry[str]]:
    """What is in a folder; nothing, as for Git, if it cannot be read, or is gone meanwhile."""
    with contextlib.suppress(OSError), os.scandir(folder) as found:
        return list(found)
    return []


class Rules:
    """What Git ignores in a work tree; each .gitignore is read once.

    Args:
        tree: Its root.

    Raises:
        ProjectError: Git's settings, or a file with patterns, cannot be read; its methods, too.
    """

    def __init__(self, tree: str) -> None:
        self.tree = tree
        directory = git_dir(tree)
        general, self._case = _of_repository(tree, directory) if directory else ((), True)
        self._files: dict[str, tuple[ignore_patterns.Patterns, ...]] = {"": self._with(general, "")}

    def ignore(self, path: str, *, folder: bool) -> bool:
        """Whether a path is ignored, none of whose parents is.

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
        """The files with patterns that count in a folder, the one that counts most last."""
        if folder not in self._files:
            self._files[folder] = self._with(self._for(os.path.dirname(folder)), folder + "/")
        return self._files[folder]

    def _with(self, files: tuple[ignore_patterns.Patterns, ...], base: str) -> tuple[ignore_patterns.Patterns, ...]:
        own = _read(os.path.join(self.tree, base, _NAME), base, case=self._case)
        return (*files, own) if own else files


@dataclass(frozen=True, slots=True)
class _Walk:
    """Through a work tree, for what is in it beside what is tracked; never into a folder that is ignored."""

    rules: Rules
    tracked: frozenset[str]
    folders: frozenset[str]
    """Those with something tracked in them."""
    submodules: frozenset[str]
    """Those that are tracked themselves."""

    def found(self, base: str) -> Iterator[str]:
        """What is in one folder and is not ignored.

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
            return  # a socket is nothing to Git
        if self.rules.ignore(path, folder=is_folder):
            return
        if not is_folder:
            yield path
        elif path not in self.folders and git_dir(entry.path) is not None:
            yield path + "/"
        else:
            yield from self.found(path + "/")


def in_index(directory: str | None) -> frozenset[str]:
    """What is in the index of a repository, by its own folder; None: nothing."""
    from dulwich.index import Index

    file = os.path.join(directory or "", "index")
    return frozenset(map(os.fsdecode, Index(file))) if directory and os.path.exists(file) else frozenset()


def submodules(directory: str | None) -> frozenset[str]:
    """What of the index of a repository, given as for `in_index`, is a commit of another one."""
    from dulwich.index import Index
    from dulwich.objects import S_ISGITLINK

    file = os.path.join(directory or "", "index")
    if not directory or not os.path.exists(file):
        return frozenset()
    modes = ((path, getattr(entry, "mode", 0)) for path, entry in Index(file).items())
    return frozenset(os.fsdecode(path) for path, mode in modes if S_ISGITLINK(mode))


def _of_repository(tree: str, directory: str) -> tuple[tuple[ignore_patterns.Patterns, ...], bool]:
    """Patterns that are not in the work tree, the ones that count most last; and whether case matters.

    Raises:
        ProjectError: A file with settings cannot be read.
    """
    common = common_dir(directory)
    try:
        named, case = _settings(common, directory)
    except Exception as error:  # one of dulwich's many kinds
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
    """The user's own file with patterns, and whether case matters.

    Not by dulwich's ``Repo``: it refuses extensions that it does not know (1.2.21: those of a partial clone).
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
    """Read a file with patterns; a link in the work tree is none to Git.

    Raises:
        ProjectError: It is there, and cannot be read to its end.
    """
    flags = os.O_RDONLY | os.O_NONBLOCK | (os.O_NOFOLLOW if os.path.basename(file) == _NAME else 0)
    try:
        number = os.open(file, flags)
    except OSError:
        return None
    try:
        if not stat.S_ISREG(os.fstat(number).st_mode):  # a pipe would be waited for
            return None
        with open(number, "rb", closefd=False) as stream:
            return ignore_patterns.parse(stream.read(), os.fsencode(base), case=case)
    except (OSError, re.error) as error:
        raise ProjectError(
            f"'{file}', which says what Git ignores, cannot be read: {error}", f"Check it: cat {shlex.quote(file)}"
        ) from error
    finally:
        os.close(number)
