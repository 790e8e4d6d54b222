"""`dvc-ray exp run` is `dvc exp run`: the same experiment, the same workspace afterwards."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from packaging.version import Version

from dvc_ray import api
from dvc_ray.errors import DvcRayError, ProjectError, UnsupportedError
from dvc_ray.executors.local import LocalExecutor
from dvc_ray.executors.ray import RayExecutor
from dvc_ray.experiments.mirror import TreeMirror
from dvc_ray.runs.directory import open_run
from dvc_ray.values.report import Notice, RunEvent, RunResult, Saved, StageReport
from dvc_ray.values.run import Experiment, OnError, RunRequest
from dvc_ray.values.stage import StageState
from tests.helpers import stock
from tests.helpers.listening import telling
from tests.helpers.projects import Make
from tests.helpers.results import states
from tests.helpers.runs import Here
from tests.helpers.serving import Serving

pytestmark = pytest.mark.core

FILES = {
    "dvc.yaml": """
stages:
  prepare:
    cmd: cat in.txt local.txt > prepared.txt; echo ${lr} >> prepared.txt
    deps: [in.txt, local.txt]
    params: [lr]
    outs: [prepared.txt]
  train:
    cmd:
      - cp prepared.txt model.txt
      - 'echo "{\\"acc\\": ${lr}}" > metrics.json; echo log > undeclared.txt; echo changed >> tracked.txt'
      - mkdir -p folder/sub history && echo ${lr} > folder/sub/y && echo ${lr} >> history/all
    deps: [prepared.txt]
    outs:
      - model.txt
      - folder: {cache: false}
      - history: {cache: false, persist: true}
    metrics:
      - metrics.json:
          cache: false
    plots: [curve.csv]
  curve:
    cmd: 'echo "x,y" > curve.csv; ls data > listing.txt; rm -f gone.txt'
    deps: [data]
    outs: [listing.txt]
""".replace("    plots: [curve.csv]\n", "").replace('echo "x,y" > curve.csv; ', ""),
    "params.yaml": "lr: 0.1  # kept\nother:\n  depth: 2\n",
    "in.txt": "in\n",
    "tracked.txt": "tracked\n",
    "gone.txt": "",
    "data/a.csv": "1\n",
    "data/b.csv": "2\n",
    ".gitignore": "/local.txt\n",
    "setup.sh": "dvc add -q data; echo local > local.txt",
}


class Exp:
    """`dvc-ray exp run` in this process: what an experiment is has nothing to do with where its attempts run."""

    def __init__(self, executor: RayExecutor | None = None) -> None:
        self._ray = executor
        self.events: list[RunEvent] = []

    def __call__(
        self,
        root: Path,
        experiment: Experiment | None = None,
        request: RunRequest | None = None,
        listen: Callable[[RunEvent], None] = lambda _: None,
    ) -> tuple[RunResult, Saved | None]:
        self.events = []

        def heard(event: RunEvent) -> None:
            self.events.append(event)
            listen(event)

        with stock.in_directory(root):
            return api.exp_run(experiment, request, sinks=telling(heard), executor=self._ray or LocalExecutor())


@pytest.fixture
def exp() -> Exp:
    return Exp()


@pytest.fixture
def exp_on_ray(shared_ray: RayExecutor) -> Exp:
    return Exp(shared_ray)


@pytest.fixture
def twins(project: Make, tmp_path: Path) -> Callable[[dict[str, str]], tuple[Path, Path]]:
    """The same project twice: for stock DVC and for us."""

    def make(files: dict[str, str]) -> tuple[Path, Path]:
        ours = project(files)
        theirs = tmp_path / "stock" / "project"
        shutil.copytree(ours, theirs, symlinks=True)
        return theirs, ours

    return make


def commit(root: Path, name: str) -> str:
    return stock.sh(root, f"git for-each-ref 'refs/exps/*/*/{name}' --format='%(objectname)'").strip()


def tree(root: Path, name: str) -> str:
    """The experiment's commit: its files, its message and what it is based on."""
    rev = commit(root, name)
    assert rev, name
    files = stock.sh(root, f"git ls-tree -r {rev}")
    parent = stock.sh(root, f"git log -1 --format='%s %P' {rev}")
    return files + parent


def scores(root: Path) -> Any:
    """What `dvc exp show` says, without dates and revisions."""
    from dvc.repo import Repo

    with stock.in_directory(root), contextlib.closing(Repo()) as repo:
        shown = [state.dumpd() for state in repo.experiments.show()]

    def strip(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: strip(item) for key, item in value.items() if key not in {"timestamp", "rev"}}
        if isinstance(value, Exception):
            return str(value)
        return [strip(item) for item in value] if isinstance(value, list) else value

    return strip(shown)


CHANGES = {
    "param": ("", ["-S", "lr=0.5"], Experiment(params=("lr=0.5",)), RunRequest()),
    "nested": ("", ["-S", "+other.new=1"], Experiment(params=("+other.new=1",)), RunRequest()),
    "message": ("", ["-m", "why"], Experiment(message="why"), RunRequest()),
    "target": ("", ["prepare"], Experiment(), RunRequest(targets=("prepare",))),
    "uncommitted": (
        "echo more >> in.txt; git add in.txt; echo 3 > data/c.csv; echo note > note.txt; echo x >> tracked.txt",
        ["-S", "lr=0.7"],
        Experiment(params=("lr=0.7",)),
        RunRequest(),
    ),
}


@pytest.mark.parametrize("change", [change for change in CHANGES if change != "uncommitted"])
def test_leaves_what_stock_dvc_leaves(change: str, twins: Callable[..., tuple[Path, Path]], exp: Exp) -> None:
    leaves_what_stock_dvc_leaves(change, twins, exp)


