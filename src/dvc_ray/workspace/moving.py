"""Replacing a file or folder by another, so that one of them, complete, is always there."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator

from dvc_ray.paths import open_up, remove, remove_tree


def move(source: str, target: str) -> None:
    """Put a file or directory in place of another; atomic for a file.

    A folder that a command has made read-only stays read-only. What is replaced is removed when the other is in its
    place.

    Raises:
        OSError: It cannot be put there; what was there is still there.
    """
    if not os.path.islink(source) and os.path.exists(target) and os.path.samefile(source, target):
        return
    aside = _put_aside(source, target) if _is_folder(target) else ""
    try:
        _put(source, target)
    except BaseException:
        if aside:
            os.rename(aside, target)
        raise
    if aside:
        remove_tree(aside)


def _put_aside(source: str, target: str) -> str:
    """Give a folder another name: beside its replacement or, if that is on another file system, beside itself."""
    for aside in (f"{source}.replaced", _beside(target, "old")):
        with contextlib.suppress(OSError):
            os.rename(target, aside)
            return aside
    raise PermissionError(f"'{target}' cannot be replaced")


def _put(source: str, target: str) -> None:
    os.makedirs(os.path.dirname(target), exist_ok=True)
    try:
        os.replace(source, target)
    except PermissionError:
        with _opened(source) as mode:
            try:
                os.replace(source, target)
            except OSError:
                _put_copy(source, target)
        if mode is not None:
            os.chmod(target, mode)
    except OSError:
        _put_copy(source, target)


def _put_copy(source: str, target: str) -> None:
    """Put a copy, across file systems, in place of a file or of nothing, atomically."""
    fresh = _beside(target, "new")
    try:
        if _is_folder(source):
            shutil.copytree(source, fresh, symlinks=True)
            if os.path.lexists(target):
                os.unlink(target)
        else:
            shutil.copy2(source, fresh, follow_symlinks=False)
        os.replace(fresh, target)
    except BaseException:
        remove(fresh)
        raise
    with contextlib.suppress(OSError):
        remove(source)


def _beside(path: str, what: str) -> str:
    return os.path.join(os.path.dirname(path), f".{os.path.basename(path)}.dvc-ray.{what}.{os.getpid()}")


@contextlib.contextmanager
def _opened(source: str) -> Iterator[int | None]:
    """Let a folder be moved, for which it and its parent must be writable; yields the mode that it had."""
    modes: dict[str, int] = {}
    try:
        for folder in (os.path.dirname(source), source):
            if _is_folder(folder) and (mode := open_up(folder)) is not None:
                modes[folder] = mode
        yield modes.get(source)
    finally:
        for folder, mode in modes.items():
            if os.path.lexists(folder):
                os.chmod(folder, mode)


def _is_folder(path: str) -> bool:
    return os.path.isdir(path) and not os.path.islink(path)
