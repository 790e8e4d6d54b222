"""Lists the files of a project: its code, which a stage may read without declaring it, and the files left out of it."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any, Final

from dvc_ray.errors import ProjectError
from dvc_ray.paths import is_under
from dvc_ray.redact import named_file
from dvc_ray.repo.git import tree_files, worktree

_INTERNAL: Final = frozenset({".git", ".dvc"})
_PACKAGES: Final = "node_modules"
_MARKS: Final = ("pyvenv.cfg", "conda-meta")
"""Files in the root of an environment: of Python's venv, and of conda."""
_OF_ENVIRONMENT: Final = frozenset({_PACKAGES, *_MARKS})


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """The content of a project's tree; all paths are relative to `tree` and sorted."""

    code: tuple[str, ...] = field(repr=False)
    """Files that are tracked, or are not ignored."""
    ignored: tuple[str, ...] = ()
    """Files left out of the code. A folder without any code is one entry, not looked into; else each file is one."""
    empty: tuple[str, ...] = ()
    """Folders that have no file under them and are not ignored; only the innermost."""
    repositories: tuple[str, ...] = ()
    """Git repositories within the tree, submodules and others, whose files are among the code."""
    untracked: tuple[str, ...] = ()
    """Code that Git does not track; where there is no Git, only files that are called like a secret."""


@dataclass(slots=True)
class _Found:
    code: set[str] = field(default_factory=set)
    untracked: set[str] = field(default_factory=set)
    kept: set[str] = field(default_factory=set)
    """Files that are neither code nor ignored: outs where there is no Git, and tracked files that are gone."""
    repositories: list[str] = field(default_factory=list)
    """Git repositories within the tree."""


def files(repo: Any) -> tuple[str, ...]:
    """List the files of the snapshot: those that Git tracks, and untracked files that Git does not ignore.

    Without Git: all files but DVC's outs and those that .dvcignore leaves out. Environments are left out even if
    nothing ignores them: nobody wants a copy.

    Args:
        repo: A ``dvc.repo.Repo``.

    Returns:
        Paths relative to `tree(repo)`, sorted.

    Raises:
        ProjectError: The files cannot be listed.
    """
    return _shared(_found(repo))


def listing(repo: Any) -> Listing:
    """List the files of the snapshot, as `files` does, and the other files of the tree.

    Files that Git does not list are taken for ignored. So Git is not asked a second time, and a folder without code
    costs one look, however much is in the folder.

    Args:
        repo: A ``dvc.repo.Repo``.

    Raises:
        ProjectError: The files cannot be listed.
    """
    root, found = tree(repo), _found(repo)
    rest = _Rest(root, found, _rule(repo, found.repositories))
    rest.look()
    return Listing(
        code=_shared(found),
        ignored=tuple(sorted(rest.ignored)),
        empty=tuple(sorted(rest.empty)),
        repositories=tuple(sorted(found.repositories)),
        untracked=tuple(sorted(path for path in found.untracked & found.code if not _internal(path))),
    )


def tree(repo: Any) -> str:
    """Root of the tree that a stage workspace mirrors: Git's work tree, or the DVC project where there is no Git."""
    return os.path.realpath(repo.scm.root_dir) if _has_git(repo) else str(repo.root_dir)


def _has_git(repo: Any) -> bool:
    from dvc.scm import NoSCM

    return not isinstance(repo.scm, NoSCM)


def _found(repo: Any) -> _Found:
    found = _Found()
    if _has_git(repo):
        _add_listed(found, tree(repo), "")
    else:
        _add_walked(found, repo)
    return found


def _shared(found: _Found) -> tuple[str, ...]:
    return tuple(sorted(path for path in found.code if not _internal(path)))


def _add_listed(found: _Found, root: str, part: str) -> None:
    """Add the files of a Git work tree.

    Args:
        found: Collects the files.
        root: Root of the project's tree.
        part: The work tree, relative to the root, with a slash at its end.
    """
    here = os.path.join(root, part)
    names = _names(here)
    listed = {name.rstrip("/") for name in names.tracked | (names.others - _in_environments(here, names))}
    there = _there(here, listed)
    found.kept |= {part + name for name in listed - there.keys()}
    found.untracked |= {part + name for name in names.others}
    for name, is_folder in there.items():
        if not is_folder or not tree_files.entries(os.path.join(here, name)):
            found.code.add(part + name)
            continue
        if tree_files.git_dir(os.path.join(here, name)) is not None:
            found.repositories.append(part + name)
        elif name in names.tracked and name not in tree_files.submodules(tree_files.git_dir(here)):
            continue  # a folder in place of a tracked file: Git lists the files in it one by one
        _add_listed(found, root, f"{part}{name}/")


def _there(here: str, names: Collection[str]) -> dict[str, bool]:
    """Which names exist, and whether they are folders; found by a look at each folder, not at each file."""
    wanted: dict[str, set[str]] = {}
    for name in names:
        folder, _, base = name.rpartition("/")
        wanted.setdefault(folder, set()).add(base)
    found: dict[str, bool] = {}
    links = tree_files.links_above(here, names)
    for folder, bases in wanted.items():
        if is_under(folder, links):
            continue
        for entry in tree_files.entries(os.path.join(here, folder)):
            if entry.name in bases:
                name = f"{folder}/{entry.name}" if folder else entry.name
                found[name] = entry.is_dir(follow_symlinks=False)
    return found


