"""Refuses files that DVC would read forever, when DVC opens them (3.67.1)."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from dvc_ray.errors import ProjectError

_MOST: Final = 1_000_000
"""Most values of a YAML file whose aliases are expanded; DVC takes minutes to read as many without aliases."""
_OF_GIT: Final = ("HEAD", "config", "index", "packed-refs", "shallow", "info/exclude", "info/attributes", "FETCH_HEAD")
_KINDS: Final = {
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


@contextlib.contextmanager
def guarded() -> Iterator[None]:
    """Refuse, while the block runs, files that DVC would read forever.

    Raises:
        ProjectError: In the block, when DVC is about to read such a file.
    """
    with _regular_files_only(), _bounded_yaml():
        yield


def check_git(start: str) -> None:
    """Refuse a Git repository some of whose files cannot be read to their end: Git itself would wait forever.

    Args:
        start: A directory in its work tree.

    Raises:
        ProjectError: One of Git's files is a FIFO, a socket or a device.
    """
    top = Path(start).absolute()
    tree = next((folder for folder in (top, *top.parents) if (folder / ".git").is_dir()), None)
    if tree is None:
        return
    for name in _OF_GIT:
        if kind := irregular(path := os.path.join(tree, ".git", name)):
            raise ProjectError(f"'{os.path.relpath(path)}' is {kind}, not a file", "Replace it with a regular file.")


def irregular(path: str) -> str:
    """Name the kind of a file that can never be read to its end, such as "a FIFO"; empty for any other file.

    Links are followed; `os.devnull` counts as an empty file.
    """
    try:
        found = os.stat(path)
    except (OSError, ValueError):  # reading the file will raise the error
        return ""
    kind = _KINDS.get(stat.S_IFMT(found.st_mode), "")
    return "" if kind and os.path.samestat(found, os.stat(os.devnull)) else kind


@contextlib.contextmanager
def _regular_files_only() -> Iterator[None]:
    """Check every file of a project that DVC reads: dvc.yaml and the like, params, and files that DVC hashes."""
    from dulwich.ignore import IgnoreFilterManager
    from dvc_objects.fs.local import FsspecLocalFileSystem

    filters: Any = IgnoreFilterManager
    original, load = FsspecLocalFileSystem.open, filters._load_path

    def opened(fs: Any, path: Any, mode: str = "r", **options: Any) -> Any:
        if mode.startswith("r") and isinstance(path, str) and (kind := irregular(path)):
            raise ProjectError(f"'{os.path.relpath(path)}' is {kind}, not a file", "Replace it with a regular file.")
        return original(fs, path, mode, **options)

    def ignored(manager: Any, path: str) -> Any:  # DVC has dulwich read each .gitignore (1.2)
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
    """Refuse aliases of aliases of aliases, by which a small file may have more values than any program can visit."""
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
    """Count the values in a value; a shared value counts once for each place where it stands."""
    inner = list(value.values()) if isinstance(value, dict) else value
    if not isinstance(inner, (list, tuple)):
        return 1
    if id(value) not in known:
        known[id(value)] = 1  # in case the value contains itself
        known[id(value)] = 1 + sum(_expanded(each, known) for each in inner)
    return known[id(value)]
