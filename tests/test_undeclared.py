"""Stages that write what they do not declare and others read: the order is that of the plan, as in a serial run."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from dvc_ray import api, planning
from dvc_ray.cli.output import texts
from dvc_ray.driver.ready_queue import ReadyQueue
from dvc_ray.driver.state import RunState
from dvc_ray.executors.local import LocalExecutor
from dvc_ray.values import wire
from dvc_ray.values.report import Notice, RunEvent, StageReport
from dvc_ray.values.run import Experiment, OnError, RunRequest
from dvc_ray.values.stage import Action, Plan, StageKind, StageSpec, StageState, Status
from dvc_ray.values.task import WorkerEvent
from tests.helpers import stock
from tests.helpers.listening import telling
from tests.helpers.projects import Make
from tests.helpers.runs import Apart, Locally

TWO = """
stages:
  train:
    cmd: mkdir -p models && cat params.yaml > {made}
    params: [lr]
  evaluate:
    cmd: cat {read} > metrics.txt
    {deps}
    outs: [metrics.txt]
"""


@dataclass(frozen=True)
class Way:
    """How one stage hands something to another without saying so."""

    made: str = "models/model.txt"
    read: str = "models/model.txt"
    deps: str = "deps: [models/model.txt]"
    ignored: str = "/models\n"
    there: tuple[str, ...] = ()
    """Files that are there before, tracked if they are not ignored."""


WAYS = {
    "ignored": Way(),
    "not ignored": Way(ignored=""),
    "ignored folder": Way(read="models/*", deps="deps: [models]"),
    "ignored file in a tracked folder": Way(
        read="models/*", deps="deps: [models]", ignored="model.txt\n", there=("models/readme",)
    ),
    "ignored params": Way(deps="params: [models/model.txt: [lr]]", made="models/model.txt", ignored="/models\n"),
    "in a subfolder": Way(
        made="models/model.txt", read="models/*.txt", deps="deps: [models]", ignored="*.txt\n", there=("models/a/b",)
    ),
}


def twins(project: Make, tmp_path: Path, way: Way) -> tuple[Path, Path]:
    text = TWO.format(made=way.made, read=way.read, deps=way.deps)
    ours = project(
        {
            "dvc.yaml": text,
            "params.yaml": "lr: 1\n",
            ".gitignore": way.ignored,
            **dict.fromkeys(way.there, "here\n"),
        }
    )
    theirs = tmp_path / "stock" / "project"
    shutil.copytree(ours, theirs, symlinks=True)
    return theirs, ours


def change(root: Path, value: int) -> None:
    (root / "params.yaml").write_text(f"lr: {value}\n")


def compare(theirs: Path, ours: Path, run: Callable[[Path], object], *flags: str) -> None:
    assert stock.dvc(theirs, "repro", *flags) == 0
    run(ours)
    assert stock.differences(stock.snapshot(theirs), stock.snapshot(ours)) == []


@pytest.mark.parametrize("way", WAYS)
def test_as_stock_dvc_through_changes(way: str, project: Make, tmp_path: Path, locally: Locally) -> None:
    theirs, ours = twins(project, tmp_path, WAYS[way])
    for step in range(1, 4):
        for root in (theirs, ours):
            change(root, min(step, 2))
        compare(theirs, ours, locally)
    assert locally.warnings == ""


def test_a_dep_outside_of_the_project(project: Make, tmp_path: Path, locally: Locally) -> None:
    roots = []
    for name in ("theirs", "ours"):
        outside = tmp_path / name
        outside.mkdir()
        text = TWO.format(made=outside / "m", read=outside / "m", deps=f"deps: [{outside / 'm'}]")
        (tmp_path / "project").exists() and (tmp_path / "project").rename(tmp_path / "theirs" / "project")
        roots.append(project({"dvc.yaml": text, "params.yaml": "lr: 1\n"}))
    theirs, ours = tmp_path / "theirs" / "project", roots[1]
    for step in (1, 2):
        for root in (theirs, ours):
            change(root, step)
        assert stock.dvc(theirs, "repro") == 0
        assert not locally(ours).failed
        assert (ours / "metrics.txt").read_text() == (theirs / "metrics.txt").read_text() == f"lr: {step}\n"
        assert stock.status(ours) == stock.status(theirs)


@pytest.mark.parametrize("temp", [False, True])
def test_an_experiment(project: Make, tmp_path: Path, *, temp: bool) -> None:
    theirs, ours = twins(project, tmp_path, Way())
    for step in (1, 2):
        flags = ["--temp"] if temp else []
        assert stock.dvc(theirs, "exp", "run", "-S", f"lr={step}", "-n", f"e{step}", "-f", *flags) == 0
        with stock.in_directory(ours):
            result, _ = api.exp_run(
                Experiment(params=(f"lr={step}",), name=f"e{step}", temp=temp),
                RunRequest(force=True),
                executor=LocalExecutor(),
            )
        assert not result.failed
        shown = [
            stock.sh(root, f"git show $(git for-each-ref --format='%(refname)' refs/exps | grep /e{step}$):dvc.lock")
            for root in (theirs, ours)
        ]
        assert shown[0] == shown[1]
        if not temp:
            for path in ("models/model.txt", "metrics.txt"):
                assert (ours / path).read_text() == (theirs / path).read_text(), path


@pytest.mark.parametrize("way", ["ignored", "not ignored", "in a subfolder"])
def test_where_no_disk_is_shared(
    way: str, project: Make, tmp_path: Path, apart: Apart, cloud: Callable[[Path, str], Path]
) -> None:
    theirs, ours = twins(project, tmp_path, WAYS[way])
    cloud(ours, "ours")
    for step in (1, 2):
        for root in (theirs, ours):
            change(root, step)
        assert stock.dvc(theirs, "repro") == 0
        assert not apart(ours).failed
        assert (ours / "dvc.lock").read_text() == (theirs / "dvc.lock").read_text()
        assert (ours / "models/model.txt").read_text() == f"lr: {step}\n"


def planned(root: Path) -> Plan:
    with stock.in_directory(root):
        return api.make_plan(RunRequest())


def test_it_is_told_with_what_to_do(project: Make, tmp_path: Path, locally: Locally) -> None:
    _, ours = twins(project, tmp_path, Way())
    chosen = planned(ours)
    assert [step.wave for step in chosen.steps] == [1, 2]
    assert wire.plan_fields(chosen)["stages"][1]["untracked"] == ["models/model.txt"]
    [text] = texts.untracked(chosen)
    assert text.startswith("evaluate waits for all stages before it: no stage makes 'models/model.txt', and neither")
    locally(ours)
    change(ours, 2)
    chosen = planned(ours)
    assert [step.action for step in chosen.steps] == [Action.RUN, Action.MAYBE]
    assert chosen.steps[1].reasons == ("a stage before it may write 'models/model.txt'",)


@pytest.mark.parametrize("how", ["tracked", "tracked by DVC", "caches of Python", "an out", "in an out", "around outs"])
def test_what_is_not_waited_for(how: str, project: Make) -> None:
    dep = {"an out": "outs/made", "in an out": "outs/made/x", "around outs": "outs"}.get(how, "dep")
    text = f"""
