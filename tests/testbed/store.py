"""A host with a real S3 server: SeaweedFS, from its wheel."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import time
from typing import Final

from tests.testbed.host import Host
from tests.testbed.needs import script

_PORT: Final = 8333
_PATIENCE: Final = 60.0
_RIGHTS: Final = ["Admin", "Read", "Write", "List", "Tagging"]


class Store:
    """An S3 server on a host of its own, so that it is cut off, slowed down and killed as a host is.

    Args:
        host: Where to start it.
    """

    def __init__(self, host: Host) -> None:
        self.host = host
        self.key, self.secret = f"K{secrets.token_hex(8)}", secrets.token_hex(16)
        self.reader = (f"R{secrets.token_hex(8)}", secrets.token_hex(16))
        """Key and secret of somebody who may read only."""
        identities = [
            _identity("owner", self.key, self.secret, _RIGHTS),
            _identity("reader", *self.reader, ["Read", "List"]),
        ]
        (host.root / "root/s3.json").write_text(json.dumps({"identities": identities}))
        # Without these anybody reads and writes objects by the filer's port, past the keys.
        self._env = {f"WEED_JWT_{name}KEY": secrets.token_hex(16) for name in _SIGNING} | {"GOMEMLIMIT": "700MiB"}
        self._process: subprocess.Popen[str] | None = None
        self.start()

    @property
    def url(self) -> str:
        """Its endpoint."""
        return f"http://{self.host.address}:{_PORT}"

    def environment(self) -> dict[str, str]:
        """Variables with which all clients find it and are its owner."""
        return {
            "AWS_ACCESS_KEY_ID": self.key,
            "AWS_SECRET_ACCESS_KEY": self.secret,
            **self.place(),
        }

    def place(self) -> dict[str, str]:
        """Variables with which all clients find it, whoever they are."""
        return {
            "AWS_REGION": "us-east-1",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ENDPOINT_URL_S3": self.url,
            "S3_ENDPOINT_URL": self.url,
        }

    def start(self) -> None:
        """Start the server on what it has stored; returns when it takes objects."""
        self._process = self.host.spawn(
            script("weed"), *_arguments(self.host.address), env=self._env, log="/root/weed.log"
        )
        self._await()

    def stop(self) -> None:
        """End the server; what it has stored stays."""
        assert self._process is not None
        self.host.run("pkill", "-KILL", "-x", "weed", check=False)
        self._process.wait()

    def freeze(self) -> None:
        """Have it answer nobody, but keep all connections."""
        self.host.run("pkill", "-STOP", "-x", "weed")

    def thaw(self) -> None:
        """End that."""
        self.host.run("pkill", "-CONT", "-x", "weed")

    def bucket(self, name: str) -> str:
        """Make a bucket; returns its URL."""
        self.host.run(_python(), "-c", _MAKE_BUCKET, name, env=self.environment())
        return f"s3://{name}"

    def keys(self, bucket: str) -> list[str]:
        """All keys in a bucket."""
        found: list[str] = json.loads(self.host.run(_python(), "-c", _LIST, bucket, env=self.environment()).stdout)
        return found

    def _await(self) -> None:
        deadline = time.monotonic() + _PATIENCE
        while self.host.run(_python(), "-c", _PROBE, env=self.environment(), check=False).returncode:
            assert time.monotonic() < deadline, (self.host.root / "root/weed.log").read_text()[-2000:]
            time.sleep(0.05)


_SIGNING: Final = ("SIGNING_", "SIGNING_READ_", "FILER_SIGNING_", "FILER_SIGNING_READ_")
_S3: Final = "import boto3, json, sys\ns3 = boto3.client('s3')\n"
_PROBE: Final = f"{_S3}s3.list_buckets()"
_MAKE_BUCKET: Final = (
    f"{_S3}s3.create_bucket(Bucket=sys.argv[1])\n"
    "s3.put_object(Bucket=sys.argv[1], Key='.ready', Body=b'')\n"  # volumes are made on the first write
    "s3.delete_object(Bucket=sys.argv[1], Key='.ready')"
)
_LIST: Final = (
    f"{_S3}pages = s3.get_paginator('list_objects_v2').paginate(Bucket=sys.argv[1])\n"
    "print(json.dumps([item['Key'] for page in pages for item in page.get('Contents', [])]))"
)


def _identity(name: str, key: str, secret: str, actions: list[str]) -> dict[str, object]:
    return {"name": name, "credentials": [{"accessKey": key, "secretKey": secret}], "actions": actions}


def _arguments(address: str) -> list[str]:
    return [
        "-logtostderr=true",
        "mini",
        "-dir=/root/weed",
        f"-ip={address}",
        f"-ip.bind={address}",
        f"-s3.port={_PORT}",
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
        "-webdav=false",
        "-admin.ui=false",
        "-master.telemetry=false",
        "-s3.autoCreateBucket=false",
        "-s3.config=/root/s3.json",
        "-filer.localSocket=/root/filer.sock",
        "-s3.localSocket=/root/s3.sock",
    ]


def _python() -> str:
    return os.path.join(os.path.dirname(script("weed")), "python")
