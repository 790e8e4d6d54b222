"""Data on machines that share no disk: nothing is lost, nothing stale is used, nothing of the user's is touched."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dvc_ray import api
from dvc_ray.errors import StorageError
from dvc_ray.executors.local import LocalExecutor
from dvc_ray.node.bundles import pack, unpack
from dvc_ray.repo import Project
from dvc_ray.runs.results import RemoteResults, codec
from dvc_ray.settings.sources import resolve
from dvc_ray.values.report import Saved
from dvc_ray.values.run import Experiment, RunRequest
from dvc_ray.values.stage import StageState
from dvc_ray.values.task import BundledFile, Changed, FileBundle, StageResult
from tests.helpers import stock
from tests.helpers.projects import Cloud, Make
from tests.helpers.results import states
from tests.helpers.runs import Apart
from tests.helpers.tasks import task


def test_an_experiment_leaves_no_out_of_the_run_before(project: Make, apart: Apart, cloud: Cloud) -> None:
    text = "stages: {train: {cmd: 'echo ${lr} > model.txt', outs: [model.txt], params: [lr]}}"
    root = cloud(project({"dvc.yaml": text, "params.yaml": "lr: 1\n"}), "exps")
    stock.sh(root, "dvc repro -q && git add -A && git commit -qm first")
    with stock.in_directory(root):
        result, saved = api.exp_run(Experiment(params=("lr=5",)), executor=LocalExecutor(apart=True))
    assert not result.failed
    assert saved is not None
    assert saved.applied
    assert not (root / "model.txt").exists(), "what is in dvc.lock now is in the remote"
    stock.sh(root, "dvc pull -q")
    assert (root / "model.txt").read_text() == "5\n"


EXPERIMENT = """
stages:
  keep:
    cmd: echo ${{lr}} >> {count}; echo ${{lr}} > plain.txt; echo ${{lr}} > kept.txt
    params: [lr]
    outs: [kept.txt: {{persist: true}}, plain.txt: {{cache: false}}]
  last: {{cmd: test -e {flag} && cp plain.txt last.txt, deps: [plain.txt], outs: [last.txt]}}
"""


def test_what_an_experiment_had_done_that_failed_is_taken_over(
    project: Make, apart: Apart, cloud: Cloud, tmp_path: Path
) -> None:
    """A stage that DVC's run cache does not take: it is nowhere else, the experiment's directory is gone."""
    count, flag = tmp_path / "count", tmp_path / "flag"
    text = EXPERIMENT.format(count=count, flag=flag)
    root = cloud(project({"dvc.yaml": text, "params.yaml": "lr: 1\n"}), "again")
    stock.sh(root, "git add -A && git commit -qm first")

    def run(lr: int) -> tuple[dict[str, StageState], Saved | None]:
        result, saved = apart.exp_run(root, Experiment(params=(f"lr={lr}",)))
        return states(result), saved

    for lr in (5, 6):
        assert run(lr) == ({"keep": StageState.DONE, "last": StageState.FAILED}, None)
        assert "Taken over" not in apart.text, "that was another experiment"
    assert not (root / "dvc.lock").exists()
    flag.touch()
    found, saved = run(5)
    assert found == {"keep": StageState.UNCHANGED, "last": StageState.DONE}
    assert "Taken over from an experiment that did not end: keep." in apart.text
    assert count.read_text() == "5\n6\n", "it has not run again"
    assert saved is not None
    assert saved.applied, saved.why
    assert (root / "plain.txt").read_text() == "5\n"
    stock.sh(root, "dvc pull -q")
    assert [(root / name).read_text() for name in ("kept.txt", "last.txt")] == ["5\n", "5\n"]
    assert stock.status(root) == {}
    assert run(6)[0] == {"keep": StageState.UNCHANGED, "last": StageState.DONE}, "the other's is still there"
    assert run(7)[0] == {"keep": StageState.DONE, "last": StageState.DONE}
    assert "Taken over" not in apart.text
    assert count.read_text() == "5\n6\n7\n"
    assert not list((root / ".dvc/tmp/ray/runs").glob("*/work")), "nothing is left to be looked for"


def test_what_persists_goes_on_from_the_last_run(project: Make, apart: Apart, cloud: Cloud) -> None:
    text = "stages: {train: {cmd: 'echo x >> log.txt', deps: [in.txt], outs: [log.txt: {persist: true}]}}"
    root = cloud(project({"dvc.yaml": text, "in.txt": "1\n"}), "persist")
    stock.sh(root, "dvc repro -q && dvc push -q")
    for number in (2, 3):
        (root / "in.txt").write_text(f"{number}\n")
        assert states(apart(root)) == {"train": StageState.DONE}
    assert states(apart(root)) == {"train": StageState.UNCHANGED}
    stock.sh(root, "dvc pull -q")
    assert (root / "log.txt").read_text() == "x\n" * 3


def test_a_remote_with_an_option_that_only_dvc_knows(project: Make, apart: Apart, cloud: Cloud) -> None:
    text = "stages: {one: {cmd: cp in.txt out.txt, deps: [in.txt], outs: [out.txt]}}"
    root = cloud(project({"dvc.yaml": text, "in.txt": "in\n"}), "acl")
    assert stock.dvc(root, "remote", "modify", "cloud", "acl", "private") == 0
    assert states(apart(root)) == {"one": StageState.DONE}
    (root / "dvc.lock").unlink()
    assert states(apart(root)) == {"one": StageState.CACHED}, (
        "what is in the run cache is found by DVC's file system, too"
    )
    stock.sh(root, "dvc pull -q")
    assert (root / "out.txt").read_text() == "in\n"


def test_an_out_that_is_not_to_be_pushed(project: Make, apart: Apart, cloud: Cloud) -> None:
    text = """
