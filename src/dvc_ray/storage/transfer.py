"""Moves many objects at a time, many small ones but few large ones in parallel, so that memory stays bounded."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Final

from dvc_ray.errors import CorruptObjectError
from dvc_ray.files import replacing
from dvc_ray.storage.base import Objects

_SMALL_AT_A_TIME: Final = 16
_LARGE_AT_A_TIME: Final = 2
"""Each is transferred in parallel parts already."""
_LARGE: Final = 8 << 20
_WORTH_ASKING: Final = 256 << 10
"""Bytes from which asking whether an object exists costs less than sending it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """An object and its file."""

    key: str
    path: str
    """Absolute."""
    size: int | None = None
    """Bytes; None: unknown until it is downloaded."""
    md5: str | None = None
    """MD5 that a download must have; None: it is not checked."""


def upload(store: Objects, items: Sequence[Item], *, ask: bool = True) -> None:
    """Store files under keys that follow from their content: an object that exists is not sent again.

    Args:
        store: The target.
        items: What to upload; when this returns without an error, all are in the store.
        ask: Whether some may exist already; False if the store has just said that none does.

    Raises:
        StorageError: The store cannot be reached, or refuses.
        OSError: A file cannot be read.
    """

    def move(item: Item) -> None:
        size = os.stat(item.path).st_size if item.size is None else item.size
        if not ask or size < _WORTH_ASKING or store.size(item.key) != size:
            store.put(item.key, item.path, size)

    _move_all(items, move)


def lacking(store: Objects, items: Sequence[Item]) -> list[Item]:
    """Return the objects that a store does not have.

    Raises:
        StorageError: The store cannot be asked.
    """
    with ThreadPoolExecutor(_SMALL_AT_A_TIME, thread_name_prefix="dvc-ray-ask") as pool:
        sizes = pool.map(lambda item: store.size(item.key), items)
        return [item for item, size in zip(items, sizes, strict=True) if size is None or size != item.size]


def download(store: Objects, items: Sequence[Item]) -> None:
    """Download objects to read-only files, which appear when they are complete and have been checked.

    Args:
        store: The source.
        items: What to download; when this returns without an error, all files exist.

    Raises:
        ObjectMissingError: An object does not exist.
        CorruptObjectError: The content of an object does not match its name.
        StorageError: The store cannot be reached, or refuses.
        OSError: A file cannot be written.
    """

    def move(item: Item) -> None:
        os.makedirs(os.path.dirname(item.path), exist_ok=True)
        with replacing(item.path) as temporary:
            _fetch(store, item, temporary)
            os.chmod(temporary, 0o444)

    _move_all(items, move)


def _fetch(store: Objects, item: Item, path: str) -> None:
    """Write an object to a file and check it."""
    digest, size = hashlib.md5(usedforsecurity=False), 0
    for chunk in store.bring(item.key, path, item.size):
        digest.update(chunk)
        size += len(chunk)
    found = digest.hexdigest()
    if item.md5 is not None and found != item.md5:
        raise CorruptObjectError(
            f"remote {store.url}: object '{item.key}' ({size} bytes) has MD5 {found}, not that of its name",
            "It is damaged: remove it from the remote, and push it again from a machine that has the data.",
        )


def _move_all(items: Sequence[Item], move: Callable[[Item], None]) -> None:
    large = [item for item in items if (item.size or 0) > _LARGE]
    small = [item for item in items if (item.size or 0) <= _LARGE]
    failed = threading.Event()

    def guarded(item: Item) -> None:
        if not failed.is_set():
            try:
                move(item)
            except BaseException:
                failed.set()
                raise

    with (
        ThreadPoolExecutor(_SMALL_AT_A_TIME, thread_name_prefix="dvc-ray-small") as many,
        ThreadPoolExecutor(_LARGE_AT_A_TIME, thread_name_prefix="dvc-ray-large") as few,
    ):
        futures = [few.submit(guarded, item) for item in large] + [many.submit(guarded, item) for item in small]
        try:
            wait(futures, return_when=FIRST_EXCEPTION)
        except BaseException:  # Ctrl-C: start no more transfers
            failed.set()
            raise
    _raise_first(future.exception() for future in futures)


def _raise_first(errors: Iterable[BaseException | None]) -> None:
    for error in errors:
        if error is not None:
            raise error
