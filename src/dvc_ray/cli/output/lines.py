"""A run as lines of text, and the texts that all renderings share for a notice, an experiment and the end."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import assert_never

from dvc_ray.cli.output import plain, texts
from dvc_ray.events import Sink
from dvc_ray.values.report import Notice, Output, Planned, Record, RunError, RunResult, Saved, StageReport
from dvc_ray.values.stage import StageState


@contextmanager
def printer() -> Iterator[Sink]:
    """A sink that prints each event."""
    lines = Lines()
    yield lines
    lines.flush()


class Lines:
    """Prints one line per event, and a stage's own output prefixed with its name."""

    def __init__(self) -> None:
        self._partial: dict[str, str] = {}

    def __call__(self, record: Record) -> None:
        """Print an event."""
        match record.event:
            case Output() as event:
                self._output(event)
            case StageReport() as event:
                self._report(event)
            case Notice() as event:
                show_notice(event)
            case RunResult() as event:
                show_end(event)
            case Saved() as event:
                show_saved(event)
            case Planned() | RunError():  # each stage reports itself; the command line prints the error
                pass
            case _ as never:
                assert_never(never)
        sys.stdout.flush()

    def flush(self) -> None:
        """Print output that has no line end yet."""
        for address in list(self._partial):
            self._flush(address)

    def _output(self, event: Output) -> None:
        *whole, rest = (self._partial.pop(event.address, "") + event.text).split("\n")
        for line in whole:
            print(f"{plain.one_line(event.address)} | {plain.output(line)}")
        if rest:
            self._partial[event.address] = rest

    def _report(self, report: StageReport) -> None:
        if report.state.is_terminal:
            self._flush(report.address)
        if report.state not in {StageState.WAITING, StageState.UNCHANGED}:
            print(plain.lines(texts.line(report)))

    def _flush(self, address: str) -> None:
        rest = self._partial.pop(address, "")
        if rest:
            print(f"{plain.one_line(address)} | {plain.output(rest)}")


def show_trouble(record: Record) -> None:
    """Print an event only if it is something that went wrong."""
    match record.event:
        case Notice(level="warning") as notice:
            show_notice(notice)
        case RunResult() as result:
            show_failures(result)


def show_notice(notice: Notice) -> None:
    """Print a notice."""
    warning = notice.level == "warning"
    text = plain.lines(notice.text)
    print(f"WARNING: {text}" if warning else text, file=sys.stderr if warning else sys.stdout)


def show_saved(saved: Saved) -> None:
    """Print what became of an experiment, in DVC's words (``Experiments._log_reproduced``)."""
    print(f"\nRan experiment(s): {saved.name}")
    if saved.applied:
        print("Experiment results have been applied to your workspace.")
        return
    if not saved.temporary:
        print(plain.lines(f"They have not been applied to your workspace: {saved.why}."))
    print(f"To apply the results of an experiment to your workspace run:\n\n\tdvc exp apply {saved.name}")


def show_failures(result: RunResult) -> None:
    """Print which stages failed, and why."""
    for report in result.failed:
        print("\n".join(texts.failure(report)), file=sys.stderr)


def show_end(result: RunResult) -> None:
    """Print how a run ended."""
    show_failures(result)
    print("\n".join(texts.summary(result)))
