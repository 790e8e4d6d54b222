"""What only the head has, and machines that share no disk with it need: pushed by the head, or said beforehand."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from dvc.output import Output

from dvc_ray import api
from dvc_ray.errors import ProjectError
from dvc_ray.executors.local import LocalExecutor
from dvc_ray.repo.data.in_remote import DataInRemote
from dvc_ray.storage.s3 import S3
from dvc_ray.values.run import Experiment, RunRequest
from dvc_ray.values.stage import StageState
from tests.helpers import stock
from tests.helpers.comparing import assert_same
from tests.helpers.projects import Cloud, Make, twin
from tests.helpers.results import states
from tests.helpers.runs import Apart

USES_FILE = "stages: {copy: {cmd: cat data.csv > out.txt, deps: [data.csv], outs: [out.txt]}}"
USES_FOLDER = "stages: {copy: {cmd: cat data/* > out.txt, deps: [data], outs: [out.txt]}}"


def assert_complete(root: Path) -> None:
    """Everything that dvc.lock and .dvc files name is in the remote."""
    shutil.rmtree(root / ".dvc/cache")
    stock.sh(root, "dvc fetch -q")


def rewrite(path: Path, text: str) -> None:
    path.unlink()
    path.write_text(text)


def added(root: Path, cloud: Cloud, path: str) -> Path:
    stock.sh(root, f"git rm -r -q --cached {path}; dvc add -q {path}")
    cloud(root, "ours")
    stock.sh(root, "dvc push -q && git add -A && git commit -qm data")
    return root


def test_added_data_that_was_edited(project: Make, apart: Apart, cloud: Cloud) -> None:
    root = added(project({"dvc.yaml": USES_FILE, "data.csv": "1\n"}), cloud, "data.csv")
    rewrite(root / "data.csv", "2\n")
    other = twin(root)
    assert stock.dvc(other, "repro") == 0
    result = apart(root)
    assert not result.failed, result.failed
    assert "Pushing to remote 'cloud', where other machines look for it: 'data.csv' (2 bytes)." in apart.text
    assert_same(root, other, "data.csv.dvc")
    assert_complete(root)
    assert states(apart(root))["copy"] is StageState.UNCHANGED


def test_an_experiment_with_added_data_that_was_edited(project: Make, apart: Apart, cloud: Cloud) -> None:
    root = added(project({"dvc.yaml": USES_FILE, "data.csv": "1\n"}), cloud, "data.csv")
    rewrite(root / "data.csv", "2\n")
    other = twin(root)
    assert stock.dvc(other, "exp", "run") == 0
    result, saved = apart.exp_run(root, Experiment())
    assert not result.failed, result.failed
    assert saved is not None
    assert "'data.csv' (2 bytes)" in apart.text
    assert_same(root, other, "data.csv.dvc")
    assert_complete(root)


def test_only_what_is_new_of_a_folder_is_pushed(project: Make, apart: Apart, cloud: Cloud) -> None:
    files = {f"data/{name}": f"{name}{name}\n" for name in "abc"}
    root = added(project({"dvc.yaml": USES_FOLDER, **files}), cloud, "data")
    rewrite(root / "data/b", "changed\n")
    (root / "data/new").write_text("new\n")
    other = twin(root)
    assert stock.dvc(other, "repro") == 0
    assert not apart(root).failed
    assert "'data' (12 bytes)" in apart.text
    assert_same(root, other, "data.dvc")
    assert_complete(root)


def test_data_that_was_added_and_never_pushed(project: Make, apart: Apart, cloud: Cloud) -> None:
    root = project({"dvc.yaml": USES_FOLDER, "data/a": "1\n", "data/b": "2\n"})
    stock.sh(root, "git rm -r -q --cached data; dvc add -q data")
    cloud(root, "never")
    shutil.rmtree(root / "data")  # only the cache has it
    assert not apart(root).failed
    assert "'data' (4 bytes)" in apart.text
    assert_complete(root)


@pytest.mark.parametrize("what", ["data", "data.csv"])
def test_data_is_hashed_once_and_asked_for_once(
    what: str, project: Make, apart: Apart, cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the head, from when it knows that the stage runs."""
    text = USES_FOLDER if what == "data" else USES_FILE
    large = "1" * (300 << 10)  # of what is smaller, an upload does not ask
    root = project({"dvc.yaml": text, "data/a": large, "data/b": "b", "data.csv": large})
    added(root, cloud, what)
    changed = root / ("data/a" if what == "data" else what)
    rewrite(changed, large + "2")
    hashed: list[str] = []
    asked: list[str] = []
    settle, build, size = DataInRemote._found, Output._build, S3.size

    def building(self: Any, *arguments: Any, **named: Any) -> Any:
        hashed.append(arguments[1])
        return build(self, *arguments, **named)

    def sizing(self: S3, key: str) -> int | None:
        asked.append(key)
        return size(self, key)

    def settling(self: Any, *arguments: Any, **named: Any) -> Any:
        with monkeypatch.context() as patch:
            patch.setattr(Output, "_build", building)
            patch.setattr(S3, "size", sizing)
            return settle(self, *arguments, **named)

    monkeypatch.setattr(DataInRemote, "_found", settling)
    assert not apart(root).failed
    assert hashed == [str(root / what)], "to put it into the cache; what it is, the dep knows"
    assert len(asked) == len(set(asked))
    assert len(asked) == (3 if what == "data" else 1)


