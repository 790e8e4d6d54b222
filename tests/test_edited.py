"""Somebody edits deps while their stage runs: dvc.lock is stock DVC's, the run cache keeps to what was run."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from dvc_ray.values.report import Notice
from dvc_ray.values.stage import StageState
from tests.helpers import stock
from tests.helpers.projects import Make
from tests.helpers.results import states
from tests.helpers.runs import Apart, Locally, Repro

TEXT = """
stages:
  one:
    cmd: cat in.txt data/* > out.txt; sh {edit}
    deps: [in.txt, data]
    params: [lr]
    outs: [out.txt]
  after: {{cmd: cat out.txt in.txt > after.txt, deps: [out.txt, in.txt], params: [lr], outs: [after.txt]}}
"""
EDITS = {
    "replaced": ("in.txt", "echo new > {root}/new.txt; mv {root}/new.txt {root}/in.txt"),
    "in place": ("in.txt", "echo new > {root}/in.txt"),
    "more in a folder": ("data", "echo new > {root}/data/new.csv"),
    "less in a folder": ("data", "rm {root}/data/b.csv"),
    "params": ("params.yaml", "echo 'lr: 0.2' > {root}/params.yaml"),
}


@pytest.fixture
def twins(project: Make, tmp_path: Path) -> tuple[Path, Path]:
    """The same project twice, for stock DVC and for us; the first stage runs a script that is not there yet."""
    text = TEXT.format(edit=tmp_path / "edit.sh")
    data = {"data/a.csv": "a\n", "data/b.csv": "b\n"}
    ours = project({"dvc.yaml": text, "in.txt": "old\n", "params.yaml": "lr: 0.1\n", **data})
    theirs = tmp_path / "stock" / "project"
    shutil.copytree(ours, theirs, symlinks=True)
    return theirs, ours


@pytest.fixture
def edit(tmp_path: Path) -> Callable[[Path, str], None]:
    """Has the first stage edit a project."""

    def write(root: Path, how: str) -> None:
        (tmp_path / "edit.sh").write_text(how.format(root=root))

    return write


def until(test: str) -> str:
    return f"while ! {test}; do sleep 0.05; done"


def left_alike(theirs: Path, ours: Path) -> None:
    for path in ("dvc.lock", "out.txt", "after.txt"):
        assert (ours / path).read_text() == (theirs / path).read_text(), path
    assert stock.status(ours) == stock.status(theirs) == {}


@pytest.mark.parametrize("way", EDITS)
def test_dvc_lock_names_what_stock_dvc_names(
    way: str, twins: tuple[Path, Path], edit: Callable[[Path, str], None], locally: Locally
) -> None:
    theirs, ours = twins
    dep, how = EDITS[way]
    edit(theirs, how)
    assert stock.dvc(theirs, "repro") == 0
    edit(ours, how)
    assert not locally(ours).failed
    left_alike(theirs, ours)
    told = f"'{dep}' changed while stage 'one' ran, which was given the version before. dvc.lock names the new one"
    assert told in locally.warnings
    assert "dvc-ray repro -sf one" in locally.warnings
    assert "stage 'after'" not in locally.warnings, "that was given the new one"


def test_a_dep_of_many_stages_is_told_with_the_first_and_at_the_end(
    project: Make, repro: Repro, tmp_path: Path
) -> None:
    both = until(f"test -e {tmp_path}/1 -a -e '{tmp_path}/a b'")
    text = f"""
stages:
  each:
    foreach: [1, a b]
    do:
      cmd: >-
        cat code.py > '${{item}}.txt'; touch '{tmp_path}/${{item}}'; {both}; echo new > {tmp_path}/project/code.py
      deps: [code.py]
      outs: ["${{item}}.txt"]
"""
    root = project({"dvc.yaml": text, "code.py": "old\n"})
    assert not repro(root).failed
    told = [event.text for event in repro.events if isinstance(event, Notice) and "changed while" in event.text]
    first, last = told
    assert first.startswith("'code.py' changed while stage 'each@")
    assert last.startswith("'code.py' changed while 2 stages ran, which were given the version before.")
    assert sorted(shlex.split(last.split("dvc-ray ")[1])) == ["-sf", "each@1", "each@a b", "repro"]


def test_as_much_where_no_disk_is_shared(
    twins: tuple[Path, Path], edit: Callable[[Path, str], None], apart: Apart, cloud: Callable[[Path, str], Path]
) -> None:
    theirs, ours = (cloud(root, name) for root, name in zip(twins, ("theirs", "ours"), strict=True))
    how = "; ".join(how for _, how in EDITS.values())
    edit(theirs, how)
    assert stock.dvc(theirs, "repro") == 0
    edit(ours, how)
    assert not apart(ours).failed
    assert (ours / "dvc.lock").read_text() == (theirs / "dvc.lock").read_text()
    for dep in ("in.txt", "data", "params.yaml"):
        assert f"'{dep}' changed while stage 'one' ran" in apart.text


def test_the_run_cache_knows_what_was_run(
    twins: tuple[Path, Path], edit: Callable[[Path, str], None], locally: Locally
) -> None:
    """Unlike stock DVC's: it would give the old version's out to whoever has the new version."""
    _, root = twins
    edit(root, EDITS["replaced"][1])
    locally(root)
    edit(root, "")
    (root / "dvc.lock").unlink()
    assert states(locally(root))["one"] is StageState.DONE, "nobody has run it on the new version"
    assert (root / "out.txt").read_text() == "new\na\nb\n"
    (root / "in.txt").write_text("old\n")
    assert states(locally(root))["one"] is StageState.CACHED
    assert (root / "out.txt").read_text() == "old\na\nb\n"


@pytest.mark.parametrize(
    "how", ["rm {root}/in.txt", "echo '{{' > {root}/params.yaml", "echo 'other: 1' > {root}/params.yaml"]
)
def test_a_dep_that_is_gone_or_broken_does_not_cost_the_work(
    how: str, twins: tuple[Path, Path], edit: Callable[[Path, str], None], locally: Locally
) -> None:
    """Stock DVC gives the stage up."""
    theirs, ours = twins
    edit(theirs, how)
    assert stock.dvc(theirs, "repro", "one") != 0
    edit(ours, how)
    result = locally(ours)
    assert states(result)["one"] is StageState.DONE
    assert "dvc.lock names that one: the new one is not there, or cannot be read" in locally.warnings


def test_what_a_command_writes_to_a_dep_of_another_stage_is_no_edit(
    project: Make, repro: Repro, tmp_path: Path
) -> None:
    """The other stage has not seen it, and runs again as after it."""
    begun = str(tmp_path / "begun")
    text = f"""
stages:
  one: {{cmd: '{until("test -e " + begun)}; echo more >> in.txt; echo > one.txt', outs: [one.txt]}}
  two:
    cmd: cat in.txt > two.txt; touch {begun}; {until(f"grep -q more {tmp_path}/project/in.txt")}
    deps: [in.txt]
    outs: [two.txt]
"""
    root = project({"dvc.yaml": text, "in.txt": "old\n"})
    assert root == tmp_path / "project"
    repro(root)
    assert (root / "two.txt").read_text() == "old\nmore\n"
    told = [event.text for event in repro.events if isinstance(event, Notice)]
    assert not [text for text in told if "changed while stage" in text]
    assert [text for text in told if "stages after it had begun on the version before: 'two'." in text]
    assert stock.status(root) == {}
