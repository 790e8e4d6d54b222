"""What goes wrong around a run: nothing finished is lost, nothing is half written, and it is said."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import psutil
import pytest

from dvc_ray.repo import Merge, Project
from dvc_ray.values.report import Notice
from dvc_ray.values.run import OnError, RunRequest
from dvc_ray.values.stage import StageState
from tests.helpers import stock
from tests.helpers.comparing import assert_same_files
from tests.helpers.needs import need
from tests.helpers.projects import Make, one, twin
from tests.helpers.results import report
from tests.helpers.runs import Here, Locally, Repro, Start
from tests.helpers.terminal import Terminal


def waiting(flag: Path, then: str) -> str:
    """A command that says that it has begun, and goes on when a file is there."""
    return f"echo begun; while ! test -e {flag}; do sleep 0.05; done; {then}"


def test_a_killed_driver_loses_no_result_that_has_no_run_cache_entry(
    project: Make, start: Start, here: Here, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dvc.repo import Repo

    flag, count = tmp_path / "flag", tmp_path / "count"
    command = waiting(flag, f"echo ran >> {count}; echo x > plain.txt; echo y >> kept.txt; echo z > new.txt")
    text = f"""
stages:
  one:
    cmd: '{command}'
    deps: [in.txt]
    outs:
      - plain.txt: {{cache: false}}
      - kept.txt: {{persist: true}}
  other: {{cmd: echo > other.txt, deps: [one.txt], outs: [other.txt]}}
"""
    root = project({"dvc.yaml": text, "in.txt": "in\n", "one.txt": ""})
    (root / ".dvc/ray.toml").write_text("jobs = 1\n")
    monkeypatch.setenv("CANARY", "do-not-keep-me")
    run = start(root)
    run.wait_for("begun")
    with stock.in_directory(root), contextlib.closing(Repo()) as repo, repo.lock:
        flag.touch()
        run.wait_for("Waiting for another DVC command")
        run.process.kill()
        run.process.communicate()
    assert run.alive() == []
    left = [path for path in (root / ".dvc/tmp").rglob("*") if path.is_file()]
    assert any(path.suffix == ".result" for path in left)
    assert not any(b"do-not-keep-me" in path.read_bytes() for path in left), "what is kept holds no secrets"
    assert here(root, "repro", "--single-item", "other").returncode == 0, "a run of something else leaves it there"
    done = here(root, "repro", "--json")
    assert done.returncode == 0, done.stderr
    assert "Taken over from a run that was killed: one." in done.stdout
    assert count.read_text() == "ran\n", "the command has not run again"
    assert [(root / name).read_text() for name in ("plain.txt", "kept.txt", "new.txt")] == ["x\n", "y\n", "z\n"]
    assert stock.status(root) == {}
    assert not list((root / ".dvc/tmp/ray/runs").glob("*/work/*"))


@pytest.mark.full
def test_a_result_that_no_longer_fits_is_not_taken(project: Make, start: Start, here: Here, tmp_path: Path) -> None:
    from dvc.repo import Repo

    flag = tmp_path / "flag"
    root = project({"dvc.yaml": one(waiting(flag, "cat in.txt > out.txt")), "in.txt": "old\n"})
    run = start(root)
    run.wait_for("begun")
    with stock.in_directory(root), contextlib.closing(Repo()) as repo, repo.lock:
        flag.touch()
        run.wait_for("Waiting for another DVC command")
        run.process.kill()
        run.process.communicate()
    (root / "in.txt").unlink()
    (root / "in.txt").write_text("new\n")
    done = here(root, "repro", "--json")
    assert done.returncode == 0, done.stderr
    assert "Taken over" not in done.stdout
    assert (root / "out.txt").read_text() == "new\n"


def test_a_worker_that_dies_is_replaced_and_uses_no_retries(project: Make, repro: Repro, tmp_path: Path) -> None:
    kill = """
import pathlib, psutil, signal, sys
mark = pathlib.Path(sys.argv[1])
if not mark.exists():
    mark.touch()
    worker = next(each for each in psutil.Process().parents() if each.name().startswith("ray::"))
    worker.kill()
    worker.wait()
    signal.pause()
