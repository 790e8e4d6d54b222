"""Makes paths to the project's own modules, set by ``pip install --editable .`` or PYTHONPATH, lead to the workspace.

Both name the user's tree by absolute paths. A command that imports from there would find code, and by ``__file__``
data and places for its outs, outside of its workspace. Under ``dvc repro`` a command runs in the user's tree; so a path
into the tree is replaced by the same path in the workspace.
"""

from __future__ import annotations

import ast
import contextlib
import os
import re
import shutil
import site
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Final

from dvc_ray.paths import is_under

_FINDER: Final = "__editable___"
"""Prefix of the modules in which setuptools keeps the paths of editable installs."""
_MAPPING: Final = re.compile(r"^MAPPING\b[^=\n]*=\s*(\{.*\})\s*$", re.MULTILINE)


def python_path(
    trees: tuple[str, ...],
    workspace: str,
    environ: Mapping[str, str],
    environments: Collection[str] = (),
    projects: Iterable[str] = (),
) -> str:
    """PYTHONPATH of a command in a workspace.

    Args:
        trees: Roots of the trees that the workspace stands for: the tree that it was filled from, and the user's, if
            that is another. If one lies within the other, the inner comes first.
        workspace: The workspace.
        environ: The caller's environment.
        environments: Python environments that the command may use, besides that of this process.
        projects: Folders in the trees that a manager will install editable, if no environment has them yet.

    Returns:
        The value; empty if no path leads into the trees and the caller has not set the variable.
    """
    given = environ.get("PYTHONPATH", "")
    others = [path for folder in environments for path in _editable_in(folder, trees)]
    if not others and not _editable(trees):
        others = [path for folder in projects for path in _will_be(folder)]
    entries = [*_editable(trees), *others, *(given.split(os.pathsep) if given else [])]
    prefixes = {sys.prefix, *environments}
    return os.pathsep.join(dict.fromkeys(_moved(entry, trees, workspace, prefixes) for entry in entries))


def environments(folders: Iterable[str], environ: Mapping[str, str]) -> tuple[str, ...]:
    """Find Python environments that a command may use.

    Args:
        folders: Directories in which an environment of the project may lie, under any name.
        environ: The command's environment.
    """
    found = [environ.get("VIRTUAL_ENV", "")]
    which = (shutil.which(name, path=environ.get("PATH", "")) for name in ("python", "python3"))
    found += (os.path.dirname(os.path.dirname(os.path.abspath(path))) for path in which if path)
    for folder in folders:
        with contextlib.suppress(OSError):
            inner = [entry.path for entry in os.scandir(folder) if not entry.is_file(follow_symlinks=False)]
            found += sorted(filter(_is_environment, inner))
    return tuple(dict.fromkeys(folder for folder in found if folder))


def _is_environment(folder: str) -> bool:
    return any(os.path.exists(os.path.join(folder, name)) for name in ("pyvenv.cfg", "conda-meta"))


def _moved(entry: str, trees: tuple[str, ...], workspace: str, prefixes: Collection[str]) -> str:
    """Move a path within a tree to the workspace; an environment in the tree is not part of the workspace."""
    path = os.path.normpath(entry)
    tree = next((tree for tree in trees if os.path.isabs(entry) and is_under(path, {tree})), None)
    if tree is None or is_under(path, set(prefixes)) or is_under(path, {workspace}):
        return entry
    return os.path.normpath(os.path.join(workspace, os.path.relpath(entry, tree)))


@cache
def _editable(trees: tuple[str, ...]) -> tuple[str, ...]:
    """Folders of the trees that were installed editable, in either form that setuptools, hatchling, poetry, … use."""
    folders = (*site.getsitepackages(), site.getusersitepackages())
    lines = (line for folder in folders for line in _path_files(folder))
    return _of(trees, (*lines, *_finders()), sys.prefix)


def _editable_in(environment: str, trees: tuple[str, ...]) -> tuple[str, ...]:
    """As `_editable`, for another environment, with its site-packages as they are now."""
    found: list[str] = []
    for folder in sorted(Path(environment).glob("lib/python3*/site-packages")):
        found += _path_files(str(folder))
        for file in sorted(folder.glob(f"{_FINDER}*_finder.py")):
            found += map(os.path.dirname, _mapping(file).values())
    return _of(trees, found, environment)


def _will_be(project: str) -> Iterator[str]:
    """The folder that an environment will lead to when a manager has made it for a project: ``src`` or the project."""
    with contextlib.suppress(OSError):
        text = Path(project, "pyproject.toml").read_text(encoding="utf-8", errors="replace")
        if "[build-system]" in text:  # else managers do not install the project
            src = os.path.join(project, "src")
            yield src if os.path.isdir(src) else project


def _of(trees: tuple[str, ...], paths: Iterable[str], environment: str) -> tuple[str, ...]:
    tops = set(trees)
    real = (os.path.realpath(path) for path in paths)
    return tuple(dict.fromkeys(path for path in real if is_under(path, tops) and not is_under(path, {environment})))


def _path_files(folder: str) -> Iterator[str]:
    """Lines of the .pth files in site-packages that name folders (see the ``site`` module)."""
    for file in sorted(Path(folder).glob("*.pth")):
        with contextlib.suppress(OSError):
            lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
            yield from (line for line in lines if os.path.isabs(line) and os.path.isdir(line))


def _finders() -> Iterator[str]:
    """Parents of the packages that setuptools' import hooks map (``__editable___<name>_finder.MAPPING``)."""
    for name, module in sys.modules.copy().items():  # atomic: another thread imports Ray meanwhile
        if name.startswith(_FINDER):
            yield from (os.path.dirname(path) for path in getattr(module, "MAPPING", {}).values())


def _mapping(file: Path) -> Mapping[str, str]:
    """Read the mapping of an import hook of setuptools without running the hook."""
    with contextlib.suppress(OSError, ValueError, SyntaxError):
        found = _MAPPING.search(file.read_text(encoding="utf-8"))
        mapping = ast.literal_eval(found[1]) if found else {}
        return {str(name): str(path) for name, path in mapping.items()}
    return {}
