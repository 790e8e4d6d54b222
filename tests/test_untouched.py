"""Nothing of the user's is touched before all of ours that can fail has succeeded."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from dvc_ray.errors import ClusterError, DvcRayError
from dvc_ray.values.run import Experiment, OnError, RunRequest
from dvc_ray.workspace import moving
from tests.helpers import stock
from tests.helpers.needs import need
from tests.helpers.projects import Make
from tests.helpers.runs import Cli, Here, Locally

ONE = """
stages:
  one:
    cmd: mkdir -p folder && cp in.txt plain.txt && cp in.txt cached.txt && cp in.txt folder/a && cp in.txt kept.txt
    deps: [in.txt]
    outs:
    - cached.txt
    - folder
    - plain.txt: {cache: false}
    - kept.txt: {persist: true}
"""
TWO = "  two: {cmd: cp cached.txt two.txt, deps: [cached.txt], outs: [two.txt]}\n"

STEPS = {
    "the snapshot": "dvc_ray.repo.inputs.snapshot.listing",
    "ignored files": "dvc_ray.repo.run.undeclared.split",
    "the task": "dvc_ray.repo.run.tasks.make",
    "the environment": "dvc_ray.repo.run.stage_environment.environment_of",
    "submitting": "dvc_ray.executors.local.LocalExecutor.submit",
    "a workspace used again": "dvc_ray.workspace.reuse.claim",
    "a file of the workspace": "dvc_ray.workspace.materialise.Putter.__call__",
    "a link of the workspace": "dvc_ray.workspace.materialise._share",
    "folders of the workspace": "dvc_ray.workspace.materialise._make_folders",
    "its configuration": "dvc_ray.repo.run.worker_run.configure",
    "what was copied": "dvc_ray.workspace.reuse.record",
    "its stamps": "dvc_ray.workspace.materialise.stamps",
    "hashes in the workspace": "dvc_ray.repo.dvc.hashes.carry",
    "DVC in the workspace": "dvc.stage.loader.StageLoader.load_stage",
    "stamps of deps": "dvc_ray.worker.attempt.look",
    "the command's guard": "dvc_ray.command.run",
}
FAULTS = [
    OSError(errno.ENOSPC, "No space left on device"),
    UnicodeEncodeError("ascii", "é", 0, 1, "ordinal"),
    MemoryError(),
]


@pytest.mark.parametrize("on_error", [OnError.FAIL, OnError.IGNORE])
@pytest.mark.parametrize("step", STEPS)
def test_a_fault_in_each_step_leaves_the_workspace_as_it_was(
    project: Make, locally: Locally, monkeypatch: pytest.MonkeyPatch, step: str, on_error: OnError
) -> None:
    """With `--ignore-errors`, too; then what depends on the stage does not take outs of its last run for new ones."""
    root = project({"dvc.yaml": ONE + TWO, "in.txt": "1\n", ".gitignore": "/ignored\n"})
    (root / "ignored").write_text("mine\n")
    assert stock.dvc(root, "repro") == 0
    (root / "in.txt").write_text("2\n")
    before = everything(root)
    for fault in FAULTS:

        def fail(*_args: object, _fault: Exception = fault, **_kwargs: object) -> None:
            raise _fault

        with monkeypatch.context() as patch:
            put(patch, STEPS[step], fail)
            with contextlib.suppress(DvcRayError, OSError, UnicodeError, MemoryError):
                assert locally(root, RunRequest(on_error=on_error)).failed
        assert everything(root) == before
    assert not locally(root).failed, "and it goes on where the fault is gone"
    assert (root / "plain.txt").read_text() == "2\n"


def test_a_folder_that_cannot_be_replaced_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("new", "old"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(name)

    def fail(*_args: object, **_options: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.replace", fail)
        patch.setattr("shutil.copytree", fail)
        with pytest.raises(OSError, match="No space"):
            moving.move(str(tmp_path / "new"), str(tmp_path / "old"))
    assert (tmp_path / "old/file").read_text() == "old"
    moving.move(str(tmp_path / "new"), str(tmp_path / "old"))
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["file", "old"]
    assert (tmp_path / "old/file").read_text() == "new"


def test_a_ray_that_does_not_start_leaves_the_workspace_as_it_was(
    project: Make, locally: Locally, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = project({"dvc.yaml": ONE, "in.txt": "1\n"})
    assert stock.dvc(root, "repro") == 0
    (root / "in.txt").write_text("2\n")
    before = everything(root)

    def fail(*_args: object) -> None:
        raise ClusterError("cannot start Ray on this machine: no loopback")

    monkeypatch.setattr("dvc_ray.executors.local.LocalExecutor.submit", fail)
    with pytest.raises(ClusterError):
        locally(root)
    assert everything(root) == before


def test_an_unreadable_dep_leaves_the_outs_of_the_last_run(project: Make) -> None:
    root = project({"dvc.yaml": ONE, "in.txt": "1\n"})
    assert stock.dvc(root, "repro") == 0
    (root / "in.txt").write_text("2\n")
    (root / "in.txt").chmod(0)
    before = everything(root)
    need("setpriv")
    powerless = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"] if os.geteuid() == 0 else []
    done = subprocess.run(
        [*powerless, sys.executable, "-m", "dvc_ray", "repro"], cwd=root, capture_output=True, text=True, check=False
    )
    assert done.returncode == 255
    assert "Permission denied" in done.stderr
    assert everything(root) == before


def test_a_project_whose_path_is_not_ascii(tmp_path: Path, locally: Locally) -> None:
    root = tmp_path / "Проект mit ümläut"
    root.mkdir()
    (root / "dvc.yaml").write_text(ONE)
    (root / "in.txt").write_text("1\n")
    stock.initialise(root)
    assert not locally(root).failed
    assert (root / "plain.txt").read_text() == "1\n"
    assert stock.dvc(root, "status") == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a project to somebody else")
def test_a_project_of_another_owner(project: Make, here: Here) -> None:
    """As a container's root has one: Git refuses, DVC works."""
    root = project({"dvc.yaml": ONE, "in.txt": "1\n"})
    assert stock.dvc(root, "repro") == 0
    (root / "in.txt").write_text("2\n")
    subprocess.run(["chown", "-R", "12345:12345", str(root)], check=True)
    done = here(root, "repro")
    assert done.returncode == 0, done.stderr
    assert (root / "plain.txt").read_text() == "2\n"
    assert stock.dvc(root, "status") == 0