stages:
  one: {{cmd: mkdir -p outs/made && touch outs/made/x, outs: [outs/made]}}
  two: {{cmd: 'true', deps: [{dep}]}}
"""
    root = project({"dvc.yaml": text, "dep/file": "here\n"})
    if how == "tracked by DVC":
        stock.sh(root, "git rm -q -r --cached dep && git commit -qm gone")
        assert stock.dvc(root, "add", "dep") == 0
    if how == "caches of Python":
        (root / "dep/__pycache__").mkdir()
        (root / "dep/__pycache__/x.pyc").touch()
    assert [step.spec.untracked for step in planned(root).steps] == [()] * len(planned(root).steps)


def test_one_file_among_many_that_are_tracked(project: Make) -> None:
    """A folder is looked at as a whole: what is ignored by Git in one, and what a link leads to, is not overlooked."""
    text = """
stages:
  one: {cmd: mkdir -p data/made && touch data/made/x, outs: [data/made]}
  two: {cmd: 'true', deps: [data]}
"""
    root = project({"dvc.yaml": text, "data/a/1": "1\n", "data/b/2": "2\n", ".gitignore": "/model\n/data/b/3\n"})
    stock.sh(root, "ln -s ../a/1 data/b/link && ln -s a data/folder && git add data && git commit -qm links")
    (root / "data/made").mkdir()
    (root / "data/made/y").touch()

    def found() -> tuple[str, ...]:
        return planned(root).steps[1].spec.untracked

    assert found() == ()
    (root / "data/b/3").touch()
    assert found() == ("data",)
    (root / "data/b/3").unlink()
    (root / "model").touch()
    stock.sh(root, "ln -sf ../../model data/b/link")
    assert found() == ("data",)


def test_a_submodule_is_tracked(project: Make, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    stock.sh(other, "git init -q . && mkdir src && echo a > src/a && git add . && git commit -qm start")
    root = project(
        {
            "dvc.yaml": "stages: {one: {cmd: 'true'}, two: {cmd: 'true', deps: [sub/src, sub/src/a]}, "
            "three: {cmd: 'true', deps: [sub]}}",
            "x": "",
        }
    )
    stock.sh(root, f"git -c protocol.file.allow=always submodule -q add {other} sub && git commit -qm sub")
    assert [step.spec.untracked for step in planned(root).steps] == [(), (), ()]
    (root / "sub/src/new").touch()
    assert [step.spec.untracked for step in planned(root).steps] == [(), ("sub/src",), ("sub",)]


def test_a_frozen_stage_does_not_look_at_its_deps(project: Make) -> None:
    root = project(
        {
            "dvc.yaml": "stages: {one: {cmd: 'true'}, two: {cmd: 'true', deps: [x], frozen: true}}",
            ".gitignore": "x\n",
        }
    )
    assert planned(root).steps[1].spec.untracked == ()


def test_a_dep_that_nobody_writes_is_missed_in_its_turn(project: Make, locally: Locally) -> None:
    root = project(
        {"dvc.yaml": "stages: {one: {cmd: echo > one, outs: [one]}, two: {cmd: 'true', deps: [missing], outs: [two]}}"}
    )
    result = locally(root)
    assert [report.state for report in result.reports] == [StageState.DONE, StageState.FAILED]
    assert "'missing' does not exist" in result.reports[1].error


def test_what_only_the_user_has_stays_theirs(project: Make, locally: Locally) -> None:
    """No stage depends on it: nothing says that it is the command's."""
    root = project({"dvc.yaml": "stages: {one: {cmd: echo new > mine, outs: []}}", ".gitignore": "mine\n"})
    (root / ".dvc/ray.toml").write_text("bare_workspace = true\n")
    (root / "mine").write_text("old\n")
    locally(root)
    assert (root / "mine").read_text() == "old\n"
    assert "yours is left as it was" in locally.warnings


