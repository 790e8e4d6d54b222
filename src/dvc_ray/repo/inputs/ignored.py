"""Chooses the user's ignored files that a stage workspace has as links."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from dvc_ray.paths import is_under, outside

_MAKES: Final = re.compile(r"(?:(?:(?<![.\w/-])|(?<=\s-m))venv|(?<![.\w-])virtualenv)(?![\w/.-])")
"""The name of a program that makes a Python environment, not a path: ``. venv/bin/activate`` makes none."""
_NEVER_READ: Final = re.compile(
    r"(^|/)(__pycache__|\.[a-z]+_cache|\.ipynb_checkpoints|\.idea|\.vscode|\.DS_Store|\.coverage[^/]*|\.tox|\.nox"
    r"|[^/]*\.egg-info|[^/]*\.py[co]|[^/]*~|\.[^/]*\.sw[op])$"
)
"""Files and folders that tools keep for themselves."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ignored:
    """Ignored files and folders of a tree, for all stages; relative to the tree."""

    links: tuple[str, ...] = ()
    """Files, and folders without deps, outs or includes: a workspace has one link for each; sorted."""
    folders: tuple[str, ...] = ()
    """Folders with deps, outs or includes in them: a workspace has its own folder, with links in it."""


def split(root: str, entries: Iterable[str], hidden: Collection[str], touched: Collection[str]) -> Ignored:
    """Split ignored folders that have deps, outs or includes in them.

    Args:
        root: The tree.
        entries: Files that Git ignores in the tree, and folders that it ignores with all their content.
        hidden: Outs of all stages: a stage is given the outs of another only if it depends on them.
        touched: Outs, deps and includes of all stages: they may differ from stage to stage.

    Returns:
        The ignored files and folders without the hidden ones.
    """
    outs = set(hidden)
    parents = {parent for path in touched for parent in _parents(path)}
    links: list[str] = []
    folders: list[str] = []
    todo = [entry for entry in entries if not is_under(entry, outs)]
    while todo:
        path = todo.pop()
        if path in outs:
            continue
        if path in parents and os.path.isdir(os.path.join(root, path)):
            folders.append(path)
            todo += _entries(root, path)
        else:
            links.append(path)
    return Ignored(links=tuple(sorted(links)), folders=tuple(sorted(folders)))


def without(ignored: Ignored, given: Collection[str]) -> Ignored:
    """Leave out files that a stage is given in another way: as a dep, an include or an out.

    Args:
        ignored: Ignored files for all stages.
        given: Paths of these files; relative to the tree.
    """
    if not ignored.links:
        return ignored
    tops = set(given)
    return Ignored(
        links=outside(ignored.links, tops),
        folders=tuple(path for path in ignored.folders if not is_under(path, tops)),
    )


def opened(root: str, ignored: Ignored) -> Ignored:
    """Turn links to environments into folders with links in them, for a command that makes environments.

    ``python -m venv`` accepts neither a link as its directory, nor a link as the ``bin`` in it (``venv``, 3.11).

    Args:
        root: The user's tree.
        ignored: Ignored files of the stage.
    """
    found = [path for path in ignored.links if os.path.isfile(os.path.join(root, path, "pyvenv.cfg"))]
    folders = [folder for path in found for folder in (path, os.path.join(path, "bin"))]
    links = {*ignored.links, *(entry for folder in folders for entry in _entries(root, folder))} - {*folders}
    return Ignored(links=tuple(sorted(links)), folders=(*ignored.folders, *folders))


def makes_environment(commands: Iterable[str]) -> bool:
    """Whether a command of a stage makes a Python environment, as far as its text tells."""
    return any(_MAKES.search(command) for command in commands)


def notable(ignored: Ignored, included: Collection[str]) -> tuple[str, ...]:
    """List ignored files that a command may want to read, for machines that have none of the files.

    Args:
        ignored: Ignored files for all stages.
        included: Paths that stages are given in another way; relative to the tree.
    """
    tops = set(included)
    parents = {parent for path in tops for parent in _parents(path)}
    return tuple(
        path
        for path in ignored.links
        if not is_under(path, tops) and path not in parents and not _NEVER_READ.search(path)
    )


def _parents(path: str) -> Iterator[str]:
    while path := os.path.dirname(path):
        yield path


def _entries(root: str, path: str) -> list[str]:
    with contextlib.suppress(OSError), os.scandir(os.path.join(root, path)) as found:
        return [os.path.join(path, entry.name) for entry in found if entry.name not in {".git", ".dvc"}]
    return []
