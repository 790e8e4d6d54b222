"""Whether an attempt that did not succeed is tried again: a pure decision with a budget for each kind of end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from dvc_ray.values import Lost, StageResult, StageSettings, StageState

LOST_BUDGET: Final = 3
"""Workers a stage may lose; a dead worker is not the command's fault and does not use up `retries`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tries:
    """What a stage has used up so far."""

    failed: int = 0
    lost: int = 0


def again(end: StageResult | Lost, tries: Tries, settings: StageSettings) -> bool:
    """Decide whether a stage gets another attempt.

    Args:
        end: How the attempt ended; `tries` does not count it yet.
        tries: Attempts that ended badly before.
        settings: The stage's settings.
    """
    if isinstance(end, Lost):
        return tries.lost < LOST_BUDGET
    return end.state is StageState.FAILED and end.exit_code is not None and tries.failed < settings.retries


def count(end: StageResult | Lost, tries: Tries) -> Tries:
    """Add an attempt that ended badly."""
    if isinstance(end, Lost):
        return Tries(failed=tries.failed, lost=tries.lost + 1)
    return Tries(failed=tries.failed + 1, lost=tries.lost)