def test_a_thousand_stages_cost_no_more_than_their_number() -> None:
    specs = [StageSpec(address=f"s{n}", kind=StageKind.COMMAND, untracked=("x",)) for n in range(1000)]
    chosen = planning.make(specs, {spec.address: Status(changed=True) for spec in specs})
    assert [step.wave for step in chosen.steps] == list(range(1, 1001))
    assert len(texts.untracked(chosen)) == 1
    assert len(texts.untracked(chosen)[0]) < 500


def test_a_stage_that_is_last_waits_for_all_before_it() -> None:
    names = [f"s{n}" for n in range(5)]
    states = dict.fromkeys(names, StageState.WAITING)
    board = ReadyQueue(dict.fromkeys(names, ()), states, lambda *_: True, last=["s0", "s3"])
    assert board.ready() == ["s0", "s1", "s2", "s4"]
    for name in ("s2", "s0", "s1"):
        assert "s3" not in board.ready()
        board.move(name, StageState.FAILED if name == "s0" else StageState.DONE)
    assert board.ready() == ["s3", "s4"]


class Late(LocalExecutor):
    """All attempts that are queued begin before any has ended; the last ends first."""

    def __init__(self) -> None:
        super().__init__()
        self._ended: list[WorkerEvent] = []

    def events(self, timeout: float) -> Sequence[WorkerEvent]:
        """Run one, or tell how the last one has ended."""
        if not self._queue:
            return [self._ended.pop()] if self._ended else []
        seen = list(super().events(timeout))
        self._ended.append(seen.pop())
        return seen


