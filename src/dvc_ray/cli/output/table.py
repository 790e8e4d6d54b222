"""A run on a terminal: a table that is kept up to date, with the last lines of output."""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, assert_never

from dvc_ray.cli.output import lines, plain, texts
from dvc_ray.events import Sink
from dvc_ray.values.report import Notice, Output, Planned, Record, RunError, RunResult, Saved, StageReport
from dvc_ray.values.stage import StageState

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult
    from rich.live import Live
    from rich.table import Table

_TAIL: Final = 8
_REFRESH_EVERY: Final = 0.2
"""Seconds."""
_STYLES: Final = {
    StageState.RUNNING: "bold cyan",
    StageState.DONE: "green",
    StageState.CACHED: "green",
    StageState.UNCHANGED: "dim",
    StageState.FAILED: "bold red",
    StageState.STOPPED: "yellow",
    StageState.BLOCKED: "yellow",
}


@contextmanager
def live_table() -> Iterator[Sink]:
    """A sink that draws on the terminal until the block ends."""
    from rich.console import Console
    from rich.live import Live

    view = View()
    console = Console()
    # Without rich's thread: a process with threads cannot be forked safely, and workers are (`dvc_ray.forking`).
    with Live(view, console=console, auto_refresh=False) as live:
        yield Screen(view, live)


class Screen:
    """Passes events to the view, and prints above it what should stay."""

    def __init__(self, view: View, live: Live) -> None:
        self._view = view
        self._live = live
        self._due = 0.0

    def tick(self) -> None:
        """Draw anew, a few times a second: what runs has run for longer."""
        if (now := time.monotonic()) >= self._due:
            self._due = now + _REFRESH_EVERY
            self._live.refresh()

    def __call__(self, record: Record) -> None:
        """Show an event."""
        match record.event:
            case (StageReport() | Output()) as event:
                self._view.take(event)
                self.tick()
            case Notice() as event:
                text = plain.lines(event.text)
                self._live.console.print(f"WARNING: {text}" if event.level == "warning" else text, markup=False)
            case Saved() as event:
                lines.show_saved(event)
            case RunResult() as event:
                self._view.end()
                self._live.refresh()
                self._live.stop()
                sys.stdout.flush()
                lines.show_end(event)
            case Planned() | RunError():  # each stage reports itself; the command line prints the error
                pass
            case _ as never:
                assert_never(never)


class View:
    """What is on the screen now; rich draws it."""

    def __init__(self) -> None:
        self._reports: dict[str, StageReport] = {}
        self._begun: dict[str, float] = {}
        self._tail: deque[str] = deque(maxlen=_TAIL)
        self._ended = False

    def take(self, event: StageReport | Output) -> None:
        """Take an event in."""
        if isinstance(event, StageReport):
            self._reports[event.address] = event
            if event.state is StageState.RUNNING or (event.state is StageState.QUEUED and not event.waiting_for):
                self._begun[event.address] = time.monotonic()
        else:
            printed = [plain.output(line) for line in event.text.rstrip().split("\n")]
            self._tail.extend(f"{plain.one_line(event.address)} | {line}" for line in printed if line.strip())

    def end(self) -> None:
        """Draw all stages, and no tail, from now on."""
        self._ended = True
        self._tail.clear()

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw."""
        from rich.text import Text

        room = (options.height or console.height) - len(self._tail) - 4
        yield self._table(max(room, 3))
        for line in self._tail:
            yield Text.from_ansi(line, style="dim", no_wrap=True, overflow="ellipsis")

    def _table(self, room: int) -> Table:
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, pad_edge=False, header_style="dim")
        for heading in ("stage", "state", "where", "time", "reason"):
            table.add_column(heading, overflow="ellipsis", no_wrap=True)
        shown = list(self._reports.values()) if self._ended else self._most_important(room)
        for report in shown:
            why = report.error or (f"waiting for {report.waiting_for}" if report.waiting_for else report.reason)
            table.add_row(
                Text(plain.one_line(report.address)),
                Text(f"{texts.SYMBOLS[report.state]} {report.state.value}", style=_STYLES.get(report.state, "")),
                Text(plain.one_line(report.node)),
                Text(self._time(report)),
                Text(plain.one_line(why)),
            )
        if len(shown) < len(self._reports):
            table.add_row(Text(f"… and {len(self._reports) - len(shown)} more", style="dim"))
        return table

    def _most_important(self, room: int) -> list[StageReport]:
        """Choose as many stages as fit, preferably those that run or have failed, in plan order."""
        reports = list(self._reports.values())
        rank = {StageState.RUNNING: 0, StageState.FAILED: 0, StageState.QUEUED: 1, StageState.WAITING: 2}
        chosen = sorted(range(len(reports)), key=lambda place: (rank.get(reports[place].state, 3), place))[:room]
        return [reports[place] for place in sorted(chosen)]

    def _time(self, report: StageReport) -> str:
        if report.state is StageState.RUNNING or report.waiting_for:
            return texts.duration(time.monotonic() - self._begun.get(report.address, time.monotonic()))
        return texts.duration(report.seconds) if report.seconds else ""