def test_data_that_is_in_the_workspace_only(project: Make, apart: Apart, cloud: Cloud) -> None:
    root = project({"dvc.yaml": USES_FOLDER, "data/a": "1\n", "data/b": "2\n"})
    stock.sh(root, "git rm -r -q --cached data; dvc add -q --no-commit data")
    cloud(root, "uncommitted")
    other = twin(root)
    assert stock.dvc(other, "repro") == 0
    assert not apart(root).failed
    assert_same(root, other, "data.dvc")
    assert_complete(root)


def test_data_that_is_nowhere(project: Make, apart: Apart, cloud: Cloud) -> None:
    root = project({"dvc.yaml": USES_FILE, "data.csv": "1\n"})
    stock.sh(root, "git rm -r -q --cached data.csv; dvc add -q data.csv; rm -r .dvc/cache data.csv")
    cloud(root, "nowhere")
    with pytest.raises(ProjectError, match=r"where other machines would find it: 'data.csv' \(2 bytes\)") as caught:
        apart(root)
    assert "dvc push data.csv" in caught.value.hint
    assert not (root / "dvc.lock").exists()


def test_an_import_whose_data_is_in_the_workspace(project: Make, apart: Apart, cloud: Cloud, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    stock.sh(source, "git init -q && dvc init -q && mkdir data && echo 1 > data/a && echo 2 > data/b")
    stock.sh(source, "dvc add -q data && git add -A && git commit -qm data")
    (tmp_path / "plain.csv").write_text("plain\n")
    text = "stages: {copy: {cmd: cat data/* plain.csv > out.txt, deps: [data, plain.csv], outs: [out.txt]}}"
    root = project({"dvc.yaml": text})
    stock.sh(root, f"dvc import -q {source} data && dvc import-url -q {tmp_path}/plain.csv")
    cloud(root, "imports")
    stock.sh(root, "git add -A && git commit -qm data")
    rewrite(root / "plain.csv", "edited\n")
    rewrite(root / "data/a", "edited\n")
    other = twin(root)
    assert stock.dvc(other, "repro", "-s", "copy") == 0
    assert not apart(root, RunRequest(targets=("copy",), single_item=True)).failed
    assert_same(root, other)
    assert_same(root, other, "data.dvc", "plain.csv.dvc")


FROZEN = """
stages:
  a: {cmd: echo made > a.txt; echo 1 > m.json; echo in > b.txt, outs: [a.txt, b.txt], metrics: [m.json: {cache: false}], deps: [in.txt], frozen: %s}
  b: {cmd: cat a.txt b.txt m.json > c.txt, deps: [a.txt, b.txt, m.json], outs: [c.txt]}
"""  # noqa: E501


@pytest.mark.parametrize("edited", ["a.txt", "m.json"])
@pytest.mark.parametrize("away", [False, True])
def test_an_edited_out_of_a_frozen_stage(
    edited: str,
    away: bool,  # noqa: FBT001
    project: Make,
    apart: Apart,
    cloud: Cloud,
) -> None:
    root = cloud(project({"dvc.yaml": FROZEN % "false", "in.txt": "1\n"}), "frozen")
    stock.sh(root, "dvc repro -q && dvc push -q")
    (root / "dvc.yaml").write_text(FROZEN % "true")
    rewrite(root / edited, "3\n")
    other = twin(root)
    assert stock.dvc(other, "repro") == 0
    if away:  # as after a run on a cluster
        stock.sh(root, "rm -rf c.txt b.txt .dvc/cache")
    result = apart(root)
    assert not result.failed, result.failed
    assert_same(root, other)
    stock.sh(root, "dvc push -q; dvc pull -q")
    assert (root / "c.txt").read_text() == (other / "c.txt").read_text()


TWO = """
stages:
  a: {cmd: mkdir -p many; echo made > a.txt; echo 1 > many/1; echo 2 > many/2, outs: [a.txt, many]}
  b: {cmd: cat %s > b.txt, deps: [%s], outs: [b.txt]}
"""
DEPS = {"a.txt": "a.txt", "many": "many/*", "many/1": "many/1", ".": "a.txt many/*"}


@pytest.mark.parametrize("dep", DEPS)
@pytest.mark.parametrize("locked", [False, True])
def test_an_out_of_a_stage_that_is_not_in_the_run(
    locked: bool,  # noqa: FBT001
    dep: str,
    project: Make,
    apart: Apart,
    cloud: Cloud,
) -> None:
    """It is in the workspace, but not what dvc.lock says, or dvc.lock says nothing."""
    text = (TWO % (DEPS[dep], dep)).replace("[.]", "[sub]")
    if dep == ".":
        text = TWO.replace("many", "sub/many").replace("a.txt", "sub/a.txt") % ("sub/a.txt sub/many/*", "sub")
    root = cloud(project({"dvc.yaml": text}), "unlocked")
    stock.sh(root, "mkdir -p sub && dvc repro -q a && dvc push -q")
    folder = root / "sub" if dep == "." else root
    if locked:
        rewrite(folder / "a.txt", "EDITED\n")
        rewrite(folder / "many/1", "EDITED\n")
    else:
        stock.sh(root, "rm -r dvc.lock .dvc/cache")
    other = twin(root)
    assert stock.dvc(other, "repro", "-s", "b") == 0
    result = apart(root, RunRequest(targets=("b",), single_item=True))
    assert not result.failed, result.failed
    assert_same(root, other)
    stock.sh(root, "dvc pull -q b")
    assert (root / "b.txt").read_text() == (other / "b.txt").read_text()
    assert stock.sh(folder, "cat a.txt many/1") == stock.sh(other / folder.relative_to(root), "cat a.txt many/1")


def test_a_folder_of_outs_of_which_some_are_away(project: Make, apart: Apart, cloud: Cloud) -> None:
    text = """
stages:
  a: {cmd: mkdir -p d; echo a > d/a, outs: [d/a]}
  b: {cmd: mkdir -p d; echo b > d/b, outs: [d/b]}
  c: {cmd: cat d/* > c.txt, deps: [d], outs: [c.txt]}
"""
    root = cloud(project({"dvc.yaml": text}), "mixed")
    stock.sh(root, "dvc repro -q && dvc push -q")
    rewrite(root / "d/a", "EDITED\n")
    other = twin(root)
    assert stock.dvc(other, "repro", "-s", "c") == 0
    stock.sh(root, "rm -r .dvc/cache d/b")
    assert not apart(root, RunRequest(targets=("c",), single_item=True)).failed
    assert_same(root, other)


@pytest.mark.parametrize("frozen", [False, True])
def test_an_out_that_was_never_made(
    frozen: bool,  # noqa: FBT001
    project: Make,
    apart: Apart,
    cloud: Cloud,
) -> None:
    text = "stages:\n  z: {cmd: echo > z.txt, outs: [z.txt]}" + TWO.partition("stages:")[2] % ("a.txt", "a.txt")
    if frozen:
        text = text.replace("outs: [a.txt, many]", "outs: [a.txt, many], frozen: true")
    root = cloud(project({"dvc.yaml": text}), "unmade")
    request = RunRequest() if frozen else RunRequest(targets=("z", "b"), single_item=True)
    with pytest.raises(ProjectError, match=r"nothing says what it was: 'a.txt'") as caught:
        apart(root, request)
    assert "dvc-ray repro a" in caught.value.hint
    assert ("dvc unfreeze a" in caught.value.hint) is frozen
    assert not (root / "dvc.lock").exists()


def test_a_plan_pushes_nothing(project: Make, cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    root = added(project({"dvc.yaml": USES_FILE, "data.csv": "1\n"}), cloud, "data.csv")
    rewrite(root / "data.csv", "2\n")
    monkeypatch.setattr("dvc_ray.api.call._joined", lambda *_: LocalExecutor(apart=True))
    before = stock.sh(root, "git status --porcelain")
    with stock.in_directory(root):
        api.make_plan()
    assert stock.sh(root, "git status --porcelain") == before
    assert "data.csv" not in stock.sh(root, "dvc status -c")


CACHED = """
stages:
  one:
    cmd: echo ran >> {count}; cat in.txt > out.txt; mkdir -p many; cp in.txt many/1; echo 1 > m.json
    deps: [in.txt]
    outs: [out.txt, many]
    metrics: [m.json: {{cache: false}}]
"""


@pytest.mark.parametrize("pushed", [False, True])
def test_the_heads_own_run_cache(
    pushed: bool,  # noqa: FBT001
    project: Make,
    apart: Apart,
    cloud: Cloud,
    tmp_path: Path,
) -> None:
    count = tmp_path / "count"
    root = cloud(project({"dvc.yaml": CACHED.format(count=count), "in.txt": "1\n"}), "runs")
    stock.sh(root, "dvc repro -q")
    stock.sh(root, "dvc push -q" if pushed else "true")
    (root / "in.txt").write_text("2\n")
    stock.sh(root, "dvc repro -q")
    (root / "in.txt").write_text("1\n")
    other = twin(root)
    assert stock.dvc(other, "repro") == 0
    assert states(apart(root)) == {"one": StageState.CACHED}
    assert count.read_text() == "ran\n" * 2
    assert_same(root, other, "m.json")
    assert ("'out.txt' (2 bytes)" not in apart.text) is pushed
    shutil.rmtree(root / ".dvc/cache")
    (root / "dvc.lock").unlink()
    assert states(apart(root)) == {"one": StageState.CACHED}, "the entry and all it names have gone to the remote"
    assert_same(root, other, "m.json")


def test_an_entry_of_the_run_cache_whose_objects_are_nowhere(
    project: Make, apart: Apart, cloud: Cloud, tmp_path: Path
) -> None:
    count = tmp_path / "count"
    root = cloud(project({"dvc.yaml": CACHED.format(count=count), "in.txt": "1\n"}), "runs")
    stock.sh(root, "dvc repro -q && rm -r .dvc/cache/files dvc.lock out.txt many")
    assert states(apart(root)) == {"one": StageState.DONE}
    assert count.read_text() == "ran\n" * 2


def test_an_out_that_was_edited_is_put_back_without_a_run_cache(
    project: Make, apart: Apart, cloud: Cloud, tmp_path: Path
) -> None:
    count = tmp_path / "count"
    root = cloud(project({"dvc.yaml": CACHED.format(count=count), "in.txt": "1\n"}), "edited")
    stock.sh(root, "dvc repro -q && dvc push -q && rm -r .dvc/cache/runs")
    lock = (root / "dvc.lock").read_text()
    rewrite(root / "out.txt", "EDITED\n")
    request = RunRequest(run_cache=False)
    assert states(apart(root, request)) == {"one": StageState.CACHED}
    assert count.read_text() == "ran\n"
    assert (root / "dvc.lock").read_text() == lock
    (root / "in.txt").write_text("2\n")
    assert states(apart(root, request)) == {"one": StageState.DONE}
