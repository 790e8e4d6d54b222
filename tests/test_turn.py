"""Rays of one user on one machine start one after the other."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import ray

from dvc_ray.executors.ray import RayExecutor, start_turn
from dvc_ray.executors.ray.connection import Connection
from dvc_ray.executors.ray.start_turn import StartTurn
from dvc_ray.values.stage import StageSettings
from tests.helpers.projects import Make
from tests.helpers.runs import Cli

HOLD = """
import sys
from dvc_ray.executors.ray import start_turn
start_turn.FOLDER = sys.argv[1]
mine = start_turn.StartTurn()
assert mine.take() is None
print("mine", flush=True)
sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(start_turn, "FOLDER", str(tmp_path))
    return tmp_path


@pytest.fixture
def hold(folder: Path) -> Iterator[Callable[[], subprocess.Popen[str]]]:
    """Starts a process that has the turn."""
    made: list[subprocess.Popen[str]] = []

    def begin() -> subprocess.Popen[str]:
        made.append(
            subprocess.Popen(
                [sys.executable, "-c", HOLD, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
        )
        assert made[-1].stdout is not None
        assert made[-1].stdout.readline() == "mine\n"
        return made[-1]

    yield begin
    for process in made:
        process.kill()
        process.communicate()


def test_it_is_one_process_turn_until_that_gives_it_back_or_is_gone(hold: Callable[[], subprocess.Popen[str]]) -> None:
    mine = StartTurn()
    assert mine.take() is None
    mine.give_back()
    mine.give_back()
    other = hold()
    assert mine.take() == other.pid
    other.kill()
    mine.wait(threading.Event())
    assert StartTurn().take() == os.getpid()
    mine.give_back()
    assert StartTurn().take() is None


def test_waiting_can_be_ended(hold: Callable[[], subprocess.Popen[str]]) -> None:
    hold()
    leave = threading.Event()
    failures: list[BaseException] = []

    def wait() -> None:
        try:
            StartTurn().wait(leave)
        except InterruptedError as error:
            failures.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    leave.set()
    thread.join(timeout=30)
    assert not thread.is_alive()
    assert failures


def test_a_start_that_hangs_holds_up_no_other(
    hold: Callable[[], subprocess.Popen[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    hold()
    monkeypatch.setattr(start_turn, "PATIENCE", 0.0)
    second = StartTurn()
    assert second.take() is None, "not waited for"
    monkeypatch.setattr(start_turn, "PATIENCE", 1e9)
    third = StartTurn()
    third._place = 1  # it has found the first one hanging, too
    assert third.take() == os.getpid(), "but for each other they wait"


@pytest.mark.parametrize("kind", ["link", "folder", "pipe"])
def test_what_lies_in_its_place_is_left_alone(folder: Path, kind: str) -> None:
    victim = folder / "victim"
    victim.write_text("mine")
    place = folder / f"dvc-ray-start-{os.geteuid()}.0"
    if kind == "link":
        place.symlink_to(victim)
    elif kind == "folder":
        place.mkdir()
    else:
        os.mkfifo(place)
    mine = StartTurn()
    assert mine.take() is None, "then nobody waits"
    mine.give_back()
    assert victim.read_text() == "mine"


def test_the_file_is_the_user_s_only(folder: Path) -> None:
    mine = StartTurn()
    assert mine.take() is None
    (file,) = folder.iterdir()
    assert file.stat().st_mode & 0o777 == 0o600
    mine.give_back()


def test_a_run_that_waits_says_so_and_can_be_left(hold: Callable[[], subprocess.Popen[str]]) -> None:
    other = hold()
    ray = Connection(None)
    told = ray.begin(1)
    assert f"when others (now process {other.pid}) have started theirs" in told
    assert ray.begin(1) == "", "once"
    ray.close()
    assert not (ray._thread and ray._thread.is_alive())


@pytest.mark.full
def test_six_experiments_at_once(project: Make, cli: Cli) -> None:
    text = "stages: {one: {cmd: 'echo ${lr} > out.txt', params: [lr], outs: [out.txt]}}"
    root = project({"dvc.yaml": text, "params.yaml": "lr: 0\n"})
    ended: list[subprocess.CompletedProcess[str]] = []

    def run(number: int) -> None:
        ended.append(cli(root, "exp", "run", "--temp", "-S", f"lr={number}"))

    threads = [threading.Thread(target=run, args=(number,)) for number in range(1, 7)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [done.returncode for done in ended] == [0] * 6, [done.stderr for done in ended]
    assert sum(bool(re.search(r"when others.* have started theirs", done.stdout)) for done in ended) >= 1


def test_who_has_started_nothing_stops_nothing(shared_ray: RayExecutor, monkeypatch: pytest.MonkeyPatch) -> None:
    shared_ray.cluster.check("any stage", StageSettings())  # returns when Ray is there
    monkeypatch.setattr(StartTurn, "wait", lambda *_: (_ for _ in ()).throw(RuntimeError("no turn")))
    other = Connection(None)
    other.begin(1)
    other.close()
    assert ray.is_initialized()
