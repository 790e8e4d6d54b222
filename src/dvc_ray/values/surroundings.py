"""What a command gets from whoever starts it, beside its environment."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """As far as somebody says what it is to be; None or empty: as it comes."""

    oom_score_adj: int | None = None
    nice: int | None = None
    umask: int | None = None
    ignored: tuple[int, ...] = ()
    """Signals."""
    blocked: tuple[int, ...] = ()
    """Signals."""
    limits: tuple[tuple[int, int, int], ...] = ()
    """Number, soft and hard limit, as `resource.setrlimit` takes them."""
    cpus: tuple[int, ...] = ()
    """Those it may run on."""
