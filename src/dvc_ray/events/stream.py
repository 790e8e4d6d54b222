"""The events of a run as one stream, and its readers: a table, lines, ``--json``, the file in the run's directory."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import ClassVar, Protocol, runtime_checkable

from dvc_ray.values.report import Notice, Record, RunEvent

Listener = Callable[[RunEvent], None]
"""Takes the events that the parts of a run report."""


class Sink(Protocol):
    """Reads the events of a run.

    It is called in order, in the thread that drives the run, so it must not block. If it raises, it is not called
    again and the run goes on.
    """

    def __call__(self, record: Record, /) -> object:
        """Take an event.

        Raises:
            ReaderGoneError: Nobody reads what the sink writes any more, so the run must end.
        """


@runtime_checkable
class Ticking(Protocol):
    """A sink that also shows how time passes."""

    def tick(self) -> object:
        """Show it; called several times a second."""


class ReaderGoneError(BrokenPipeError):
    """Nobody reads the output of the command any more: the command ends, as other programs do by SIGPIPE."""

    exit_code: ClassVar[int] = 128 + signal.SIGPIPE


class Stream:
    """Numbers the events of a run and hands them to sinks.

    Args:
        sinks: Called with each event. A sink that raises is not called again, and the others get a notice of it.
    """

    def __init__(self, sinks: Iterable[Sink]) -> None:
        self._sinks = list(sinks)
        self._count = 0
        self._early: list[Record] | None = []
        """Events so far, for the sink that is added when the run has begun; None after that."""

    def __call__(self, event: RunEvent, *, only: Sink | None = None) -> None:
        """Hand an event to all sinks.

        Args:
            event: What has happened.
            only: The only sink to hand it to, unless that has been removed.

        Raises:
            ReaderGoneError: A sink has raised it.
        """
        record = Record(seq=self._count, time=time.time(), event=event)
        self._count += 1
        if self._early is not None:
            self._early.append(record)
        self._hand([record], [sink for sink in self._sinks if only is None or sink is only])

    def tick(self) -> None:
        """Have sinks show that time has passed.

        Raises:
            ReaderGoneError: As one of them.
        """
        self._call([(sink, sink.tick) for sink in self._sinks if isinstance(sink, Ticking)])

    def add(self, sink: Sink) -> None:
        """Add the last sink, which gets all events from the first on."""
        early, self._early = self._early or [], None
        self._sinks.append(sink)
        self._hand(early, [sink])

    def remove(self, sink: Sink) -> None:
        """Stop calling a sink."""
        self._sinks = [each for each in self._sinks if each is not sink]

    def _hand(self, records: Sequence[Record], sinks: Iterable[Sink]) -> None:
        self._call([(sink, partial(_hand_all, sink, records)) for sink in sinks])

    def _call(self, calls: Iterable[tuple[Sink, Callable[[], object]]]) -> None:
        failed = []
        for sink, call in calls:
            try:
                call()
            except ReaderGoneError:
                self.remove(sink)  # events while the run ends must not fail for the same reason
                raise
            except Exception as error:  # noqa: BLE001  a reader that fails must not end the run
                self.remove(sink)
                failed.append(error)
        for each in failed:  # after all sinks have had the event
            why = f"{type(each).__name__}: {each}"
            text = f"an output of this run failed and is not written any more; the run goes on: {why}"
            self(Notice(text=text, level="warning"))


def _hand_all(sink: Sink, records: Sequence[Record]) -> None:
    for record in records:
        sink(record)
