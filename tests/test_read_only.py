"""What a command leaves that nobody may write to, for a user who is not root."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers import stock

OURS = """
import sys
from dvc_ray import api
from dvc_ray.executors.local import LocalExecutor
from dvc_ray.values.run import Experiment, RunRequest

request = RunRequest(force="--force" in sys.argv)
if "exp" in sys.argv:
    result, saved = api.exp_run(Experiment(name="one"), request, executor=LocalExecutor())
    assert saved is not None and saved.applied, saved
else:
    result = api.repro(request, executor=LocalExecutor())
sys.exit("; ".join(report.error for report in result.reports if report.error) or 0)
"""
PROJECT = {
    "dvc.yaml": """
stages:
  cached: {cmd: mkdir -p out/sub && cp in.txt out/sub/a && chmod -R a-w out, deps: [in.txt], outs: [out]}
  plain: {cmd: mkdir -p m && cp in.txt m/a && chmod -R a-w m, deps: [in.txt], outs: [m: {cache: false}]}
  inside:
    cmd: mkdir -p far/way && cp in.txt far/way/a && chmod a-w far/way far
    deps: [in.txt]
    outs: [far/way: {cache: false}]
  undeclared:
    cmd: mkdir -p left/over && cp in.txt left/over/a && chmod a-w left/over && cp in.txt u.txt
    deps: [in.txt]
    outs: [u.txt]
  last: {cmd: cat out/sub/a m/a far/way/a > last.txt, deps: [out, m, far/way], outs: [last.txt]}
""",
    "in.txt": "1\n",
}


def _as_anybody() -> None:
    """Take from root what lets it read and write where modes forbid it; what it owns is its own as any user's is."""
    if os.getuid() == 0:
        for capability in (_CAP_DAC_OVERRIDE, _CAP_DAC_READ_SEARCH):
            assert ctypes.CDLL(None).prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0) == 0


_PR_CAPBSET_DROP = 24
_CAP_DAC_OVERRIDE = 1
_CAP_DAC_READ_SEARCH = 2


def run(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=root,
        preexec_fn=_as_anybody,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    stock.sh(tmp_path, "chmod -R u+rwX .")


def modes(root: Path) -> dict[str, str]:
    found = {
        str(path.relative_to(root)): oct(path.lstat().st_mode)
        for top in ("out", "m")
        for path in (root / top).rglob("*")
    }
    return found | {name: oct((root / name).stat().st_mode) for name in ("out", "m", "far/way")}


@pytest.mark.parametrize("verb", ["repro", "exp"])
def test_folders_that_a_command_has_closed_come_home(folder: Path, verb: str) -> None:
    theirs, ours = folder / "stock", folder / "ours"
    theirs.mkdir()
    for name, text in PROJECT.items():
        (theirs / name).write_text(text)
    stock.initialise(theirs)
    stock.sh(folder, "cp -a stock ours")
    command = ["repro"] if verb == "repro" else ["exp", "run", "-n", "one"]
    done = run(theirs, "-m", "dvc", *command)
    assert done.returncode == 0, done.stderr
    done = run(ours, "-c", OURS, verb)
    assert done.returncode == 0, done.stderr
    assert modes(theirs) == modes(ours)
    assert stock.differences(stock.snapshot(theirs), stock.snapshot(ours)) == []
    assert not list((ours / ".dvc/tmp/ray/runs").glob("*/work/*"))
    # Again: stock DVC cannot remove the outs of the last run; ours replaces them.
    again = run(theirs, "-m", "dvc", *command, "--force"), run(ours, "-c", OURS, verb, "--force")
    assert [each.returncode != 0 for each in again] == [True, False], again


def test_a_parent_that_is_a_link_keeps_its_mode(folder: Path) -> None:
    """Modes of links are those of nothing: to give one to what it leads to would open that to everybody."""
    code = "from dvc_ray.workspace.moving import move; import sys; move(*sys.argv[1:])"
    real = folder / "real"
    (real / "closed").mkdir(parents=True, mode=0o700)
    (real / "closed").chmod(0o500)
    real.chmod(0o700)
    (folder / "link").symlink_to(real)
    done = run(folder, "-c", code, str(folder / "link/closed"), str(folder / "moved"))
    assert done.returncode == 0, done.stderr
    assert (folder / "moved").stat().st_mode & 0o777 == 0o500
    assert real.stat().st_mode & 0o777 == 0o700


def test_what_another_user_has_left_keeps_no_run_from_starting(folder: Path) -> None:
    """As a container's root does, in the workspace of a run that was killed."""
    root = folder / "project"
    root.mkdir()
    for name, text in PROJECT.items():
        (root / name).write_text(text)
    stock.initialise(root)
    left = root / ".dvc/tmp/ray/runs/20260101-000000-0000/work/1"
    left.mkdir(parents=True)
    (left / "file").touch()
    if os.getuid() == 0:
        stock.sh(root, f"chown -R 12345 {left.parent}")
    left.parent.chmod(0o555)
    done = run(root, "-c", OURS.replace("import sys", "import os, sys", 1), "repro")
    assert done.returncode == 0, done.stderr


def test_what_nobody_may_read_and_no_stage_reads_is_in_no_one_s_way(folder: Path) -> None:
    theirs = folder / "stock"
    theirs.mkdir()
    text = """
stages:
  fine: {cmd: "ls -l --time-style=+ closed | cut -d' ' -f1 > fine.txt", deps: [in.txt], outs: [fine.txt]}
  not: {cmd: cat closed fine.txt > not.txt, deps: [fine.txt], outs: [not.txt]}
"""
    for name, content in {"dvc.yaml": text, "in.txt": "1", "closed": "secret"}.items():
        (theirs / name).write_text(content)
    stock.initialise(theirs)
    (theirs / "closed").chmod(0)
    stock.sh(folder, "cp -a stock ours")
    for root, arguments in ((theirs, ("-m", "dvc", "repro")), (folder / "ours", ("-c", OURS, "repro"))):
        done = run(root, *arguments)
        assert done.returncode != 0
        assert "cat: closed: Permission denied" in done.stdout + done.stderr + logs(root)
        assert (root / "fine.txt").read_text() == "----------\n"
    assert stock.differences(stock.snapshot(theirs), stock.snapshot(folder / "ours")) == []


def logs(root: Path) -> str:
    return "".join(path.read_text() for path in root.glob(".dvc/tmp/ray/runs/*/logs/*"))
