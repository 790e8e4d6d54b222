"""Failures of a store in the user's words."""

from __future__ import annotations

import re
import socket
from typing import Final

from dvc_ray.errors import DeniedError, ObjectMissingError, StorageError, UnreachableError

_CODE: Final = re.compile(r"<Code>(\w+)</Code>")
_DENIED: Final = "AccessDenied"
_REASONS: Final = {
    "NoSuchBucket": (
        "its bucket does not exist",
        "Make the bucket, or correct the URL: dvc remote modify NAME url URL",
    ),
    "SignatureDoesNotMatch": (
        "its server does not accept the secret key",
        "Correct AWS_SECRET_ACCESS_KEY, or the profile or keys of the remote (`dvc remote list`, `.dvc/config.local`).",
    ),
    "InvalidAccessKeyId": (
        "its server does not know the access key",
        "Correct AWS_ACCESS_KEY_ID, or the profile or keys of the remote; is it the right endpoint?",
    ),
    "ExpiredToken": ("the credentials have expired", "Log in again (aws sso login, aws sts …) and run it again."),
    "RequestTimeTooSkewed": ("the clock of this machine is wrong", "Set the clock (chrony, ntpd) and run it again."),
    _DENIED: (
        "its server denies access",
        "Allow s3:GetObject, s3:PutObject, s3:DeleteObject and s3:ListBucket for these credentials.",
    ),
}
UNTRUSTED: Final = "its server's certificate is not of an authority that is trusted there"
TRUST: Final = (
    "Name the file with the authority's certificate: AWS_CA_BUNDLE, ca_bundle in ~/.aws/config, or"
    " `dvc remote modify NAME ssl_verify PATH`."
)
"""What to do about it."""
_UNREACHABLE: Final = {
    "dns error": "its host name cannot be resolved",
    "refused": "its server refuses the connection",
    "unreachable": "there is no route to its server",
    "timed out": "its server does not answer",
    "timeout": "its server does not answer",
    "error sending request": "its server cannot be reached",
    "cannot connect to host": "its server cannot be reached",
    "could not connect": "its server cannot be reached",
    "connect call failed": "its server cannot be reached",
}


def explained(text: str, url: str, *, missing: bool = False) -> StorageError:
    """The error to raise for one of the store's.

    Args:
        text: What the client said.
        url: Of the store.
        missing: Whether it said that an object is not there.
    """
    code = next(iter(_CODE.findall(text)), "")
    where = f"{url}, seen from {socket.gethostname()}"
    if reason := _REASONS.get(code):
        kind = DeniedError if code == _DENIED else StorageError
        return kind(f"remote {where}: {reason[0]} ({code}).", reason[1])
    if missing:
        return ObjectMissingError(f"remote {where}: an object is missing: {short(text)}", "See `dvc status --cloud`.")
    if "403 Forbidden" in text:  # the number alone may be that of a port
        return DeniedError(f"remote {where}: {_REASONS[_DENIED][0]} (403).", _REASONS[_DENIED][1])
    if is_untrusted(text):
        return StorageError(f"remote {where}: {UNTRUSTED}.", TRUST)
    if why := unreachable(text):
        return UnreachableError(
            f"remote {where}: {why}.",
            "See whether the endpoint is right (`dvc remote list`, AWS_ENDPOINT_URL_S3) and can be reached from"
            " there: security group, VPC endpoint, proxy.",
        )
    return StorageError(f"remote {where}: {short(text)}", "Run the same command with -v for all of it.")


def is_untrusted(text: str) -> bool:
    """Whether a client has refused the server's certificate."""
    return "InvalidCertificate(" in text or "CERTIFICATE_VERIFY_FAILED" in text


def unreachable(text: str) -> str:
    """Why a store cannot be reached, if that is what its client said; else empty."""
    lower = text.lower()
    return next((reason for mark, reason in _UNREACHABLE.items() if mark in lower), "")


def short(text: str) -> str:
    """The first line of what a client said: the others are for its developers."""
    first = text.strip().splitlines()[0] if text.strip() else "unknown error"
    return first if len(first) <= 300 else f"{first[:300]}…"
