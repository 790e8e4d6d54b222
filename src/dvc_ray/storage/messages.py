"""Failures of a store, explained to the user.

`obstore_errors` and `fsspec_errors` find the cause in the error messages of a client, each for one library.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass
from enum import Enum
from typing import Final

from dvc_ray.errors import DeniedError, ObjectMissingError, StorageError, UnreachableError


class Cause(Enum):
    """Why a store has not done what it was asked to; the values are the texts for the user."""

    NO_BUCKET = "its bucket does not exist"
    WRONG_SECRET = "its server does not accept the secret key"  # noqa: S105  a text
    UNKNOWN_KEY = "its server does not know the access key"
    EXPIRED = "the credentials have expired"
    WRONG_CLOCK = "the clock of this machine is wrong"
    DENIED = "its server denies access"
    MISSING = "an object is missing"
    UNTRUSTED = "its server's certificate comes from an authority that is not trusted there"
    NO_HOST = "its host name cannot be resolved"
    REFUSED = "its server refuses the connection"
    NO_ROUTE = "there is no route to its server"
    SILENT = "its server does not answer"
    UNREACHABLE = "its server cannot be reached"
    FAILED = "its server has failed"
    OTHER = "something else"

    @property
    def may_heal(self) -> bool:
        """Whether the request may succeed later or from another machine: the store was not reached, or has failed."""
        return self in _MAY_HEAL


_MAY_HEAL: Final = frozenset(
    {Cause.NO_HOST, Cause.REFUSED, Cause.NO_ROUTE, Cause.SILENT, Cause.UNREACHABLE, Cause.FAILED}
)
TRUST: Final = (
    "Name the file with the authority's certificate: AWS_CA_BUNDLE, ca_bundle in ~/.aws/config, or"
    " `dvc remote modify NAME ssl_verify PATH`."
)
"""What to do about a certificate that is not trusted."""
_HINTS: Final = {
    Cause.NO_BUCKET: "Make the bucket, or correct the URL: dvc remote modify NAME url URL",
    Cause.WRONG_SECRET: "Correct AWS_SECRET_ACCESS_KEY, or the profile or keys of the remote (`dvc remote list`,"
    " `.dvc/config.local`).",
    Cause.UNKNOWN_KEY: "Correct AWS_ACCESS_KEY_ID, or the profile, keys or endpoint of the remote.",
    Cause.EXPIRED: "Log in again (aws sso login, aws sts …) and run it again.",
    Cause.WRONG_CLOCK: "Set the clock (chrony, ntpd) and run it again.",
    Cause.DENIED: "Allow s3:GetObject, s3:PutObject, s3:DeleteObject and s3:ListBucket for these credentials.",
    Cause.UNTRUSTED: TRUST,
    Cause.FAILED: "Run it again later, or check its server.",
}
_NOT_REACHED: Final = (
    "Check the endpoint (`dvc remote list`, AWS_ENDPOINT_URL_S3), and that it can be reached from"
    " there: security group, VPC endpoint, proxy."
)


@dataclass(frozen=True, slots=True)
class Failure:
    """A failure as a client has reported it."""

    cause: Cause
    text: str
    """The whole text of the error."""
    code: str = ""
    """The server's own name or number for the error."""


def explained(failure: Failure, url: str) -> StorageError:
    """Make the error to raise for a failure of a store.

    Args:
        failure: The failure.
        url: URL of the store.
    """
    where, cause = f"remote {url}, seen from {socket.gethostname()}", failure.cause
    if cause is Cause.MISSING:
        return ObjectMissingError(f"{where}: {cause.value}: {short(failure.text)}", "See what is: dvc status --cloud")
    if cause is Cause.OTHER:
        return StorageError(f"{where}: {short(failure.text)}", "For the whole error, run the same command with -v.")
    what = f"{where}: {cause.value}{f' ({failure.code})' if failure.code else ''}."
    if cause.may_heal:
        return UnreachableError(what, _HINTS.get(cause, _NOT_REACHED))
    return DeniedError(what, _HINTS[cause]) if cause is Cause.DENIED else StorageError(what, _HINTS[cause])


def short(text: str) -> str:
    """Return the first line of a client's error text: the others are for the client's developers."""
    first = text.strip().splitlines()[0] if text.strip() else "unknown error"
    return first if len(first) <= 300 else f"{first[:300]}…"
