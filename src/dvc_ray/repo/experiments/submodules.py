"""Submodules in an experiment's directory."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, Final

from dvc_ray.repo.git import worktree

_GITLINK: Final = "160000"
"""Mode of a submodule in a Git tree."""


def submodules(tree: str) -> list[tuple[str, str]]:
    """Commit and path of each submodule of a work tree."""
    found = (line.partition("\t") for line in worktree.paths(tree, "ls-files", "-s", "-z"))
    return [(head.split()[1], path) for head, _, path in found if head.startswith(_GITLINK)]


@contextlib.contextmanager
def submodules_kept(home: str, scm: Any) -> Iterator[None]:
    """Keep submodules in the experiment's commit: DVC loses them when it sets up the directory (3.67.1)."""
    links = submodules(home)
    commit = scm.commit

    def with_links(*arguments: Any, **options: Any) -> Any:
        for sha, path in links:
            worktree.ask(scm.root_dir, "update-index", "--add", "--cacheinfo", f"{_GITLINK},{sha},{path}")
        return commit(*arguments, **options)

    scm.commit = with_links
    try:
        yield
    finally:
        del scm.commit
