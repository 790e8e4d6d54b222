"""What a stage finds in its workspace, and what of it comes home."""

from __future__ import annotations

import contextlib
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from dvc_ray import api
from dvc_ray.errors import ProjectError, UnsupportedError
from dvc_ray.paths import RunPaths, is_under, outside, with_folders
from dvc_ray.runs.directory import open_run
from dvc_ray.values.report import Notice, Output, RunEvent
from dvc_ray.values.run import RunRequest
from dvc_ray.values.stage import StageState
from tests.helpers import stock
from tests.helpers.executors import Together
from tests.helpers.listening import telling
from tests.helpers.projects import Make, one
from tests.helpers.results import report, states
from tests.helpers.runs import Locally, Repro


def warnings(events: list[RunEvent]) -> str:
    return "\n".join(event.text for event in events if isinstance(event, Notice) and event.level == "warning")


def test_a_file_the_stage_was_not_given_is_not_replaced(project: Make, locally: Locally) -> None:
    text = one("echo new >> my.log; echo > out.txt", "{bare_workspace: true}")
    root = project({"dvc.yaml": text, "in.txt": "", ".gitignore": "*.log\n"})
    (root / "my.log").write_text("history\n")
    locally(root)
    assert (root / "my.log").read_text() == "history\n"
    assert "wrote 'my.log', which Git ignores" in warnings(locally.events)
    kept = next((root / ".dvc/tmp/ray/runs").glob("*/kept/one.1/my.log"))
    assert kept.read_text() == "new\n"
    (root / "dvc.yaml").write_text(one("echo new >> my.log; echo > out.txt", "{bare_workspace: true, include: my.log}"))
    locally(root, RunRequest(force=True))
    assert (root / "my.log").read_text() == "history\nnew\n"


def test_links_and_folders_survive(project: Make, locally: Locally, tmp_path: Path) -> None:
    make = "ln -sfn b cur; ln -s real latest; ls -d logs > out.txt; echo hi > d/new.txt; rm -r tidy && echo f > tidy"
    root = project({"dvc.yaml": one(make), "in.txt": "", "real/x": "x", "b/y": "y", "tidy/z": "z", "d/keep": ""})
    (root / "logs").mkdir()
    (root / "cur").symlink_to("real")
    (root / "d" / "l").symlink_to("../real")
    (root / "d" / "keep").unlink()
    stock.sh(root, "git add -A && git commit -qm links")
    other = tmp_path / "stock"
    stock.sh(tmp_path, f"cp -a {root} {other}")
    assert stock.dvc(other, "repro") == 0
    assert not locally(root).failed
    assert stock.differences(stock.snapshot(other), stock.snapshot(root)) == []
    assert os.readlink(root / "d/l") == "../real"


def test_modes_names_and_dirs_inside_deps(project: Make, locally: Locally, tmp_path: Path) -> None:
    cmd = "chmod +x tool; find data -type d | sort > out.txt; cat data/l"
    root = project({"dvc.yaml": one(cmd).replace("in.txt", "data"), "data/a": "a", "tool": "", "real/f": "f"})
    (root / "data/empty").mkdir()
    (root / "data/l").symlink_to("../real/f")
    Path(os.fsdecode(bytes(root) + b"/caf\xe9.txt")).write_text("latin")
    stock.sh(root, "git add -A && git commit -qm more")
    other = tmp_path / "stock"
    stock.sh(tmp_path, f"cp -a {root} {other}")
    assert stock.dvc(other, "repro") == 0
    result = locally(root)
    assert not result.failed, result.failed
    assert stock.differences(stock.snapshot(other), stock.snapshot(root)) == []
    assert os.access(root / "tool", os.X_OK)


def test_a_dep_through_a_link_to_an_ignored_folder(project: Make, locally: Locally) -> None:
    root = project(
        {"dvc.yaml": one("cat l/x > out.txt").replace("in.txt", "l"), ".gitignore": "/real\n", "real/x": "x"}
    )
    (root / "l").symlink_to("real")
    stock.sh(root, "git add -A && git commit -qm l")
    assert not locally(root).failed
    assert (root / "out.txt").read_text() == "x"


