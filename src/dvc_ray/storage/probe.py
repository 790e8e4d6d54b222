"""Whether a store works, found out before work is spent."""

from __future__ import annotations

import uuid
from typing import Final

from dvc_ray.errors import StorageError
from dvc_ray.storage.base import Objects

FOLDER: Final = ".dvc-ray"
"""Folder of a remote with dvc-ray's own objects; DVC's are under `files/` and `runs/`."""


def probe(store: Objects, *, write: bool = True) -> None:
    """Write, read and remove an object.

    Args:
        store: The store.
        write: False: only ask for one.

    Raises:
        StorageError: One of these fails.
    """
    if not write:
        store.size(f"{FOLDER}/probe")
        return
    key, data = f"{FOLDER}/probe/{uuid.uuid4().hex}", b"dvc-ray"
    store.write(key, data)
    found = b"".join(store.chunks(key))
    store.delete(key)
    if found != data:
        raise StorageError(
            f"remote {store.url}: an object that was just written reads differently.",
            "See whether its server or a proxy before it changes what it stores.",
        )