stages:
  one:
    cmd: echo large > large.txt; echo > small.txt
    outs: [large.txt: {push: false}, small.txt: {cache: false, push: false}]
  two: {cmd: cp large.txt two.txt, deps: [large.txt], outs: [two.txt]}
"""
    root = cloud(project({"dvc.yaml": text}), "unpushed")
    result = apart(root)
    assert states(result) == {"one": StageState.DONE, "two": StageState.DONE}, result.failed
    assert "goes to the remote in spite of `push: false`: 'large.txt'. " in apart.text
    stock.sh(root, "dvc pull -q")
    assert (root / "two.txt").read_text() == "large\n"
    assert stock.status(root) == {}
    assert states(apart(root)) == {"one": StageState.UNCHANGED, "two": StageState.UNCHANGED}
    assert "push: false" not in apart.text, "nothing goes there now"


def test_a_project_below_the_directory_that_was_called_from(project: Make, apart: Apart, cloud: Cloud) -> None:
    text = "stages: {one: {cmd: echo said && echo 1 > out.txt, outs: [out.txt]}}"
    root = cloud(project({"dvc.yaml": text, "sub/keep": ""}), "below")
    result = apart(root / "sub", RunRequest(targets=("../dvc.yaml:one",)))
    assert [report.state for report in result.reports] == [StageState.DONE], result
    assert "one:" in (root / "dvc.lock").read_text()


def test_a_dep_that_was_edited_is_not_silently_the_old_one(project: Make, apart: Apart, cloud: Cloud) -> None:
    text = """
stages:
  a: {cmd: echo made > a.txt, outs: [a.txt]}
  b: {cmd: cat a.txt > b.txt, deps: [a.txt], outs: [b.txt]}
"""
    root = cloud(project({"dvc.yaml": text}), "edited")
    stock.sh(root, "dvc repro -q && dvc push -q")
    (root / "a.txt").unlink()
    (root / "a.txt").write_text("EDITED\n")
    assert not apart(root, RunRequest(targets=("b",), single_item=True)).failed
    assert "'a.txt' (7 bytes)" in apart.text, "it is said that this is what goes there"
    stock.sh(root, "dvc pull -q b")
    assert (root / "b.txt").read_text() == "EDITED\n"


def test_a_second_remote_that_is_a_path_is_refused(project: Make, apart: Apart, cloud: Cloud, tmp_path: Path) -> None:
    text = "stages: {one: {cmd: echo 1 > out.txt, outs: [out.txt: {remote: disk}]}}"
    root = cloud(project({"dvc.yaml": text}), "second")
    stock.sh(root, f"dvc remote add -q disk {tmp_path}/disk")
    with pytest.raises(Exception, match="remote 'disk' of an out is a path"):
        apart(root)


def test_what_is_executable_stays_so_and_deps_may_overlap(
    project: Make, apart: Apart, cloud: Cloud, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    text = """
