"""A task and its result as JSON, kept in a remote until the driver, or the next run, has taken them.

Not pickled: who may write to a remote need not be one who may run code here. And signed (HMAC-SHA256) with a key that
only the driver of the run and its workers know: what somebody else has put there is no result.
"""

from __future__ import annotations

import base64
import hmac
import json
from collections.abc import Iterator
from dataclasses import asdict, fields, replace
from typing import Any, Final

from dvc_ray.values.git import GitTemplates
from dvc_ray.values.stage import StageState
from dvc_ray.values.task import Changed, Elsewhere, Pack, PackedFile, StageResult, StageTask
from dvc_ray.workspace.gate import is_inside

_VERSION: Final = 2
LARGEST: Final = 1 << 30
"""Bytes of one: what is larger was not written by us, as large files are kept beside it."""


def write(task: StageTask, result: StageResult, key: str) -> bytes:
    """Write both down, without what nobody needs any more.

    That may be secret, as the environment and the remotes' options are, or thousands of paths.

    Args:
        task: The task.
        result: The result.
        key: Of the run (`Elsewhere.signing_key`).
    """
    bare = replace(task, env=(), code=(), elsewhere=None, git=GitTemplates())
    text = {"version": _VERSION, "task": asdict(bare), "result": asdict(result)}
    body = json.dumps(text, default=_as_text).encode()
    return _signature(body, key) + b"\n" + body


def read(data: bytes, key: str) -> tuple[StageTask, StageResult] | None:
    """Read both; None for what is not signed with a key, of another version, or names a file outside of the project.

    The paths of places in the task and the result are those of whoever wrote it, and are to be replaced.
    """
    signature, _, body = data.partition(b"\n")
    if not key or not hmac.compare_digest(signature, _signature(body, key)):
        return None
    try:
        found = json.loads(body)
        if found["version"] != _VERSION:
            return None
        task, result = _task(found["task"]), _result(found["result"])
        return (task, result) if all(map(is_inside, _paths(task, result))) else None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def _signature(body: bytes, key: str) -> bytes:
    return hmac.new(key.encode(), body, "sha256").hexdigest().encode()


def _paths(task: StageTask, result: StageResult) -> Iterator[str]:
    """All that is written to or removed for a result."""
    yield from (*task.outs, *result.deleted, *result.created, *result.replaced, *result.stale, *result.git_added)
    yield from (changed.path for changed in result.changed)
    yield from (path for pair in result.moved for path in pair if path)
    yield from (file.path for file in (result.parcel.files if result.parcel else ()))


def _as_text(value: object) -> str:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, StageState):
        return value.value
    raise TypeError(value)


def _task(found: dict[str, Any]) -> StageTask:
    known = {name: _tuple(value) for name, value in found.items() if name in _names(StageTask)}
    return StageTask(**{**known, "elsewhere": Elsewhere(remotes=(), deps=()), "git": GitTemplates()})


def _result(found: dict[str, Any]) -> StageResult:
    known = {name: _tuple(value) for name, value in found.items() if name in _names(StageResult)}
    parcel = found.get("parcel")
    return StageResult(
        **{
            **known,
            "state": StageState(found["state"]),
            "changed": tuple(Changed(path=each["path"], base=tuple(each["base"])) for each in found["changed"]),
            "parcel": _pack(parcel) if parcel else None,
        }
    )


def _pack(found: dict[str, Any]) -> Pack:
    files = (PackedFile(**{**each, "data": base64.b64decode(each["data"])}) for each in found["files"])
    return Pack(id=found["id"], files=tuple(files))


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _names(kind: Any) -> set[str]:
    return {field.name for field in fields(kind)}
