"""S3 by obstore.

Its synchronous API in threads: the asynchronous one aborts the process at exit now and then (obstore 0.12.1). obstore
does not read ``~/.aws/config``, so boto3 does, and gives it credentials, region and endpoint as DVC would find them.
"""

from __future__ import annotations

import contextlib
import errno
import threading
from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from io import FileIO
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from dvc_ray.errors import StorageError
from dvc_ray.storage.words import explained
from dvc_ray.values.task import Remote

PART: Final = 8 << 20
"""Bytes of a part; larger objects are sent in parts."""
_READ: Final = 16 << 20
"""Bytes of a part that is read; larger ones are read in parts."""
_PARTS_AT_A_TIME: Final = 6
_NO_PART: Final = ("416 Range Not Satisfiable", "non-partial response")
"""Said of a part of an empty object: it has none; some servers send what there is, as the whole."""
_PIECE: Final = 256 << 10
"""Bytes that come, are written and are checked at a time: while they are in the processor's cache."""
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
"""DVC's options of an S3 remote that are honoured here (``dvc.config_schema``, 3.67.1); any other: not our case."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a store may keep us waiting, in seconds."""

    connect: float
    silence: float
    """For the server to say something; what is sent, it answers when it has it all, which is `PART` bytes at most."""
    request: float
    """For one request, as long as the server says something."""
    total: float
    """For a request and its repetitions."""
    retries: int


QUICK: Final = Patience(connect=2, silence=4, request=4, total=5, retries=1)
"""To find out whether a store works."""
PATIENT: Final = Patience(connect=10, silence=120, request=3600, total=180, retries=10_000)
"""To get work done, over an outage of a minute or two; the time is the bound, thirty retries are over in 15 s."""


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
    """Environment variables that say to any client of S3, such as Ray's own storage, where a remote is."""
    options = dict(remote.options) if remote.url.startswith("s3://") else {}
    return {name: str(options[option]) for name, option in _VARIABLES.items() if options.get(option)}


def credentials(remote: Remote) -> str:
    """The keys in a remote's options, as a file of credentials for any client of S3; empty if there are none.

    Not as variables: Ray Tune hands those to its workers by a runtime_env, which Ray's dashboard shows (2.60).
    """
    options = dict(remote.options) if remote.url.startswith("s3://") else {}
    lines = [f"{name} = {options[option]}" for name, option in _KEYS.items() if options.get(option)]
    return "\n".join(["[default]", *lines, ""]) if lines else ""


class S3:
    """An `Objects` in an S3 bucket.

    Args:
        remote: Where, and DVC's options.
        patience: How long to wait.

    Raises:
        StorageError: There are no credentials, or the options make no sense.
    """

    def __init__(self, remote: Remote, patience: Patience = PATIENT) -> None:
        from obstore.store import S3Store

        self._remote = remote
        parts = urlsplit(remote.url)
        options = dict(remote.options)
        found = _Found.by(remote, options)
        self._store: Any = S3Store(
            parts.netloc,
            prefix=parts.path.strip("/") or None,
            config=_config(options, found),
            client_options=_client_options(options, found, patience),
            retry_config={
                "max_retries": patience.retries,
                "retry_timeout": timedelta(seconds=patience.total),
                "backoff": {
                    "init_backoff": timedelta(milliseconds=100),
                    "max_backoff": timedelta(seconds=5),
                    "base": 2,
                },
            },
            credential_provider=found.provider,
        )
        self._parts = ThreadPoolExecutor(_PARTS_AT_A_TIME, thread_name_prefix="dvc-ray-s3")

    @property
    def url(self) -> str:
        """What the user knows the store by."""
        return self._remote.url

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
        """Write an object into a file, parts of a large one beside each other; yields what is there, in order."""
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
        """The first part of an object, and how large the whole is; were that asked for, the server would begin it."""
        import obstore
        from obstore.exceptions import GenericError

        try:
            return self._range(key, 0, _READ)
        except GenericError as error:
            if not any(text in str(error) for text in _NO_PART):
                raise
            return obstore.get(self._store, key)

    def _in_parts(self, key: str, path: str, size: int, first: Any = None) -> Iterator[memoryview]:
        """Parts that others have taken, are read again while the kernel has them in memory; the rest as they come."""
        starts = iter(range(0 if first is None else _READ, size, _READ))
        flying: deque[tuple[int, int, Future[None]]] = deque()
        given_up = threading.Event()
        buffer = memoryview(bytearray(_PIECE))

        def fill() -> None:
            while len(flying) < _PARTS_AT_A_TIME and (start := next(starts, None)) is not None:
                end = min(start + _READ, size)
                flying.append((start, end, self._parts.submit(self._part, key, path, start, end, given_up)))

        try:
            with open(path, "r+b", buffering=0) as file:  # what it had read ahead would not be there yet
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
        """Write a part into its place, by a file object of its own: whoever gives up, closes theirs."""
        with open(path, "r+b", buffering=0) as file:
            file.seek(start)
            for _ in _written(self._range(key, start, end), file):
                if given_up.is_set():
                    return

    def _range(self, key: str, start: int, end: int) -> Any:
        import obstore

        return obstore.get(self._store, key, options={"range": (start, end)})

    def size(self, key: str) -> int | None:
        """Bytes of an object; None: there is none."""
        import obstore

        with self._explained():
            try:
                return int(obstore.head(self._store, key)["size"])
            except FileNotFoundError:
                return None

    def keys(self, prefix: str) -> Iterator[str]:
        """Keys of the objects in a folder."""
        import obstore

        with self._explained():
            for page in obstore.list(self._store, prefix=prefix):
                yield from (item["path"] for item in page)

    def newest(self, prefix: str) -> str | None:
        """Key of the object in a folder that was written last; None: there is none."""
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
        except (BaseError, FileNotFoundError, ValueError) as error:  # the last for a key that it does not take
            raise explained(str(error), self.url, missing=isinstance(error, FileNotFoundError)) from error