LATE = {
    "a tracked file": (
        "one: {cmd: cat params.yaml > in.txt, params: [lr]}\n"
        "  two: {cmd: cat in.txt > two.txt, deps: [in.txt], params: [lr], outs: [two.txt]}\n"
        "  three: {cmd: cat two.txt > three.txt, deps: [two.txt], outs: [three.txt]}"
    ),
    "in a folder": (
        "one: {cmd: cat params.yaml > data/new, params: [lr]}\n"
        "  two: {cmd: cat data/* > two.txt, deps: [data], outs: [two.txt]}"
    ),
    "a file less in a folder": (
        "one: {cmd: 'rm -f data/a', params: [lr]}\n"
        "  two: {cmd: ls data > two.txt, deps: [data], params: [lr], outs: [two.txt]}"
    ),
    "an out that persists": (
        "one: {cmd: cat params.yaml > in.txt, params: [lr]}\n"
        "  two: {cmd: cat in.txt >> two.txt, deps: [in.txt], params: [lr], outs: [two.txt: {persist: true}]}"
    ),
    "a folder that persists": (
        "one: {cmd: cat params.yaml > in.txt, params: [lr]}\n"
        "  two: {cmd: 'mkdir -p two/in; cat in.txt >> two/in/f; date +%N > two/last; echo > two/last',"
        " deps: [in.txt], params: [lr], outs: [two: {persist: true}]}"
    ),
    "an out outside that persists": (
        "one: {cmd: cat params.yaml > in.txt, params: [lr]}\n"
        "  two: {cmd: cat in.txt > $OUTSIDE, deps: [in.txt], params: [lr],"
        " outs: [$OUTSIDE: {persist: true, cache: false}]}"
    ),
    "more that is not declared": (
        "one: {cmd: cat params.yaml > in.txt, params: [lr]}\n"
        "  two: {cmd: 'cat in.txt > \"$(cat in.txt)\"', deps: [in.txt], params: [lr]}"
    ),
    "each other's": (
        "one: {cmd: cat b.txt params.yaml > in.txt; cp b.txt one.txt, deps: [b.txt], params: [lr], outs: [one.txt]}\n"
        "  two: {cmd: cat in.txt params.yaml > b.txt; cp in.txt two.txt, deps: [in.txt], params: [lr], outs: [two.txt]}"
    ),
    "an ignored folder that another reads": (
        "one: {cmd: ls home > one.txt; cat home/* >> one.txt, deps: [home], params: [lr], outs: [one.txt]}\n"
        "  two: {cmd: cp params.yaml home/t; mv home/t home/a; touch home/b, params: [lr]}\n"
        "  three: {cmd: echo 3 > home/a; rm -f home/b, params: [lr]}"
    ),
    "its own": (
        "one: {cmd: cat in.txt > one.txt; echo >> in.txt, deps: [in.txt], params: [lr], outs: [one.txt]}\n"
        "  two: {cmd: cat in.txt > two.txt; echo >> in.txt, deps: [in.txt], params: [lr], outs: [two.txt]}"
    ),
    "what one that had begun writes, too": (
        "zero: {cmd: cat params.yaml > zero.txt, params: [lr], outs: [zero.txt]}\n"
        "  two: {cmd: cat b.txt zero.txt > new; mv new b.txt, deps: [b.txt, zero.txt]}\n"
        "  three: {cmd: cp zero.txt t.txt; echo >> b.txt, deps: [zero.txt], outs: [t.txt: {cache: false}]}"
    ),
    "what the one before reads": (
        "zero: {cmd: cat params.yaml > zero.txt, params: [lr], outs: [zero.txt]}\n"
        "  one: {cmd: cat zero.txt in.txt > one.txt, deps: [zero.txt, in.txt], outs: [one.txt]}\n"
        "  two: {cmd: cat params.yaml > in.txt, params: [lr]}"
    ),
}


