"""S3 through obstore.

Its synchronous API is used in threads: the asynchronous one sometimes aborts the process at exit (obstore 0.12.1).
"""

from __future__ import annotations

import contextlib
import errno
import threading
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from io import FileIO
from pathlib import Path
from typing import Any, Final

from dvc_ray.redact import public
from dvc_ray.storage import obstore_errors
from dvc_ray.storage.access import opened
from dvc_ray.storage.messages import explained
from dvc_ray.storage.timeouts import PATIENT, Patience
from dvc_ray.values.task import Remote

PART: Final = 8 << 20
"""Bytes of a part that is sent; larger objects are sent in parts."""
_READ: Final = 16 << 20
"""Bytes of a part that is read; larger objects are read in parts."""
_PARTS_AT_A_TIME: Final = 6
_PIECE: Final = 256 << 10
"""Bytes that are received, written and checked at a time, while they are in the processor's cache."""
_HONOURED: Final = frozenset(
    {
        "access_key_id",
        "allow_anonymous_login",
        "cache_regions",
        "configpath",
        "connect_timeout",
        "credentialpath",
        "endpointurl",
        "jobs",
        "listobjects",
        "profile",
        "read_timeout",
        "region",
        "secret_access_key",
        "session_token",
        "sse",
        "sse_customer_algorithm",
        "sse_customer_key",
        "sse_kms_key_id",
        "ssl_verify",
        "url",
        "use_ssl",
        "verify",
        "version_aware",
        "worktree",
    }
)
"""DVC's options of an S3 remote that are honoured here (``dvc.config_schema``, 3.67.1); with others, `can` is False."""


def can(remote: Remote) -> bool:
    """Whether a remote is S3, with options that are honoured here."""
    return remote.url.startswith("s3://") and set(dict(remote.options)) <= _HONOURED and _has_obstore()


_VARIABLES: Final = {"AWS_ENDPOINT_URL": "endpointurl", "AWS_REGION": "region", "AWS_PROFILE": "profile"}
_KEYS: Final = {
    "aws_access_key_id": "access_key_id",
    "aws_secret_access_key": "secret_access_key",
    "aws_session_token": "session_token",
}


def variables(remote: Remote) -> dict[str, str]:
    """Return environment variables that tell any S3 client, such as Ray's own storage, where a remote is."""
    options = dict(remote.options) if remote.url.startswith("s3://") else {}
    return {name: str(options[option]) for name, option in _VARIABLES.items() if options.get(option)}


def credentials(remote: Remote) -> str:
    """Return the keys in a remote's options as a credentials file for any S3 client; empty if there are none.

    Variables are not used: Ray Tune hands them to its workers in a runtime_env, which Ray's dashboard shows (2.60).
    """
    options = dict(remote.options) if remote.url.startswith("s3://") else {}
    lines = [f"{name} = {options[option]}" for name, option in _KEYS.items() if options.get(option)]
    return "\n".join(["[default]", *lines, ""]) if lines else ""