def test_submodules_are_given(project: Make, locally: Locally) -> None:
    root = project({"dvc.yaml": one("cat lib/lib.txt > out.txt"), "in.txt": ""})
    stock.sh(root, "git init -q lib && echo lib > lib/lib.txt && git -C lib add -A && git -C lib commit -qm lib")
    stock.sh(root, "git add -A 2>/dev/null && git commit -qm sub")
    assert not locally(root).failed
    assert (root / "out.txt").read_text() == "lib\n"


def test_two_stages_make_one_file(project: Make) -> None:
    text = "stages:\n" + "".join(
        f"  {name}: {{cmd: echo {name} >> both.txt; echo > {name}, deps: [in.txt], outs: [{name}]}}\n" for name in "ab"
    )
    root = project({"dvc.yaml": text, "in.txt": ""})
    events: list[RunEvent] = []
    with stock.in_directory(root):
        api.repro(executor=Together(), sinks=telling(events.append))
    assert (root / "both.txt").read_text() == "b\n"
    assert "stages 'a' and 'b' both wrote 'both.txt'" in warnings(events)


def test_a_missing_include_is_said_before_outs_are_removed(project: Make, locally: Locally) -> None:
    root = project({"dvc.yaml": one("echo > out.txt", "{include: [nope]}"), "in.txt": ""})
    (root / "out.txt").write_text("of the last run")
    assert "'nope' of 'meta.ray.include' does not exist" in report(locally(root), "one").error
    assert (root / "out.txt").exists()


def test_runtime_env_reaches_the_command(project: Make, repro: Repro) -> None:
    root = project(
        {"dvc.yaml": one("echo $GREETING > out.txt", "{runtime_env: {env_vars: {GREETING: hi}}}"), "in.txt": ""}
    )
    assert not repro(root).failed
    assert (root / "out.txt").read_text() == "hi\n"


def test_a_runtime_env_that_cannot_be_set_up_is_no_lost_worker(project: Make, repro: Repro) -> None:
    """Either conda is not there or the environment is not; to try again would not bring it."""
    text = one("echo > out.txt", "{runtime_env: {conda: no-such-environment}}")
    found = report(repro(project({"dvc.yaml": text, "in.txt": ""})), "one")
    assert found.error.startswith("its runtime_env cannot be set up: ")
    assert "Change 'runtime_env' under 'meta: ray:'" in found.error
    said = "\n".join([found.error, *(event.text for event in repro.events if isinstance(event, Notice))])
    assert "trying again" not in said
    assert "lost" not in said


def test_what_ray_refuses_fails_the_stage_only(project: Make, repro: Repro) -> None:
    root = project({"dvc.yaml": one("echo > out.txt", "{resources: {x: 0.00001}}"), "in.txt": ""})
    assert "Ray refuses its settings" in report(repro(root), "one").error


def test_a_relative_dep_outside_is_refused_by_name(project: Make, locally: Locally) -> None:
    root = project({"dvc.yaml": one("echo > out.txt").replace("in.txt", "../ext.txt")})
    (root.parent / "ext.txt").write_text("x")
    with pytest.raises(UnsupportedError, match="leads out of the project"):
        locally(root)


def test_a_stage_far_down_is_not_run_when_nothing_reaches_it(project: Make, locally: Locally) -> None:
    """Its upstream was unchanged in the end: so is it, also without a run cache."""
    text = """
stages:
  a: {cmd: echo a > a.txt, deps: [in.txt], params: [rows], outs: [a.txt]}
  b: {cmd: cat a.txt > b.txt, deps: [a.txt], outs: [{b.txt: {persist: true}}]}
  c: {cmd: cat b.txt > c.txt, deps: [b.txt], outs: [{c.txt: {persist: true}}]}
"""
    root = project({"dvc.yaml": text, "in.txt": "", "params.yaml": "rows: 1\n"})
    locally(root)
    (root / "params.yaml").write_text("rows: 2\n")
    assert states(locally(root)) == {"a": StageState.DONE, "b": StageState.UNCHANGED, "c": StageState.UNCHANGED}


