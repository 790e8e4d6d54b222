"""The stream of a run's events: its format, the file that keeps it, and what reads it."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dvc_ray import api
from dvc_ray.cli.commands import running
from dvc_ray.cli.output.choose import choose
from dvc_ray.errors import IN_CAUSE, ClusterError
from dvc_ray.events import ReaderGoneError, Sink, Stream
from dvc_ray.events.log import EventLog, keep, read
from dvc_ray.executors.local import LocalExecutor
from dvc_ray.redact import Mask
from dvc_ray.values import wire
from dvc_ray.values.report import Notice, Output, Planned, Record, RunError, RunEvent, RunResult, Saved, StageReport
from dvc_ray.values.run import OnError, RunRequest
from dvc_ray.values.stage import Action, Plan, StageKind, StageSettings, StageSpec, StageState, Step, Unseen
from tests.helpers import stock
from tests.helpers.projects import Make
from tests.helpers.runs import Locally

TWO = """
stages:
  one: {cmd: 'echo hello; cp in.txt one.txt', deps: [in.txt], outs: [one.txt]}
  two: {cmd: 'cp one.txt two.txt; test "$(cat in.txt)" = in', deps: [one.txt, in.txt], outs: [two.txt]}
"""

texts = st.text(max_size=20)
many = st.lists(texts, max_size=3).map(tuple)
amounts = st.integers(0, 8).map(lambda number: number / 4)
pairs = st.dictionaries(texts, texts, max_size=2).map(lambda found: tuple(found.items()))
settings = st.builds(
    StageSettings,
    num_cpus=amounts,
    num_gpus=amounts,
    memory=st.none() | st.integers(1),
    grows=many,
    resources=st.dictionaries(texts, amounts, max_size=2).map(lambda found: tuple(found.items())),
    accelerator_type=st.none() | texts,
    label_selector=pairs,
    max_parallel=st.none() | st.integers(1),
    mutex=many,
)
specs = st.builds(
    StageSpec,
    address=texts,
    kind=st.sampled_from(StageKind),
    cmd=many,
    upstream=many,
    after=many,
    untracked=many,
    settings=settings,
    group=texts,
)
steps = st.builds(
    Step, spec=specs, action=st.sampled_from(Action), reasons=many, wave=st.integers(0), judged=st.booleans()
)
plans = st.builds(
    Plan,
    steps=st.lists(steps, max_size=3).map(tuple),
    unseen=st.lists(
        st.builds(Unseen, path=texts, is_environment=st.booleans(), is_secret=st.booleans()), max_size=2
    ).map(tuple),
    untracked=many,
)
reports = st.builds(
    StageReport,
    address=st.text(min_size=1),
    state=st.sampled_from(StageState),
    reason=texts,
    waiting_for=texts,
    node=texts,
    seconds=amounts,
    exit_code=st.none() | st.integers(-64, -1) | st.integers(1, 255),
    error=texts,
    log=texts,
    tail=many,
    exception=st.none(),
)
EVENTS: dict[type[RunEvent], st.SearchStrategy[RunEvent]] = {
    Planned: st.builds(Planned, run_id=texts, plan=plans),
    StageReport: reports,
    Output: st.builds(Output, address=texts, attempt=st.integers(1), text=texts),
    Notice: st.builds(Notice, text=texts, level=st.sampled_from(["info", "warning"])),
    RunResult: st.builds(
        RunResult,
        run_id=texts,
        reports=st.lists(reports, max_size=3).map(tuple),
        seconds=amounts,
        in_remote=st.booleans(),
        pulled=st.booleans(),
        ignores_errors=st.booleans(),
    ),
    Saved: st.builds(Saved, name=texts, rev=texts, applied=st.booleans(), why=texts),
    RunError: st.builds(RunError, kind=texts, what=texts, hint=texts, exit_code=st.integers(0, 255)),
}


@given(st.builds(Record, seq=st.integers(0), time=st.integers(0, 1 << 40), event=st.one_of(*EVENTS.values())))
def test_round_trip(record: Record) -> None:
    assert wire.decode(json.loads(json.dumps(wire.encode(record)))) == record


def test_every_event_has_its_kind() -> None:
    assert {kind.made_of for kind in wire.KINDS} == set(EVENTS) == set(RunEvent.__args__)
    assert len({kind.name for kind in wire.KINDS}) == len(EVENTS)


FAILED = StageReport(
    address="a", state=StageState.FAILED, seconds=1.23456, exit_code=3, error="e", log="l", tail=("t",)
)
IN_JSON = {"stage": "a", "state": "failed", "seconds": 1.235, "exit_code": 3, "error": "e", "log": "l", "tail": ["t"]}
SPEC = StageSpec(address="a", kind=StageKind.COMMAND, cmd=("curl https://me:pw@host/",), upstream=("b",))
ASKED = dict.fromkeys(("memory", "accelerator_type", "max_parallel")) | {
    "num_cpus": 1,
    "num_gpus": 0,
    "resources": {},
    "grows": [],
    "label_selector": {},
    "mutex": [],
}
STEP = {
    "stage": "a",
    "action": "run",
    "reasons": ["r"],
    "wave": 1,
    "kind": "command",
    "cmd": ["curl https://host/"],
    "upstream": ["b"],
    "untracked": [],
    "resources": ASKED,
}
PLAN = Plan(steps=(Step(spec=SPEC, action=Action.RUN, reasons=("r",), wave=1),), unseen=(Unseen(path="p"),))
UNSEEN = [{"path": "p", "environment": False, "secret": False}]


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (Planned(run_id="r", plan=PLAN), {"event": "plan", "run": "r", "stages": [STEP], "unseen": UNSEEN}),
        (FAILED, {"event": "stage", **IN_JSON}),
        (Output(address="a", attempt=1, text="x\n"), {"event": "output", "stage": "a", "attempt": 1, "text": "x\n"}),
        (Notice(text="n"), {"event": "notice", "level": "info", "text": "n"}),
        (
            RunResult(run_id="r", reports=(FAILED,), seconds=2.0),
            {"event": "end", "run": "r", "ok": False, "seconds": 2.0, "stages": [IN_JSON]},
        ),
        (
            Saved(name="n", rev="r", applied=True),
            {"event": "experiment", "name": "n", "rev": "r", "applied": True, "why": ""},
        ),
        (
            Saved(name="n", rev="r", applied=False, why="--temp", temporary=True),
            {"event": "experiment", "name": "n", "rev": "r", "applied": False, "why": "--temp"},
        ),
        (
            RunError(kind="ConfigError", what="w", exit_code=251),
            {"event": "error", "kind": "ConfigError", "what": "w", "hint": "", "exit_code": 251},
        ),
    ],
    ids=lambda value: value["event"] if isinstance(value, dict) else "",
)
def test_what_is_on_the_wire(event: RunEvent, expected: dict[str, Any]) -> None:
    """It is public: nothing of it may change but by a new version of the format."""
    assert wire.encode_event(event) == {"version": 1, **expected}
    assert wire.encode(Record(seq=7, time=1.5, event=event)) == {"version": 1, "seq": 7, "time": 1.5, **expected}


def test_that_an_experiment_was_to_stay_aside_is_read_back() -> None:
    saved = Saved(name="n", rev="r", applied=False, why="--temp", temporary=True)
    assert wire.decode(wire.encode(Record(seq=0, time=1.0, event=saved))) == Record(seq=0, time=1.0, event=saved)


NOTICE = wire.encode(Record(seq=0, time=1.0, event=Notice(text="n")))
STAGE = wire.encode(Record(seq=0, time=1.0, event=FAILED))


def test_what_a_later_version_has_written() -> None:
    assert wire.decode({**NOTICE, "colour": "blue"}) == Record(seq=0, time=1.0, event=Notice(text="n"))
    assert wire.decode({**NOTICE, "event": "weather", "text": 3}) is None
    assert wire.decode({**STAGE, "state": "dreaming"}) is None
    assert wire.decode({**NOTICE, "version": 2}) is None


@pytest.mark.parametrize(
    "fields", [{}, {"event": "notice"}, {**NOTICE, "version": "x"}, {**STAGE, "tail": 3}, [], None]
)
def test_what_is_no_event(fields: Any) -> None:
    with pytest.raises(ValueError, match="no event of a run"):
        wire.decode(fields)


def kept(root: Path) -> Path:
    """The file of the last run."""
    return max((root / ".dvc/tmp/ray/runs").glob("*/events.jsonl"))


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_run_keeps_what_it_prints(project: Make, capsys: pytest.CaptureFixture[str]) -> None:
    root = project({"dvc.yaml": TWO, "in.txt": "other\n"})
    with stock.in_directory(root), choose(as_json=True) as sinks:
        result = api.repro(sinks=sinks, executor=LocalExecutor())
    assert [report.address for report in result.failed] == ["two"]
    printed = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [event["seq"] for event in printed] == list(range(len(printed)))
    assert [event["time"] for event in printed] == sorted(event["time"] for event in printed)
    assert "hello" in "".join(event["text"] for event in printed if event["event"] == "output")
    file = kept(root)
    assert lines(file) == [event for event in printed if event["event"] != "output"]
    assert (lines(file)[0]["run"], lines(file)[-1]["ok"]) == (file.parent.name, False)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [wire.encode(record) for record in read(file)] == lines(file)


def test_a_run_with_nothing_to_do_keeps_nothing(project: Make, locally: Locally) -> None:
    root = project({"dvc.yaml": TWO, "in.txt": "in\n"})
    locally(root)
    runs = set((root / ".dvc/tmp/ray/runs").iterdir())
    assert locally(root).count(StageState.UNCHANGED) == 2
    assert set((root / ".dvc/tmp/ray/runs").iterdir()) == runs


def repro(root: Path, *sinks: Sink, request: RunRequest | None = None) -> RunResult:
    with stock.in_directory(root):
        return api.repro(request, sinks=sinks, executor=LocalExecutor())


def at(address: str, error: BaseException) -> Callable[[Record], None]:
    """A sink that fails when a stage begins to run, each time."""

    def sink(record: Record) -> None:
        event = record.event
        if isinstance(event, StageReport) and (event.address, event.state) == (address, StageState.RUNNING):
            raise error

    return sink


def test_what_interrupts_a_run_is_its_last_event(project: Make) -> None:
    root = project({"dvc.yaml": TWO, "in.txt": "in\n"})
    with pytest.raises(KeyboardInterrupt):
        repro(root, at("two", KeyboardInterrupt()))
    last = lines(kept(root))[-1]
    assert (last["event"], last["kind"], last["exit_code"]) == ("error", "RunInterruptedError", 252)


def test_an_error_is_kept_as_the_command_line_says_it(tmp_path: Path) -> None:
    with pytest.raises(ClusterError), keep(Stream(()), tmp_path / "events.jsonl", Mask()):
        raise ClusterError("no Ray at https://me:pw@host/", f"See why {IN_CAUSE}.")
    (record,) = read(tmp_path / "events.jsonl")
    assert record.event == RunError(
        kind="ClusterError", what="no Ray at https://host/", hint="See why with -v.", exit_code=255
    )


def test_a_sink_that_fails_ends_no_run(project: Make) -> None:
    root = project({"dvc.yaml": TWO, "in.txt": "in\n"})
    calls: list[Record] = []
    others: list[Record] = []

    def fails(record: Record) -> None:
        calls.append(record)
        at("one", ValueError("no good"))(record)

    assert repro(root, fails, others.append).count(StageState.DONE) == 2
    assert isinstance(calls[-1].event, StageReport), "it is called no more"
    assert calls[-1].event.state is StageState.RUNNING
    told = [record.event.text for record in others if isinstance(record.event, Notice)]
    text = "an output of this run failed and is not written any more; the run goes on: ValueError: no good"
    assert told.count(text) == 1
    assert text in [event.get("text") for event in lines(kept(root))]
    assert [record.seq for record in others] == list(range(len(others)))


def test_a_reader_that_is_gone_ends_the_run(project: Make) -> None:
    root = project({"dvc.yaml": TWO, "in.txt": "in\n"})
    others: list[Record] = []
    with pytest.raises(ReaderGoneError):
        repro(root, at("two", ReaderGoneError("nobody reads")), others.append)
    states = [event.state for event in (record.event for record in others) if isinstance(event, StageReport)]
    assert states[-1] in {StageState.STOPPED, StageState.DONE}
    assert (root / "one.txt").exists()
    assert lines(kept(root))[-1]["exit_code"] == 141


def test_a_file_that_cannot_be_made_ends_no_run(tmp_path: Path) -> None:
    told: list[Record] = []
    with keep(Stream([told.append]), tmp_path / "gone" / "events.jsonl", Mask()):
        pass
    (notice,) = told
    assert isinstance(notice.event, Notice)
    assert notice.event.text.startswith("the events of this run are not kept: ")


def test_a_disk_that_is_full_leaves_whole_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Record] = []
    stream = Stream([told.append])
    file = tmp_path / "events.jsonl"
    stream(Notice(text="early"))
    with keep(stream, file, Mask()):
        stream(Notice(text="first"))
        write = os.write
        monkeypatch.setattr("os.write", lambda number, data: write(number, data[:5]))
        stream(Notice(text="second"))
        monkeypatch.undo()
        stream(Notice(text="third"))
    assert [event["text"] for event in lines(file)] == ["early", "first"]
    (warning,) = [
        record.event.text for record in told if isinstance(record.event, Notice) and record.event.level != "info"
    ]
    assert "No space left on device" in warning
    assert str(file) in warning


def filled(path: Path, limit: int, *events: RunEvent) -> list[dict[str, Any]]:
    """What is kept of many notices and some events after them, within a size."""
    log = EventLog(path, Mask(), limit)
    for number, event in enumerate([*[Notice(text="x" * 1000)] * 2000, *events]):
        log(Record(seq=number, time=1.0, event=event))
    log.close()
    assert path.stat().st_size <= limit
    return lines(path)


def test_a_file_has_a_size(tmp_path: Path) -> None:
    done = StageReport(address="a", state=StageState.DONE)
    end = RunResult(run_id="r", reports=(done,), seconds=1.0)
    found = filled(tmp_path / "one.jsonl", 3 << 19, done, Notice(text="more"), end)
    names = [event["event"] for event in found]
    assert names == ["notice"] * (len(found) - 3) + ["truncated", "stage", "end"]
    assert found[-3] == {"event": "truncated", "version": 1, "seq": len(found) - 3, "time": 1.0, "limit": 3 << 19}
    assert [type(record.event) for record in read(tmp_path / "one.jsonl")][-2:] == [StageReport, RunResult]


def test_an_end_that_has_no_room_names_what_failed(tmp_path: Path) -> None:
    states = (StageState.FAILED if number < 60 else StageState.DONE for number in range(40_000))
    reports = tuple(StageReport(address=f"stage@{number}", state=state) for number, state in enumerate(states))
    found = filled(tmp_path / "one.jsonl", 3 << 19, *reports, RunResult(run_id="r", reports=reports, seconds=1.0))
    assert found[-2]["event"] == "stage"
    assert found[-1]["stages"] == [{"stage": f"stage@{number}", "state": "failed"} for number in range(50)]
    *_, last = read(tmp_path / "one.jsonl")
    assert isinstance(last.event, RunResult)
    assert not last.event.ok


def test_an_incomplete_last_line_is_left_out(tmp_path: Path) -> None:
    text = "\n".join(json.dumps({**NOTICE, "seq": number}) for number in range(3))
    (tmp_path / "events.jsonl").write_text(text[:-5])
    assert [record.seq for record in read(tmp_path / "events.jsonl")] == [0, 1]


def test_secrets_are_masked_where_text_is_free(tmp_path: Path) -> None:
    stream = Stream(())
    with keep(stream, tmp_path / "events.jsonl", Mask.of(["done", 'can"ary'])):
        stream(StageReport(address="done", state=StageState.DONE, reason='done: can"ary', tail=('"can\\"ary"',)))
    (event,) = lines(tmp_path / "events.jsonl")
    assert (event["stage"], event["state"], event["reason"]) == ("done", "done", "***: ***")
    assert event["tail"] == ['"***"']


def test_with_ignored_errors_a_run_is_ok_everywhere(project: Make, capsys: pytest.CaptureFixture[str]) -> None:
    """As DVC has it: exit code 0; the stages that failed are named all the same."""
    root = project({"dvc.yaml": TWO, "in.txt": "other\n"})
    with choose(as_json=False) as sinks:
        result = repro(root, *sinks, request=RunRequest(on_error=OnError.IGNORE))
    assert [report.address for report in result.failed] == ["two"]
    running.check(result)
    end = lines(kept(root))[-1]
    assert (end["event"], end["ok"], end["ignores_errors"]) == ("end", True, True)
    assert [stage["state"] for stage in end["stages"]] == ["done", "failed"]
    assert "1 run, 1 failed.\nUse `dvc push`" in capsys.readouterr().out
