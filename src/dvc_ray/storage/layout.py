"""Where DVC has things, in a cache as in a remote."""

from __future__ import annotations

from typing import Final

OBJECTS: Final = "files/md5"
"""Folder of the objects (``dvc.cachemgr.CacheManager.FILES_DIR``, 3.67.1)."""


def object_key(md5: str) -> str:
    """The key of an object, or its path in a cache (``dvc_objects.db.ObjectDB.oid_to_path``, 5.2).

    Args:
        md5: Of its content; of a directory's list of files with the ending ``.dir``.
    """
    return f"{OBJECTS}/{md5[:2]}/{md5[2:]}"
