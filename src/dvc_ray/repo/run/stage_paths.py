"""The paths that a stage declares, relative to the tree."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from typing import Any

from dvc_ray.errors import ConfigError
from dvc_ray.settings.meta_ray import parse


def inside(root: str, paths: Iterable[str]) -> tuple[str, ...]:
    """Those of some paths, and of their targets by way of links, that lie in a tree; relative to it, each once."""
    named = list(paths)
    real = set(map(os.path.realpath, named)) - {*named}
    return tuple(dict.fromkeys((*relative(root, named), *relative(os.path.realpath(root), sorted(real)))))


def touched(stage: Any) -> Iterator[str]:
    """All paths that a stage declares to read or to write."""
    yield from (item.fs_path for item in (*stage.deps, *stage.outs) if item.protocol == "local")
    section = (stage.meta or {}).get("ray") if isinstance(stage.meta, dict) else None
    if section:
        include: tuple[str, ...] = ()
        with contextlib.suppress(ConfigError):  # reported for stages that are to run
            include = parse(stage.addressing, stage.meta).include
        yield from (os.path.normpath(os.path.join(stage.wdir, path)) for path in include)


def concerns(root: str, stage: Any) -> Iterator[str]:
    """The paths that decide whether a stage runs: outs, and deps unless it is frozen; relative to the tree."""
    items = stage.outs if stage.frozen else [*stage.deps, *stage.outs]
    paths = [item.fs_path for item in items if item.fs_path and os.path.isabs(item.fs_path)]
    yield from relative(root, {*paths, *map(os.path.realpath, paths)})


def relative(root: str, paths: Iterable[str]) -> Iterator[str]:
    """Those of some paths that lie in the tree, relative to it; a path outside is used where it is, without a link."""
    yield from (os.path.relpath(path, root) for path in paths if not is_outside(root, path))


def is_outside(root: str, path: str) -> bool:
    """Whether a path does not lie in a tree."""
    part = os.path.relpath(path, root)
    return part == os.pardir or part.startswith(os.pardir + os.sep)


def resolved(root: str, paths: Iterable[str]) -> Iterator[str]:
    """As `relative`, with the targets of paths that are, or lead through, links within the tree."""
    for path in paths:
        real = os.path.realpath(path)
        if real == os.path.normpath(path) or os.path.islink(path):
            yield from relative(root, [path])
        # An absolute link leads to its target from anywhere: into the cache, with cache.type symlink.
        needless = os.path.islink(path) and os.path.isabs(os.readlink(path))
        if real != os.path.normpath(path) and not needless:
            yield from relative(os.path.realpath(root), [real])