def test_every_stage_has_an_end(project: Make, locally: Locally) -> None:
    text = """
stages:
  bad: {cmd: echo > bad.txt, deps: [missing.txt], outs: [bad.txt]}
  after: {cmd: cp bad.txt after.txt, deps: [bad.txt], outs: [after.txt]}
"""
    root = project({"dvc.yaml": text})
    result = locally(root, RunRequest(targets=("bad",), downstream=True))
    assert states(result) == {"bad": StageState.FAILED, "after": StageState.BLOCKED}


def test_a_long_name(project: Make, locally: Locally) -> None:
    name = "ж" * 60
    root = project({"dvc.yaml": one("echo > out.txt").replace("one:", f"{name}:"), "in.txt": ""})
    assert not locally(root).failed
    assert len(os.fsencode(RunPaths(Path("x")).log(name, 1).name)) < 255


def test_output_is_not_torn_within_a_character(project: Make, locally: Locally) -> None:
    root = project({"dvc.yaml": one("printf '%.0sü' $(seq 50001); echo > out.txt"), "in.txt": ""})
    locally(root)
    assert "".join(event.text for event in locally.events if isinstance(event, Output)) == "ü" * 50001


def test_finished_work_waits_for_another_dvc_command(project: Make, repro: Repro) -> None:
    from dvc.repo import Repo

    root = project({"dvc.yaml": one("true"), "in.txt": ""})
    marker, hold = root.parent / "started", root.parent / "hold"
    hold.touch()
    (root / "dvc.yaml").write_text(one(f"touch {marker}; while test -e {hold}; do sleep 0.05; done; echo > out.txt"))
    told = threading.Event()

    def listen(event: RunEvent) -> None:
        if isinstance(event, Notice) and "Waiting for another DVC command" in event.text:
            told.set()

    def other_command() -> None:
        while not marker.exists():
            told.wait(0.05)
        with contextlib.closing(Repo(str(root))) as other, other.lock:
            hold.unlink()
            assert told.wait(30)

    thread = threading.Thread(target=other_command)
    thread.start()
    with stock.in_directory(root):
        result = api.repro(sinks=telling(listen), executor=repro.executor)
    thread.join()
    assert states(result) == {"one": StageState.DONE}


def test_a_second_run_in_a_project_is_refused(project: Make, locally: Locally) -> None:
    root = project({"dvc.yaml": one("echo > out.txt"), "in.txt": ""})
    with (
        open_run(str(root / ".dvc")),
        pytest.raises(ProjectError, match="another dvc-ray run is under way"),
    ):
        locally(root)
    assert not locally(root).failed


def test_an_address_where_nobody_listens(project: Make, cli: Any) -> None:
    done = cli(project({"dvc.yaml": one("echo > out.txt"), "in.txt": ""}), "repro", "--address", "127.0.0.1:9")
    assert done.returncode == 255
    assert "cannot join Ray at 127.0.0.1:9" in done.stderr


REUSED = """
stages:
  first:
    cmd: >-
      stat -c %i code.py > first.txt; echo more >> notes.txt; echo new > new.txt; rm gone.txt; chmod +x tool;
      echo hid > .hidden; mkdir -p .cache/x && touch -d 2001-01-01 .cache/x/y
    deps: [in.txt]
    outs: [first.txt]
    meta: {ray: {include: [ignored.txt]}}
  second:
    cmd: stat -c %i code.py > second.txt; cat notes.txt; test -x tool; test ! -e ignored.txt; find . -name y
    deps: [first.txt]
    outs: [second.txt]
"""


def test_a_workspace_is_used_again_without_a_trace_of_the_command_before(
    project: Make, locally: Locally, tmp_path: Path
) -> None:
    files = dict.fromkeys(("in.txt", "code.py", "notes.txt", "gone.txt", "tool", "deep/er/file"), "")
    root = project({"dvc.yaml": REUSED, ".gitignore": "/ignored.txt\n.cache\n", **files})
    (root / "ignored.txt").write_text("yes")
    other = tmp_path / "stock"
    stock.sh(tmp_path, f"cp -a {root} {other}")
    assert stock.dvc(other, "repro", "first") == 0
    assert not locally(root).failed, locally.events
    assert (root / "first.txt").read_text() == (root / "second.txt").read_text(), "the file was not made anew"
    stock.sh(other, "rm -rf .cache")
    left = {path: text for path, text in stock.snapshot(root).items() if "second" not in path}
    for path in ("notes.txt", "new.txt", ".hidden"):
        assert left.get(path) == stock.snapshot(other).get(path), path
    assert not list((root / ".dvc/tmp/ray/runs").glob("*/work"))


