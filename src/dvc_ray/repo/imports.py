"""Where Python finds modules of the project itself: what ``pip install --editable .`` and PYTHONPATH have set up.

Both lead to the user's tree by absolute paths. A command that imports from there would find code, and by ``__file__``
data and places for its outs, outside of its workspace. Under ``dvc repro`` the user's tree is where it runs; so what
leads into the tree is made to lead to the same place in the workspace.
"""

from __future__ import annotations

import os
import site
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

from dvc_ray.paths import is_under


def python_path(trees: tuple[str, ...], workspace: str, environ: Mapping[str, str]) -> str:
    """PYTHONPATH of a command in a workspace.

    Args:
        trees: Roots of what the workspace stands for: the tree that it was filled from, and the user's, if that is
            another. One may lie within the other: the inner comes first.
        workspace: The workspace.
        environ: The caller's environment.

    Returns:
        Empty if nothing leads into the trees and the caller has not set it.
    """
    given = environ.get("PYTHONPATH", "")
    entries = [*_editable(trees), *(given.split(os.pathsep) if given else [])]
    return os.pathsep.join(dict.fromkeys(_moved(entry, trees, workspace) for entry in entries))


def _moved(entry: str, trees: tuple[str, ...], workspace: str) -> str:
    """Move a path within a tree to the workspace; an environment in the tree is not part of the workspace."""
    path = os.path.normpath(entry)
    tree = next((tree for tree in trees if os.path.isabs(entry) and is_under(path, {tree})), None)
    if tree is None or is_under(path, {sys.prefix}):
        return entry
    return os.path.normpath(os.path.join(workspace, os.path.relpath(entry, tree)))


@cache
def _editable(trees: tuple[str, ...]) -> tuple[str, ...]:
    """Folders of the trees that were installed editable, in either form that setuptools, hatchling, poetry, … use."""
    found = (os.path.realpath(path) for path in (*_path_files(), *_finders()))
    tops = set(trees)
    return tuple(dict.fromkeys(path for path in found if is_under(path, tops) and not is_under(path, {sys.prefix})))


def _path_files() -> Iterator[str]:
    """Lines of the .pth files in site-packages that are folders (see the ``site`` module)."""
    for folder in (*site.getsitepackages(), site.getusersitepackages()):
        for file in sorted(Path(folder).glob("*.pth")):
            lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
            yield from (line for line in lines if os.path.isabs(line) and os.path.isdir(line))


def _finders() -> Iterator[str]:
    """Parents of the packages that setuptools' import hooks map (``__editable___<name>_finder.MAPPING``)."""
    for name, module in sys.modules.copy().items():  # atomic: Ray is imported in another thread meanwhile
        if name.startswith("__editable___"):
            yield from (os.path.dirname(path) for path in getattr(module, "MAPPING", {}).values())