def test_on_ray_it_leaves_what_stock_dvc_leaves(twins: Callable[..., tuple[Path, Path]], exp_on_ray: Exp) -> None:
    leaves_what_stock_dvc_leaves("uncommitted", twins, exp_on_ray)


def leaves_what_stock_dvc_leaves(change: str, twins: Callable[..., tuple[Path, Path]], exp: Exp) -> None:
    theirs, ours = twins(FILES)
    before, arguments, experiment, request = CHANGES[change]
    for root in (theirs, ours):
        stock.sh(root, before or "true")
    assert stock.dvc(theirs, "exp", "run", "-n", "one", *arguments) == 0
    named = Experiment(params=experiment.params, message=experiment.message, name="one")
    result, saved = exp(ours, named, request)
    assert not result.failed, result.failed
    assert saved == Saved(name="one", rev=commit(ours, "one"), applied=True)
    assert tree(ours, "one") == tree(theirs, "one")
    assert stock.differences(stock.snapshot(theirs), stock.snapshot(ours)) == []
    assert scores(ours) == scores(theirs)
    # A second one, on what the first has left.
    assert stock.dvc(theirs, "exp", "run", "-n", "two", "-S", "lr=0.9") == 0
    _, saved = exp(ours, Experiment(params=("lr=0.9",), name="two"))
    assert saved == Saved(name="two", rev=commit(ours, "two"), applied=True)
    assert tree(ours, "two") == tree(theirs, "two")
    assert stock.differences(stock.snapshot(theirs), stock.snapshot(ours)) == []


def test_temp_leaves_the_workspace_alone(twins: Callable[..., tuple[Path, Path]], exp: Exp) -> None:
    theirs, ours = twins({**FILES, "setup.sh": "dvc add -q data; echo local > local.txt"})
    arguments = ["-n", "one", "--temp", "-C", "local.txt", "-S", "lr=0.5"]
    assert stock.dvc(theirs, "exp", "run", *arguments) == 0
    before = stock.snapshot(ours)
    _, saved = exp(ours, Experiment(params=("lr=0.5",), name="one", temp=True, copy_paths=("local.txt",)))
    assert saved is not None
    assert not saved.applied
    assert tree(ours, "one") == tree(theirs, "one")
    cache = {path for path in stock.snapshot(ours) if path.startswith(".dvc/cache")}
    assert (
        stock.differences({**before, **dict.fromkeys(cache, "")}, {**stock.snapshot(ours), **dict.fromkeys(cache, "")})
        == []
    )
    assert any("undeclared.txt" in event.text for event in exp.events if isinstance(event, Notice))


