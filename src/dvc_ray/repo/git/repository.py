"""A Git repository, read from its files: programs that its owner has configured are never run."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dvc_ray.repo.git import tree_files

UNKNOWN: Final = b"?\n"
"""Stands after the object of a ref if the object may or may not be a tag."""


@dataclass(frozen=True, slots=True)
class Repository:
    """Where a repository's files are."""

    tree: str
    own: str
    """Its folder for this work tree."""
    common: str
    """Its folder for all work trees; mostly the same folder."""


def open_at(tree: str, path: str) -> Repository | None:
    """Find the repository of a work tree; None if its state cannot be copied."""
    root = os.path.join(tree, path)
    own = tree_files.git_dir(root)
    return Repository(os.path.realpath(root), own, tree_files.common_dir(own)) if own is not None else None


def stores_of(store: str) -> Iterator[str]:
    """An object store and all its alternates: by itself, Git follows relative paths no further than once."""
    seen: dict[str, None] = {}
    waiting = [store]
    while waiting:
        store = os.path.realpath(waiting.pop(0))
        if "\n" in store or store.startswith(('"', "#")):
            raise ValueError(store)  # such a path would have to be quoted
        if store not in seen and os.path.isdir(store):
            seen[store] = None
            lines = os.fsdecode(read(store, "info/alternates")).splitlines()
            waiting += [os.path.join(store, line) for line in lines if line and line[0] != "#"]
    yield from seen


def read(folder: str, name: str) -> bytes:
    """Read a file; empty if there is none."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        return Path(folder, name).read_bytes()
    return b""


def write(folder: str, name: str, text: bytes) -> None:
    """Write a file, and make its folder."""
    path = os.path.join(folder, name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(text)
