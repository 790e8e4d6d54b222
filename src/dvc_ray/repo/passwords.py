"""Text of a Git repository without the passwords that stand in it."""

from __future__ import annotations

import re
from typing import Final

_WHO: Final = re.compile(
    # Who is asked ends at the last @ before the path. Where what follows the colon is no port, it is the beginning of
    # a password with a sign that should have been written as %2F, %3F or %23: Git cannot use such a URL, but keeps it.
    rb"([a-z][a-z0-9+.-]*://)([^/?#\s]*@|[^/:\[\s]+:(?!\d*(?:[/?#\s]|$))\S*@)",
    re.IGNORECASE,
)
_ALONE: Final = (b"http://", b"https://", b"ftp://", b"ftps://")
"""Where a name without a password may be a token."""
_NAMES: Final = re.compile(r"token|secret|passw|credential")


def hidden(text: bytes) -> bytes:
    """Take passwords out of the URLs in a text; the name too where it may be one: not of ``ssh://git@host``."""
    return _WHO.sub(_public, text)


def _public(found: re.Match[bytes]) -> bytes:
    scheme, who = found[1], found[2]
    name, colon, _ = who.partition(b":")
    if scheme.lower().endswith(_ALONE):
        return scheme
    return scheme + (name + b"@" if colon else who)


def named(key: str) -> bool:
    """Whether a setting is called like a secret, as the ``user.password`` that some write down."""
    return _NAMES.search(key) is not None
