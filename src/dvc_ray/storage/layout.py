"""DVC's layout of objects, the same in a cache and in a remote."""

from __future__ import annotations

from typing import Final

OBJECTS: Final = "files/md5"
"""Folder of the objects (``dvc.cachemgr.CacheManager.FILES_DIR``, 3.67.1)."""


def object_key(md5: str) -> str:
    """Return the key of an object, or its path in a cache (``dvc_objects.db.ObjectDB.oid_to_path``, 5.2).

    Args:
        md5: MD5 of its content; for a directory, that of its list of files, with the suffix ``.dir``.
    """
    return f"{OBJECTS}/{md5[:2]}/{md5[2:]}"