def test_a_dep_that_the_user_changes_meanwhile_is_recorded_as_it_was(
    twins: Callable[..., tuple[Path, Path]], exp: Exp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As DVC does, where a command runs in a copy of the workspace: here it always does."""
    command = "mv $WORKSPACE/new.txt $WORKSPACE/in.txt; cp in.txt out.txt"
    text = f"stages: {{one: {{cmd: {command}, deps: [in.txt], outs: [out.txt]}}}}"
    theirs, ours = twins({"dvc.yaml": text, "in.txt": "old\n"})
    for root in (theirs, ours):
        (root / "new.txt").write_text("new\n")
    monkeypatch.setenv("WORKSPACE", str(theirs))
    assert stock.dvc(theirs, "exp", "run", "--temp", "-n", "one") == 0
    monkeypatch.setenv("WORKSPACE", str(ours))
    exp(ours, Experiment(name="one", temp=True))
    assert tree(ours, "one") == tree(theirs, "one")
    for root in (theirs, ours):
        assert (root / "in.txt").read_text() == "new\n"
        lock = stock.sh(root, f"git show {commit(root, 'one')}:dvc.lock")
        assert lock.count(hashlib.md5(b"old\n").hexdigest()) == 2, "dep and out"  # noqa: S324


def test_stock_commands_take_the_experiment_as_their_own(project: Make, exp: Exp, tmp_path: Path) -> None:
    root = project(FILES)
    exp(root, Experiment(params=("lr=0.5",), name="one", temp=True, copy_paths=("local.txt",)))
    exp(root, Experiment(params=("lr=0.6",), name="two", temp=True, copy_paths=("local.txt",)))
    remote = tmp_path / "remote"
    stock.sh(tmp_path, f"git init -q --bare {remote}.git; mkdir {remote}")
    stock.sh(root, f"git remote add origin {remote}.git; git push -q origin HEAD; dvc remote add -q -d r {remote}")
    for arguments in (
        ["exp", "diff", "one", "two"],
        ["plots", "diff", "one", "two", "--json"],
        ["exp", "rename", "two", "three"],
        ["exp", "push", "origin", "one", "three"],
        ["exp", "apply", "one"],
        ["exp", "branch", "three", "a-branch"],
        ["exp", "remove", "one", "three"],
        ["exp", "pull", "origin", "one"],
    ):
        assert stock.dvc(root, *arguments) == 0, arguments
    assert commit(root, "one")
    assert stock.status(root) == {}


@pytest.mark.parametrize(
    ("experiment", "error", "says"),
    [
        (Experiment(params=("lr=0.1,0.2",)), UnsupportedError, "gives several values, a sweep"),
        (Experiment(params=("nothing=1",)), ProjectError, "nothing"),
        (Experiment(name="a b"), ProjectError, "a b"),
        (Experiment(name="taken"), ProjectError, "taken"),
        (Experiment(params=("lr=",), name="x/y"), DvcRayError, "x/y"),
    ],
)
def test_bad_input_is_refused_before_anything_runs(
    experiment: Experiment, error: type[DvcRayError], says: str, project: Make, exp: Exp
) -> None:
    root = project(FILES)
    exp(root, Experiment(name="taken", temp=True, copy_paths=("local.txt",)))
    stock.sh(root, "echo more >> in.txt")
    before = stock.snapshot(root)
    with pytest.raises(error, match=says):
        exp(root, experiment)
    assert exp.events == []
    assert stock.differences(before, stock.snapshot(root)) == []
    assert not any((root / ".dvc/tmp/exps/standalone").glob("*/*"))


def test_a_failed_experiment_leaves_nothing_but_its_log(project: Make, exp: Exp) -> None:
    root = project({**FILES, "dvc.yaml": FILES["dvc.yaml"].replace("cp prepared.txt", "exit 4; cp prepared.txt")})
    before = stock.snapshot(root)
    result, saved = exp(root, Experiment(params=("lr=0.5",)))
    assert saved is None
    assert states(result)["train"] is StageState.FAILED
    after = stock.snapshot(root)
    assert [
        path for path in {*before, *after} if before.get(path) != after.get(path) and ".dvc/cache" not in path
    ] == []
    log = next(report.log for report in result.failed)
    assert (root / log).exists()
    assert not any((root / ".dvc/tmp/exps/standalone").glob("*/*"))
    result, saved = exp(root, Experiment(params=("lr=0.5",)), RunRequest(on_error=OnError.IGNORE))
    assert saved is not None, "with errors ignored it is saved, as stock does"


def test_a_changed_workspace_is_left_as_it_is(project: Make, exp: Exp) -> None:
    root = project(FILES)

    def disturb(event: RunEvent) -> None:
        if isinstance(event, StageReport) and event.state is StageState.RUNNING and event.address == "train":
            (root / "in.txt").write_text("meanwhile\n")

    _, saved = exp(root, Experiment(params=("lr=0.5",), name="one"), listen=disturb)
    assert saved is not None
    assert (saved.applied, saved.why) == (False, "the workspace has changed meanwhile")
    assert (root / "in.txt").read_text() == "meanwhile\n"
    assert (root / "params.yaml").read_text().startswith("lr: 0.1")
    assert not (root / "model.txt").exists()
    assert stock.sh(root, f"git show {commit(root, 'one')}:in.txt") == "in\n"


def test_files_of_the_user_are_kept(twins: Callable[..., tuple[Path, Path]], exp: Exp) -> None:
    """Rewritten and removed as in the workspace; in a bare one, what was not given is left as it is."""
    cmd = "echo more >> note.txt; rm gone.txt; echo new >> history.log; echo ${lr} > out.txt"
    text = f"stages: {{one: {{cmd: '{cmd}', params: [lr], outs: [out.txt]}}}}"
    theirs, ours = twins({"dvc.yaml": text, "params.yaml": "lr: 1\n", ".gitignore": "/history.log\n"})
    for root in (theirs, ours):
        for name in ("note.txt", "gone.txt", "history.log"):
            (root / name).write_text("mine\n")
    assert stock.dvc(theirs, "exp", "run", "-n", "one", "-S", "lr=2") == 0
    bare = ours.parent / "bare"
    stock.sh(ours, f"cp -a . '{bare}'")
    _, saved = exp(ours, Experiment(params=("lr=2",), name="one"))
    assert saved is not None
    assert saved.applied
    assert stock.differences(stock.snapshot(theirs), stock.snapshot(ours)) == []
    (bare / ".dvc/ray.toml").write_text("bare_workspace = true\n")
    assert exp(bare, Experiment(params=("lr=2",), name="one"))[1] is not None
    assert (bare / "history.log").read_text() == "mine\n"
    told = next(event.text for event in exp.events if isinstance(event, Notice) and event.level == "warning")
    kept = bare / told.rpartition("the new one is ")[2].rstrip(".")
    assert kept.read_text() == "new\n"


def test_the_project_imported_by_path_is_the_experiments(
    twins: Callable[..., tuple[Path, Path]], exp: Exp, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = "import pack; (pack.ROOT / 'out.txt').write_text((pack.ROOT / 'params.yaml').read_text())"
    files = {
        "src/pack/__init__.py": "from pathlib import Path\nROOT = Path(__file__).parents[2]\n",
        "dvc.yaml": f'stages: {{one: {{cmd: "python -c \\"{read}\\"", params: [lr], outs: [out.txt]}}}}',
        "params.yaml": "lr: 1\n",
    }
    theirs, ours = twins(files)
    given = os.environ.get("PYTHONPATH")
    for side in (theirs, ours):
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, (f"{side}/src", given))))
        if side == theirs:
            assert stock.dvc(theirs, "exp", "run", "-n", "one", "-S", "lr=2") == 0
        else:
            assert not exp(ours, Experiment(params=("lr=2",), name="one"))[0].failed
    assert (ours / "out.txt").read_text() == "lr: 2\n"
    assert tree(ours, "one") == tree(theirs, "one")


def test_an_undeclared_input_is_named(project: Make, exp: Exp) -> None:
    text = "stages: {one: {cmd: cat secret/key.txt > out.txt, outs: [out.txt]}}"
    root = project({"dvc.yaml": text, ".gitignore": "/secret\n"})
    (root / ".dvc/ray.toml").write_text("bare_workspace = true\n")
    (root / "secret").mkdir()
    (root / "secret/key.txt").write_text("key")
    result, _ = exp(root)
    assert "Its output names 'secret/key.txt'" in result.failed[0].error


def test_an_edit_while_it_is_set_up_is_kept(project: Make, exp: Exp, monkeypatch: pytest.MonkeyPatch) -> None:
    from dvc_ray.repo.experiments.directory import ExperimentDir

    root = project(FILES)
    checkout = ExperimentDir.checkout

    def edit(lab: ExperimentDir) -> None:
        (root / "tracked.txt").write_text("edited\n")
        checkout(lab)

    monkeypatch.setattr(ExperimentDir, "checkout", edit)
    _, saved = exp(root, Experiment(name="one"))
    assert saved is not None
    assert not saved.applied
    assert (root / "tracked.txt").read_text() == "edited\n"


def test_beside_a_run_in_the_workspace(project: Make, exp: Exp) -> None:
    root = project(FILES)
    with contextlib.ExitStack() as stack:

        def run_begins(event: RunEvent) -> None:
            if isinstance(event, StageReport) and event.state is StageState.RUNNING and event.address == "train":
                stack.enter_context(open_run(str(root / ".dvc")))

        _, saved = exp(root, Experiment(name="one"), listen=run_begins)
        assert saved is not None
        assert not saved.applied
        assert "works in the workspace" in saved.why
        assert not (root / "model.txt").exists()
        with pytest.raises(ProjectError, match="another dvc-ray run is under way"):
            exp(root, Experiment(name="two"))


def test_results_that_cannot_be_brought_home_are_saved_all_the_same(
    project: Make, exp: Exp, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    root = project(FILES)
    monkeypatch.setattr(TreeMirror, "sync", full)
    _, saved = exp(root, Experiment(name="one"))
    assert saved is not None
    assert not saved.applied
    assert "No space left on device" in saved.why
    assert commit(root, "one") == saved.rev


PLAIN = {
    "dvc.yaml": "stages: {one: {cmd: cp params.yaml out.txt, params: [lr], outs: [out.txt]}}",
    "params.yaml": "lr: 1\n",
}


@pytest.mark.parametrize("variables", [("GIT_DIR",), ("GIT_DIR", "GIT_WORK_TREE")])
def test_variables_that_name_a_repository(
    twins: Callable[..., tuple[Path, Path]], exp: Exp, variables: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """They once made the experiment's directory look like the user's, and had that emptied."""
    text = PLAIN["dvc.yaml"].replace("cp params", "test $(git rev-parse --show-toplevel) = $DVC_ROOT && cp params")
    theirs, ours = twins(PLAIN)
    (ours / "dvc.yaml").write_text(text)
    stock.sh(ours, "git commit -qam asks")
    for name in variables:
        monkeypatch.setenv(name, str(ours / ".git") if name == "GIT_DIR" else str(ours))
    _, saved = exp(ours, Experiment(params=("lr=2",), name="one"))
    assert saved is not None
    assert saved.applied
    for name in variables:
        monkeypatch.delenv(name)
    assert stock.dvc(theirs, "exp", "run", "-n", "one", "-S", "lr=2") == 0
    assert set(os.listdir(ours)) == set(os.listdir(theirs))
    assert stock.sh(ours, f"git show {saved.rev}:params.yaml") == "lr: 2\n"


def test_a_shallow_clone(project: Make, exp: Exp, tmp_path: Path) -> None:
    root = project(PLAIN)
    stock.sh(root, f"git commit -q --allow-empty -m more && git clone -q --depth 1 file://{root} {tmp_path}/shallow")
    _, saved = exp(tmp_path / "shallow", Experiment(params=("lr=2",), name="one"))
    assert saved == Saved(name="one", rev=commit(tmp_path / "shallow", "one"), applied=True)
    assert stock.dvc(tmp_path / "shallow", "exp", "show", "--no-pager") == 0


def test_auto_push(twins: Callable[..., tuple[Path, Path]], exp: Exp, tmp_path: Path) -> None:
    pushed = []
    theirs, ours = twins(PLAIN)
    for root in (theirs, ours):
        for name, command in (("git", "git init -q --bare"), ("data", "true")):
            (root.parent / f"{name}-remote").mkdir()
            stock.sh(root.parent / f"{name}-remote", command)
        stock.dvc(root, "remote", "add", "-d", "far", "../data-remote")
        stock.dvc(root, "config", "exp.auto_push", "true")
        stock.sh(root, "git remote add origin ../git-remote && git commit -qam config && git push -q origin HEAD")
        if root == theirs:
            assert stock.dvc(root, "exp", "run", "-n", "one", "-S", "lr=2") == 0
        else:
            exp(root, Experiment(params=("lr=2",), name="one"))
        stored = sorted(str(path.relative_to(root.parent)) for path in (root.parent / "data-remote").rglob("*"))
        pushed.append((stock.sh(root.parent / "git-remote", "git for-each-ref refs/exps | wc -l"), stored))
    assert pushed[0] == pushed[1]
    assert pushed[1][0].strip() == "1"
    stock.sh(ours, "mv ../git-remote ../gone")
    _, saved = exp(ours, Experiment(params=("lr=3",), name="two"))
    assert saved is not None, "it is saved all the same"
    assert any("dvc exp push origin two" in event.text for event in exp.events if isinstance(event, Notice))


def test_folders_without_files_are_there(twins: Callable[..., tuple[Path, Path]], exp: Exp) -> None:
    text = PLAIN["dvc.yaml"].replace("cp params", "echo > logs/one.txt; cp params")
    theirs, ours = twins({**PLAIN, "dvc.yaml": text})
    for root in (theirs, ours):
        (root / "logs").mkdir()
    assert stock.dvc(theirs, "exp", "run", "-n", "one", "-S", "lr=2") == 0
    assert not exp(ours, Experiment(params=("lr=2",), name="one"))[0].failed
    assert stock.differences(stock.snapshot(theirs), stock.snapshot(ours)) == []


@pytest.mark.parametrize("temp", [True, False])
def test_copy_paths_are_given_to_stages(project: Make, exp: Exp, temp: bool) -> None:  # noqa: FBT001
    text = PLAIN["dvc.yaml"].replace("cp params.yaml", "cp ignored/key.txt")
    root = project({**PLAIN, "dvc.yaml": text, ".gitignore": "/ignored\n"})
    (root / "ignored").mkdir()
    (root / "ignored/key.txt").write_text("key")
    result, saved = exp(root, Experiment(name="one", copy_paths=("ignored",), temp=temp))
    assert not result.failed, result.failed
    assert saved is not None
    assert (root / "out.txt").exists() is not temp
    assert (root / "ignored/key.txt").read_text() == "key"


def test_an_import_from_a_relative_path(project: Make, exp: Exp, tmp_path: Path) -> None:
    (tmp_path / "up").mkdir()
    (tmp_path / "up/data.txt").write_text("data")
    stock.sh(tmp_path / "up", "git init -q && git add . && git commit -qm up")
    root = project(PLAIN)
    text = PLAIN["dvc.yaml"].replace("params: [lr]", "deps: [data.txt], params: [lr]")
    assert stock.dvc(root, "import", "../up", "data.txt") == 0
    assert stock.dvc(root, "unfreeze", "data.txt.dvc") == 0
    (root / "dvc.yaml").write_text(text)
    stock.sh(root, "git add . && git commit -qm import")
    with pytest.raises(UnsupportedError, match=r"imports from '\.\./up', a relative path"):
        exp(root, Experiment(name="one"))
    assert exp.events == []


def test_modes_are_the_users(twins: Callable[..., tuple[Path, Path]], exp_on_ray: Exp) -> None:
    theirs, ours = twins(PLAIN)
    before = os.umask(0o077)
    try:
        assert stock.dvc(theirs, "exp", "run", "-n", "one", "-S", "lr=2") == 0
        exp_on_ray(ours, Experiment(params=("lr=2",), name="one"))
    finally:
        os.umask(before)
    assert (ours / "params.yaml").stat().st_mode == (theirs / "params.yaml").stat().st_mode


def running(root: Path) -> list[tuple[str, Any]]:
    return [
        (item["name"], item["revs"][0]["data"]["metrics"])
        for state in scores(root)
        for item in state["experiments"] or []
        if item["executor"] and item["executor"]["state"] == "running"
    ]


def test_exp_show_lists_it_while_it_runs(project: Make, exp: Exp) -> None:
    text = FILES["dvc.yaml"].replace("deps: [data]", "deps: [data, model.txt]")
    root = project({**FILES, "dvc.yaml": text})
    seen: list[Any] = []

    def look(event: RunEvent) -> None:
        if isinstance(event, StageReport) and event.state is StageState.RUNNING:
            seen.append(running(root))

    exp(root, Experiment(params=("lr=0.5",), name="one"), listen=look)
    assert [names[0][0] for names in seen] == ["one", "one", "one"]
    assert "error" in seen[0][0][1]["metrics.json"]
    assert seen[2][0][1]["metrics.json"]["data"] == {"acc": 0.5}, "metrics of finished stages appear"
    assert running(root) == []


class Background:
    """`dvc-ray exp run` in a process of its own, on its way."""

    def __init__(self, root: Path, environ: dict[str, str], name: str, value: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "dvc_ray", "exp", "run", "--json", "-n", name, "-S", f"lr={value}"],
            cwd=root,
            env=environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def wait_for_output(self, text: str) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if text in json.loads(line).get("text", ""):
                return
        raise AssertionError(self.process.communicate())


WAITS = """
stages:
  wait:
    cmd: echo begun; while ! test -e {flag}; do sleep 0.05; done; echo ${{lr}} > out.txt
    params: [lr]
    outs: [out.txt]
"""


@pytest.fixture
def background(on_shared_ray: dict[str, str]) -> Iterator[Callable[..., Background]]:
    made: list[Background] = []

    def start(root: Path, name: str, value: str) -> Background:
        made.append(Background(root, on_shared_ray, name, value))
        return made[-1]

    yield start
    for each in made:
        each.process.kill()
        each.process.communicate()


def test_two_at_the_same_time(project: Make, background: Callable[..., Background], tmp_path: Path) -> None:
    flag = tmp_path / "flag"
    root = project({"dvc.yaml": WAITS.format(flag=flag), "params.yaml": "lr: 1\n"})
    both = [background(root, "one", "2"), background(root, "two", "3")]
    for each in both:
        each.wait_for_output("begun")
    assert {name for name, _ in running(root)} == {"one", "two"}
    flag.touch()
    for each in both:
        _, err = each.process.communicate(timeout=180)
        assert each.process.returncode == 0, err
    assert stock.sh(root, f"git show {commit(root, 'one')}:params.yaml") == "lr: 2\n"
    assert stock.sh(root, f"git show {commit(root, 'two')}:params.yaml") == "lr: 3\n"
    assert (root / "params.yaml").read_text() in {"lr: 2\n", "lr: 3\n"}, "one of them is applied, the other is not"
    assert (root / "out.txt").read_text() == (root / "params.yaml").read_text().removeprefix("lr: ")


def test_a_killed_one_does_not_run_for_ever(
    project: Make, background: Callable[..., Background], exp: Exp, tmp_path: Path
) -> None:
    flag = tmp_path / "flag"
    root = project({"dvc.yaml": WAITS.format(flag=flag), "params.yaml": "lr: 1\n"})
    before = stock.snapshot(root)
    killed = background(root, "one", "2")
    killed.wait_for_output("begun")
    killed.process.kill()
    killed.process.wait()
    assert stock.differences(before, stock.snapshot(root)) == []
    assert [name for name, _ in running(root)] == ["one"]
    flag.touch()
    with stock.in_directory(root):
        api.repro(executor=LocalExecutor())
    assert running(root) == [], "any run clears it away"
    assert not any((root / ".dvc/tmp/exps/standalone").glob("*/*"))


def test_a_sub_directory_and_hydra(twins: Callable[..., tuple[Path, Path]], exp: Exp) -> None:
    files = {
        "dvc.yaml": "stages: {one: {cmd: cat params.yaml > out.txt, deps: [params.yaml], outs: [out.txt]}}",
        "conf/config.yaml": "defaults:\n  - _self_\n  - db: mysql\nlr: 1\n",
        "conf/db/mysql.yaml": "name: mysql\n",
        "conf/db/postgres.yaml": "name: postgres\n",
        "params.yaml": "old: 1\n",
        "setup.sh": "dvc config hydra.enabled True",
    }
    theirs, ours = twins(files)
    assert stock.dvc(theirs, "exp", "run", "-n", "one", "-S", "db=postgres") == 0
    exp(ours, Experiment(params=("db=postgres",), name="one"))
    assert tree(ours, "one") == tree(theirs, "one")
    assert stock.differences(stock.snapshot(theirs), stock.snapshot(ours)) == []


def test_without_git_or_commits_it_says_so(tmp_path: Path, exp: Exp) -> None:
    root = tmp_path / "project"
    root.mkdir()
    assert stock.dvc(root, "init", "--no-scm") == 0
    with pytest.raises(ProjectError, match="Only supported for Git repositories"):
        exp(root)


def test_the_command_line(project: Make, here: Here) -> None:
    root = project(FILES)
    done = here(root, "exp", "run", "-S", "lr=0.5", "-n", "one", "--dry")
    assert done.returncode == 0, done.stderr
    assert "Step 1, 2 at the same time" in done.stdout
    assert not commit(root, "one")
    done = here(root, "exp", "run", "-S", "lr=0.5", "-n", "one")
    assert done.returncode == 0, done.stderr
    assert "Ran experiment(s): one\nExperiment results have been applied to your workspace." in done.stdout
    done = here(root, "exp", "run", "--queue")
    assert (done.returncode, "dvc exp run --queue" in done.stderr) == (255, True)
    assert os.listdir(root / ".dvc/tmp/ray/runs")


def test_the_environment_it_ran_in_is_recorded(twins: Callable[..., tuple[Path, Path]], exp_on_ray: Exp) -> None:
    command = "stages: {one: {cmd: 'echo $GREETING $NAME > out.txt', params: [lr], outs: [out.txt]%s}}"
    stage = ", meta: {ray: {runtime_env: {env_vars: {NAME: you}}}}"
    theirs, ours = twins({"dvc.yaml": command % stage, "params.yaml": "lr: 1\n"})
    for root in (theirs, ours):
        stock.sh(root, "git add -A && git commit -qm all --allow-empty")
    common = {"env_vars": {"GREETING": "hi", "NAME": "nobody"}}
    messages = []
    config = json.dumps(common)
    for name, request in {"a": RunRequest(), "b": RunRequest(force=True)}.items():
        (ours / ".dvc/ray.toml").write_text(f"runtime_env = {config.replace(':', ' =')}\n")
        assert exp_on_ray(ours, Experiment(params=("lr=2",), name=name), request)[1]
        assert (ours / "out.txt").read_text() == "hi you\n"
        messages.append(stock.sh(ours, f"git log -1 --format=%B {commit(ours, name)}").strip())
        stock.sh(
            ours, "git checkout -q params.yaml dvc.lock 2>/dev/null || git checkout -q params.yaml; rm -f dvc.lock"
        )
    ends = {message.splitlines()[-1] for message in messages}
    assert len(ends) == 1, "the same environment, the same line"
    assert re.fullmatch(r"Dvc-Ray-Runtime-Env: sha256:[0-9a-f]{64}", ends.pop())
    assert messages[0].startswith("dvc: commit experiment ")


def test_what_dvc_writes_for_itself_is_not_said_to_be_lost(project: Make, exp: Exp) -> None:
    text = "stages: {one: {cmd: 'echo > out.txt; echo > new.txt; echo > sub/b', outs: [out.txt, sub/b]}}"
    root = project({"dvc.yaml": text, "sub/kept": ""})
    exp(root, Experiment(name="one", temp=True))
    lost = [event.text for event in exp.events if isinstance(event, Notice) and "gone with" in event.text]
    assert lost == ["Not in the experiment, gone with its directory: new.txt"]


REQUESTS: dict[str, tuple[list[str], RunRequest]] = {
    "forced": (["-f"], RunRequest(force=True)),
    "all": (["-P"], RunRequest(all_pipelines=True)),
    "pipeline": (["-p", "prepare"], RunRequest(targets=("prepare",), pipeline=True)),
    "single": (["-s", "train"], RunRequest(targets=("train",), single_item=True)),
    "all singly": (["-s"], RunRequest(single_item=True)),
    "downstream": (["--downstream", "prepare"], RunRequest(targets=("prepare",), downstream=True)),
    "recursive": (["-R", "."], RunRequest(targets=(".",), recursive=True)),
    "forced downstream": (["--force-downstream"], RunRequest(force_downstream=True)),
    "missing": (["--allow-missing"], RunRequest(allow_missing=True)),
}


@pytest.mark.full
def test_the_flags_of_repro_mean_the_same(twins: Callable[..., tuple[Path, Path]], exp: Exp) -> None:
    theirs, ours = twins(FILES)
    for number, (name, (arguments, request)) in enumerate(REQUESTS.items()):
        lr = f"lr=0.{number + 1}"
        assert stock.dvc(theirs, "exp", "run", "-n", f"e{number}", "-S", lr, *arguments) == 0, name
        result, _ = exp(ours, Experiment(params=(lr,), name=f"e{number}"), request)
        assert not result.failed, (name, result.failed)
        assert tree(ours, f"e{number}") == tree(theirs, f"e{number}"), name
        assert stock.differences(stock.snapshot(theirs), stock.snapshot(ours)) == [], name


FILTERED = {
    "dvc.yaml": """
stages:
  read:
    cmd: cat weights.big eol.txt > out.txt; echo ${lr} >> out.txt
    deps: [weights.big, eol.txt]
    params: [lr]
    outs: [out.txt: {cache: false}]
""",
    "params.yaml": "lr: 1\n",
    ".gitattributes": "*.big filter=large\neol.txt text\n*.yaml text\n",
    "weights.big": "real bytes\n",
    "eol.txt": "a\r\nb\r\n",
    "setup.sh": "git config filter.large.clean 'echo pointer'; git config filter.large.smudge 'echo real bytes'",
}


def test_files_that_a_filter_makes_stay_what_they_are(twins: Callable[..., tuple[Path, Path]], exp: Exp) -> None:
    theirs, ours = twins(FILTERED)
    (ours / "eol.txt").write_bytes(b"a\r\nb\r\n")
    (theirs / "eol.txt").write_bytes(b"a\r\nb\r\n")
    assert stock.dvc(theirs, "exp", "run", "-n", "one", "-S", "lr=2") == 0
    with stock.in_directory(ours):
        api.make_exp_plan(Experiment(params=("lr=3",)))
    result, saved = exp(ours, Experiment(params=("lr=2",), name="one"))
    assert not result.failed, result.failed
    assert saved is not None
    assert saved.applied
    assert (ours / "weights.big").read_text() == "real bytes\n"
    assert (ours / "eol.txt").read_bytes() == b"a\r\nb\r\n"
    assert (ours / "out.txt").read_bytes() == b"real bytes\na\r\nb\r\n2\n"
    assert tree(ours, "one") == tree(theirs, "one")
    assert stock.differences(stock.snapshot(theirs), stock.snapshot(ours)) == []


def test_submodules_are_in_the_experiment(project: Make, exp: Exp, tmp_path: Path) -> None:
    library = tmp_path / "library"
    stock.sh(tmp_path, "git init -q library && cd library && echo lib > lib.txt && git add . && git commit -qm lib")
    text = "stages: {read: {cmd: 'cat lib/lib.txt > out.txt; echo ${lr} >> out.txt', params: [lr], outs: [out.txt]}}"
    root = project({"dvc.yaml": text, "params.yaml": "lr: 1\n"})
    stock.sh(root, f"git -c protocol.file.allow=always submodule --quiet add {library} lib && git commit -qm sub")
    result, saved = exp(root, Experiment(params=("lr=2",), name="one"))
    assert not result.failed, result.failed
    assert saved is not None
    assert saved.applied
    before, after = (stock.sh(root, f"git ls-tree {rev} lib") for rev in ("HEAD", commit(root, "one")))
    assert before == after != ""
    assert (root / "lib/lib.txt").read_text() == "lib\n"


@pytest.mark.skipif(
    Version(version("dvc")) < Version("3.63"), reason="this DVC itself cannot: it adds files in submodules"
)
@pytest.mark.parametrize("dep", ["../lib", "."])
def test_a_submodule_as_a_dep_and_as_the_place_to_work(
    twins: Callable[..., tuple[Path, Path]], exp: Exp, tmp_path: Path, dep: str
) -> None:
    """With one of its own in it; the command rewrites a file there, removes one, and leaves one nobody tracks."""
    inner, library = tmp_path / "inner", tmp_path / "library"
    for made in (inner, library):
        made.mkdir()
        stock.sh(made, "git init -q && echo text > text.txt && echo > gone && git add . && git commit -qm lib")
    add = "git -c protocol.file.allow=always submodule --quiet add"
    stock.sh(library, f"{add} {inner} deep/inner && git commit -qm inner")
    cmd = (
        "cat text.txt deep/inner/text.txt ../params.yaml > ../out.txt; rm gone; sed -i s/t/T/ text.txt; echo > new.tmp"
    )
    rest = f"wdir: lib, deps: [{dep}], params: [../params.yaml: [lr]], outs: [../out.txt]"
    text = f"stages: {{one: {{cmd: '{cmd}', {rest}}}}}"
    update = "git -c protocol.file.allow=always submodule --quiet update --init --recursive"
    theirs, ours = twins({"dvc.yaml": text, "params.yaml": "lr: 1\n", "setup.sh": f"{add} {library} lib && {update}"})
    assert stock.dvc(theirs, "exp", "run", "-n", "one", "-S", "lr=2") == 0
    result, saved = exp(ours, Experiment(params=("lr=2",), name="one"))
    assert not result.failed, result.failed
    assert saved is not None
    assert saved.applied, saved.why
    assert stock.differences(stock.snapshot(theirs), stock.snapshot(ours)) == []
    told = [stock.sh(each, "git -C lib status --porcelain; git -C lib/deep/inner status") for each in (theirs, ours)]
    assert told[0] == told[1]
    assert "160000 commit" in stock.sh(ours, f"git ls-tree {commit(ours, 'one')} lib")


def test_a_dep_that_git_tracks_in_part(twins: Callable[..., tuple[Path, Path]], exp: Exp) -> None:
    """What is ignored in it, or not added yet, counts for DVC as all else does."""
    cmd = "find data -type f | sort | xargs cat > out.txt; echo ${lr}"
    text = f"stages: {{one: {{cmd: '{cmd}', deps: [data], params: [lr], outs: [out.txt]}}}}"
    files = {"data/a": "a\n", "data/sub/b": "b\n", ".gitignore": "*.log\n", "params.yaml": "lr: 1\n", "dvc.yaml": text}
    theirs, ours = twins(files)
    for each in (theirs, ours):
        stock.sh(each, "echo new > data/new; echo log > data/sub/x.log; mkdir data/more; echo m > data/more/m.log")
    assert stock.dvc(theirs, "exp", "run", "-n", "one", "-S", "lr=2") == 0
    result, saved = exp(ours, Experiment(params=("lr=2",), name="one"))
    assert not result.failed, result.failed
    assert saved is not None
    assert saved.applied, saved.why
    assert stock.differences(stock.snapshot(theirs), stock.snapshot(ours)) == []


def test_pull_from_a_relative_remote(project: Make, exp: Exp) -> None:
    text = "stages: {read: {cmd: 'cat raw.txt > out.txt; echo ${lr}', deps: [raw.txt], params: [lr], outs: [out.txt]}}"
    setup = (
        "dvc add -q raw.txt; mkdir ../remote; dvc remote add -q -d r ../remote; dvc push -q; rm -r raw.txt .dvc/cache"
    )
    root = project({"dvc.yaml": text, "params.yaml": "lr: 1\n", "raw.txt": "raw\n", "setup.sh": setup})
    result, _ = exp(root, Experiment(params=("lr=2",)), RunRequest(pull=True))
    assert not result.failed, result.failed
    assert (root / "out.txt").read_text() == "raw\n"


def test_a_stage_that_writes_to_its_dep(twins: Callable[..., tuple[Path, Path]], exp: Exp) -> None:
    command = "chmod u+w data.txt; echo ${lr} >> data.txt; cp data.txt out.txt"
    text = f"stages: {{one: {{cmd: '{command}', deps: [data.txt], params: [lr], outs: [out.txt]}}}}"
    files = {"dvc.yaml": text, "params.yaml": "lr: 1\n", "data.txt": "data\n", ".gitignore": "/data.txt\n"}
    theirs, ours = twins({**files, "setup.sh": "dvc add -q data.txt"})
    assert stock.dvc(theirs, "exp", "run", "-n", "one", "-S", "lr=2") == 0
    _, saved = exp(ours, Experiment(params=("lr=2",), name="one"))
    assert saved is not None
    assert saved.applied, saved.why
    assert tree(ours, "one") == tree(theirs, "one")
    assert stock.differences(stock.snapshot(theirs), stock.snapshot(ours)) == []


LIVE = """
import sys
from dvclive import Live
with Live({arguments}) as live:
    for step in range(2):
        live.log_metric("loss", step)
        live.next_step()
open("out.txt", "w").close()
"""


@pytest.mark.parametrize("arguments", ["", "dvcyaml=False", "'results/live', dvcyaml='sub/dvc.yaml'"])
@pytest.mark.parametrize("temp", [False, True])
def test_what_a_command_adds_to_git_is_in_the_experiment(
    twins: Callable[..., tuple[Path, Path]], exp: Exp, arguments: str, *, temp: bool
) -> None:
    """DVCLive does so with its files, and a command may by itself."""
    text = "stages: {one: {cmd: 'python live.py && echo ${lr} > mine && git add mine', params: [lr], outs: [out.txt]}}"
    files = {"dvc.yaml": text, "params.yaml": "lr: 1\n", "live.py": LIVE.replace("{arguments}", arguments)}
    theirs, ours = twins({**files, "sub/keep": ""})
    flags = ["--temp"] if temp else []
    assert stock.dvc(theirs, "exp", "run", "-n", "one", "-S", "lr=2", *flags) == 0
    _, saved = exp(ours, Experiment(params=("lr=2",), name="one", temp=temp))
    assert saved is not None
    assert saved.applied is not temp, saved.why
    assert tree(ours, "one") == tree(theirs, "one")
    assert "metrics" in tree(ours, "one")
    assert stock.differences(stock.snapshot(theirs), stock.snapshot(ours)) == []


@pytest.fixture
def studio(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[dict[str, Any]]]:
    """A server that takes what DVC Studio is told; nothing else is of interest."""
    told: list[dict[str, Any]] = []

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"(?i)content-length: (\d+)", head)
        told.append(json.loads(await reader.readexactly(int(length[1]) if length else 0)))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}")
        await writer.drain()
        writer.close()

    server = Serving(take)
    for name, text in {
        "URL": f"http://127.0.0.1:{server.port}",
        "TOKEN": "t",
        "REPO_URL": "git@example.com:a/b",
    }.items():
        monkeypatch.setenv(f"DVC_STUDIO_{name}", text)
    yield told
    server.close()


@pytest.mark.parametrize("kind", ["applied", "temp", "not applied", "failed"])
def test_studio_is_told_once_what_the_experiment_has_measured(
    twins: Callable[..., tuple[Path, Path]], exp: Exp, studio: list[dict[str, Any]], kind: str
) -> None:
    text = """
stages:
  one:
    cmd: mkdir -p eval && echo '{"acc":${lr}}' | tee eval/m.json > n.json; exit ${code}
    outs: [eval]
    metrics: [n.json: {cache: false}]
metrics: [eval/m.json]
"""
    theirs, ours = twins({"dvc.yaml": text, "params.yaml": "lr: 1\ncode: 0\n", "busy.txt": ""})
    code = ["-S", "code=3"] if kind == "failed" else []
    stock.dvc(theirs, "exp", "run", "-n", "one", "-S", "lr=2", *code, *(["--temp"] if kind == "temp" else []))
    expected = [(event["type"], event.get("metrics")) for event in studio]
    studio.clear()

    def work(event: RunEvent) -> None:
        if kind == "not applied" and isinstance(event, StageReport) and event.state is StageState.DONE:
            (ours / "busy.txt").write_text("somebody works")

    params = ("lr=2", *(["code=3"] if code else []))
    exp(ours, Experiment(params=params, name="one", temp=kind == "temp"), listen=work)
    assert [(event["type"], event.get("metrics")) for event in studio] == expected
    assert [kind for kind, _ in expected] == ["start", "done"]
    if kind != "failed":
        assert expected[-1][1] == {"eval/m.json": {"data": {"acc": 2}}, "n.json": {"data": {"acc": 2}}}
        assert studio[-1]["experiment_rev"] == commit(ours, "one")
