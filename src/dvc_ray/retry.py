"""Whether an attempt that did not succeed is tried again, when, and with what: pure decisions."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from dvc_ray.values.stage import StageSettings, StageState
from dvc_ray.values.task import Lost, StageResult

_HEALING: Final = 3.0
"""Seconds for a network to heal before the second attempt of a stage; before the third, twice as many."""
LOST_BUDGET: Final = 3
"""Workers a stage may lose; a dead worker is not the command's fault and does not use up `retries`."""
_OUT_OF_MEMORY: Final = 137
"""What a worker ended by Ray's memory monitor counts as: as if the kernel had killed the command."""
_SIGNALS: Final = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class Tries:
    """What a stage has used up so far."""

    failed: int = 0
    lost: int = 0


def again(end: StageResult | Lost, tries: Tries, settings: StageSettings) -> float | None:
    """Decide whether a stage gets another attempt.

    Args:
        end: How the attempt ended; `tries` does not count it yet.
        tries: Attempts that ended badly before.
        settings: The stage's settings.

    Returns:
        Seconds to wait before it; None: there is none.
    """
    if _is_the_nodes_fault(end):
        delay = _HEALING * (tries.lost + 1) if isinstance(end, StageResult) else 0.0
        return delay if tries.lost < LOST_BUDGET else None
    if tries.failed >= settings.retries.max or not _counts(end, settings):
        return None
    return settings.retries.delay * (tries.failed + 1 if settings.retries.delay_grows else 1)


def count(end: StageResult | Lost, tries: Tries) -> Tries:
    """Add an attempt that ended badly."""
    if _is_the_nodes_fault(end):
        return replace(tries, lost=tries.lost + 1)
    return replace(tries, failed=tries.failed + 1)


def _is_the_nodes_fault(end: StageResult | Lost) -> bool:
    """Not where it ran out of memory, nor where the same runtime_env would mostly fail again."""
    return not (end.out_of_memory or end.no_environment) if isinstance(end, Lost) else end.unreachable


def grown(settings: StageSettings, tries: Tries) -> StageSettings:
    """What the next attempt asks for; a worker that was lost makes it no larger."""
    number = tries.failed + 1

    def times(name: str) -> int:
        return number if name in settings.grows else 1

    return replace(
        settings,
        num_cpus=settings.num_cpus * times("num_cpus"),
        num_gpus=settings.num_gpus * times("num_gpus"),
        memory=None if settings.memory is None else settings.memory * times("memory"),
    )


def largest(settings: StageSettings) -> StageSettings:
    """What the last attempt that `retries` allows asks for."""
    return grown(settings, Tries(failed=settings.retries.max))


def _counts(end: StageResult | Lost, settings: StageSettings) -> bool:
    """Whether `retries` is about such an end."""
    wanted = settings.retries.exit_codes
    if isinstance(end, Lost):
        return wanted is None or (end.out_of_memory and _OUT_OF_MEMORY in map(_as_shell, wanted))
    if end.state is not StageState.FAILED:
        return False
    if end.timed_out:
        return settings.retries.timeout
    if not end.exit_code:  # the command ran well, its result is refused: the same would come of it again, or worse
        return False
    return wanted is None or _as_shell(end.exit_code) in map(_as_shell, wanted)


def _as_shell(code: int) -> int:
    """An exit code as a shell tells it: a command may be the shell itself, or run under one that reports the signal."""
    return _SIGNALS - code if code < 0 else code