@pytest.mark.parametrize("way", LATE)
def test_a_stage_that_had_begun_too_early_has_its_turn_again(way: str, project: Make, tmp_path: Path) -> None:
    outside = tmp_path / "outside.txt"
    outside.write_text("mine\n")
    ours = project(
        {
            "dvc.yaml": f"stages:\n  {LATE[way]}\n".replace("$OUTSIDE", str(outside)),
            "params.yaml": "lr: 0\n",
            "in.txt": "in\n",
            "b.txt": "b\n",
            "data/a": "a\n",
            "data/b": "b\n",
            ".gitignore": "/home\n",
            "home/a": "a\n",
        }
    )
    theirs = tmp_path / "stock" / "project"
    shutil.copytree(ours, theirs, symlinks=True)
    for step in range(1, 4):
        for root in (theirs, ours):
            change(root, min(step, 2))
        assert stock.dvc(theirs, "repro") == 0
        with stock.in_directory(ours):
            assert not api.repro(executor=Late()).failed
        expected, found = stock.snapshot(theirs), stock.snapshot(ours)
        early = {name for name in found.keys() - expected.keys() if name.startswith(".dvc/cache")}
        different = stock.differences(expected, {name: text for name, text in found.items() if name not in early})
        assert not different, "\n".join(different)
    assert outside.exists()


def test_it_is_told_and_stopped(project: Make, tmp_path: Path) -> None:
    root = project({"dvc.yaml": f"stages:\n  {LATE['a tracked file']}\n", "params.yaml": "lr: 0\n", "in.txt": "in\n"})
    heard: list[RunEvent] = []
    with stock.in_directory(root):
        result = api.repro(executor=Late(), sinks=telling(heard.append))
    assert [report.state for report in result.reports] == [StageState.DONE] * 3
    [told] = [event.text for event in heard if isinstance(event, Notice) and event.level == "warning"]
    assert told.startswith("stage 'one' wrote 'in.txt' without declaring it, and stages after it had begun on the")
    states = [event.state.value for event in heard if isinstance(event, StageReport) and event.address == "two"]
    assert states == ["waiting", "queued", "running", "done", "waiting", "queued", "running", "done"]


def test_a_failure_on_what_was_too_old_is_none(project: Make) -> None:
    text = (
        "stages:\n  one: {cmd: echo good > in.txt, params: [lr]}\n"
        "  two: {cmd: grep good in.txt > two.txt, deps: [in.txt], outs: [two.txt]}\n"
        "  three: {cmd: cat two.txt > three.txt, deps: [two.txt], outs: [three.txt]}\n"
    )
    root = project({"dvc.yaml": text, "params.yaml": "lr: 0\n", "in.txt": "bad\n"})
    with stock.in_directory(root):
        result = api.repro(executor=Late())
    assert [report.state for report in result.reports] == [StageState.DONE] * 3
    assert stock.status(root) == {}