def test_what_a_failed_attempt_left_is_not_there_for_the_next(project: Make, locally: Locally, tmp_path: Path) -> None:
    flag = tmp_path / "flag"
    command = f"cat dvc.yaml > /dev/null && ls -A > list.txt; echo junk > junk.txt; chmod 500 d; mkdir {flag}"
    again = f"test -d {flag} && ls -A d > out.txt && test ! -e junk.txt && test -w d && exit 0; {command}; exit 1"
    root = project({"dvc.yaml": one(again, "{retries: 1}"), "in.txt": "", "d/a.py": ""})
    assert not locally(root).failed
    assert (root / "out.txt").read_text() == "a.py\n"


def test_a_file_that_changes_during_a_run_is_given_as_it_is_then(project: Make, locally: Locally) -> None:
    text = """
stages:
  first: {cmd: "cp code.py first.txt; echo two > code.py", deps: [in.txt], outs: [first.txt]}
  second: {cmd: cp code.py second.txt, deps: [first.txt], outs: [second.txt]}
"""
    root = project({"dvc.yaml": text, "in.txt": "", "code.py": "one\n"})
    assert not locally(root).failed
    assert (root / "second.txt").read_text() == "two\n"


@pytest.mark.parametrize("kept", [False, True])
def test_a_workspace_that_is_removed_takes_nothing_of_yours_with_it(
    project: Make, locally: Locally, *, kept: bool
) -> None:
    text = one('rm -rf "$DVC_ROOT"' + ('; mkdir "$DVC_ROOT"' if kept else ""))
    root = project({"dvc.yaml": text, "in.txt": "", "src/code.py": "code\n"})
    (root / "note.txt").write_text("never committed\n")
    (root / "src/code.py").write_text("edited\n")
    before = stock.sh(root, "git status --short; cat src/code.py note.txt")
    result = locally(root)
    assert "its workspace was removed while it ran" in result.failed[0].error
    assert stock.sh(root, "git status --short; cat src/code.py note.txt") == before


def test_a_new_file_that_is_kept_aside_stays_there(project: Make, locally: Locally) -> None:
    text = one("echo new > my.log; echo > out.txt", "{bare_workspace: true}")
    root = project({"dvc.yaml": text, "in.txt": "", ".gitignore": "*.log\n"})
    (root / "my.log").write_text("history\n")
    locally(root)
    kept = next((root / ".dvc/tmp/ray/runs").glob("*/kept/one.1/my.log"))
    for log in (root / ".dvc/tmp/ray/runs").glob("*/logs"):
        stock.sh(root, f"rm -r {log}")
    (root / "in.txt").write_text("changed\n")
    (root / "dvc.yaml").write_text(one("echo > out.txt"))
    locally(root)
    assert kept.read_text() == "new\n"


@pytest.mark.parametrize(
    "tops",
    [(), ("a",), ("a", "a/b"), ("a/b", "a"), ("b",), (".",), ("",), ("a.x", "none"), ("a/b/c", "a/b/d"), ("b", "zz/z")],
)
def test_what_is_outside_of_folders(tops: tuple[str, ...]) -> None:
    names = ("a", "a-", "a.x", "a/b", "a/b/c", "a/b/c/e", "a/b/d", "a/b0", "a0", "aa", "b", "b/\u00e9", "z/b", "zz/z")
    paths = tuple(sorted(names))
    assert outside(paths, tops) == tuple(path for path in paths if not is_under(path, set(tops)))
    assert outside(paths, ()) is paths


def test_what_paths_are_under() -> None:
    assert with_folders(["a/b/c", "a/b", "d", "/e/f", "a/g/h"]) == {
        "a",
        "a/b",
        "a/b/c",
        "a/g",
        "a/g/h",
        "d",
        "/e",
        "/e/f",
    }
    assert with_folders([]) == set()
