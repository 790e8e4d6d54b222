"""The key-value store of the GCS: small values that every process of a cluster sees, kept as long as its head lives.

``ray.experimental.internal_kv``, the same in 2.54.0 and 2.60.0. Ray has no public API by which one driver passes values
to others. Without it, `dvc-ray job` sees no runs, workers of a stage on other nodes do not find the stage, and more
than one of Ray Tune's trials with random ids logs.

All functions need a process that has joined a Ray, and raise what Ray raises if the GCS does not answer.
"""

from __future__ import annotations


def put(key: str, value: str, *, overwrite: bool = True) -> None:
    """Write a value.

    Args:
        key: Its name in the cluster.
        value: What to write.
        overwrite: Whether to replace an existing value. The GCS decides, so that exactly one of several writers is
            first.
    """
    from ray.experimental.internal_kv import _internal_kv_put

    _internal_kv_put(key.encode(), value.encode(), overwrite=overwrite)


def get(key: str) -> str | None:
    """Read a value; None if there is none."""
    from ray.experimental.internal_kv import _internal_kv_get

    found = _internal_kv_get(key.encode())
    return None if found is None else str(found, "utf-8")


def keys(prefix: str) -> list[str]:
    """List the keys that begin with a prefix, in no order."""
    from ray.experimental.internal_kv import _internal_kv_list

    return [key.decode() for key in _internal_kv_list(prefix.encode())]


def delete(key: str) -> None:
    """Delete a value, if it is there."""
    from ray.experimental.internal_kv import _internal_kv_del

    _internal_kv_del(key.encode())