class S3:
    """An `Objects` in an S3 bucket.

    Args:
        remote: The remote, with DVC's options.
        patience: How long to wait.

    Raises:
        StorageError: There are no credentials, or the options make no sense.
    """

    def __init__(self, remote: Remote, patience: Patience = PATIENT) -> None:
        self._remote = remote
        self._store: Any = opened(remote, patience)
        self._parts = ThreadPoolExecutor(_PARTS_AT_A_TIME, thread_name_prefix="dvc-ray-s3")

    @property
    def remote(self) -> Remote:
        """The remote, with DVC's options."""
        return self._remote

    @property
    def url(self) -> str:
        """The URL by which the user knows the store."""
        return public(self._remote.url)

    def put(self, key: str, path: str, size: int) -> None:
        """Store a file; the server checks its SHA-256, which is part of the signature."""
        import obstore

        with self._explained():
            if size <= PART:
                obstore.put(self._store, key, Path(path).read_bytes(), use_multipart=False)
            else:
                parts: dict[str, Any] = {"chunk_size": _part(size), "max_concurrency": _PARTS_AT_A_TIME}
                obstore.put(self._store, key, Path(path), use_multipart=True, **parts)

    def write(self, key: str, data: bytes) -> None:
        """Store some bytes."""
        import obstore

        with self._explained():
            obstore.put(self._store, key, data, use_multipart=False)

    def chunks(self, key: str) -> Iterator[memoryview]:
        """Read an object, in order."""
        import obstore

        with self._explained():
            yield from (memoryview(piece) for piece in obstore.get(self._store, key).stream(min_chunk_size=_PIECE))

    def bring(self, key: str, path: str, size: int | None = None) -> Iterator[memoryview]:
        """Write an object into a file, a large one in parallel parts; yields what has been written, in order."""
        with open(path, "wb") as file, self._explained():
            if size is not None and size > _READ:
                yield from self._in_parts(key, path, size)
                return
            first = self._first(key)
            if (size := int(first.meta["size"])) > _READ:
                yield from self._in_parts(key, path, size, first)
                return
            for piece in [first.bytes()] if size <= _PIECE else first.stream(min_chunk_size=_PIECE):
                file.write(piece)
                yield memoryview(piece)

    def _first(self, key: str) -> Any:
        """Get the first part of an object, with the size of the whole; requesting the whole would start to send it."""
        import obstore
        from obstore.exceptions import GenericError

        try:
            return self._range(key, 0, _READ)
        except GenericError as error:
            if not obstore_errors.has_no_part(error):
                raise
            return obstore.get(self._store, key)

    def _in_parts(self, key: str, path: str, size: int, first: Any = None) -> Iterator[memoryview]:
        """Get parts in order: those that threads have fetched are read from the file, still in memory; others here."""
        starts = iter(range(0 if first is None else _READ, size, _READ))
        flying: deque[tuple[int, int, Future[None]]] = deque()
        given_up = threading.Event()
        buffer = memoryview(bytearray(_PIECE))

        def fill() -> None:
            while len(flying) < _PARTS_AT_A_TIME and (start := next(starts, None)) is not None:
                end = min(start + _READ, size)
                flying.append((start, end, self._parts.submit(self._part, key, path, start, end, given_up)))

        try:
            with open(path, "r+b", buffering=0) as file:  # a buffer would read ahead what is not written yet
                fill()
                if first is not None:
                    yield from _written(first, file)
                while flying:
                    start, end, part = flying.popleft()
                    if part.cancel():
                        yield from _written(self._range(key, start, end), file)
                    else:
                        part.result()
                        while (left := end - file.tell()) > 0:
                            if not (number := file.readinto(buffer[: min(left, _PIECE)])):
                                raise OSError(errno.EIO, "a file has become shorter while it was written", path)
                            yield buffer[:number]
                    fill()
        finally:
            given_up.set()
            for *_, part in flying:
                part.cancel()

    def _part(self, key: str, path: str, start: int, end: int, given_up: threading.Event) -> None:
        """Write a part to its place, with a file object of its own, as the caller closes its own if it gives up."""
        with open(path, "r+b", buffering=0) as file:
            file.seek(start)
            for _ in _written(self._range(key, start, end), file):
                if given_up.is_set():
                    return

    def _range(self, key: str, start: int, end: int) -> Any:
        import obstore

        return obstore.get(self._store, key, options={"range": (start, end)})

    def size(self, key: str) -> int | None:
        """Return the size of an object in bytes; None: there is no such object."""
        import obstore

        with self._explained():
            try:
                return int(obstore.head(self._store, key)["size"])
            except FileNotFoundError:
                return None

    def keys(self, prefix: str) -> Iterator[str]:
        """List the keys of the objects in a folder."""
        import obstore

        with self._explained():
            for page in obstore.list(self._store, prefix=prefix):
                yield from (item["path"] for item in page)

    def folders(self, prefix: str) -> Iterator[str]:
        """List the names of the folders in a folder."""
        import obstore

        with self._explained():
            found = obstore.list_with_delimiter(self._store, prefix=prefix)["common_prefixes"]
        yield from (path.rstrip("/").rpartition("/")[2] for path in found)

    def newest(self, prefix: str) -> str | None:
        """Return the key of the object in a folder that was written last; None: the folder has no objects."""
        import obstore

        with self._explained():
            items = [item for page in obstore.list(self._store, prefix=prefix) for item in page]
            return str(max(items, key=lambda item: item["last_modified"])["path"]) if items else None

    def delete(self, key: str) -> None:
        """Remove an object."""
        import obstore

        with self._explained(), contextlib.suppress(FileNotFoundError):
            obstore.delete(self._store, key)

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        from obstore.exceptions import BaseError

        try:
            yield
        except (BaseError, FileNotFoundError, ValueError) as error:  # ValueError: a key that obstore does not take
            raise explained(obstore_errors.failure(error), self.url) from error


def _written(found: Any, file: FileIO) -> Iterator[memoryview]:
    """Write what arrives piece by piece, and yield the pieces: to join them would cost a copy."""
    for piece in found.stream(min_chunk_size=_PIECE):
        rest = memoryview(piece)
        while rest:  # on a nearly full disk, a write may be partial
            rest = rest[file.write(rest) :]
        yield memoryview(piece)


def _part(size: int) -> int:
    """Return the bytes of a part, as S3 takes at most 10,000 parts."""
    return max(PART, -(-size // 9_000))


def _has_obstore() -> bool:
    from importlib.util import find_spec

    return find_spec("obstore") is not None and find_spec("boto3") is not None
