"""How buckets of AWS are found. AWS is moto here, behind a proxy that answers as AWS does for another region."""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from dvc_ray.storage import probe
from dvc_ray.storage.s3 import S3
from dvc_ray.values.task import Remote
from tests.helpers.serving import Serving

# The oldest versions are tested without the extra of S3.
boto3 = pytest.importorskip("boto3", reason="not installed: pip install 'dvc-ray[s3]'")
trustme = pytest.importorskip("trustme")
moto_server = pytest.importorskip("moto.server")

REGION = "eu-west-1"
ACCELERATED = "s3-accelerate.amazonaws.com"
HOSTS = ("s3.amazonaws.com", f"s3.{REGION}.amazonaws.com", f"s3.dualstack.{REGION}.amazonaws.com", ACCELERATED)
KEYS = (("access_key_id", "AKIDEXAMPLE"), ("secret_access_key", "example"))
ELSEWHERE = (
    "HTTP/1.1 301 Moved Permanently\r\n"
    f"x-amz-bucket-region: {REGION}\r\nContent-Type: application/xml\r\nContent-Length: {{}}\r\n\r\n"
)
REDIRECT = f"<Error><Code>PermanentRedirect</Code><Endpoint>s3.{REGION}.amazonaws.com</Endpoint></Error>"
"""As https://docs.aws.amazon.com/AmazonS3/latest/userguide/Redirects.html has it."""


class Aws:
    """A proxy for HTTPS that is all of AWS."""

    def __init__(self, context: ssl.SSLContext, backend: int) -> None:
        self.put: list[str] = []
        """Host and path of what was put."""
        self._context, self._backend = context, backend
        self.serving = Serving(self._serve)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        await writer.drain()
        try:
            await writer.start_tls(self._context)
            await self._answer(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):  # a client that does not trust us, or is done
            pass
        finally:
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        first, *lines = head.strip().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        method, path, _ = first.split(" ")
        if method == "PUT":
            self.put.append(f"{headers['host']}{path}")
        signed_for_it = f"/{REGION}/s3/" in headers.get("authorization", f"/{REGION}/s3/")
        at_it = ACCELERATED in headers["host"] or f".{REGION}." in headers["host"]
        if not (signed_for_it and at_it):
            writer.write(ELSEWHERE.format(len(REDIRECT) if method != "HEAD" else 0).encode())
            writer.write(REDIRECT.encode() if method != "HEAD" else b"")
        else:
            kept = [line for line in lines if not line.lower().startswith("connection:")]
            its_reader, its_writer = await asyncio.open_connection("127.0.0.1", self._backend)
            sent = "\r\n".join([first, *kept, "Connection: close", "", ""])
            its_writer.write(sent.replace(ACCELERATED, HOSTS[1]).encode() + body)
            writer.write(await its_reader.read())
            its_writer.close()
        await writer.drain()


@pytest.fixture(scope="module")
def backend() -> Iterator[int]:
    """Port of moto, with buckets in the region."""
    server = moto_server.ThreadedMotoServer(port=0)
    server.start()
    port = server.get_host_and_port()[1]
    names = {"aws_access_key_id": "a", "aws_secret_access_key": "b", "region_name": REGION}
    client = boto3.client("s3", endpoint_url=f"http://127.0.0.1:{port}", **names)
    for bucket in ("plain", "with.dots"):
        client.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION})
    yield port
    server.stop()


@pytest.fixture
def aws(backend: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Aws]:
    for name in [name for name in os.environ if name.startswith("AWS_") or name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "authority.pem"))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(*HOSTS, *(f"*.{host}" for host in HOSTS)).configure_cert(context)
    made = Aws(context, backend)
    monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{made.serving.port}")
    monkeypatch.setenv("AWS_CA_BUNDLE", str(tmp_path / "authority.pem"))
    monkeypatch.setenv("HOME", str(tmp_path))
    yield made
    made.serving.close()


def test_a_bucket_in_another_region_than_is_configured(aws: Aws) -> None:
    """As with DVC, whose s3fs asks for it; a node of EC2 has no region configured."""
    probe(S3(Remote(name="r", url="s3://plain/project", options=KEYS)))
    assert aws.put[-1].startswith(f"plain.s3.{REGION}.amazonaws.com/project/")


def test_a_bucket_with_dots(aws: Aws) -> None:
    """Its name in that of the host would not fit the certificate."""
    probe(S3(Remote(name="r", url="s3://with.dots/project", options=(*KEYS, ("region", REGION)))))
    assert aws.put[-1].startswith(f"s3.{REGION}.amazonaws.com/with.dots/project/")


def test_the_endpoint_of_the_users_configuration(aws: Aws, tmp_path: Path) -> None:
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws/config").write_text(f"[default]\nregion = {REGION}\nuse_dualstack_endpoint = true\n")
    probe(S3(Remote(name="r", url="s3://plain/project", options=KEYS)))
    assert aws.put[-1].startswith(f"plain.s3.dualstack.{REGION}.amazonaws.com/project/")


def test_the_addressing_style_of_the_users_configuration(aws: Aws, tmp_path: Path) -> None:
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws/config").write_text("[default]\ns3 =\n  addressing_style = path\n")
    probe(S3(Remote(name="r", url="s3://plain/project", options=KEYS)))
    assert aws.put[-1].startswith(f"s3.{REGION}.amazonaws.com/plain/project/")


def test_the_accelerated_endpoint(aws: Aws, tmp_path: Path) -> None:
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws/config").write_text("[default]\ns3 =\n  use_accelerate_endpoint = true\n")
    probe(S3(Remote(name="r", url="s3://plain/project", options=KEYS)))
    assert aws.put[-1].startswith(f"plain.{ACCELERATED}/project/")