def _written(found: Any, file: FileIO) -> Iterator[memoryview]:
    """What comes, written in pieces as they come: in one it would be put together by a copy."""
    for piece in found.stream(min_chunk_size=_PIECE):
        rest = memoryview(piece)
        while rest:  # on a disk that is nearly full not all of it is written
            rest = rest[file.write(rest) :]
        yield memoryview(piece)


@dataclass(frozen=True, slots=True)
class _Found:
    """What the machine's own configuration says: environment, ~/.aws, role."""

    endpoint: str | None
    region: str
    provider: Any

    @classmethod
    def by(cls, remote: Remote, options: Mapping[str, Any]) -> _Found:
        import boto3
        import botocore.config
        import botocore.session
        from botocore.exceptions import BotoCoreError

        core = botocore.session.Session(profile=options.get("profile"))
        for variable, option in (("config_file", "configpath"), ("credentials_file", "credentialpath")):
            if path := options.get(option):
                core.set_config_variable(variable, path)
        try:
            session = boto3.session.Session(
                aws_access_key_id=options.get("access_key_id"),
                aws_secret_access_key=options.get("secret_access_key"),
                aws_session_token=options.get("session_token"),
                region_name=options.get("region"),
                botocore_session=core,
            )
            client = session.client(
                "s3",
                endpoint_url=options.get("endpointurl"),
                region_name=session.region_name or "us-east-1",
                use_ssl=_truth(options.get("use_ssl", True)),
            )
            anonymous = _truth(options.get("allow_anonymous_login", False))
            credentials = None if anonymous else session.get_credentials()
        except (BotoCoreError, ValueError) as error:
            raise StorageError(
                f"cannot use remote '{remote.name}' ({remote.url}): {error}", "Correct it with `dvc remote modify`."
            ) from error
        if credentials is None and not anonymous:
            raise StorageError(
                f"no AWS credentials for remote '{remote.name}' ({remote.url}).",
                "Give the machine a role, set AWS_PROFILE or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or name a"
                f" profile: dvc remote modify --local {remote.name} profile NAME",
            )
        endpoint = str(client.meta.endpoint_url)
        own = not (urlsplit(endpoint).hostname or "").endswith((".amazonaws.com", ".amazonaws.com.cn"))
        return cls(endpoint if own else None, str(client.meta.region_name), _provider(credentials))


def _provider(credentials: Any) -> Any:
    """What obstore calls for credentials: those of a role end, and are made anew by botocore."""
    if credentials is None:
        return None

    def provide() -> dict[str, Any]:
        frozen = credentials.get_frozen_credentials()
        return {
            "access_key_id": frozen.access_key,
            "secret_access_key": frozen.secret_key,
            "token": frozen.token or None,
            "expires_at": datetime.now(UTC) + timedelta(minutes=10),
        }

    return provide


def _config(options: Mapping[str, Any], found: _Found) -> Any:
    config: dict[str, Any] = {"region": found.region, "virtual_hosted_style_request": found.endpoint is None}
    if found.endpoint is not None:
        config["endpoint"] = found.endpoint
    if found.provider is None:
        config["skip_signature"] = True
    if options.get("sse_customer_key"):
        config |= {"server_side_encryption": "sse-c", "sse_customer_key_base64": options["sse_customer_key"]}
    elif options.get("sse"):
        config["server_side_encryption"] = options["sse"]
    if options.get("sse_kms_key_id"):
        config["sse_kms_key_id"] = options["sse_kms_key_id"]
    return config


def _client_options(options: Mapping[str, Any], found: _Found, patience: Patience) -> Any:
    verify = options.get("ssl_verify")
    client: dict[str, Any] = {
        "allow_http": (found.endpoint or "").startswith("http://"),
        "connect_timeout": timedelta(seconds=min(float(options.get("connect_timeout") or 1e9), patience.connect)),
        "read_timeout": timedelta(seconds=patience.silence),
        "timeout": timedelta(seconds=patience.request),
    }
    if verify is False or str(verify).lower() == "false":
        client["allow_invalid_certificates"] = True
    elif isinstance(verify, str) and verify.lower() != "true":
        client["root_certificate"] = Path(verify).read_bytes()
    return client


def _part(size: int) -> int:
    """Bytes of a part: S3 takes 10,000 of them."""
    return max(PART, -(-size // 9_000))


def _truth(value: object) -> bool:
    return value if isinstance(value, bool) else str(value).lower() in {"true", "1", "yes", "on"}


def _has_obstore() -> bool:
    from importlib.util import find_spec

    return find_spec("obstore") is not None and find_spec("boto3") is not None
