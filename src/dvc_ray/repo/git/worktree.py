"""Asks Git itself for facts that scmrepo does not tell, or not fast enough."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shlex
import subprocess
from collections.abc import Iterator
from typing import Final

from dvc_ray import env
from dvc_ray.errors import ProjectError

_UNDER_WAY: Final = {"MERGE_HEAD": "merge", "CHERRY_PICK_HEAD": "cherry-pick", "REVERT_HEAD": "revert"}
"""Files of ``.git`` that ``git reset`` removes, and the operations that it gives up with them."""


def ask(tree: str, *arguments: str, said: bytes | None = None) -> bytes:
    """Run a Git command; returns its output.

    Args:
        tree: Directory to run in.
        arguments: Arguments of ``git``.
        said: Its standard input.

    Raises:
        ProjectError: Git cannot be run or fails.
    """
    command = ["git", "-C", tree, *arguments]
    try:
        return subprocess.run(
            command, check=True, capture_output=True, env=env.without_git(os.environ), input=said
        ).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        why = getattr(error, "stderr", b"") or str(error).encode()
        raise ProjectError(
            f"Git fails in '{tree}': {os.fsdecode(why).strip()}", f"Try: {shlex.join(command)}"
        ) from None


def paths(tree: str, *arguments: str) -> list[str]:
    """Run a Git command that lists paths with ``-z``.

    Raises:
        ProjectError: As `ask`.
    """
    return [os.fsdecode(part) for part in ask(tree, *arguments).split(b"\0") if part]


def refuse_under_way(tree: str) -> None:
    """Refuse to go on in the middle of an operation that a reset of the workspace would end.

    Raises:
        ProjectError: A merge, a cherry-pick or a revert is under way; or as `ask`.
    """
    folder = os.fsdecode(ask(tree, "rev-parse", "--absolute-git-dir").strip())
    for name, what in _UNDER_WAY.items():
        if os.path.lexists(os.path.join(folder, name)):
            raise ProjectError(
                f"Git is in the middle of a {what}, and an experiment would end it: DVC resets the workspace for a"
                " moment",
                f"Commit it, or give it up with `git {what} --abort`. `dvc-ray repro` runs as it is.",
            )


def worktree(tree: str) -> tuple[str, tuple[str, ...]]:
    """Hash the content of a work tree and its index, and list untracked files.

    Returns:
        A hash that changes when anybody changes a tracked file, its mode, the index or the commit; and the untracked
        files that Git does not ignore.

    Raises:
        ProjectError: As `ask`.
    """
    # First, because `git status` writes what it finds into the index: DVC restores the stash and changes files within
    # one second, and leaves an index (libgit2's) that takes these files for unchanged.
    status = paths(tree, "status", "--porcelain", "-z", "--no-renames", "--untracked-files=all")
    state = hashlib.sha256(repr(status).encode())
    for arguments in (
        ("rev-parse", "HEAD"),
        ("diff", "HEAD", "--binary", "--no-ext-diff", "--no-textconv", "--no-renames"),
        ("diff", "--cached", "--raw", "--no-abbrev", "--no-renames", "-z"),
    ):
        state.update(ask(tree, *arguments))
    return state.hexdigest(), tuple(entry[3:] for entry in status if entry.startswith("?? "))


@contextlib.contextmanager
def found_by_place() -> Iterator[None]:
    """Let Git in this process, DVC's too, find a repository by the directory, not by variables that name another."""
    before = dict(os.environ)
    kept = env.without_git(before)
    for name in before.keys() - kept.keys():
        del os.environ[name]
    try:
        yield
    finally:
        os.environ.update({name: before[name] for name in before.keys() - kept.keys()})