pathlib.Path("out.txt").write_text("x")
"""
    root = project({"dvc.yaml": one(f"python kill.py {tmp_path / 'mark'}"), "kill.py": kill, "in.txt": ""})
    found = report(repro(root), "one")
    assert found.state is StageState.DONE, found
    assert any("trying again" in event.text for event in repro.events if isinstance(event, Notice))


@pytest.mark.parametrize("start", ["ray"], indirect=True)
@pytest.mark.parametrize("victim", ["raylet", pytest.param("gcs_server", marks=pytest.mark.full)])
def test_ray_dies_in_the_middle(victim: str, project: Make, start: Start, here: Here, tmp_path: Path) -> None:
    flag = tmp_path / "flag"
    text = one(waiting(flag, "echo > out.txt")) + "  quick:\n    cmd: echo quick > quick.txt\n    outs: [quick.txt]\n"
    root = project({"dvc.yaml": text, "in.txt": ""})
    run = start(root)
    run.wait_for("begun")
    next(each for each in run.family if each.name() == victim).kill()
    code, err = run.finish()
    assert code == 255, (err, run.events)
    assert "Traceback" not in err
    assert "ERROR" in err
    assert run.alive() == []
    flag.touch()
    done = here(root, "repro")
    assert done.returncode == 0, done.stderr
    assert stock.status(root) == {}


@pytest.mark.parametrize("ends", ["at once", "later"])
def test_a_result_is_not_lost_between_its_end_and_its_merge(
    project: Make, repro: Repro, monkeypatch: pytest.MonkeyPatch, ends: str
) -> None:
    """Interrupted there, it is merged while the run stops; if that fails too, the next run takes it over."""
    count = project({"dvc.yaml": ""}).parent / "count"
    root = count.parent / "project"
    text = one(f"echo ran >> {count}; echo x > out.txt").replace("outs: [out.txt]", "outs: [out.txt: {cache: false}]")
    (root / "dvc.yaml").write_text(text)
    (root / "in.txt").write_text("")
    merge, merges = Project.merge, 0

    def interrupted(self: Project, found: Sequence[Merge]) -> dict[str, dict[str, bool]]:
        nonlocal merges
        merges += 1
        if merges == 1:
            raise KeyboardInterrupt
        if ends == "later":
            raise OSError(28, "No space left on device")
        return merge(self, found)

    monkeypatch.setattr(Project, "merge", interrupted)
    with pytest.raises(KeyboardInterrupt):
        repro(root)
    assert (root / "dvc.lock").exists() is (ends == "at once")
    monkeypatch.undo()
    assert {found.state for found in repro(root).reports} == {StageState.UNCHANGED}
    assert stock.status(root) == {}
    assert count.read_text() == "ran\n"
    assert not list((root / ".dvc/tmp/ray/runs").glob("*/work/*"))


def test_ctrl_c_twice(project: Make, start: Start) -> None:
    stubborn = 'trap "" TERM INT; echo begun; while true; do sleep 0.1; done'
    root = project({"dvc.yaml": one(stubborn), "in.txt": ""})
    (root / ".dvc/ray.toml").write_text("grace = 60\n")
    run = start(root)
    run.wait_for("begun")
    os.kill(run.process.pid, signal.SIGINT)
    run.wait_for("Stopping")
    os.kill(run.process.pid, signal.SIGINT)
    code, err = run.finish()
    assert code == 252, err
    assert "Traceback" not in err
    assert run.alive() == []


def test_a_closed_terminal(project: Make) -> None:
    root = project({"dvc.yaml": one("echo begun; sleep 7723; echo > out.txt"), "in.txt": ""})
    terminal = Terminal(root, "repro")
    assert "begun" in terminal.read_until("| begun")
    family = psutil.Process(terminal.process.pid).children(recursive=True)
    terminal.close()
    assert terminal.process.wait(60) == 252
    assert psutil.wait_procs(family, timeout=30)[1] == []
    assert not list((root / ".dvc/tmp/ray/runs").glob("*/work"))


def test_stock_dvc_beside_a_run(project: Make, start: Start, tmp_path: Path) -> None:
    flag = tmp_path / "flag"
    text = (
        one(waiting(flag, "echo > out.txt"))
        + "  other:\n    cmd: echo > other.txt\n    deps: [in.txt]\n    outs: [other.txt]\n"
    )
    root = project({"dvc.yaml": text, "in.txt": ""})
    run = start(root)
    run.wait_for("begun")
    assert stock.dvc(root, "repro", "other") == 0
    flag.touch()
    code, err = run.finish()
    assert code == 0, (err, [event for event in run.events if event.get("error")])
    assert stock.status(root) == {}
    assert stock.sh(root, "cat dvc.lock").count("cmd:") == 2


@pytest.mark.full  # what is left is compared with stock DVC in each run: test_edited.py
@pytest.mark.parametrize("way", ["replaced", "in place"])
def test_a_dep_changed_by_the_user_meanwhile(way: str, project: Make, start: Start, here: Here, tmp_path: Path) -> None:
    """As stock DVC has it (`tests/test_edited.py`), and the user is told what that means and what to do."""
    flag = tmp_path / "flag"
    root = project({"dvc.yaml": one(waiting(flag, "cat in.txt > out.txt")), "in.txt": "old\n"})
    run = start(root)
    run.wait_for("begun")
    if way == "replaced":
        (root / "in.txt").unlink()
    (root / "in.txt").write_text("new\n")
    flag.touch()
    code, err = run.finish()
    assert code == 0, err
    assert (root / "out.txt").read_text() == "old\n", "the command was given a copy"
    (told,) = (event["text"] for event in run.events if "changed while stage" in event.get("text", ""))
    assert told.startswith("'in.txt' changed while stage 'one' ran, which was given the version before.")
    assert stock.status(root) == {}
    advice = told.split("To run it again: dvc-ray ")[1]
    assert here(root, *advice.split()).returncode == 0
    assert (root / "out.txt").read_text() == "new\n"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Makes an empty directory on a disk of its own."""
    root = tmp_path / "project"
    root.mkdir()

    def make(size: str) -> Path:
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(root)], capture_output=True, check=False
        )
        if done.returncode:
            assert "CI" not in os.environ, f"must run in CI: {done.stderr.decode()}"
            pytest.skip(f"a small disk needs the right to mount one; run the tests as root: {done.stderr.decode()}")
        return root

    yield make
    subprocess.run(["umount", "-l", str(root)], capture_output=True, check=False)


