"""Whether an attempt may start beside those in flight: a pure decision.

Stages are considered in plan order. A name (`mutex`) or a place in a group (`max_parallel`) that an earlier stage waits
for is not given to a later one, so that later stages cannot keep it waiting for ever. CPUs are given to whatever fits:
keeping them free would leave them idle for as long as the longest stage in flight runs.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from dvc_ray.values.stage import StageSettings

_ANY: Final = 1 << 62


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What an attempt takes for as long as it is in flight."""

    group: str
    num_cpus: float = 1
    max_parallel: int | None = None
    mutex: tuple[str, ...] = ()

    @classmethod
    def of(cls, group: str, settings: StageSettings) -> Claim:
        """The claim of an attempt with these settings."""
        return cls(group=group, num_cpus=settings.num_cpus, max_parallel=settings.max_parallel, mutex=settings.mutex)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What all attempts together may take."""

    attempts: int
    """Attempts at the same time."""
    num_cpus: float | None
    """CPUs that there will ever be; None: more may come, so Ray is given all stages that are ready."""
    drivers: int
    """Attempts with no CPU of their own, which are Ray drivers themselves."""


@dataclass(slots=True)
class Reserved:
    """What is taken; a query takes the same time, however many claims there are."""

    attempts: int = 0
    num_cpus: float = 0
    drivers: int = 0
    names: set[str] = field(default_factory=set)
    places: dict[str, int] = field(default_factory=dict)
    """By group: number of places taken."""
    bounds: dict[str, int] = field(default_factory=dict)
    """The smallest `max_parallel` in each group."""

    @classmethod
    def by(cls, in_flight: Iterable[Claim]) -> Reserved:
        """What attempts in flight take."""
        taken = cls()
        for claim in in_flight:
            taken.start(claim)
        return taken

    def start(self, claim: Claim) -> None:
        """Add an attempt that is in flight."""
        self.attempts += 1
        self.num_cpus += claim.num_cpus
        self.drivers += not claim.num_cpus
        self.reserve(claim)

    def reserve(self, claim: Claim) -> None:
        """Reserve what a waiting stage needs, except CPUs, so that later stages do not get it."""
        self.names.update(claim.mutex)
        self.places[claim.group] = self.places.get(claim.group, 0) + 1
        self.bounds[claim.group] = _smaller(self.bounds.get(claim.group), claim.max_parallel)

    def leaves_free(self, claim: Claim) -> bool:
        """Whether the names that an attempt needs, and a place in its group, are free."""
        bound = _smaller(self.bounds.get(claim.group), claim.max_parallel)
        return self.names.isdisjoint(claim.mutex) and self.places.get(claim.group, 0) < bound


def is_full(taken: Reserved, limits: Limits) -> bool:
    """Decide whether no attempt may start, whatever it takes."""
    if taken.attempts >= limits.attempts:
        return True
    cpus = limits.num_cpus is not None and taken.num_cpus >= limits.num_cpus and bool(taken.attempts)
    return cpus and taken.drivers >= limits.drivers


def has_room(wanted: Claim, taken: Reserved, limits: Limits) -> bool:
    """Decide whether an attempt may start.

    Args:
        wanted: What it takes.
        taken: What those in flight take, and what those earlier in the plan wait for.
        limits: What all may take.
    """
    if taken.attempts >= limits.attempts or not taken.leaves_free(wanted):
        return False
    if not wanted.num_cpus:
        return taken.drivers < limits.drivers
    return limits.num_cpus is None or not taken.attempts or wanted.num_cpus + taken.num_cpus <= limits.num_cpus


def together(claims: Iterable[Claim]) -> int:
    """How many of these start at the same time if nothing else is short."""
    taken = Reserved()
    for claim in claims:
        if taken.leaves_free(claim):
            taken.start(claim)
        else:
            taken.reserve(claim)
    return taken.attempts


def _smaller(one: int | None, other: int | None) -> int:
    return min(one or _ANY, other or _ANY)