def test_a_machine_without_git(project: Make, cli: Cli, tmp_path: Path, on_shared_ray: dict[str, str]) -> None:
    root = project({"dvc.yaml": ONE, "in.txt": "1\n", ".gitignore": "/ignored\n"})
    (root / "ignored").write_text("mine\n")
    path = tmp_path / "bin"
    path.mkdir()
    for name in ("bash", "sh", "cp", "mkdir"):
        (path / name).symlink_to(next(f"{at}/{name}" for at in ("/bin", "/usr/bin") if os.path.exists(f"{at}/{name}")))
    done = cli(root, "repro", env={**on_shared_ray, "PATH": str(path)})
    assert done.returncode == 0, done.stderr
    assert (root / "plain.txt").read_text() == "1\n"


def test_an_experiment_that_cannot_run_leaves_the_workspace_as_it_was(
    project: Make, locally: Locally, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dvc_ray import api
    from dvc_ray.executors.local import LocalExecutor

    root = project({"dvc.yaml": ONE + "    params: [p]\n", "in.txt": "1\n", "params.yaml": "p: 1\n"})
    assert not locally(root).failed
    stock.sh(root, "git add -A && git commit -qm run")
    before = everything(root)

    def fail(*_args: object, **_kwargs: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    put(monkeypatch, "dvc_ray.workspace.materialise.stamps", fail)
    with stock.in_directory(root), contextlib.suppress(DvcRayError):
        result, saved = api.exp_run(Experiment(params=("p=2",)), executor=LocalExecutor())
        assert result.failed
        assert saved is None
    assert everything(root) == before


@pytest.mark.parametrize("kind", ["file", "folder", "link"])
@pytest.mark.parametrize("fault", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
def test_what_is_replaced_from_another_file_system_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, fault: BaseException
) -> None:
    """A copy that fails half-way has cost nothing, and one that does not is there at once."""
    new, old = Path(tempfile.mkdtemp(dir="/dev/shm")), tmp_path / "old"
    copies = {"file": "shutil.copy2", "folder": "shutil.copytree", "link": "shutil.copy2"}
    for place, text in ((new / "it", "new"), (old, "old")):
        if kind == "folder":
            place.mkdir()
            (place / "file").write_text(text)
        elif kind == "file":
            place.write_text(text)
        else:
            place.symlink_to(text)

    def half(source: str, target: str, **_: object) -> None:
        Path(target).mkdir() if kind == "folder" else Path(target).write_text("ha")
        raise fault

    before = everything(tmp_path)
    try:
        with monkeypatch.context() as patch:
            patch.setattr(copies[kind], half)
            with pytest.raises(type(fault)):
                moving.move(str(new / "it"), str(old))
        assert everything(tmp_path) == before
        moving.move(str(new / "it"), str(old))
        assert not list(new.iterdir())
    finally:
        shutil.rmtree(new)
    assert [path.name for path in tmp_path.iterdir()] == ["old"]
    said = os.readlink(old) if kind == "link" else (old / "file" if kind == "folder" else old).read_text()
    assert said == "new"


def put(patch: pytest.MonkeyPatch, name: str, what: Callable[..., None]) -> None:
    """Put something in place of a function or method; a module may have the name of one."""
    parts = name.split(".")
    length = next(at for at in range(len(parts), 0, -1) if ".".join(parts[:at]) in sys.modules)
    holder: object = sys.modules[".".join(parts[:length])]
    for part in parts[length:-1]:
        holder = getattr(holder, part)
    patch.setattr(holder, parts[-1], what)


def everything(root: Path) -> dict[str, tuple[int, bytes]]:
    """All files of a project but Git's and DVC's own state: mode and content."""
    found = {}
    for path in sorted(root.rglob("*")):
        part = path.relative_to(root).as_posix()
        if path.is_file() and not part.startswith((".git/", ".dvc/tmp/", ".dvc/cache/")):
            found[part] = (path.stat().st_mode, path.read_bytes())
    return found


REFUSED = {
    "a missing dep": ("deps: [in.txt]", "stage 'one': dependency 'in.txt' does not exist"),
    "a missing include": (
        "meta: {ray: {include: [no.txt]}}",
        "stage 'one': 'no.txt' of 'meta.ray.include' does not exist",
    ),
    "an out of Git": ("outs: [of_git.txt]", "output 'of_git.txt' is already tracked by SCM (e.g. Git)."),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_dry_says_what_a_run_would_say(project: Make, here: Here, locally: Locally, kind: str) -> None:
    field, text = REFUSED[kind]
    root = project({"dvc.yaml": f"stages: {{one: {{cmd: echo, {field}}}}}", "of_git.txt": ""})
    dry = here(root, "repro", "--dry")
    assert dry.returncode == 0
    [line] = [line for line in dry.stdout.splitlines() if line.startswith("  one  ")]
    _, _, said = line.partition(", will fail: ")
    assert said.startswith(text)
    assert locally(root).failed[0].error.splitlines()[0] == text


def test_a_machine_without_loopback_says_so_within_seconds(project: Make) -> None:
    root = project({"dvc.yaml": ONE, "in.txt": "1\n"})
    assert stock.dvc(root, "repro") == 0
    (root / "in.txt").write_text("2\n")
    before = everything(root)
    need("unshare")
    cut_off = ["unshare", "--net"] if os.geteuid() == 0 else ["unshare", "--user", "--net"]
    if subprocess.run([*cut_off, "true"], check=False, capture_output=True).returncode:
        assert "CI" not in os.environ, "must run in CI"
        pytest.skip("no right to make a network namespace; run the tests as root")
    done = subprocess.run(
        [*cut_off, sys.executable, "-m", "dvc_ray", "repro"],
        cwd=root,
        env={**os.environ, "DVC_RAY_LOCAL": "ray"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 255
    assert "is the loopback interface up?" in done.stderr
    assert everything(root) == before
