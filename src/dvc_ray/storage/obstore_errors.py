"""Recognizes obstore's errors, as read in 0.12.1: there are few classes, so most causes are only in the text.

The text holds the server's answer (a code of S3 in XML), or the error of the HTTP client (reqwest, rustls).
`tests/test_storage_errors.py` provokes them.
"""

from __future__ import annotations

import re
from typing import Final

from dvc_ray.storage.messages import Cause, Failure

_CODE: Final = re.compile(r"<Code>(\w+)</Code>")
_CODES: Final = {
    "NoSuchBucket": Cause.NO_BUCKET,
    "SignatureDoesNotMatch": Cause.WRONG_SECRET,
    "InvalidAccessKeyId": Cause.UNKNOWN_KEY,
    "ExpiredToken": Cause.EXPIRED,
    "RequestTimeTooSkewed": Cause.WRONG_CLOCK,
    "AccessDenied": Cause.DENIED,
}
"""Codes of S3, https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html."""
_STATUS: Final = re.compile(r"status(?: code:)? ([1-5]\d\d) ")
"""Status of an error answer; a number alone may be that of a port. Answers to HEAD have nothing else."""
_OURS: Final = "retry_timeout"
"""One of our settings, which obstore names in each error; it does not mean that a time-out was reached."""
_TROUBLE: Final = frozenset({"500", "502", "503", "504"})
"""Statuses of a server or a proxy that may succeed later."""
_UNTRUSTED: Final = "InvalidCertificate("
_NETWORK: Final = {
    "dns error": Cause.NO_HOST,
    "refused": Cause.REFUSED,
    "unreachable": Cause.NO_ROUTE,
    "timed out": Cause.SILENT,
    "timeout": Cause.SILENT,
    "error sending request": Cause.UNREACHABLE,
}
"""Parts of messages in lower case; the first one that a message has decides."""
_NO_PART: Final = ("416 Range Not Satisfiable", "non-partial response")
"""Errors for a part of an empty object, which has no parts; some servers send the whole object instead."""


def failure(error: BaseException) -> Failure:
    """Return why a request has failed.

    Args:
        error: An error of obstore, ``FileNotFoundError``, or ``ValueError`` for a key that obstore does not take.
    """
    text = str(error)
    code = next(iter(_CODE.findall(text)), "")
    if cause := _CODES.get(code):
        return Failure(cause, text, code)
    if isinstance(error, FileNotFoundError):
        return Failure(Cause.MISSING, text)
    if status := _STATUS.search(text):
        return _answered(status[1], text)
    if _UNTRUSTED in text:
        return Failure(Cause.UNTRUSTED, text)
    lower = text.lower().replace(_OURS, "")
    return Failure(next((cause for mark, cause in _NETWORK.items() if mark in lower), Cause.OTHER), text)


def _answered(status: str, text: str) -> Failure:
    """Find the cause of an answer without a known code: only its status counts, not its text."""
    if status == "403":
        return Failure(Cause.DENIED, text, status)
    return Failure(Cause.FAILED, text, status) if status in _TROUBLE else Failure(Cause.OTHER, text)


def has_no_part(error: BaseException) -> bool:
    """Whether the error is that a part of an empty object, which has none, was requested."""
    text = str(error)
    return any(mark in text for mark in _NO_PART)
