"""Tests whether a store works, before any work is spent."""

from __future__ import annotations

import contextlib
import socket
import threading
import uuid
from collections.abc import Callable
from concurrent.futures import Future
from typing import Final, TypeVar

from dvc_ray.errors import DeniedError, ObjectMissingError, StorageError, UnreachableError
from dvc_ray.storage.base import Objects

FOLDER: Final = ".dvc-ray"
"""Folder of dvc-ray's own objects in a remote; DVC's are under `files/` and `runs/`."""

_Found = TypeVar("_Found")
WITHIN: Final = 20.0
"""Seconds in which a store must answer. Some clients retry for minutes (gcsfs, adlfs), or wait (s3fs)."""


def probe(store: Objects, *, write: bool = True, within: float = WITHIN) -> None:
    """Write, read and remove an object.

    Args:
        store: The store.
        write: False: only ask whether an object exists.
        within: Seconds that the whole probe may take.

    Raises:
        StorageError: One of these fails, or the probe takes longer.
    """
    try:
        bounded(lambda: _probe(store, write=write), within)
    except TimeoutError as error:
        raise UnreachableError(
            f"remote {store.url}, seen from {socket.gethostname()}: its server does not answer within {within:g} s",
            "Check its address (`dvc remote list`), and that it can be reached from there: firewall, VPN, proxy.",
        ) from error


def bounded(act: Callable[[], _Found], within: float) -> _Found:
    """Call a function that may never return.

    Raises:
        TimeoutError: It does not return within these seconds.
        Exception: What the function raises.
    """
    end: Future[_Found] = Future()

    def run() -> None:
        try:
            end.set_result(act())
        except BaseException as error:  # noqa: BLE001  raised below, in the caller's thread
            end.set_exception(error)

    threading.Thread(target=run, name="dvc-ray-probe", daemon=True).start()  # if it hangs, only this thread does
    return end.result(within)


def _probe(store: Objects, *, write: bool) -> None:
    if not write:
        store.size(f"{FOLDER}/probe")
        return
    key, data = f"{FOLDER}/probe/{uuid.uuid4().hex}", b"dvc-ray"
    try:
        store.write(key, data)
    except ObjectMissingError as error:  # gcsfs, for a bucket that is missing
        raise StorageError(
            f"remote {store.url}, seen from {socket.gethostname()}: its bucket does not exist",
            "Make the bucket, or correct the URL: dvc remote modify NAME url URL",
        ) from error
    found = b"".join(store.chunks(key))
    with contextlib.suppress(DeniedError):  # DVC does not need this permission; the object then stays
        store.delete(key)
    if found != data:
        raise StorageError(
            f"remote {store.url}: an object that was just written reads differently",
            "Check whether its server, or a proxy in front of it, changes what it stores.",
        )