def test_a_full_disk(small_disk: Callable[[str], Path], repro: Repro) -> None:
    small = small_disk("3m")
    text = one("head -c 4000000 /dev/zero > out.txt")
    (small / "dvc.yaml").write_text(text)
    (small / "in.txt").write_text("")
    stock.initialise(small)
    found = report(repro(small), "one")
    assert found.state is StageState.FAILED
    assert "No space left on device" in "\n".join([found.error, *found.tail])
    (small / "dvc.yaml").write_text(text.replace("4000000", "40000"))
    (small / "out.txt").unlink(missing_ok=True)
    assert report(repro(small), "one").state is StageState.DONE, "what was left is removed"


def test_peak_disk_is_what_stock_needs_and_the_outs_in_flight(small_disk: Callable[[str], Path], repro: Repro) -> None:
    """A dep of 20 MiB, itself and in the cache, then outs of 5 MiB twice: 50 MiB. A copied dep would not fit in 60."""
    root = small_disk("60m")
    cmd = "cat data/big in.txt | head -c 5242880 > out.bin"
    text = f"""
stages:
  cached: {{cmd: {cmd}, deps: [data, in.txt], outs: [out.bin]}}
  next: {{cmd: cat out.bin data/big | md5sum > next.txt, deps: [out.bin, data], outs: [next.txt]}}
"""
    (root / "dvc.yaml").write_text(text)
    (root / "in.txt").write_text("")
    stock.initialise(root)
    (root / "data").mkdir()
    (root / "data/big").write_bytes(os.urandom(20 << 20))
    assert stock.dvc(root, "add", "data") == 0
    assert not repro(root).failed