def test_a_failure_that_is_taken_back_closes_nothing(project: Make) -> None:
    text = (
        "stages:\n  one: {cmd: echo good > in.txt, params: [lr]}\n"
        "  two: {cmd: grep good in.txt > two.txt, deps: [in.txt], outs: [two.txt]}\n"
        "  three: {cmd: cat in.txt > three.txt, deps: [in.txt], outs: [three.txt]}\n"
    )
    root = project({"dvc.yaml": text, "params.yaml": "lr: 0\n", "in.txt": "bad\n"})
    with stock.in_directory(root):
        result = api.repro(executor=Late())
    assert [report.state for report in result.reports] == [StageState.DONE] * 3
    assert (root / "three.txt").read_text() == "good\n"
    assert stock.status(root) == {}


def test_what_is_restored_too_early_stays_in_the_run_cache(project: Make) -> None:
    """The entry was there before the run: it is right for who has the version before."""
    root = project({"dvc.yaml": f"stages:\n  {LATE['a tracked file']}\n", "params.yaml": "lr: 0\n", "in.txt": "in\n"})
    with stock.in_directory(root):
        api.repro(RunRequest(targets=("two",)), executor=LocalExecutor())
        (root / "two.txt").unlink()
        (root / "dvc.lock").unlink()
        before = set((root / ".dvc/cache/runs").rglob("*"))
        for path in before:
            os.utime(path, (0, 0))
        result = api.repro(executor=Late())
    assert [report.state for report in result.reports] == [StageState.DONE] * 3
    assert before <= set((root / ".dvc/cache/runs").rglob("*"))


def waiting(**after: tuple[str, ...]) -> RunState:
    specs = [StageSpec(address=name, kind=StageKind.COMMAND, after=before) for name, before in after.items()]
    chosen = planning.make(specs, {spec.address: Status(changed=True) for spec in specs})
    return RunState(chosen, OnError.FAIL, lambda _: None)


def test_readers_that_wait_do_not_wait_for_all_before_them() -> None:
    table = waiting(one=(), two=(), three=(), four=("three",))
    table.say(table["one"], StageState.DONE)
    assert not table.reopen([table["three"]], "why")
    assert [stage.address for stage in table.ready()] == ["two", "three"]
    table.say(table["three"], StageState.DONE)
    assert [stage.address for stage in table.reopen([table["three"]], "why")] == ["three"]
    assert [stage.address for stage in table.ready()] == ["two"], "it had begun too early once"


class Interrupted(Late):
    """Ctrl-C when the last one has ended."""

    def events(self, timeout: float) -> Sequence[WorkerEvent]:
        """Run them, then tell of one."""
        if not self._queue and len(self._ended) == 1:
            raise KeyboardInterrupt
        return super().events(timeout)


def test_what_had_begun_too_early_is_not_kept_on_ctrl_c(project: Make) -> None:
    text = (
        "stages:\n  one: {cmd: cat in.txt > one.txt, deps: [in.txt], outs: [one.txt]}\n"
        "  two: {cmd: cat params.yaml > in.txt; echo > two.txt, params: [lr], outs: [two.txt]}\n"
    )
    root = project({"dvc.yaml": text, "params.yaml": "lr: 0\n", "in.txt": "in\n"})
    with stock.in_directory(root), pytest.raises(KeyboardInterrupt):
        api.repro(executor=Interrupted())
    assert (root / "in.txt").read_text() == "in\n"
    assert not (root / "two.txt").exists()
    assert (root / "one.txt").read_text() == "in\n"
    assert "two" not in (root / "dvc.lock").read_text()
    assert len(list((root / ".dvc/cache").glob("runs/*/*/*"))) == 1
    with stock.in_directory(root):
        assert not api.repro(executor=LocalExecutor()).failed
    assert (root / "in.txt").read_text() == "lr: 0\n"
