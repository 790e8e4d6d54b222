"""What of the user's ignored files a stage's workspace has as links."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from dvc_ray.paths import is_under, outside

_MAKES: Final = re.compile(r"(?:(?:(?<![.\w/-])|(?<=\s-m))venv|(?<![.\w-])virtualenv)(?![\w/.-])")
"""The name of what makes an environment of Python, not a path: ``. venv/bin/activate`` makes none."""
_NEVER_READ: Final = re.compile(
    r"(^|/)(__pycache__|\.[a-z]+_cache|\.ipynb_checkpoints|\.idea|\.vscode|\.DS_Store|\.coverage[^/]*|\.tox|\.nox"
    r"|[^/]*\.egg-info|[^/]*\.py[co]|[^/]*~|\.[^/]*\.sw[op])$"
)
"""Files and folders that tools leave for themselves."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ignored:
    """Ignored files and folders of a tree, for all stages; relative to it."""

    links: tuple[str, ...] = ()
    """Sorted. Files, and folders with nothing of DVC's in them: the workspace has one link for each."""
    folders: tuple[str, ...] = ()
    """Folders with something of DVC's in them: the workspace has a folder of its own, with links in it."""


def split(root: str, entries: Iterable[str], hidden: Collection[str], touched: Collection[str]) -> Ignored:
    """Split ignored folders where DVC has something in them.

    Args:
        root: The tree.
        entries: What Git ignores there: files, and folders that are ignored with all that is in them.
        hidden: Outs of all stages: no stage is given the outs of another, unless it depends on them.
        touched: Those, and deps and includes of all stages: they may differ from stage to stage.

    Returns:
        What is there, without what is hidden.
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
    """Leave out what a stage is given in another way: as dep, as include, as out.

    Args:
        ignored: For all stages.
        given: Paths of the stage; relative to the tree.
    """
    if not ignored.links:
        return ignored
    tops = set(given)
    return Ignored(
        links=outside(ignored.links, tops),
        folders=tuple(path for path in ignored.folders if not is_under(path, tops)),
    )


def opened(root: str, ignored: Ignored) -> Ignored:
    """Open environments for a command that makes some: it gets folders with links in them.

    ``python -m venv`` takes no link for a place to work in, nor for the ``bin`` in it (``venv``, 3.11).

    Args:
        root: The user's tree.
        ignored: Of the stage.
    """
    found = [path for path in ignored.links if os.path.isfile(os.path.join(root, path, "pyvenv.cfg"))]
    folders = [folder for path in found for folder in (path, os.path.join(path, "bin"))]
    links = {*ignored.links, *(entry for folder in folders for entry in _entries(root, folder))} - {*folders}
    return Ignored(links=tuple(sorted(links)), folders=(*ignored.folders, *folders))


def makes_environment(commands: Iterable[str]) -> bool:
    """Whether a command of a stage makes an environment of Python, as far as its text tells."""
    return any(_MAKES.search(command) for command in commands)


def notable(ignored: Ignored, included: Collection[str]) -> tuple[str, ...]:
    """Name what a command may want to have, where it has none of it.

    Args:
        ignored: For all stages.
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
