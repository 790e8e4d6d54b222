"""What DVC would not come to an end with, refused when it comes to read it (3.67.1)."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from dvc_ray.errors import ProjectError

_MOST: Final = 1_000_000
"""Values that a file may have once its aliases are replaced; DVC takes minutes for as many without any."""
_OF_GIT: Final = ("HEAD", "config", "index", "packed-refs", "shallow", "info/exclude", "info/attributes", "FETCH_HEAD")
_KINDS: Final = {
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


@contextlib.contextmanager
def guarded() -> Iterator[None]:
    """Refuse, while the block runs, what DVC would read for ever.

    Raises:
        ProjectError: In the block: it is about to read that.
    """
    with _regular_files_only(), _bounded_yaml():
        yield


def check_git(start: str) -> None:
    """Refuse a Git repository whose files nobody could read to their end: Git itself waits for ever.

    Args:
        start: A directory in its work tree.

    Raises:
        ProjectError: One of them is a FIFO, or the like.
    """
    top = Path(start).absolute()
    tree = next((folder for folder in (top, *top.parents) if (folder / ".git").is_dir()), None)
    if tree is None:
        return
    for name in _OF_GIT:
        if kind := irregular(path := os.path.join(tree, ".git", name)):
            raise ProjectError(f"'{os.path.relpath(path)}' is {kind}, not a file", "Replace it with a regular file.")


def irregular(path: str) -> str:
    """What a path is, if reading it may never end or cannot begin: "a FIFO"; else empty.

    A link is what it leads to; `os.devnull` is an empty file.
    """
    try:
        found = os.stat(path)
    except (OSError, ValueError):  # whoever reads it will say so
        return ""
    kind = _KINDS.get(stat.S_IFMT(found.st_mode), "")
    return "" if kind and os.path.samestat(found, os.stat(os.devnull)) else kind


@contextlib.contextmanager
def _regular_files_only() -> Iterator[None]:
    """All that DVC reads of a project passes here: dvc.yaml and its like, params, what it hashes."""
    from dulwich.ignore import IgnoreFilterManager
    from dvc_objects.fs.local import FsspecLocalFileSystem

    filters: Any = IgnoreFilterManager
    original, load = FsspecLocalFileSystem.open, filters._load_path

    def opened(fs: Any, path: Any, mode: str = "r", **options: Any) -> Any:
        if mode.startswith("r") and isinstance(path, str) and (kind := irregular(path)):
            raise ProjectError(f"'{os.path.relpath(path)}' is {kind}, not a file", "Replace it with a regular file.")
        return original(fs, path, mode, **options)

    def ignored(manager: Any, path: str) -> Any:  # for DVC, dulwich reads each .gitignore (1.2)
        file = os.path.join(os.fsdecode(manager._top_path), path, ".gitignore")
        if kind := "a folder" if os.path.isdir(file) else irregular(file):
            raise ProjectError(f"'{os.path.relpath(file)}' is {kind}, not a file", "Replace it with a regular file.")
        return load(manager, path)

    FsspecLocalFileSystem.open = opened
    filters._load_path = ignored
    try:
        yield
    finally:
        FsspecLocalFileSystem.open = original
        filters._load_path = load


@contextlib.contextmanager
def _bounded_yaml() -> Iterator[None]:
    """Aliases of aliases of aliases: a small file may stand for more than anybody can walk through."""
    from dvc.utils import strictyaml
    from dvc.utils.serialize import _yaml

    original = _yaml.parse_yaml

    def parse(text: str, path: str, *arguments: Any, **options: Any) -> Any:
        data = original(text, path, *arguments, **options)
        if "*" in text and _expanded(data, {}) > _MOST:
            raise ProjectError(
                f"'{os.path.relpath(path)}': its aliases (*) stand for more than {_MOST:,} values",
                "Write out what is meant, without aliases of aliases.",
            )
        return data

    before = strictyaml.parse_yaml, _yaml.parse_yaml
    strictyaml.parse_yaml = _yaml.parse_yaml = parse
    try:
        yield
    finally:
        strictyaml.parse_yaml, _yaml.parse_yaml = before


def _expanded(value: object, known: dict[int, int]) -> int:
    """How many values there are in one, those that it shares counted wherever they stand."""
    inner = list(value.values()) if isinstance(value, dict) else value
    if not isinstance(inner, (list, tuple)):
        return 1
    if id(value) not in known:
        known[id(value)] = 1  # of what it is in itself
        known[id(value)] = 1 + sum(_expanded(each, known) for each in inner)
    return known[id(value)]