stages:
  build:
    cmd: mkdir data && echo a > data/a && printf '#!/bin/sh\\necho ran' > tool && chmod +x tool
    outs: [tool, data]
  use: {cmd: ./tool > out.txt && cat data/a, deps: [tool, data, data/a], outs: [out.txt]}
"""
    root = cloud(project({"dvc.yaml": text}), "tools")
    other = tmp_path / "twin"
    stock.sh(root, f"cp -a {root} {other}")
    assert not apart(root, RunRequest(targets=("build",))).failed
    monkeypatch.setenv("DVC_RAY_NODE_DIR", str(tmp_path / "another node"))
    assert not apart(root).failed
    assert stock.dvc(other, "repro") == 0
    assert (root / "dvc.lock").read_text() == (other / "dvc.lock").read_text()


def test_a_socket_is_left_behind(project: Make, apart: Apart, cloud: Cloud) -> None:
    script = "import socket; socket.socket(socket.AF_UNIX).bind('sock'); open('out.txt', 'w').write('1')\n"
    text = "stages: {one: {cmd: python make.py, deps: [make.py], outs: [out.txt]}}"
    root = cloud(project({"dvc.yaml": text, "make.py": script}), "sockets")
    assert not apart(root).failed


def test_an_undeclared_file_may_be_large(project: Make, apart: Apart, cloud: Cloud) -> None:
    text = "stages: {one: {cmd: head -c 9000000 /dev/zero > big.bin && echo 1 > out.txt, outs: [out.txt]}}"
    root = cloud(project({"dvc.yaml": text}), "large")
    assert not apart(root).failed
    assert (root / "big.bin").stat().st_size == 9_000_000
    assert not list((root / ".dvc/tmp/ray/runs").rglob("*.result")), "nothing is left to be taken over"


def test_an_outage_while_outs_come_home_loses_nothing(
    project: Make, apart: Apart, cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "stages: {one: {cmd: echo 1 > out.txt, outs: [out.txt], meta: {ray: {pull: true}}}}"
    root = cloud(project({"dvc.yaml": text}), "outage")

    def gone(*_: object) -> None:
        raise StorageError("the server is away.", "Wait.")

    monkeypatch.setattr("dvc_ray.repo.remote.stage_data.bring", gone)
    assert states(apart(root)) == {"one": StageState.DONE}
    assert "dvc pull out.txt" in apart.text
    monkeypatch.undo()
    stock.sh(root, "dvc pull -q && dvc status -q")


def test_force_needs_no_data_here(project: Make, apart: Apart, cloud: Cloud) -> None:
    text = "stages: {copy: {cmd: cat data.txt > out.txt, deps: [data.txt], outs: [out.txt]}}"
    root = cloud(project({"dvc.yaml": text, "data.txt": "1\n"}), "forced")
    stock.sh(root, "git rm -q --cached data.txt && dvc add -q data.txt && dvc push -q && rm -r data.txt .dvc/cache")
    assert states(apart(root, RunRequest(force=True)))["copy"] is StageState.DONE


def test_results_of_stages_that_are_not_asked_for_now_are_kept(
    project: Make, apart: Apart, cloud: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = tmp_path / "count"
    text = f"""
stages:
  a: {{cmd: "echo ran >> {count}; echo x >> a.txt", outs: [a.txt: {{persist: true}}]}}
  b: {{cmd: echo 1 > b.txt, outs: [b.txt]}}
