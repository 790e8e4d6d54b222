"""How long a store may keep us waiting."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a store may keep us waiting, in seconds."""

    connect: float
    silence: float
    """For the server to say something; to what is sent, when it has it all: a part (`s3.PART`) at most."""
    request: float
    """For one request, as long as the server says something."""
    total: float
    """For a request and its repetitions."""
    retries: int


QUICK: Final = Patience(connect=2, silence=4, request=4, total=5, retries=1)
"""To find out whether a store works."""
PATIENT: Final = Patience(connect=10, silence=120, request=3600, total=180, retries=10_000)
"""To get work done, over an outage of a minute or two; the time is the bound, thirty retries are over in 15 s."""
