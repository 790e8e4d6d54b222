"""The events of a run, kept in its directory: ``events.jsonl``, one object of `dvc_ray.values.wire` a line.

The output of commands is not in it, but in their logs, which the events name.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from dvc_ray.errors import IN_CAUSE, DvcRayError, RunInterruptedError
from dvc_ray.events.stream import Stream
from dvc_ray.redact import Mask, public
from dvc_ray.values import wire
from dvc_ray.values.report import Notice, Output, Record, RunError, RunResult, Saved, StageReport
from dvc_ray.values.stage import StageState

LIMIT: Final = 16 << 20
"""Largest size of the file in bytes."""
_FOR_STATES: Final = 1 << 20
"""Bytes at the end of the file that only the states of stages and the end of the run may use."""
_FOR_THE_END: Final = 64 << 10
"""The last of those bytes, which only the end of the run may use."""
_FOR_THE_MARK: Final = 256
"""The last of these, for the line that says that events are missing."""
_FAILED_SHOWN: Final = 50
"""Failed stages that the end of a run names if there is no room for the states of all stages."""
_FREE_TEXT: Final = frozenset(
    {"cmd", "error", "hint", "reason", "reasons", "tail", "text", "waiting_for", "what", "why"}
)
"""Fields whose text comes from commands, DVC or Ray, so that a secret may be in it."""


class EventLog:
    """A `Sink` that writes each event to a file at once: a reader sees whole lines, except perhaps for the last one.

    Args:
        path: The file, which must not exist.
        mask: Values that must not be in it.
        limit: Its largest size in bytes.

    Raises:
        OSError: The file cannot be made.
    """

    def __init__(self, path: Path, mask: Mask, limit: int = LIMIT) -> None:
        self._path = path
        self._mask = mask
        self._limit = limit
        self._size = 0
        self._closed = limit
        """Events that must leave at least this many bytes free are not kept any more: one of them did not fit."""
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)

    def __call__(self, record: Record) -> None:
        """Keep an event.

        Raises:
            OSError: It cannot be written.
        """
        if isinstance(record.event, Output):
            return
        fields = wire.encode(record)
        line = self._line(fields)
        if isinstance(record.event, RunResult) and self._size + len(line) > self._limit - _FOR_THE_MARK:
            line = self._line({**fields, "stages": _failed(fields["stages"])})
        reserved = _reserved(record)
        if reserved < self._closed and self._size + len(line) <= self._limit - reserved:
            self._write(line)
            return
        if self._closed == self._limit:
            mark = {name: fields[name] for name in ("version", "seq", "time")}
            self._write(self._line({"event": "truncated", **mark, "limit": self._limit}))
        self._closed = min(self._closed, reserved)

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)

    def _line(self, fields: dict[str, Any]) -> bytes:
        return json.dumps(_masked(fields, self._mask) if self._mask else fields).encode("ascii") + b"\n"

    def _write(self, line: bytes) -> None:
        written = os.write(self._file, line)
        if written < len(line):  # leave no partial line, to which the next one would be appended
            os.ftruncate(self._file, os.fstat(self._file).st_size - written)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self._path))
        self._size += written


@contextlib.contextmanager
def keep(stream: Stream, path: Path, mask: Mask) -> Iterator[None]:
    """Keep the events of a run in a file until the block ends; an error that ends the block is the last event.

    If the file cannot be made, the run goes on without it.
    """
    try:
        log = EventLog(path, mask)
    except OSError as error:
        stream(Notice(text=f"the events of this run are not kept: {error}", level="warning"))
        yield
        return
    with contextlib.closing(log):
        stream.add(log)
        try:
            yield
        except BaseException as error:
            stream(_as_event(error), only=log)  # other readers get it from the command line
            raise
        finally:
            stream.remove(log)


def read(path: Path) -> Iterator[Record]:
    """Read the events of a run, up to the last whole line if it is still running; unknown events are skipped.

    Raises:
        OSError: There is no such file.
        ValueError: The file holds something else.
    """
    with path.open("rb") as file:
        for line in file:
            if line.endswith(b"\n") and (record := wire.decode(json.loads(line))):
                yield record


def _reserved(record: Record) -> int:
    """Return how many bytes at the end of the file an event must leave free for more important ones."""
    if isinstance(record.event, (RunResult, Saved, RunError)):
        return _FOR_THE_MARK
    return _FOR_THE_END if isinstance(record.event, StageReport) else _FOR_STATES


def _failed(stages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Reduce the stages of an end event to the essential: which of them failed."""
    failed = [stage for stage in stages if stage["state"] == StageState.FAILED.value]
    return [{"stage": stage["stage"], "state": stage["state"]} for stage in failed[:_FAILED_SHOWN]]


def _masked(value: Any, mask: Mask, *, free: bool = False) -> Any:
    """Mask secrets in fields whose text is not ours; the other fields are words and names that readers rely on."""
    if isinstance(value, dict):
        return {name: _masked(inner, mask, free=name in _FREE_TEXT) for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_masked(inner, mask, free=free) for inner in value]
    return mask.text(value) if free and isinstance(value, str) else value


def _as_event(error: BaseException) -> RunError:
    """Make an event from the error that has ended a run, with the text of the command line."""
    if isinstance(error, KeyboardInterrupt):
        error = RunInterruptedError("interrupted by the user")
    code = getattr(error, "exit_code", DvcRayError.exit_code)
    if isinstance(error, DvcRayError):
        hint = error.hint.replace(IN_CAUSE, "with -v")
        return RunError(kind=type(error).__name__, what=error.what, hint=hint, exit_code=code)
    return RunError(kind=type(error).__name__, what=public(str(error)), exit_code=code)
