"""The files of the code snapshot: what a stage may read without declaring it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath
from typing import Any

from dvc_ray.repo import git


def files(repo: Any) -> tuple[str, ...]:
    """Name the snapshot's files: tracked by Git, and untracked but not ignored.

    Without Git: all files but DVC's outs and what .dvcignore leaves out.

    Args:
        repo: A ``dvc.repo.Repo``.

    Returns:
        Paths relative to `tree(repo)`, sorted.

    Raises:
        ProjectError: Git cannot list the files.
    """
    root = tree(repo)
    named = _listed(root) if _has_git(repo) else _walk(repo)
    return tuple(sorted(path for path in named if not _internal(path) and os.path.lexists(os.path.join(root, path))))


def ignored(repo: Any) -> tuple[str, ...]:
    """Name what Git ignores: files, and folders that are ignored with all that is in them.

    Returns:
        Paths relative to `tree(repo)`.

    Raises:
        ProjectError: Git cannot list the files.
    """
    root = tree(repo)
    if not _has_git(repo):
        return ()
    found = git.paths(root, "ls-files", "-z", "--others", "--ignored", "--exclude-standard", "--directory")
    return tuple(sorted(path.rstrip("/") for path in found if not _internal(path)))


def tree(repo: Any) -> str:
    """Root of what a stage workspace mirrors: Git's work tree, or the DVC project where there is no Git."""
    return os.path.realpath(repo.scm.root_dir) if _has_git(repo) else str(repo.root_dir)


def _has_git(repo: Any) -> bool:
    from dvc.scm import NoSCM

    return not isinstance(repo.scm, NoSCM)


def _listed(root: str) -> Iterable[str]:
    found = set(git.paths(root, "ls-files", "-z", "--cached", "--others", "--exclude-standard"))
    nested = {name for name in found if os.path.isdir(os.path.join(root, name)) and _is_repository(root, name)}
    inside = (os.path.join(name, path) for name in nested for path in _listed(os.path.join(root, name)))
    return {*(found - nested), *inside}


def _is_repository(root: str, name: str) -> bool:
    """Whether a name that Git lists like a file is a submodule that is there, or a repository of its own."""
    full = os.path.join(root, name)
    return not os.path.islink(full) and os.path.lexists(os.path.join(full, ".git"))


def _walk(repo: Any) -> Iterator[str]:
    outs = {out.fs_path for out in repo.index.outs if out.is_in_repo}
    for folder, names, found in repo.dvcignore.walk(repo.fs, repo.root_dir):
        names[:] = [name for name in names if os.path.join(folder, name) not in outs]
        for name in found:
            path = os.path.join(folder, name)
            if path not in outs:
                yield os.path.relpath(path, repo.root_dir)


def _internal(path: str) -> bool:
    """DVC's own files, but for the configuration that is meant to be shared."""
    parts = PurePosixPath(path).parts
    if ".git" in parts:
        return True
    if ".dvc" not in parts:
        return False
    inside = parts[parts.index(".dvc") + 1 :]
    return inside[:1] in {("tmp",), ("cache",), ("config.local",), ("ray.local.toml",)}
