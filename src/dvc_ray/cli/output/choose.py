"""Chooses how a run looks: a table on a terminal, lines of text, lines of JSON."""

from __future__ import annotations

import contextlib
import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from dvc_ray.cli import streams
from dvc_ray.cli.output import lines, plain
from dvc_ray.events import ReaderGoneError, Sink, Ticking
from dvc_ray.values.report import Planned, Record


@contextmanager
def choose(*, as_json: bool, asking: bool = False, quiet: bool = False) -> Iterator[tuple[Sink, ...]]:
    """Choose the sink that shows a run: JSON if requested, a live table on a terminal, otherwise one line per event.

    Args:
        as_json: Print JSON.
        quiet: Print only what goes wrong.
        asking: Whether questions are asked meanwhile, which a table would draw over.
    """
    output = sys.stdout  # the sinks' context managers may replace it
    with _chosen(as_json=as_json, asking=asking, quiet=quiet) as sink:
        yield (_Shown(sink, output),)


class _Shown:
    """A sink that says so if nothing more can be shown.

    Args:
        sink: What shows the run.
        output: Where that leads.
    """

    def __init__(self, sink: Sink, output: TextIO) -> None:
        self._sink = sink
        self._output = output

    def __call__(self, record: Record) -> None:
        """Show an event."""
        if isinstance(record.event, Planned):
            gc.freeze()  # else the first look would be through all of what was loaded
            gc.enable()
        with self._said():
            self._sink(record)

    def tick(self) -> None:
        """Show that time has passed, if that is to be seen."""
        if isinstance(self._sink, Ticking):
            with self._said():
                self._sink.tick()

    @contextmanager
    def _said(self) -> Iterator[None]:
        try:
            yield
        except BrokenPipeError as error:
            raise ReaderGoneError(*error.args) from error
        except Exception as error:
            _give_up(error)
            if isinstance(error, OSError):
                with contextlib.suppress(OSError):
                    streams.flush_nowhere(self._output)
            raise


@contextmanager
def _chosen(*, as_json: bool, asking: bool, quiet: bool) -> Iterator[Sink]:
    if as_json:
        from dvc_ray.cli.output import json_lines  # most runs need neither this module nor the wire format

        with json_lines.printer() as sink:
            yield sink
    elif quiet:
        yield lines.show_trouble
    elif sys.stdout.isatty() and not asking:
        from dvc_ray.cli.output.table import live_table

        with live_table() as sink:
            yield sink
    else:
        with lines.printer() as sink:
            yield sink


def _give_up(error: Exception) -> None:
    """Say that the run is not shown any more, on the original stderr, as a table replaces `sys.stderr`."""
    why = getattr(error, "strerror", None) or f"{type(error).__name__}: {error}"
    text = f"WARNING: nothing more of this run can be shown here: {why}; it goes on"
    with contextlib.suppress(OSError):
        print(plain.lines(text), file=sys.__stderr__ or sys.stderr)