def test_an_unreadable_dep(project: Make, tmp_path: Path) -> None:
    root = project({"dvc.yaml": one("cat in.txt > out.txt"), "in.txt": "in\n"})
    (root / "in.txt").chmod(0)
    # Root may read it all the same: not without its capabilities.
    need("setpriv")
    powerless = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"] if os.geteuid() == 0 else []
    done = subprocess.run(
        [*powerless, sys.executable, "-m", "dvc_ray", "repro"], cwd=root, capture_output=True, text=True, check=False
    )
    assert done.returncode == 255, done
    assert "in.txt" in done.stderr
    assert "Permission denied" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (root / "dvc.lock").exists()


DAG = """
stages:
  start: {cmd: "test ${fail} != start && cp in.txt start.txt", deps: [in.txt], outs: [start.txt]}
  left: {cmd: "test ${fail} != left && cp start.txt left.txt", deps: [start.txt], outs: [left.txt]}
  right: {cmd: "test ${fail} != right && cp start.txt right.txt", deps: [start.txt], outs: [right.txt]}
  end: {cmd: "test ${fail} != end && cat left.txt right.txt > end.txt", deps: [left.txt, right.txt], outs: [end.txt]}
  apart: {cmd: "test ${fail} != apart && cp in.txt apart.txt", deps: [in.txt], outs: [apart.txt]}
"""
MODES = {OnError.FAIL: [], OnError.KEEP_GOING: ["--keep-going"], OnError.IGNORE: ["--ignore-errors"]}


@pytest.mark.parametrize("on_error", MODES)
@pytest.mark.parametrize(
    "where", ["start", "left", *(pytest.param(name, marks=pytest.mark.full) for name in ("end", "apart"))]
)
def test_a_failure_at_each_place_leaves_what_stock_leaves(
    project: Make, locally: Locally, where: str, on_error: OnError
) -> None:
    root = project({"dvc.yaml": DAG, "in.txt": "1\n", "params.yaml": "fail: none\n"})
    assert not locally(root).failed, "so that there are outs of a last run"
    (root / "in.txt").write_text("2\n")
    (root / "params.yaml").write_text(f"fail: {where}\n")
    other = twin(root)
    code = stock.dvc(other, "repro", *MODES[on_error])
    result = locally(root, RunRequest(on_error=on_error, jobs=1))
    assert code == (0 if on_error is OnError.IGNORE else 255)
    assert where in {found.address for found in result.failed}
    assert_same_files(other, root)


WRONG = {
    "not yaml": ("stages:\n  one:\n cmd: [", 255, "dvc.yaml"),
    "unknown key": ("stages:\n  one:\n    cmd: echo\n    need: [a]\n", 255, "need"),
    "cycle": (
        "stages: {a: {cmd: echo, deps: [b], outs: [a]}, b: {cmd: echo, deps: [a], outs: [b]}}",
        255,
        "both a dependency and an output",
    ),
    "overlap": (
        "stages:\n  a:\n    cmd: echo\n    outs: [x]\n  b:\n    cmd: echo\n    outs: [x]\n",
        255,
        "Give each out to one stage only",
    ),
    "bad settings": (one("echo", "{num_cpu: 1}"), 251, "Did you mean 'num_cpus'?"),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_wrong_dvc_yaml_is_explained(what: str, project: Make, here: Here) -> None:
    text, code, says = WRONG[what]
    root = project({"dvc.yaml": text, "in.txt": ""})
    done = here(root, "repro", "--json")
    assert done.returncode == code, done.stderr
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    error = json.loads(done.stdout)
    assert (error["event"], error["exit_code"]) == ("error", code)
    assert not (root / ".dvc/tmp/ray").exists(), "before anything is started"


def test_an_unknown_target_gets_the_nearest_names(project: Make, here: Here) -> None:
    root = project({"dvc.yaml": one("echo > out.txt").replace("one:", "train:"), "in.txt": ""})
    done = here(root, "repro", "trian")
    assert done.returncode == 255
    assert "'trian'" in done.stderr
    assert "Did you mean 'train'?" in done.stderr
