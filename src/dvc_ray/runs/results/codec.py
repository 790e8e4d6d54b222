"""A task and its result as JSON, and as signed JSON where others may write to the store.

Pickles are not used: a user who may write to a store need not be allowed to run code here. In a remote, the text is
signed (HMAC-SHA256) with a key that only the driver of the run and its workers know, so that what somebody else has
put there is not taken for a result.
"""

from __future__ import annotations

import base64
import contextlib
import hmac
import json
from collections.abc import Iterator
from dataclasses import asdict, fields
from typing import Any, Final

import yaml

from dvc_ray.values.stage import StageState
from dvc_ray.values.task import BundledFile, Changed, FileBundle, RemoteData, SharedData, StageResult, StageTask
from dvc_ray.workspace.gate import is_inside

VERSION: Final = 3
_READABLE: Final = {2, VERSION}
"""Version 2 had no ``data`` and all of a task's fields."""
_TEXTS: Final = (
    "run_id",
    "address",
    "name",
    "dvcfile",
    "tree",
    "home",
    "project",
    "cwd",
    "workspace",
    "kept",
    "prefix",
)
_PATHS: Final = ("links", "deps", "copies", "outs")
_FLAGS: Final = ("temporary", "commit", "allow_missing")
_MAPPINGS: Final = ("definition", "legacy")
"""Content of dvc.yaml and dvc.lock: any YAML value, which JSON may not be able to hold."""


def encode(task: StageTask, result: StageResult) -> bytes:
    """Write both as JSON, without the fields that nobody needs any more.

    Those may be secret, as the environment and the options of remotes are, or hold thousands of paths.
    """
    known = {name: getattr(task, name) for name in (*_TEXTS, *_PATHS, *_FLAGS, "attempt")}
    known |= {name: _lossless(getattr(task, name)) for name in _MAPPINGS}
    known["data"] = {"bring": task.data.bring} if isinstance(task.data, RemoteData) else None
    found = asdict(result)
    found["entry"] = _lossless(result.entry)
    return json.dumps({"version": VERSION, "task": known, "result": found}, default=_as_text).encode()


def decode(body: bytes) -> tuple[StageTask, StageResult] | None:
    """Read both; None if the text is not a result, has an unknown version, or names a file outside of the project.

    Absolute paths in the task and the result are those of the machine that wrote them: the caller replaces them.
    """
    try:
        found = json.loads(body)
        if found["version"] not in _READABLE:
            return None
        task, result = _task(found["task"]), _result(found["result"])
        return (task, result) if all(map(is_inside, _paths(task, result))) else None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, yaml.YAMLError):
        return None


def sign(body: bytes, key: str) -> bytes:
    """Put a signature before a text.

    Args:
        body: The text.
        key: Key of the run (`RemoteData.signing_key`).
    """
    return _signature(body, key) + b"\n" + body


def signed(data: bytes, key: str) -> bytes | None:
    """Return the text that was signed; None: it was not signed, or not with this key."""
    signature, _, body = data.partition(b"\n")
    return body if key and hmac.compare_digest(signature, _signature(body, key)) else None


def _signature(body: bytes, key: str) -> bytes:
    return hmac.new(key.encode(), body, "sha256").hexdigest().encode()


def _paths(task: StageTask, result: StageResult) -> Iterator[str]:
    """List all paths that are written or removed when a result is installed."""
    yield from (*task.outs, *result.deleted, *result.created, *result.replaced, *result.stale, *result.git_added)
    yield from (changed.path for changed in result.changed)
    yield from (path for pair in result.moved for path in pair if path)
    yield from (file.path for file in (result.returned_files.files if result.returned_files else ()))


def _lossless(value: Any) -> Any:
    """Return a value that JSON preserves as it is, any other as YAML: a key may be a number, a param a date or NaN."""
    with contextlib.suppress(TypeError, ValueError):
        if json.loads(json.dumps(value)) == value and not _is_yaml(value):
            return value
    return {"yaml": yaml.safe_dump(value)}


def _restored(value: Any) -> Any:
    return yaml.safe_load(value["yaml"]) if _is_yaml(value) else value


def _is_yaml(value: Any) -> bool:
    return isinstance(value, dict) and value.keys() == {"yaml"} and isinstance(value["yaml"], str)


def _as_text(value: object) -> str:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, StageState):
        return value.value
    raise TypeError(value)


def _task(found: dict[str, Any]) -> StageTask:
    known: dict[str, Any] = {name: _text(found[name]) for name in _TEXTS}
    known |= {name: _texts(found[name]) for name in _PATHS}
    known |= {name: bool(found[name]) for name in _FLAGS}
    known |= {name: dict(_restored(found[name])) for name in _MAPPINGS}
    remote = found.get("data", {})  # results of version 2 are all from a remote
    bring = () if remote is None else _texts(remote.get("bring", ()))
    data = SharedData() if remote is None else RemoteData(remotes=(), deps=(), bring=bring)
    return StageTask(**known, attempt=int(found["attempt"]), data=data, code=(), config={}, env=(), log="", grace=0)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(value)
    return value


def _texts(value: Any) -> tuple[str, ...]:
    return tuple(map(_text, value))


def _result(found: dict[str, Any]) -> StageResult:
    names = {field.name for field in fields(StageResult)}
    known = {name: tuple(value) if isinstance(value, list) else value for name, value in found.items() if name in names}
    returned = found.get("returned_files", found.get("parcel"))  # its name in version 2
    return StageResult(
        **{
            **known,
            "entry": _restored(found.get("entry")),
            "state": StageState(found["state"]),
            "changed": tuple(Changed(path=each["path"], base=tuple(each["base"])) for each in found["changed"]),
            "hashes": tuple((_text(one), _text(other)) for one, other in found.get("hashes", ())),
            "moved": tuple((_text(one), _text(other)) for one, other in found.get("moved", ())),
            "returned_files": _bundle(returned) if returned else None,
        }
    )


def _bundle(found: dict[str, Any]) -> FileBundle:
    files = (BundledFile(**{**each, "data": base64.b64decode(each["data"])}) for each in found["files"])
    return FileBundle(id=found["id"], files=tuple(files))
