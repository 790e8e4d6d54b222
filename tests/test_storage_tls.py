"""Whom an S3 client trusts: as boto3, and so DVC, does."""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dvc_ray.errors import StorageError
from dvc_ray.repo.remote.remotes import DvcObjects
from dvc_ray.storage import Objects, probe
from dvc_ray.storage.s3 import S3
from dvc_ray.storage.timeouts import QUICK
from dvc_ray.values.task import Remote
from tests.helpers.seaweed import Server
from tests.helpers.serving import Serve, Serving

pytest.importorskip("obstore", reason="not installed: pip install 'dvc-ray[s3]'")
trustme = pytest.importorskip("trustme")

Client = Callable[[Remote], Objects]


@pytest.fixture(params=["obstore", "s3fs"])
def client(request: pytest.FixtureRequest) -> Client:
    """Opens an S3 remote: the fast way, or by DVC's own file system."""
    return (lambda where: S3(where, QUICK)) if request.param == "obstore" else DvcObjects


@pytest.fixture
def bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The certificate of an authority that nobody knows yet."""
    for name in [name for name in os.environ if name.startswith("AWS_") or name.endswith(("CA_BUNDLE", "_CERT_FILE"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path / "authority.pem"


@pytest.fixture
def where(s3: Server, bundle: Path) -> Iterator[Remote]:
    """A remote whose server has a certificate of that authority."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(bundle))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    proxy = Serving(handing_on(int(s3.url.rpartition(":")[2])), ssl=context)
    options = {
        "endpointurl": f"https://127.0.0.1:{proxy.port}",
        "region": "us-east-1",
        "access_key_id": s3.owner.key,
        "secret_access_key": s3.owner.secret,
    }
    yield Remote(name="r", url="s3://bucket/tls", options=tuple(options.items()))
    proxy.close()


def handing_on(port: int) -> Serve:
    """What hands on the content of connections to a port of this machine."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        its_reader, its_writer = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(_pass_on(reader, its_writer), _pass_on(its_reader, writer))

    return serve


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(1 << 16):
        writer.write(data)
        await writer.drain()
    writer.close()


def with_option(remote: Remote, name: str, value: str) -> Remote:
    return Remote(name=remote.name, url=remote.url, options=(*remote.options, (name, value)))


def test_an_unknown_authority_is_not_trusted(where: Remote, client: Client) -> None:
    with pytest.raises(StorageError, match="certificate comes from an authority that is not trusted") as caught:
        probe(client(where))
    assert "AWS_CA_BUNDLE" in caught.value.hint


def test_the_bundle_of_the_environment(
    where: Remote, client: Client, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_CA_BUNDLE", str(bundle))
    probe(client(where))


def test_the_bundle_of_the_users_configuration(where: Remote, client: Client, bundle: Path, tmp_path: Path) -> None:
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws/config").write_text(f"[default]\nca_bundle = {bundle}\n")
    probe(client(where))


def test_the_options_of_the_remote(where: Remote, client: Client, bundle: Path) -> None:
    probe(client(with_option(where, "ssl_verify", str(bundle))))
    probe(client(with_option(where, "ssl_verify", "false")))


def test_a_bundle_that_is_not_there(where: Remote) -> None:
    with pytest.raises(StorageError, match="cannot read the certificates for remote 'r'") as caught:
        S3(with_option(where, "ssl_verify", "nowhere.pem"))
    assert "dvc remote modify r ssl_verify" in caught.value.hint


def test_a_machine_without_certificates(s3: Server, bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As many an image is: boto3 brings its own."""
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.setenv(name, str(bundle.with_name("nowhere")))
    keys = (("access_key_id", s3.owner.key), ("secret_access_key", s3.owner.secret))
    probe(S3(Remote(name="r", url="s3://bucket/tls", options=(("endpointurl", s3.url), *keys))))
