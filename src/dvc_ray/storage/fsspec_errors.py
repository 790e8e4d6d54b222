"""Recognizes network errors of DVC's file systems, those of fsspec for S3, GCS, Azure, HTTP, SSH and others.

Each passes on the errors of its own client (aiohttp 3.14, botocore 1.43, asyncssh 2.24), which have no common class:
what they have in common are the names of system errors in their messages. `tests/test_storage_errors.py` provokes
them.
"""

from __future__ import annotations

from typing import Final

from dvc_ray.storage.messages import Cause

_UNTRUSTED: Final = "CERTIFICATE_VERIFY_FAILED"
"""OpenSSL's name of the error, whichever error wraps the ``ssl.SSLError``."""
_NETWORK: Final = {
    "refused": Cause.REFUSED,
    "unreachable": Cause.NO_ROUTE,
    "timed out": Cause.SILENT,
    "timeout": Cause.SILENT,
    "cannot connect to host": Cause.UNREACHABLE,  # aiohttp
    "could not connect": Cause.UNREACHABLE,  # botocore
    "connect call failed": Cause.UNREACHABLE,  # asyncio
}
"""Parts of messages in lower case; the first one that a message has decides."""


def cause(text: str) -> Cause:
    """Return why a store was not reached; ``Cause.OTHER`` if the error has another reason.

    Args:
        text: Text of the error, or the name of its class if it has no text.
    """
    if _UNTRUSTED in text:
        return Cause.UNTRUSTED
    lower = text.lower()
    return next((found for mark, found in _NETWORK.items() if mark in lower), Cause.OTHER)
