"""A real S3 server on this machine: SeaweedFS, from its wheel. That on a host of its own is `tests.testbed.store`."""

from __future__ import annotations

import json
import os
import secrets
import socket
import subprocess
import sysconfig
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

_PATIENCE: Final = 60.0
_RIGHTS: Final = ["Admin", "Read", "Write", "List", "Tagging"]
_PORTS: Final = {"master": 0, "volume": 1, "filer": 2, "s3": 3, "admin": 4}
"""Each has a second one for gRPC, 10 above."""


def arguments(folder: str, address: str, first_port: int) -> list[str]:
    """Of `weed`, for one that no one but those with keys may use, and that reports to nobody."""
    ports = [
        option
        for name, place in _PORTS.items()
        for option in (f"-{name}.port={first_port + place}", f"-{name}.port.grpc={first_port + place + 10}")
    ]
    return [
        *("-logtostderr=true", "mini", f"-dir={folder}/data", f"-ip={address}", f"-ip.bind={address}", *ports),
        *("-s3.port.iceberg=0", "-s3.port.lance=0", "-webdav=false", "-admin.ui=false"),
        *("-master.telemetry=false", "-s3.autoCreateBucket=false", f"-s3.config={folder}/s3.json"),
        *(f"-filer.localSocket={folder}/filer.sock", f"-s3.localSocket={folder}/s3.sock"),
    ]


def environment() -> dict[str, str]:
    """Of `weed`. Without the keys anybody reads and writes objects by the filer's port, past S3's."""
    names = ("SIGNING_", "SIGNING_READ_", "FILER_SIGNING_", "FILER_SIGNING_READ_")
    return {f"WEED_JWT_{name}KEY": secrets.token_hex(16) for name in names} | {"GOMEMLIMIT": "700MiB"}


class Identity:
    """Somebody with a key."""

    def __init__(self, name: str, actions: list[str]) -> None:
        self.name = name
        self.actions = actions
        self.key, self.secret = f"K{secrets.token_hex(8)}", secrets.token_hex(16)

    def variables(self) -> dict[str, str]:
        """With which clients are this one."""
        return {"AWS_ACCESS_KEY_ID": self.key, "AWS_SECRET_ACCESS_KEY": self.secret}


def identities(*those: Identity) -> str:
    """The file that tells `weed` who may do what."""
    found = [
        {
            "name": one.name,
            "credentials": [{"accessKey": one.key, "secretKey": one.secret}],
            "actions": one.actions,
        }
        for one in those
    ]
    return json.dumps({"identities": found})


def owner() -> Identity:
    """Somebody who may do all."""
    return Identity("owner", _RIGHTS)


def reader() -> Identity:
    """Somebody who may not write."""
    return Identity("reader", ["Read", "List"])


class Server:
    """An S3 server on loopback.

    Args:
        folder: Where it keeps what it stores.
    """

    def __init__(self, folder: Path) -> None:
        (folder / "data").mkdir()
        self.owner, self.reader = owner(), reader()
        (folder / "s3.json").write_text(identities(self.owner, self.reader))
        self._folder = folder
        self._port = _free_ports()
        self._environment = environment()
        self.start()

    @property
    def url(self) -> str:
        """Its endpoint."""
        return f"http://127.0.0.1:{self._port + _PORTS['s3']}"

    def variables(self) -> dict[str, str]:
        """With which clients find it and are its owner."""
        return {
            **self.owner.variables(),
            "AWS_ENDPOINT_URL_S3": self.url,
            "AWS_REGION": "us-east-1",
            "AWS_DEFAULT_REGION": "us-east-1",
        }

    def start(self) -> None:
        """Start it on what it has stored; returns when it takes objects."""
        weed = os.path.join(sysconfig.get_path("scripts"), "weed")
        self.process = subprocess.Popen(
            # It ends with us: a process of pytest-xdist that is ended by Ctrl-C runs no fixture to its end.
            ["setpriv", "--pdeathsig", "KILL", weed, *arguments(str(self._folder), "127.0.0.1", self._port)],
            env={"PATH": "/usr/bin:/bin", "HOME": str(self._folder), **self._environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=(self._folder / "log").open("ab"),
            start_new_session=True,
        )
        deadline = time.monotonic() + _PATIENCE
        while not _answers(f"{self.url}/healthz"):
            assert self.process.poll() is None, (self._folder / "log").read_text()[-2000:]
            assert time.monotonic() < deadline
            time.sleep(0.05)

    def stop(self) -> None:
        """End it; what it has stored stays."""
        self.process.kill()
        self.process.wait()

    def bucket(self, name: str) -> str:
        """Make a bucket that can be written to; returns its URL."""
        client = self.client()
        client.create_bucket(Bucket=name)
        deadline = time.monotonic() + _PATIENCE
        while True:  # volumes are made when a bucket is first written to
            try:
                client.put_object(Bucket=name, Key=".ready", Body=b"")
            except client.exceptions.ClientError:
                assert time.monotonic() < deadline
                continue
            client.delete_object(Bucket=name, Key=".ready")
            return f"s3://{name}"

    def client(self, who: Mapping[str, str] | None = None) -> Any:
        """A boto3 client."""
        import boto3

        known = who or self.owner.variables()
        return boto3.client(
            "s3",
            endpoint_url=self.url,
            region_name="us-east-1",
            aws_access_key_id=known["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=known["AWS_SECRET_ACCESS_KEY"],
        )


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2):  # noqa: S310  on loopback
            return True
    except (urllib.error.URLError, OSError):
        return False


def _free_ports() -> int:
    """The first of the ports it needs."""
    for _ in range(100):
        first = 20_000 + secrets.randbelow(30_000)
        wanted = [first + place + extra for place in _PORTS.values() for extra in (0, 10)]
        if all(_is_free(port) for port in wanted):
            return first
    raise AssertionError("no free ports")


def _is_free(port: int) -> bool:
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) != 0
