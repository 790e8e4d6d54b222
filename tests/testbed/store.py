"""A host with a real S3 server."""

from __future__ import annotations

import json
import os
import subprocess
import time
from typing import Final

from tests.helpers import seaweed
from tests.testbed.host import Host
from tests.testbed.needs import script

_PORT: Final = 8330
_PATIENCE: Final = 60.0


class Store:
    """An S3 server on a host of its own, so that it is cut off, slowed down and killed as a host is.

    Args:
        host: Where to start it.
    """

    def __init__(self, host: Host) -> None:
        self.host = host
        self.owner, self.reader = seaweed.owner(), seaweed.reader()
        (host.root / "root/data").mkdir()
        (host.root / "root/s3.json").write_text(seaweed.identities(self.owner, self.reader))
        self._environment = seaweed.environment()
        self._process: subprocess.Popen[str] | None = None
        self.start()

    @property
    def url(self) -> str:
        """Its endpoint."""
        return f"http://{self.host.address}:{_PORT + 3}"

    def environment(self) -> dict[str, str]:
        """Variables with which all clients find it and are its owner."""
        return {**self.owner.variables(), **self.place()}

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
        arguments = seaweed.arguments("/root", self.host.address, _PORT)
        self._process = self.host.spawn(script("weed"), *arguments, env=self._environment, log="/root/weed.log")
        deadline = time.monotonic() + _PATIENCE
        while self.host.run(_PYTHON, "-c", _PROBE, env=self.environment(), check=False).returncode:
            assert time.monotonic() < deadline, (self.host.root / "root/weed.log").read_text()[-2000:]
            time.sleep(0.05)

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
        self.host.run(_PYTHON, "-c", _MAKE_BUCKET, name, env=self.environment())
        return f"s3://{name}"

    def keys(self, bucket: str) -> list[str]:
        """All keys in a bucket."""
        found: list[str] = json.loads(self.host.run(_PYTHON, "-c", _LIST, bucket, env=self.environment()).stdout)
        return found

    def find(self, bucket: str, *texts: str) -> str:
        """Names of objects that have one of these texts in them, or in their name."""
        return self.host.run(_PYTHON, "-c", _FIND, bucket, *texts, env=self.environment()).stdout


_PYTHON: Final = os.path.join(os.path.dirname(script("weed")), "python")
_S3: Final = "import boto3, json, sys\ns3 = boto3.client('s3')\n"
_PROBE: Final = f"{_S3}s3.list_buckets()"
_MAKE_BUCKET: Final = (
    f"{_S3}s3.create_bucket(Bucket=sys.argv[1])\n"
    "s3.put_object(Bucket=sys.argv[1], Key='.ready', Body=b'')\n"  # volumes are made on the first write
    "s3.delete_object(Bucket=sys.argv[1], Key='.ready')"
)
_FIND: Final = (
    f"{_S3}pages = s3.get_paginator('list_objects_v2').paginate(Bucket=sys.argv[1])\n"
    "for item in (item for page in pages for item in page.get('Contents', [])):\n"
    "    data = item['Key'].encode() + s3.get_object(Bucket=sys.argv[1], Key=item['Key'])['Body'].read()\n"
    "    if any(text.encode() in data for text in sys.argv[2:]): print(item['Key'])"
)
_LIST: Final = (
    f"{_S3}pages = s3.get_paginator('list_objects_v2').paginate(Bucket=sys.argv[1])\n"
    "print(json.dumps([item['Key'] for page in pages for item in page.get('Contents', [])]))"
)