"""
    root = cloud(project({"dvc.yaml": text}), "unasked")
    with monkeypatch.context() as killed:  # as after SIGKILL before the driver has heard of it
        killed.setattr(RemoteResults, "clear", lambda _: None)
        assert not apart(root, RunRequest(targets=("a",))).failed
    stock.sh(root, "rm dvc.lock .gitignore")
    assert states(apart(root, RunRequest(targets=("b",)))) == {"b": StageState.DONE}
    with stock.in_directory(root):  # a run on this machine in between
        api.repro(RunRequest(targets=("b",), force=True), executor=LocalExecutor())
    assert states(apart(root, RunRequest(targets=("a",)))) == {"a": StageState.UNCHANGED}
    assert count.read_text() == "ran\n"


@pytest.mark.parametrize("path", ["../victim", "/victim", ".git/hooks/pre-commit", "a/../../victim", ".dvc/config"])
def test_a_result_that_names_a_place_outside_is_none(path: str) -> None:
    result = StageResult(
        address="one", attempt=1, state=StageState.DONE, node="w1", seconds=1.0, workspace="/somewhere"
    )
    returned_files = FileBundle(id="x", files=(BundledFile(path=path, mode=0o100644, mtime_ns=0, data=b""),))
    assert codec.decode(codec.encode(task(), result)) is not None
    base = {"address": "one", "attempt": 1, "state": StageState.DONE, "node": "w1", "seconds": 1.0, "workspace": "/w"}
    for extra in (
        {"deleted": (path,)},
        {"created": (path,)},
        {"changed": (Changed(path=path, base=(0, 0)),)},
        {"returned_files": returned_files},
    ):
        written = codec.encode(task(), StageResult(**{**base, **extra}))  # type: ignore[arg-type]
        assert codec.decode(written) is None


def test_files_are_not_written_through_a_link(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    root = tmp_path / "root"
    root.mkdir()
    (root / "link").symlink_to(outside)
    bundle = FileBundle(id="x", files=(BundledFile(path="link/file", mode=0o100644, mtime_ns=0, data=b""),))
    with pytest.raises(PermissionError):
        unpack(bundle, str(root))
    assert not list(outside.iterdir())


def test_only_files_folders_and_links_are_taken_up(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "file").write_text("1")
    assert [file.path for file in pack(str(tmp_path), ["pipe", "file"]).files] == ["file"]


def test_remotes_are_only_asked_if_nothing_is_to_run(project: Make, cloud: Cloud) -> None:
    root = cloud(project({"dvc.yaml": "stages: {one: {cmd: echo 1 > out.txt, outs: [out.txt]}}"}), "dry")
    with stock.in_directory(root), Project.open() as opened:
        opened.select(RunRequest())
        data = opened.use_remote(resolve(RunRequest(), None), dry=True)
        assert not list(data.store.keys(""))


def test_a_param_that_the_run_caches_key_leaves_out(project: Make, apart: Apart, cloud: Cloud) -> None:
    text = "stages: {one: {cmd: echo 1 > out.txt, params: [size], outs: [out.txt]}}"  # a name that DVC leaves out
    root = cloud(project({"dvc.yaml": text, "params.yaml": "size: 1\n"}), "left-out")
    apart(root)
    (root / "params.yaml").write_text("size: 2\n")
    assert states(apart(root)) == {"one": StageState.CACHED}
    stock.sh(root, "dvc pull -q && dvc status -q")
    assert "size: 2" in (root / "dvc.lock").read_text()
    assert states(apart(root)) == {"one": StageState.UNCHANGED}


def test_caches_of_other_programs_stay_on_the_node(
    project: Make, apart: Apart, cloud: Cloud, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "models"))  # of the node
    load = 'mkdir -p "$HF_HOME" && echo downloaded > "$HF_HOME/model"'
    text = f"""
stages:
  one: {{cmd: '{load} && cp "$HF_HOME/model" one.txt', outs: [one.txt]}}
  two: {{cmd: 'cp "$HF_HOME/model" two.txt', deps: [one.txt], outs: [two.txt]}}
"""
    root = cloud(project({"dvc.yaml": text}), "caches")
    assert not apart(root).failed
    assert (tmp_path / "models/model").read_text() == "downloaded\n"
