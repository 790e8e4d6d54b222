"""Where what a stage declares lies, relative to the tree."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from dvc_ray.errors import ConfigError
from dvc_ray.settings.meta_ray import parse

if TYPE_CHECKING:
    pass


def inside(root: str, paths: Iterable[str]) -> tuple[str, ...]:
    """Paths in a tree, relative to it, each once; those outside are left out. Also what they are by way of links."""
    named = list(paths)
    real = set(map(os.path.realpath, named)) - {*named}
    return tuple(dict.fromkeys((*relative(root, named), *relative(os.path.realpath(root), sorted(real)))))


def touched(stage: Any) -> Iterator[str]:
    """What a stage reads or writes, declared in any way."""
    yield from (item.fs_path for item in (*stage.deps, *stage.outs) if item.protocol == "local")
    section = (stage.meta or {}).get("ray") if isinstance(stage.meta, dict) else None
    if section:
        include: tuple[str, ...] = ()
        with contextlib.suppress(ConfigError):  # it is told of stages that are to run
            include = parse(stage.addressing, stage.meta).include
        yield from (os.path.normpath(os.path.join(stage.wdir, path)) for path in include)


def concerns(root: str, stage: Any) -> Iterator[str]:
    """What decides whether a stage runs: its outs, and its deps unless it is frozen; relative to the tree."""
    items = stage.outs if stage.frozen else [*stage.deps, *stage.outs]
    paths = [item.fs_path for item in items if item.fs_path and os.path.isabs(item.fs_path)]
    yield from relative(root, {*paths, *map(os.path.realpath, paths)})


def relative(root: str, paths: Iterable[str]) -> Iterator[str]:
    """Paths relative to the tree; what lies outside is reached where it is and needs no link."""
    yield from (os.path.relpath(path, root) for path in paths if not is_outside(root, path))


def is_outside(root: str, path: str) -> bool:
    """Whether a path does not lie in a tree."""
    part = os.path.relpath(path, root)
    return part == os.pardir or part.startswith(os.pardir + os.sep)


def resolved(root: str, paths: Iterable[str]) -> Iterator[str]:
    """As `relative`; of a path that is or goes through a link within the tree, what it leads to as well."""
    for path in paths:
        real = os.path.realpath(path)
        if real == os.path.normpath(path) or os.path.islink(path):
            yield from relative(root, [path])
        # An absolute link leads there from anywhere: into the cache, with cache.type symlink.
        needless = os.path.islink(path) and os.path.isabs(os.readlink(path))
        if real != os.path.normpath(path) and not needless:
            yield from relative(os.path.realpath(root), [real])
