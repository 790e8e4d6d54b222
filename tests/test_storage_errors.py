"""What clients of stores say when something fails, as they say it today, and what is read from it."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dvc_ray.errors import DeniedError, ObjectMissingError, StorageError, UnreachableError
from dvc_ray.storage import Objects, fsspec_errors, obstore_errors
from dvc_ray.storage.messages import Cause, Failure
from dvc_ray.storage.s3 import S3
from dvc_ray.storage.timeouts import Patience
from dvc_ray.values.task import Remote
from tests.helpers.serving import Serving

boto3 = pytest.importorskip("boto3", reason="not installed: pip install 'dvc-ray[s3]'")
pytest.importorskip("obstore")

ONCE = Patience(connect=1, silence=1, request=1, total=1, retries=0)
NOBODY = "http://127.0.0.1:1"


def options(url: str) -> dict[str, Any]:
    return {"endpointurl": url, "region": "us-east-1", "access_key_id": "a", "secret_access_key": "b"}


def opened(url: str) -> S3:
    return S3(Remote(name="r", url="s3://bucket/p", options=tuple(options(url).items())), ONCE)


@pytest.fixture(autouse=True)
def _nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No configuration of the machine's."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("AWS_PROFILE", raising=False)


class Saying:
    """A server that gives one answer to everything."""

    def __init__(self) -> None:
        self.status = "200 OK"
        self.body = ""
        self._serving = Serving(self._serve)
        self.url = f"http://127.0.0.1:{self._serving.port}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        method = (await reader.readuntil(b"\r\n\r\n")).split(b" ")[0]
        length = f"Content-Length: {len(self.body)}\r\nConnection: close\r\n"
        about = "ETag: x\r\nLast-Modified: Sat, 28 Nov 2026 00:00:00 GMT\r\n"
        writer.write(f"HTTP/1.1 {self.status}\r\n{length}{about}\r\n".encode())
        writer.write(self.body.encode() if method != b"HEAD" else b"")
        await writer.drain()
        writer.close()

    def close(self) -> None:
        self._serving.close()


@pytest.fixture
def server() -> Iterator[Saying]:
    made = Saying()
    yield made
    made.close()


def heard(act: Callable[[], object]) -> Failure:
    """What is read from the error of obstore's under one of ours."""
    with pytest.raises(Exception, match=r".") as caught:
        act()
    assert caught.value.__cause__ is not None
    return obstore_errors.failure(caught.value.__cause__)


REQUESTS: dict[str, Callable[[Objects], object]] = {
    "head": lambda store: store.size("a"),
    "get": lambda store: list(store.chunks("a")),
    "list": lambda store: list(store.keys("a")),
    "put": lambda store: store.write("a", b"a"),
    "delete": lambda store: store.delete("a"),
}


@pytest.mark.parametrize("request_", REQUESTS)
def test_a_denial_without_a_code(server: Saying, request_: str) -> None:
    server.status = "403 Forbidden"
    store = opened(server.url)
    assert heard(lambda: REQUESTS[request_](store)).cause is Cause.DENIED
    with pytest.raises(DeniedError, match=r"denies access \(403\)"):
        REQUESTS[request_](store)


def test_an_answer_is_no_silence(server: Saying) -> None:
    """Each error of obstore names our own setting ``retry_timeout``."""
    server.status, server.body = "400 Bad Request", "<Error><Code>EntityTooLarge</Code></Error>"
    with pytest.raises(StorageError, match=r"400 Bad Request.*EntityTooLarge") as caught:
        REQUESTS["put"](opened(server.url))
    assert not isinstance(caught.value, UnreachableError)


@pytest.mark.parametrize(
    ("status", "code", "cause"),
    [
        ("404 Not Found", "NoSuchBucket", Cause.NO_BUCKET),
        ("404 Not Found", "NoSuchKey", Cause.MISSING),
        ("403 Forbidden", "SignatureDoesNotMatch", Cause.WRONG_SECRET),
        ("403 Forbidden", "InvalidAccessKeyId", Cause.UNKNOWN_KEY),
        ("403 Forbidden", "RequestTimeTooSkewed", Cause.WRONG_CLOCK),
        ("403 Forbidden", "AccessDenied", Cause.DENIED),
        ("400 Bad Request", "ExpiredToken", Cause.EXPIRED),
        ("400 Bad Request", "EntityTooLarge", Cause.OTHER),
        ("501 Not Implemented", "NotImplemented", Cause.OTHER),
        ("500 Internal Server Error", "InternalError", Cause.FAILED),
        ("503 Service Unavailable", "SlowDown", Cause.FAILED),
    ],
)
def test_a_code_of_the_server(server: Saying, status: str, code: str, cause: Cause) -> None:
    server.status, server.body = status, f"<Error><Code>{code}</Code><Message>timeout refused</Message></Error>"
    assert heard(lambda: REQUESTS["get"](opened(server.url))).cause is cause


def test_an_object_that_is_missing(server: Saying) -> None:
    server.status = "404 Not Found"
    assert heard(lambda: REQUESTS["get"](opened(server.url))).cause is Cause.MISSING
    with pytest.raises(ObjectMissingError):
        list(opened(server.url).chunks("a"))


@pytest.mark.parametrize("status", ["416 Range Not Satisfiable", "200 OK"])
def test_a_part_of_an_empty_object(server: Saying, status: str) -> None:
    import obstore
    from obstore.exceptions import GenericError

    server.status = status
    with pytest.raises(GenericError) as caught:
        obstore.get(opened(server.url)._store, "a", options={"range": (0, 10)})
    assert obstore_errors.has_no_part(caught.value)


def test_a_network_by_obstore() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        where = {
            NOBODY: Cause.REFUSED,
            "http://nowhere.invalid": Cause.NO_HOST,
            f"http://127.0.0.1:{silent.getsockname()[1]}": Cause.SILENT,
        }
        for url, cause in where.items():
            store = opened(url)
            found = heard(lambda: REQUESTS["get"](store)).cause  # noqa: B023  called at once
            assert found in {cause, Cause.UNREACHABLE}, url
            assert found.may_heal


def _by_aiohttp(url: str) -> None:
    import aiohttp

    async def ask() -> None:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=1)) as session, session.get(url):
            pass

    asyncio.run(ask())


def _by_botocore(url: str) -> None:
    from botocore.config import Config

    config = Config(connect_timeout=1, read_timeout=1, retries={"total_max_attempts": 1})
    keys = {"aws_access_key_id": "a", "aws_secret_access_key": "b", "region_name": "us-east-1"}
    boto3.client("s3", endpoint_url=url, config=config, **keys).list_buckets()


def _by_asyncssh(url: str) -> None:
    import asyncssh

    async def connect() -> None:
        host, _, port = url.removeprefix("http://").partition(":")
        await asyncssh.connect(host, int(port), connect_timeout=1)

    asyncio.run(connect())


@pytest.mark.parametrize("ask", [_by_aiohttp, _by_botocore, _by_asyncssh])
def test_a_network_by_clients_of_fsspec(ask: Callable[[str], None]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        for url in (NOBODY, f"http://127.0.0.1:{silent.getsockname()[1]}"):
            with pytest.raises(Exception) as caught:  # noqa: PT011  of no common class
                ask(url)
            found = fsspec_errors.cause(str(caught.value) or type(caught.value).__name__)
            assert found.may_heal, (url, caught.value)
