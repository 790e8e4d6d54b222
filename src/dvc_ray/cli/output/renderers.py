"""Chooses how a run looks, and the two plain ways: lines of text, and lines of JSON."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout

from dvc_ray.cli.output import events, plain, texts
from dvc_ray.values.report import Notice, Output, Planned, RunEvent, RunResult, Saved, StageReport
from dvc_ray.values.stage import StageState

Listen = Callable[[RunEvent], None]


@contextmanager
def choose(*, as_json: bool, asking: bool = False, quiet: bool = False) -> Iterator[Listen]:
    """A listener for a run: JSON if asked for, a live table on a terminal, else one line an event.

    Args:
        as_json: Print JSON.
        quiet: Print only what goes wrong.
        asking: Questions are asked meanwhile, which a table would draw over.
    """
    if as_json:
        out = sys.stdout
        with redirect_stdout(sys.stderr):  # Ray prints of its own accord, when a part of it dies
            yield lambda event: print(events.dumps(event), file=out, flush=True)
    elif quiet:
        yield _print_trouble
    elif sys.stdout.isatty() and not asking:
        from dvc_ray.cli.output.table import live_table

        with live_table() as listen:
            yield listen
    else:
        lines = Lines()
        yield lines
        lines.flush()


def _print_trouble(event: RunEvent) -> None:
    if isinstance(event, Notice) and event.level == "warning":
        show_notice(event)
    elif isinstance(event, RunResult):
        show_failures(event)


class Lines:
    """One line an event; a stage's own output prefixed with its name."""

    def __init__(self) -> None:
        self._partial: dict[str, str] = {}

    def __call__(self, event: RunEvent) -> None:
        """Print an event."""
        if isinstance(event, Output):
            self._output(event)
        elif isinstance(event, StageReport):
            self._report(event)
        elif isinstance(event, Notice):
            show_notice(event)
        elif isinstance(event, RunResult):
            show_end(event)
        elif isinstance(event, Saved):
            show_saved(event)
        else:
            assert isinstance(event, Planned)  # noqa: S101
        sys.stdout.flush()

    def flush(self) -> None:
        """Print what had no line end."""
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
