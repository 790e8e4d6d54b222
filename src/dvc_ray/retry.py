"""Whether an attempt that did not succeed is retried, when, and with which resources: pure decisions."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from dvc_ray.values.stage import StageSettings, StageState
from dvc_ray.values.task import Lost, StageResult

_HEALING: Final = 3.0
"""Seconds that a network gets to recover before a stage's second attempt; before the third, twice as many."""
LOST_BUDGET: Final = 3
"""Workers a stage may lose; a dead worker is not the command's fault and does not use up `retries`."""
_OUT_OF_MEMORY: Final = 137
"""Exit code for a worker that Ray's memory monitor has ended: as if the kernel had killed the command."""
_SIGNALS: Final = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class Tries:
    """Failed attempts and lost workers of a stage so far."""

    failed: int = 0
    lost: int = 0


def again(end: StageResult | Lost, tries: Tries, settings: StageSettings) -> float | None:
    """Decide whether a stage gets another attempt.

    Args:
        end: How the attempt ended; `tries` does not count it yet.
        tries: Earlier attempts that did not succeed.
        settings: The stage's settings.

    Returns:
        Seconds to wait before the next attempt; None: there is none.
    """
    if _is_the_nodes_fault(end):
        delay = _HEALING * (tries.lost + 1) if isinstance(end, StageResult) else 0.0
        return delay if tries.lost < LOST_BUDGET else None
    if tries.failed >= settings.retries.max or not _counts(end, settings):
        return None
    return settings.retries.delay * (tries.failed + 1 if settings.retries.delay_grows else 1)


def count(end: StageResult | Lost, tries: Tries) -> Tries:
    """Count an attempt that did not succeed."""
    if _is_the_nodes_fault(end):
        return replace(tries, lost=tries.lost + 1)
    return replace(tries, failed=tries.failed + 1)


def _is_the_nodes_fault(end: StageResult | Lost) -> bool:
    """Whether the node is to blame: not if memory ran out, nor if a runtime_env failed, which mostly fails again."""
    return not (end.out_of_memory or end.no_environment) if isinstance(end, Lost) else end.unreachable


def grown(settings: StageSettings, tries: Tries) -> StageSettings:
    """Return the settings of the next attempt; a lost worker does not increase its resources."""
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
    """Return the settings of the last attempt that `retries` allows."""
    return grown(settings, Tries(failed=settings.retries.max))


def _counts(end: StageResult | Lost, settings: StageSettings) -> bool:
    """Whether `retries` covers an attempt that ended like this."""
    wanted = settings.retries.exit_codes
    if isinstance(end, Lost):
        return wanted is None or (end.out_of_memory and _OUT_OF_MEMORY in map(_as_shell, wanted))
    if end.state is not StageState.FAILED:
        return False
    if end.timed_out:
        return settings.retries.timeout
    if not end.exit_code:  # the command succeeded but its result was refused: a retry would end the same way, or worse
        return False
    return wanted is None or _as_shell(end.exit_code) in map(_as_shell, wanted)


def _as_shell(code: int) -> int:
    """Return an exit code as a shell reports it, 137 for -9: a command may be the shell itself, or run under one."""
    return _SIGNALS - code if code < 0 else code
