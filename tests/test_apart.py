"""Stages on machines that share no disk with the head, without the machines: data goes by a real S3 server.

That nothing goes by the disk all the same is what `tests/hosts` shows.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from dvc_ray import api
from dvc_ray.errors import ProjectError, StorageError, UnsupportedError
from dvc_ray.executors.local import LocalExecutor
from dvc_ray.repo.remote.remotes import open_remote
from dvc_ray.runs.results import RemoteResults
from dvc_ray.values.run import RunRequest
from dvc_ray.values.stage import StageState
from dvc_ray.values.task import Remote
from tests.helpers import stock
from tests.helpers.projects import Make
from tests.helpers.results import states
from tests.helpers.runs import Apart
from tests.helpers.seaweed import Server

PIPELINE = """
vars: [{items: [a, b]}]
stages:
  prepare:
    cmd: python code/prepare.py
    deps: [data, code/prepare.py]
    params: [size]
    outs: [prepared]
  train:
    matrix: {name: "${items}"}
    cmd: >-
      mkdir -p models && cat prepared/${item.name}.txt extra.txt > models/${item.name}.txt
      && echo '{"n":1}' > ${item.name}.json
    deps: ["prepared/${item.name}.txt", extra.txt]
    outs: ["models/${item.name}.txt"]
    metrics: [{"${item.name}.json": {cache: false}}]
  collect:
    cmd: cat models/*.txt > all.txt && echo note > note.txt && echo more >> tracked.txt
    deps: [models]
    outs: [all.txt]
  keep: {cmd: echo x >> kept.txt, deps: [all.txt], outs: [{kept.txt: {persist: true}}]}
  plot: {cmd: "echo 'x,y' > plot.csv", deps: [all.txt, a.json], plots: [plot.csv]}
"""
PREPARE = """
import pathlib
pathlib.Path("prepared").mkdir()
for path in pathlib.Path("data").rglob("*.txt"):
    pathlib.Path("prepared", path.name).write_text(path.read_text() * 2)
"""


@pytest.fixture
def made(project: Make, cloud: Callable[[Path, str], Path]) -> Path:
    """The project with its raw data in the remote only."""
    files = {"dvc.yaml": PIPELINE, "params.yaml": "size: 1\n", "code/prepare.py": PREPARE, "tracked.txt": "t\n"}
    root = project({**files, "extra.txt": "extra\n", "data/a.txt": "a\n", "data/deep/b.txt": "b\n"})
    stock.sh(root, "git rm -r -q --cached data")
    assert stock.dvc(root, "add", "data") == 0
    cloud(root, "ours")
    stock.sh(root, "git add -A && git commit -qm data")
    return root


def twin(root: Path, cloud: Callable[[Path, str], Path]) -> Path:
    other = root.with_name("stock")
    shutil.copytree(root, other, symlinks=True)
    return cloud(other, "stock")


def forget_data(root: Path) -> None:
    shutil.rmtree(root / ".dvc/cache")
    shutil.rmtree(root / "data")


def keys(s3: Server, root: Path) -> set[str]:
    """Of DVC's objects in the remote of a project."""
    with stock.in_directory(root):
        from dvc.repo import Repo

        with Repo() as repo:
            url = repo.config["remote"]["cloud"]["url"]
    prefix = url.removeprefix("s3://bucket/") + "/"
    pages = s3.client().get_paginator("list_objects_v2").paginate(Bucket="bucket", Prefix=prefix)
    found = {item["Key"].removeprefix(prefix) for page in pages for item in page.get("Contents", [])}
    return {key for key in found if not key.startswith(".dvc-ray/")}


def test_results_are_as_of_one_machine(
    made: Path, apart: Apart, cloud: Callable[[Path, str], Path], s3: Server
) -> None:
    other = twin(made, cloud)
    assert stock.dvc(other, "repro") == 0
    assert stock.dvc(other, "push", "--run-cache") == 0
    assert stock.dvc(made, "push") == 0
    forget_data(made)
    result = apart(made)
    assert not result.failed, result.failed
    for path in (
        "dvc.lock",
        ".gitignore",
        "models/.gitignore",
        "a.json",
        "b.json",
        "plot.csv",
        "note.txt",
        "tracked.txt",
    ):
        assert (made / path).read_bytes() == (other / path).read_bytes(), path
    assert not (made / "all.txt").exists(), "cached outs stay where they are"
    assert not (made / "prepared").exists()
    metric = "files/md5/9a/760bd8d19f5f33076348d83be57f66"  # not cached, but an entry of the run cache names it
    assert keys(s3, made) == keys(s3, other) | {metric}
    status = "git status --porcelain -- ':!.dvc/config'"
    assert stock.sh(made, status) == stock.sh(other, status)
    again = apart(made)
    assert set(states(again).values()) == {StageState.UNCHANGED}
    assert stock.dvc(made, "repro", "--allow-missing", "--dry") == 0
    assert stock.dvc(made, "pull") == 0
    assert stock.status(made) == {}
    assert (made / "all.txt").read_bytes() == (other / "all.txt").read_bytes()


def test_a_change_runs_what_depends_on_it(made: Path, apart: Apart, cloud: Callable[[Path, str], Path]) -> None:
    assert stock.dvc(made, "push") == 0
    other = twin(made, cloud)
    assert stock.dvc(other, "repro") == 0
    forget_data(made)
    apart(made)
    for root in (made, other):
        (root / "extra.txt").write_text("changed\n")
    result = apart(made)
    assert states(result)["prepare"] is StageState.UNCHANGED
    assert {name for name, state in states(result).items() if state is StageState.DONE} >= {
        "train@a",
        "collect",
        "keep",
    }
    assert stock.dvc(other, "repro") == 0
    assert (made / "dvc.lock").read_bytes() == (other / "dvc.lock").read_bytes()
    (made / "extra.txt").write_text("extra\n")
    restored = states(apart(made))
    assert restored["train@a"] is StageState.CACHED, "from the remote's run cache, without a worker"


def test_data_that_nobody_pushed_is_named_before_anything_runs(made: Path, apart: Apart) -> None:
    forget_data(made)
    with pytest.raises(ProjectError, match="data") as caught:
        apart(made)
    assert "dvc push" in caught.value.hint
    assert not (made / "dvc.lock").exists()


def test_no_remote(project: Make, apart: Apart) -> None:
    root = project({"dvc.yaml": "stages: {one: {cmd: echo > out.txt, outs: [out.txt]}}"})
    with pytest.raises(ProjectError, match="no remote to carry data") as caught:
        apart(root)
    assert "dvc remote add -d" in caught.value.hint
    assert stock.dvc(root, "remote", "add", "-d", "local", "/tmp/somewhere") == 0  # noqa: S108
    with pytest.raises(UnsupportedError, match="is a path of this one"):
        apart(root)


@pytest.mark.full
def test_a_remote_that_does_not_work_is_said_first(made: Path, apart: Apart) -> None:
    assert stock.dvc(made, "remote", "modify", "--local", "cloud", "secret_access_key", "wrong") == 0
    with pytest.raises(StorageError, match="does not accept the secret key"):
        apart(made)


def test_a_command_that_fails(project: Make, apart: Apart, cloud: Callable[[Path, str], Path]) -> None:
    text = "stages: {one: {cmd: 'echo seen; echo part > new.txt; exit 3', deps: [in.txt], outs: [out.txt]}}"
    root = cloud(project({"dvc.yaml": text, "in.txt": ""}), "failing")
    result = apart(root)
    (failed,) = result.failed
    assert failed.exit_code == 3
    assert "seen" in failed.tail
    assert "seen" in next((root / ".dvc/tmp/ray/runs").glob("*/logs/one.1.log")).read_text()
    assert (root / "new.txt").read_text() == "part\n"
    assert not (root / "dvc.lock").exists()


