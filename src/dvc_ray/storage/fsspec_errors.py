"""What errors of DVC's file systems say of the network: those of fsspec for S3, GCS, Azure, HTTP, SSH and others.

Each lets through what its own client raises (aiohttp 3.14, botocore 1.43, asyncssh 2.24), of no common class: what
they have in common is how the system's errors are called in their messages. `tests/test_storage_errors.py` has them
say it.
"""

from __future__ import annotations

from typing import Final

from dvc_ray.storage.messages import Cause

_UNTRUSTED: Final = "CERTIFICATE_VERIFY_FAILED"
"""OpenSSL's, in whatever ``ssl.SSLError`` is wrapped."""
_NETWORK: Final = {
    "refused": Cause.REFUSED,
    "unreachable": Cause.NO_ROUTE,
    "timed out": Cause.SILENT,
    "timeout": Cause.SILENT,
    "cannot connect to host": Cause.UNREACHABLE,  # aiohttp
    "could not connect": Cause.UNREACHABLE,  # botocore
    "connect call failed": Cause.UNREACHABLE,  # asyncio
}
"""The first that is said, counts; lower case."""


def cause(text: str) -> Cause:
    """Why a store has not been reached; ``Cause.OTHER`` if that is not the reason.

    Args:
        text: Of the error, or the name of its class where it has none.
    """
    if _UNTRUSTED in text:
        return Cause.UNTRUSTED
    lower = text.lower()
    return next((found for mark, found in _NETWORK.items() if mark in lower), Cause.OTHER)
