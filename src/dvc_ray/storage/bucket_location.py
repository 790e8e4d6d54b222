"""Where a bucket is: its endpoint, its region, and its place in a URL, as botocore would find them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Self
from urllib.parse import urlsplit

from dvc_ray.storage.timeouts import Patience

_AWS: Final = re.compile(r"s3(-fips|-accelerate)?(\.dualstack)?(\.[a-z]+(-[a-z0-9]+)+)?\.amazonaws\.com(\.cn)?")
"""Hosts that botocore derives itself; any other, such as an endpoint of a VPC, has been configured."""
_ACCELERATED: Final = "https://s3-accelerate.amazonaws.com"
_REGIONS: Final[dict[tuple[str, str], str]] = {}
"""Regions of buckets that this process has asked AWS for, by configured region and bucket name."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a bucket is, in the terms of obstore's ``S3Store``."""

    region: str
    endpoint: str
    virtual: bool
    """Whether the bucket stands in the endpoint's host name, not in the path."""

    @classmethod
    def find(cls, session: Any, bucket: str, options: Mapping[str, Any], patience: Patience) -> Self:
        """Read the machine's configuration, and ask AWS for a bucket's region.

        As with s3fs and botocore, a bucket of AWS is found whatever region is configured, and ``~/.aws/config`` chooses
        AWS's variants of the endpoint (dual stack, FIPS, China, acceleration).

        Args:
            session: The ``boto3.session.Session``.
            bucket: Name of the bucket.
            options: DVC's options of the remote.
            patience: How long to wait for an answer.

        Raises:
            botocore.exceptions.BotoCoreError: The configuration makes no sense.
            ValueError: The endpoint is not a URL.
        """
        region = session.region_name or "us-east-1"
        endpoint, style = _configured(session, options, region)
        aws = _AWS.fullmatch(urlsplit(endpoint).hostname or "") is not None
        if aws and (real := _region_of(session, bucket, options, region, patience)) not in {"", region}:
            region = real
            endpoint, style = _configured(session, options, region)
        # As botocore does: a host name with a dotted bucket name would not match the server's certificate.
        virtual = style == "virtual" or (aws and style != "path" and "." not in bucket)
        return cls(region, _with_bucket(endpoint, bucket) if virtual else endpoint, virtual)


def _configured(session: Any, options: Mapping[str, Any], region: str) -> tuple[str, str]:
    """Return the endpoint and the addressing style: auto, path or virtual."""
    client = session.client(
        "s3",
        endpoint_url=options.get("endpointurl"),
        region_name=region,
        use_ssl=truth(options.get("use_ssl", True)),
    )
    config = client.meta.config.s3 or {}
    if config.get("use_accelerate_endpoint") and "endpointurl" not in options:
        return _ACCELERATED, "virtual"
    return str(client.meta.endpoint_url), str(config.get("addressing_style") or "auto")


def _region_of(session: Any, bucket: str, options: Mapping[str, Any], region: str, patience: Patience) -> str:
    """Ask AWS for the region, which it tells anybody; empty if there is no answer, or no such bucket."""
    import botocore
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError, ClientError

    if known := _REGIONS.get((region, bucket)):
        return known
    client = session.client(
        "s3",
        region_name=region,
        verify=verified(options),
        config=Config(
            signature_version=botocore.UNSIGNED,
            connect_timeout=seconds(options, "connect_timeout", patience.connect),
            read_timeout=seconds(options, "read_timeout", patience.silence),
            retries={"total_max_attempts": 2},
        ),
    )
    try:
        answer = client.head_bucket(Bucket=bucket)
    except ClientError as error:  # even if denied, the answer says where the bucket is
        answer = error.response
    except BotoCoreError:  # the first use of the store reports it
        return ""
    found = str(answer["ResponseMetadata"]["HTTPHeaders"].get("x-amz-bucket-region", ""))
    if found:
        _REGIONS[region, bucket] = found
    return found


def _with_bucket(endpoint: str, bucket: str) -> str:
    parts = urlsplit(endpoint)
    return parts._replace(netloc=f"{bucket}.{parts.netloc}").geturl()


def seconds(options: Mapping[str, Any], name: str, most: float) -> float:
    """Read an option of a remote that is a timeout in seconds; `most` if it is not set, or longer."""
    return min(float(options.get(name) or most), most)


def verified(options: Mapping[str, Any]) -> bool | str | None:
    """Read `ssl_verify` as boto3 takes it: False, the path of a file with certificates, or None for the default."""
    verify = options.get("ssl_verify")
    text = str(verify).lower()
    return False if text == "false" else verify if isinstance(verify, str) and text != "true" else None


def truth(value: object) -> bool:
    """Read an option of DVC that is a yes or no."""
    return value if isinstance(value, bool) else str(value).lower() in {"true", "1", "yes", "on"}
