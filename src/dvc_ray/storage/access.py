"""How a bucket is reached: by DVC's options and the machine's own configuration.

obstore does not read ``~/.aws/config``, so boto3 reads it and gives obstore the credentials, region and endpoint that
DVC would find.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from dvc_ray.errors import StorageError
from dvc_ray.storage.bucket_location import Place, seconds, truth, verified
from dvc_ray.storage.timeouts import Patience
from dvc_ray.values.task import Remote


def opened(remote: Remote, patience: Patience) -> Any:
    """Open obstore's ``S3Store`` for a remote; the only request is to AWS, for the region (`Place`).

    Args:
        remote: The remote, with DVC's options.
        patience: How long to wait.

    Raises:
        StorageError: There are no credentials, or the options make no sense.
    """
    from obstore.store import S3Store

    parts = urlsplit(remote.url)
    options = dict(remote.options)
    found = _Found.by(remote, options, patience)
    return S3Store(
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


def client(remote: Remote, patience: Patience) -> Any:
    """Open boto3's client for a remote in S3, for requests that obstore does not have.

    Args:
        remote: The remote, with DVC's options.
        patience: How long to wait.

    Raises:
        StorageError: The options make no sense.
    """
    import botocore
    from botocore.config import Config

    options = dict(remote.options)
    with _corrected(remote):
        session = _session(_core(options), options)
        return session.client(
            "s3",
            region_name=Place.find(session, urlsplit(remote.url).netloc, options, patience).region,
            endpoint_url=options.get("endpointurl"),
            use_ssl=truth(options.get("use_ssl", True)),
            verify=verified(options),
            config=Config(
                signature_version=botocore.UNSIGNED if truth(options.get("allow_anonymous_login", False)) else None,
                connect_timeout=seconds(options, "connect_timeout", patience.connect),
                read_timeout=seconds(options, "read_timeout", patience.silence),
                retries={"total_max_attempts": 1 + min(patience.retries, 5)},
            ),
        )


@dataclass(frozen=True, slots=True)
class _Found:
    """What the machine's own configuration provides: environment, ~/.aws, role."""

    place: Place
    provider: Any
    certificates: bytes
    """Certificates of trusted authorities beside the system's, of which an image may have none."""

    @classmethod
    def by(cls, remote: Remote, options: Mapping[str, Any], patience: Patience) -> _Found:
        with _corrected(remote):
            core = _core(options)
            session = _session(core, options)
            certificates = _certificates(core, remote, options)
            place = Place.find(session, urlsplit(remote.url).netloc, options, patience)
            anonymous = truth(options.get("allow_anonymous_login", False))
            credentials = None if anonymous else session.get_credentials()
        if credentials is None and not anonymous:
            raise StorageError(
                f"no AWS credentials for remote '{remote.name}' ({remote.url})",
                "Give the machine a role, set AWS_PROFILE or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or name a"
                f" profile: dvc remote modify --local {remote.name} profile NAME",
            )
        return cls(place, _provider(credentials), certificates)


@contextlib.contextmanager
def _corrected(remote: Remote) -> Iterator[None]:
    """Name the remote whose options botocore rejects."""
    from botocore.exceptions import BotoCoreError

    try:
        yield
    except (BotoCoreError, ValueError) as error:
        raise StorageError(
            f"cannot use remote '{remote.name}' ({remote.url}): {error}", "Correct it with `dvc remote modify`."
        ) from error


def _core(options: Mapping[str, Any]) -> Any:
    """Make a ``botocore.session.Session`` with the files and the profile that DVC's options name."""
    import botocore.session

    core = botocore.session.Session(profile=options.get("profile"))
    for variable, option in (("config_file", "configpath"), ("credentials_file", "credentialpath")):
        if path := options.get(option):
            core.set_config_variable(variable, path)
    return core


def _session(core: Any, options: Mapping[str, Any]) -> Any:
    """Make a ``boto3.session.Session`` with the keys and the region that DVC's options name."""
    import boto3

    return boto3.session.Session(
        aws_access_key_id=options.get("access_key_id"),
        aws_secret_access_key=options.get("secret_access_key"),
        aws_session_token=options.get("session_token"),
        region_name=options.get("region"),
        botocore_session=core,
    )


def _certificates(core: Any, remote: Remote, options: Mapping[str, Any]) -> bytes:
    """Read the certificates that boto3 would trust (``botocore.endpoint``, ``botocore.httpsession``, 1.43).

    Raises:
        StorageError: The file cannot be read.
    """
    from botocore.httpsession import get_cert_path

    named = verified(options)
    chosen = (
        named
        if isinstance(named, str)
        else core.get_config_variable("ca_bundle") or os.environ.get("REQUESTS_CA_BUNDLE")
    )
    try:
        return Path(chosen or get_cert_path(verify=True)).read_bytes()
    except OSError as error:
        raise StorageError(
            f"cannot read the certificates for remote '{remote.name}' ({remote.url}): {error}",
            "Correct AWS_CA_BUNDLE, REQUESTS_CA_BUNDLE, ca_bundle in ~/.aws/config, or:"
            f" dvc remote modify {remote.name} ssl_verify PATH",
        ) from error


def _provider(credentials: Any) -> Any:
    """Make the function that obstore calls for credentials; botocore renews those of a role when they expire."""
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
    config: dict[str, Any] = {
        "region": found.place.region,
        "endpoint": found.place.endpoint,
        "virtual_hosted_style_request": found.place.virtual,
        "disable_bulk_delete": True,  # one request per object: its status tells if removing it is denied
    }
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
    client: dict[str, Any] = {
        "allow_http": found.place.endpoint.startswith("http://"),
        "connect_timeout": timedelta(seconds=seconds(options, "connect_timeout", patience.connect)),
        "read_timeout": timedelta(seconds=seconds(options, "read_timeout", patience.silence)),
        "timeout": timedelta(seconds=patience.request),
        "root_certificate": found.certificates,
    }
    if verified(options) is False:
        client["allow_invalid_certificates"] = True
    return client
