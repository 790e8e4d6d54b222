"""What a run tells, for tests."""

from __future__ import annotations

from collections.abc import Callable

from dvc_ray.events import Sink
from dvc_ray.values.report import Record, RunEvent


def telling(tell: Callable[[RunEvent], object]) -> tuple[Sink, ...]:
    """Sinks of a run: one that hands on each event."""

    def sink(record: Record) -> None:
        tell(record.event)

    return (sink,)
