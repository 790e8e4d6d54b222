"""What a terminal gets of a run: nothing that it obeys but the colours of a stage's own output."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from dvc_ray.cli.output import plain, texts
from dvc_ray.cli.output.choose import choose
from dvc_ray.cli.output.table import View
from dvc_ray.values.report import Notice, Output, Record, RunEvent, RunResult, StageReport
from dvc_ray.values.stage import StageState

EVIL = "\x1b]0;title\x07\x1b[2J\x1b[1Aok\u202e\x9b2J"
NAME = f"one{EVIL}"
FAILED = StageReport(address=NAME, state=StageState.FAILED, error=f"no {EVIL}", tail=(f"last {EVIL}",), log=EVIL)
EVENTS: list[RunEvent] = [
    StageReport(address=NAME, state=StageState.QUEUED, reason=EVIL),
    StageReport(address=NAME, state=StageState.QUEUED, waiting_for=EVIL),
    StageReport(address=NAME, state=StageState.RUNNING, node=EVIL),
    Output(address=NAME, attempt=1, text=f"{EVIL}\n10%\r100%\r\n\x1b[31mred\n"),
    Output(address=NAME, attempt=1, text="\x1b]0;ti"),
    Output(address=NAME, attempt=1, text="tle\x07the rest"),
    Notice(text=f"note {EVIL}"),
    Notice(text=f"warn {EVIL}", level="warning"),
    FAILED,
    RunResult(run_id="x", reports=(FAILED,), seconds=1.0),
]
OBEYED = ("\x1b]", "\x1b[2J", "\x1b[1A", "\x9b", "\x07")


def test_lines(capsys: pytest.CaptureFixture[str]) -> None:
    with choose(as_json=False) as (sink,):
        for number, event in enumerate(EVENTS):
            sink(Record(seq=number, time=0.0, event=event))
    out, err = capsys.readouterr()
    assert not [found for found in (*OBEYED, "\r") if found in out + err]
    assert out.count("\x1b") == 2
    assert " | \x1b[31mred\x1b[0m\n" in out
    assert " | 100%\n" in out
    assert " | the rest\n" in out
    assert "\u202e" not in "".join(line for line in out.splitlines() if " | " not in line)
    assert "one\\x1b]0;title\\x07\\x1b[2J\\x1b[1Aok\\u202e\\x9b2J: failed: no \\x1b]0;title" in out
    assert "warn \\x1b]0;title" in err


def test_json(capsys: pytest.CaptureFixture[str]) -> None:
    with choose(as_json=True) as (sink,):
        for number, event in enumerate(EVENTS):
            sink(Record(seq=number, time=0.0, event=event))
    out, _ = capsys.readouterr()
    assert out.replace("\n", "").isprintable()


def test_the_table() -> None:
    screen = io.StringIO()
    view = View()
    for event in EVENTS[:3]:
        assert isinstance(event, StageReport)
        view.take(event)
    for event in EVENTS[3:6]:
        assert isinstance(event, Output)
        view.take(event)
    Console(file=screen, force_terminal=True, color_system="standard", width=300, height=40).print(view)
    shown = screen.getvalue()
    assert not [found for found in OBEYED if found in shown]
    assert "one\\x1b]0;title" in shown
    assert "100%" in shown
    assert "\x1b[2;31mred" in shown


def test_a_log_is_named_as_it_is() -> None:
    assert texts.failure(FAILED)[-1] == f"  full log: {plain.one_line(EVIL)}"


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("plain", "plain"),
        ("ünï 日本 🙂", "ünï 日本 🙂"),
        ("a\tb", "a\tb"),
        ("\x1b[1;31mred\x1b[0m", "\x1b[1;31mred\x1b[0m"),
        ("\x1b[38:5:1mred\x1b[m", "\x1b[38:5:1mred\x1b[m"),
        ("\x1b[31mred", "\x1b[31mred\x1b[0m"),
        ("10%\r20%\r", "20%"),
        ("\x1b[2Kgone\x1b[1A", "gone"),
        ("\x1b[?25lhidden\x1b[?25h", "hidden"),
        ("\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x1b]52;c;c2VjcmV0\x07clip", "clip"),
        ("\x1bPq#0;2\x1b\\sixel", "sixel"),
        ("\x1b(0lines\x1bc", "lines"),
        ("\x9b2Jeight\x9d0;t\x9cbits", "eightbits"),
        ("back\x08\x08\x07\x00", "back"),
        ("\x1b", ""),
        ("\x1b[", ""),
        ("\x1b]0;never ended", ""),
    ],
)
def test_output_of_a_command(line: str, shown: str) -> None:
    assert plain.output(line) == shown
