"""How long to wait for a store."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to wait for a store, in seconds."""

    connect: float
    silence: float
    """Without a byte from the server; it answers only when it has all that was sent, a part (`s3.PART`) at most."""
    request: float
    """For one request, as long as the server keeps sending."""
    total: float
    """For a request and its repetitions."""
    retries: int


QUICK: Final = Patience(connect=2, silence=4, request=4, total=5, retries=1)
"""For testing whether a store works."""
PATIENT: Final = Patience(connect=10, silence=120, request=3600, total=180, retries=10_000)
"""For work that must survive an outage of a minute or two; `total` is the limit, as thirty retries end in 15 s."""
