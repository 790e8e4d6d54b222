"""Removes passwords, keys and signatures from the URLs in a text."""

from __future__ import annotations

import re
from typing import Final

_FLAGS: Final = re.IGNORECASE | re.ASCII
_WHO: Final = re.compile(
    # The user part ends at the last @ before the path. If the text after the colon is not a port, it begins a password
    # with a character that should have been written as %2F, %3F or %23: Git cannot use such a URL, but keeps it.
    r"([a-z][a-z0-9+.-]*://)([^/?#\s]*@|[^/:\[\s]+:(?!\d*(?:[/?#\s'\"]|$))\S*@)",
    _FLAGS,
)
_ALONE: Final = ("http://", "https://", "ftp://", "ftps://", "s3://", "webdav://", "webdavs://")
"""Schemes in which a user name without a password may be a token or a key."""
_QUERY: Final = re.compile(
    r"([?&;#](?:[\w.%+-]*(?:token|secret|passw|passphrase|credential|signature|auth|key)[\w.%+-]*|sig|pwd?|code)=)"
    r"[^&;#\s'\"<>)\]}]+",
    _FLAGS,
)
"""A parameter of a URL's query, also of a URL printed without its host: ``Max retries … with url: /x?sig=…``."""
_PAIR: Final = re.compile(
    r"(\b(?:AccountKey|SharedAccessKey|SharedAccessSignature|Signature)=|\bAuthorization['\"]?[:=] ?['\"]?\w+ )"
    r"[^;,\s'\"]+",
    _FLAGS,
)
"""A key in a connection string of Azure, or the value of a header."""
_HIDDEN: Final = r"\1***"


def public(text: str) -> str:
    """Remove passwords from the URLs in a text, and user names that may be tokens: not that of ``ssh://git@host``."""
    if "=" in text or "Authorization" in text:
        text = _PAIR.sub(_HIDDEN, _QUERY.sub(_HIDDEN, text))
    return _WHO.sub(_without, text) if "://" in text else text


def bare(text: bytes) -> bytes:
    """As `public`, for a text in any encoding that contains ASCII."""
    return public(text.decode("latin-1")).encode("latin-1")


def _without(found: re.Match[str]) -> str:
    scheme, who = found[1], found[2]
    name, colon, _ = who.partition(":")
    if scheme.lower().endswith(_ALONE):
        return scheme
    return scheme + (name + "@" if colon else who)
