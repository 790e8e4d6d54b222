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


def python_path(tree: str, workspace: str, environ: Mapping[str, str]) -> str:
    """PYTHONPATH of a command in a workspace.

    Args:
        tree: Root of the user's tree.
        workspace: What stands for it.
        environ: The caller's environment.

    Returns:
        Empty if nothing leads into the tree and the caller has not set it.
    """
    given = environ.get("PYTHONPATH", "")
    entries = [*_editable(tree), *(given.split(os.pathsep) if given else [])]
    return os.pathsep.join(dict.fromkeys(_moved(entry, tree, workspace) for entry in entries))


def _moved(entry: str, tree: str, workspace: str) -> str:
    """Move a path within the tree to the workspace; an environment in the tree is not part of the workspace."""
    inside = os.path.isabs(entry) and is_under(os.path.normpath(entry), {tree})
    if not inside or is_under(os.path.normpath(entry), {sys.prefix}):
        return entry
    return os.path.normpath(os.path.join(workspace, os.path.relpath(entry, tree)))


@cache
def _editable(tree: str) -> tuple[str, ...]:
    """Folders of the tree that were installed editable, in either form that setuptools, hatchling, poetry, … use."""
    found = (os.path.realpath(path) for path in (*_path_files(), *_finders()))
    return tuple(dict.fromkeys(path for path in found if is_under(path, {tree}) and not is_under(path, {sys.prefix})))


def _path_files() -> Iterator[str]:
    """Lines of the .pth files in site-packages that are folders (see the ``site`` module)."""
    for folder in (*site.getsitepackages(), site.getusersitepackages()):
        for file in sorted(Path(folder).glob("*.pth")):
            lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
            yield from (line for line in lines if os.path.isabs(line) and os.path.isdir(line))


def _finders() -> Iterator[str]:
    """Parents of the packages that setuptools' import hooks map (``__editable___<name>_finder.MAPPING``)."""
    for name, module in list(sys.modules.items()):
        if name.startswith("__editable___"):
            yield from (os.path.dirname(path) for path in getattr(module, "MAPPING", {}).values())
