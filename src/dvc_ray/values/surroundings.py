"""Process attributes that a command inherits from whoever starts it, besides its environment."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """Attributes to set; None or empty: left as inherited."""

    oom_score_adj: int | None = None
    nice: int | None = None
    umask: int | None = None
    ignored: tuple[int, ...] = ()
    """Numbers of ignored signals."""
    blocked: tuple[int, ...] = ()
    """Numbers of blocked signals."""
    limits: tuple[tuple[int, int, int], ...] = ()
    """Number, soft and hard limit, as `resource.setrlimit` takes them."""
    cpus: tuple[int, ...] = ()
    """CPUs that the command may run on."""
