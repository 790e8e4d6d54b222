"""Makes a DVC project, and reads its metrics."""

from __future__ import annotations

import contextlib
import subprocess
from typing import Any

from dvc_ray.errors import ProjectError
from dvc_ray.repo.dvc.failures import quiet, translate_errors


def create(root: str, message: str) -> None:
    """Make a directory a Git repository and a DVC project, and commit its files.

    Raises:
        ProjectError: Git is missing or refuses.
    """
    _git(root, "init", "--quiet")
    with translate_errors():
        from dvc.repo import Repo

        quiet()
        Repo.init(root).close()
    commit(root, message)


def commit(root: str, message: str) -> None:
    """Commit all files that Git does not ignore.

    Raises:
        ProjectError: Git refuses.
    """
    _git(root, "add", "--all")
    who = [] if _has_identity(root) else ["-c", "user.name=dvc-ray", "-c", "user.email=dvc-ray@localhost"]
    _git(root, *who, "commit", "--quiet", "--message", message)


def metrics(root: str) -> dict[str, float]:
    """The numbers in all metrics files of a project, by ``file:name``."""
    with translate_errors():
        from dvc.repo import Repo

        with contextlib.closing(Repo(root)) as repo:
            found = repo.metrics.show()
    files = found.get("", {}).get("data", {})
    return {
        f"{file}:{name}": value
        for file, result in sorted(files.items())
        for name, value in _numbers(result["data"], "")
    }


def _numbers(data: Any, prefix: str) -> list[tuple[str, float]]:
    if isinstance(data, dict):
        return [pair for key, value in data.items() for pair in _numbers(value, f"{prefix}.{key}" if prefix else key)]
    return [(prefix, data)] if isinstance(data, (int, float)) else []


def _has_identity(root: str) -> bool:
    return (
        subprocess.run(["git", "-C", root, "var", "GIT_AUTHOR_IDENT"], capture_output=True, check=False).returncode == 0
    )


def _git(root: str, *arguments: str) -> None:
    try:
        done = subprocess.run(["git", "-C", root, *arguments], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise ProjectError("git is not installed", "Install it with your system's package manager.") from None
    if done.returncode:
        raise ProjectError(f"git {arguments[0]} failed in '{root}': {done.stderr.strip()}")