def test_the_callers_environment_stays_at_home(
    project: Make, apart: Apart, cloud: Callable[[Path, str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    # In this process the node's environment is the caller's: what is asked is what the head has sent.
    sent: list[dict[str, str]] = []

    class Watched(LocalExecutor):
        def submit(self, task, settings, bundles=()):
            sent.append(dict(task.env))
            super().submit(task, settings, bundles)

    monkeypatch.setenv("CANARY", "secret-of-mine")
    monkeypatch.setenv("HF_TOKEN", "hf_123")
    monkeypatch.setenv("DVC_EXP_NAME", "mine")
    command = "echo logged && echo $HF_TOKEN > out.txt"
    text = f"stages: {{one: {{cmd: {command}, outs: [out.txt], meta: {{ray: {{env: {{MORE: yes}}}}}}}}}}"
    root = cloud(project({"dvc.yaml": text}), "secrets")
    (root / ".dvc/ray.toml").write_text('secrets = ["HF_TOKEN"]\n')
    with stock.in_directory(root):
        assert not api.repro(executor=Watched(apart=True)).failed
    storage = sent[0].pop("DVC_RAY_STORAGE")
    assert re.fullmatch(r"s3://bucket/[^/]+/secrets/.dvc-ray/runs/[^/]+/storage", storage)
    assert sent == [{"SHELL": "/bin/bash", "DVC_EXP_NAME": "mine", "HF_TOKEN": "hf_123", "MORE": "yes"}]
    found = json.dumps([path.read_text(errors="ignore") for path in (root / ".dvc/tmp").rglob("*") if path.is_file()])
    assert "secret-of-mine" not in found
    assert "logged" in found, "what a run keeps was read"


FORGED = {
    "signed with another key": lambda found: b"0" * 64 + b"\n" + found.partition(b"\n")[2],
    "changed": lambda found: found.replace(b"one.txt", b"in.txt"),
    "not signed": lambda found: found.partition(b"\n")[2],
    "deep": lambda _: b"[" * 200_000,
    "empty": lambda _: b"",
    "no text": lambda _: b"\0\xff",
}


@pytest.mark.parametrize("how", FORGED)
def test_what_is_no_result_of_the_run_is_set_aside_and_named_once(
    project: Make,
    apart: Apart,
    cloud: Callable[[Path, str], Path],
    s3: Server,
    monkeypatch: pytest.MonkeyPatch,
    how: str,
) -> None:
    """Who may write to the remote may not write to the user's tree; and what is damaged there blocks no run."""
    text = """
stages:
  one: {cmd: cp in.txt one.txt, deps: [in.txt], outs: [one.txt: {persist: true}]}
  two: {cmd: cp in.txt two.txt, deps: [in.txt], outs: [two.txt: {persist: true}]}
"""
    root = cloud(project({"dvc.yaml": text, "in.txt": "in\n"}), "forged")
    with monkeypatch.context() as killed:
        killed.setattr(RemoteResults, "clear", lambda _: None)
        assert not apart(root).failed
    [note] = root.glob(".dvc/tmp/ray/runs/*/work/remote.result")  # which has the key that results are signed with
    assert note.stat().st_mode & 0o777 == 0o600
    options = {"endpointurl": s3.url, "access_key_id": s3.owner.key, "secret_access_key": s3.owner.secret}
    url = next(line.split()[-1] for line in (root / ".dvc/config").read_text().splitlines() if "s3://" in line)
    store = open_remote(Remote(name="cloud", url=url, options=tuple(options.items())))
    [key] = [key for key in store.keys(".dvc-ray/runs") if key.endswith("/results/one.1")]
    store.write(key, FORGED[how](b"".join(store.chunks(key))))
    stock.sh(root, "rm dvc.lock .gitignore")
    result = apart(root)
    assert states(result) == {"one": StageState.DONE, "two": StageState.UNCHANGED}
    assert "Taken over from a run that was killed: two." in apart.text
    assert apart.text.count("was not written by a worker of it, or is damaged") == 1
    assert [path for path in store.keys(".dvc-ray/unreadable") if path.endswith("/results/one.1")]
    assert (root / "in.txt").read_text() == "in\n"
    assert not apart(root).failed
    assert "damaged" not in apart.text


def test_a_result_that_no_driver_heard_of_is_taken_over(
    project: Make,
    apart: Apart,
    cloud: Callable[[Path, str], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    count = tmp_path / "count"
    text = f"""
stages:
  keep:
    cmd: echo said; echo ran >> {count}; echo x >> kept.txt; echo m > plain.txt
    deps: [in.txt]
    outs: [kept.txt: {{persist: true}}, plain.txt: {{cache: false}}]
"""
    root = cloud(project({"dvc.yaml": text, "in.txt": ""}), "heard")
    monkeypatch.setattr(RemoteResults, "clear", lambda _: None)
    assert not apart(root).failed
    # As after SIGKILL between the end of the command and the driver's hearing of it.
    lock = (root / "dvc.lock").read_text()
    stock.sh(root, "rm -r dvc.lock plain.txt .gitignore")
    result = apart(root)
    assert states(result) == {"keep": StageState.UNCHANGED}
    assert "Taken over from a run that was killed: keep." in apart.text
    assert count.read_text() == "ran\n"
    assert (root / "dvc.lock").read_text() == lock
    assert (root / "plain.txt").read_text() == "m\n"
    assert states(apart(root)) == {"keep": StageState.UNCHANGED}
    assert "Taken over" not in apart.text, "once"


@pytest.mark.full
def test_pull_brings_the_outs_too(made: Path, apart: Apart, cloud: Callable[[Path, str], Path]) -> None:
    other = twin(made, cloud)
    assert stock.dvc(other, "repro") == 0
    assert stock.dvc(made, "push") == 0
    forget_data(made)
    assert not apart(made, RunRequest(pull=True)).failed
    for path in ("prepared/b.txt", "models/a.txt", "all.txt", "kept.txt", "dvc.lock", "plot.csv", "a.json"):
        assert (made / path).read_bytes() == (other / path).read_bytes(), path


@pytest.mark.full
def test_no_commit_is_refused(made: Path, apart: Apart) -> None:
    with pytest.raises(UnsupportedError, match="--no-commit would leave the data"):
        apart(made, RunRequest(commit=False))


@pytest.mark.full
def test_a_stage_that_asks_for_more_than_cpus(
    project: Make, apart: Apart, cloud: Callable[[Path, str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is looked for in the run cache before the cluster is asked whether it has a place."""
    text = "stages: {one: {cmd: cat data/x > out.txt, deps: [data], outs: [out.txt], meta: {ray: {num_gpus: 1}}}}"
    root = project({"dvc.yaml": text, "data/x": "x\n"})
    stock.sh(root, "git rm -r -q --cached data")
    assert stock.dvc(root, "add", "data") == 0
    cloud(root, "gpu")
    assert stock.dvc(root, "push") == 0
    forget_data(root)
    monkeypatch.setattr(LocalExecutor, "surely_fits", lambda *_: False)
    assert states(apart(root))["one"] is StageState.DONE


def test_ignored_files_that_commands_may_miss_are_named_once(
    project: Make, apart: Apart, cloud: Callable[[Path, str], Path]
) -> None:
    files = {".gitignore": "/.env\n/.venv\n/given\n__pycache__\n/data\n", "in.txt": "", ".env": "", "given": ""}
    text = """
stages:
  a: {cmd: cat given > a.txt, deps: [in.txt, data/in.txt], outs: [a.txt], meta: {ray: {include: [given]}}}
  b: {cmd: cp in.txt b.txt, deps: [in.txt], outs: [b.txt, data/b]}
"""
    root = cloud(project({"dvc.yaml": text.replace(", data/b]", "]"), **files}), "unseen")
    for path in ("__pycache__/a.pyc", ".venv/pyvenv.cfg", "data/in.txt", "data/mine/x"):
        (root / path).parent.mkdir(exist_ok=True, parents=True)
        (root / path).write_text("")
    assert not apart(root).failed
    told = [text for text in apart.text.splitlines() if ".venv" in text or ".env" in text]
    files_told, environments_told = told
    assert files_told == (
        "  '.env', 'data/mine': what a stage reads of that, name in dvc.yaml: meta: {ray: {include: [.env]}}"
    )
    assert environments_told.startswith("  '.venv': have the same packages there")
    assert not apart(root).failed
    assert ".env" not in apart.text, "nothing runs"
