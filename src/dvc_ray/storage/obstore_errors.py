"""What obstore's errors say, read in 0.12.1: beside a few classes of exceptions it tells causes in its messages only.

They hold the server's answer (a code of S3 in XML), or what its client of HTTP (reqwest, rustls) says.
`tests/test_storage_errors.py` has it say them.
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
"""Of S3, https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html."""
_STATUS: Final = re.compile(r"status(?: code:)? ([1-5]\d\d) ")
"""Of an answer that is an error; the number alone may be that of a port. Of HEAD there is nothing else."""
_OURS: Final = "retry_timeout"
"""One of our settings, which is said with each error, and is no time-out."""
_TROUBLE: Final = frozenset({"500", "502", "503", "504"})
"""What a server or a proxy says that may do better later."""
_UNTRUSTED: Final = "InvalidCertificate("
_NETWORK: Final = {
    "dns error": Cause.NO_HOST,
    "refused": Cause.REFUSED,
    "unreachable": Cause.NO_ROUTE,
    "timed out": Cause.SILENT,
    "timeout": Cause.SILENT,
    "error sending request": Cause.UNREACHABLE,
}
"""The first that is said, counts; lower case."""
_NO_PART: Final = ("416 Range Not Satisfiable", "non-partial response")
"""Said of a part of an empty object: it has none; some servers send what there is, as the whole."""


def failure(error: BaseException) -> Failure:
    """Why a request has failed.

    Args:
        error: obstore's, ``FileNotFoundError``, or ``ValueError`` for a key that it does not take.
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
    """Why, of an answer without a code that is known: then its status says it, and nothing in its text does."""
    if status == "403":
        return Failure(Cause.DENIED, text, status)
    return Failure(Cause.FAILED, text, status) if status in _TROUBLE else Failure(Cause.OTHER, text)


def has_no_part(error: BaseException) -> bool:
    """Whether a part of an object was asked for that has none, because it is empty."""
    text = str(error)
    return any(mark in text for mark in _NO_PART)