def _names(here: str) -> tree_files.Names:
    """List a work tree by Git; without Git if it is missing or refuses, or in a submodule without its ``.git``."""
    if tree_files.git_dir(here) is None:
        return tree_files.names(here)
    try:
        listed = worktree.paths(here, "ls-files", "-z", "-t", "--cached", "--others", "--exclude-standard")
    except ProjectError as refused:
        try:
            return tree_files.names(here)
        except Exception:  # noqa: BLE001 -- Git's own error says more than dulwich's
            raise refused from None
    others = frozenset(entry[2:] for entry in listed if entry.startswith("? "))
    return tree_files.Names(frozenset(entry[2:] for entry in listed) - others, others)


def _in_environments(here: str, names: tree_files.Names) -> frozenset[str]:
    """Files that Git does not track and that lie in environments."""
    tracked = tree_files.ancestors(names.tracked)
    folders = tree_files.ancestors((*names.others, "")) - tracked
    found = {folder for folder in folders if is_environment(os.path.join(here, folder))}
    return frozenset(path for path in names.others if is_under(path.rstrip("/"), found)) if found else frozenset()


def are_of_environment(paths: Iterable[str]) -> bool:
    """Whether any of some files belongs to an environment, as far as the names tell."""
    return any(not _OF_ENVIRONMENT.isdisjoint(path.split("/")) for path in paths)


def is_environment(folder: str) -> bool:
    """Whether a folder is a Python, conda or node environment."""
    return os.path.basename(folder) == _PACKAGES or any(os.path.lexists(os.path.join(folder, mark)) for mark in _MARKS)


def _add_walked(found: _Found, repo: Any) -> None:
    root = str(repo.root_dir)
    outs = {out.fs_path for out in repo.index.outs if out.is_in_repo}
    found.kept |= {os.path.relpath(path, root) for path in outs}
    for folder, names, listed in repo.dvcignore.walk(repo.fs, root):
        part = "" if folder == root else os.path.relpath(folder, root) + "/"
        if part and is_environment(folder):
            names[:] = []
            continue
        names[:] = [name for name in names if os.path.join(folder, name) not in outs]
        found.code |= {part + name for name in listed if os.path.join(folder, name) not in outs}
    found.untracked |= set(filter(named_file, found.code))
    inner = tree_files.ancestors(found.code)
    found.repositories += [folder for folder in inner if tree_files.git_dir(os.path.join(root, folder)) is not None]


def _internal(path: str) -> bool:
    """Whether a path is one of Git's or DVC's own files, except for configuration that is meant to be shared."""
    if ".git" not in path and ".dvc" not in path:  # among thousands of paths, few need the slower test below
        return False
    parts = PurePosixPath(path).parts
    if ".git" in parts:
        return True
    if ".dvc" not in parts:
        return False
    inside = parts[parts.index(".dvc") + 1 :]
    return inside[:1] in {("tmp",), ("cache",), ("config.local",), ("ray.local.toml",)}


def _rule(repo: Any, repositories: Sequence[str]) -> Callable[[str], bool]:
    """Return a function that says whether a folder without files, relative to the tree, is ignored."""
    root = tree(repo)
    if not _has_git(repo):
        return lambda path: bool(repo.dvcignore.is_ignored_dir(os.path.join(root, path)))
    rules: dict[str, tree_files.Rules] = {}

    def ignore(path: str) -> bool:
        within = max((inner for inner in repositories if is_under(path, {inner})), key=len, default="")
        if within not in rules:
            rules[within] = tree_files.Rules(os.path.join(root, within))
        return rules[within].ignore_folder(path.removeprefix(within).lstrip("/"))

    return ignore


class _Rest:
    """The content of a tree beside its code.

    Args:
        root: Root of the tree.
        found: The code.
        ignore: Whether a folder without files is ignored; relative to the tree.
    """

    def __init__(self, root: str, found: _Found, ignore: Callable[[str], bool]) -> None:
        self._root = root
        self._known = found.code | found.kept
        self._folders = tree_files.ancestors((*self._known, *found.repositories)) | set(found.repositories)
        self._ignore = ignore
        self.ignored: list[str] = []
        self.empty: list[str] = []

    def look(self, base: str = "") -> None:
        """Look into a folder, which is named with a slash at its end, and into the folders in it."""
        for entry in tree_files.entries(os.path.join(self._root, base)):
            path = base + entry.name
            if entry.name in _INTERNAL or path in self._known:
                continue
            if path in self._folders and entry.is_dir(follow_symlinks=False):
                self.look(path + "/")
            elif not entry.is_dir(follow_symlinks=False) or _holds_any(entry.path) or self._ignore(path):
                self.ignored.append(path)
            elif tree_files.entries(entry.path):
                self.look(path + "/")
            else:
                self.empty.append(path)


def _holds_any(folder: str) -> bool:
    """Whether there is anything but folders under a folder; one that cannot be read is taken to hold something."""
    try:
        with os.scandir(folder) as entries:
            return any(not entry.is_dir(follow_symlinks=False) or _holds_any(entry.path) for entry in entries)
    except OSError:
        return True
