"""Stages in processes of this machine: how these begin and end, and when Ray is started after all."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from dvc_ray import api, forking
from dvc_ray.executors.one_machine import OneMachineExecutor, needs_ray
from dvc_ray.executors.processes import memory
from dvc_ray.executors.processes.memory import Memory
from dvc_ray.values.report import RunEvent, RunResult
from dvc_ray.values.stage import StageSettings, StageState
from tests.helpers import stock
from tests.helpers.listening import telling
from tests.helpers.projects import Make, one
from tests.helpers.results import report
from tests.helpers.runs import Start

WORKER, NURSERY = "dvc-ray-worker", "dvc-ray-nursery"
KILL = """
import pathlib, psutil, signal, sys
mark = pathlib.Path(sys.argv[1])
if not mark.exists():
    mark.touch()
    next(each for each in psutil.Process().parents() if each.name() == sys.argv[2]).kill()
    if sys.argv[2] == "dvc-ray-worker":
        signal.pause()
pathlib.Path("out.txt").write_text("x")
"""
AFTER = """
  two: {cmd: cat out.txt > two.txt, deps: [out.txt], outs: [two.txt]}
  three: {cmd: cat out.txt > three.txt, deps: [out.txt], outs: [three.txt]}
"""


on_processes = pytest.mark.parametrize("start", ["auto"], indirect=True)


@pytest.fixture
def executor() -> Iterator[OneMachineExecutor]:
    made = OneMachineExecutor()
    yield made
    made.close()


def run(root: Path, executor: OneMachineExecutor, heard: Callable[[RunEvent], object] = id) -> RunResult:
    with stock.in_directory(root):
        return api.repro(sinks=telling(heard), executor=executor)


def texts(events: list[dict[str, Any]]) -> str:
    return "\n".join(str(event.get("text", "")) for event in events)


@on_processes
def test_no_ray_is_started_for_a_stage_that_asks_for_cpus(project: Make, start: Start) -> None:
    root = project({"dvc.yaml": one("echo begun; sleep 7799; echo > out.txt"), "in.txt": ""})
    made = start(root)
    made.wait_for("begun")
    names = {each.name() for each in made.family}
    assert {WORKER, NURSERY} <= names
    assert names.isdisjoint({"raylet", "gcs_server"})
    os.kill(made.process.pid, signal.SIGINT)
    assert made.finish()[0] == 252
    assert made.alive() == []


@on_processes
def test_a_worker_that_is_killed_is_replaced(project: Make, start: Start, tmp_path: Path) -> None:
    root = project({"dvc.yaml": one(f"python kill.py {tmp_path / 'mark'} {WORKER}"), "kill.py": KILL, "in.txt": ""})
    made = start(root)
    code, err = made.finish()
    assert code == 0, err
    assert "SIGKILL" in texts(made.events)
    assert "trying again" in texts(made.events)


@on_processes
def test_a_nursery_that_is_killed_is_replaced(project: Make, start: Start, tmp_path: Path) -> None:
    text = one(f"python kill.py {tmp_path / 'mark'} {NURSERY}") + AFTER
    made = start(project({"dvc.yaml": text, "kill.py": KILL, "in.txt": ""}))
    code, err = made.finish()
    assert code == 0, (err, texts(made.events))
    assert stock.status(made.root) == {}


def test_the_last_stage_is_ended_where_memory_runs_out(
    project: Make, executor: OneMachineExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = project({"dvc.yaml": one("sleep 7798"), "in.txt": ""})
    monkeypatch.setattr(memory, "look", lambda: Memory(99 << 30, 100 << 30))
    found = report(run(root, executor), "one")
    assert found.state is StageState.FAILED
    assert "99.0 GiB of 100.0 GiB were used" in found.error


def test_the_memory_of_this_machine_is_found() -> None:
    found = memory.look()
    assert 0 < found.used < found.total
    assert 0 < found.share < 1


@pytest.mark.parametrize("forked", [True, False])
def test_only_a_program_with_one_thread_is_forked(
    *, forked: bool, project: Make, executor: OneMachineExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    leave = threading.Event()
    if forked:  # pytest-xdist has threads
        monkeypatch.setattr(forking, "is_safe", lambda: True)
    else:
        threading.Thread(target=leave.wait).start()
    try:
        root = project({"dvc.yaml": one("echo x > out.txt"), "in.txt": ""})
        assert run(root, executor).ok
        (nursery,) = [each for each in psutil.Process().children() if each.name() == NURSERY]
        assert (nursery.cmdline() == psutil.Process().cmdline()) is forked
    finally:
        leave.set()
    executor.close()
    assert not nursery.is_running()


@pytest.mark.parametrize("forked", [True, False])
def test_a_program_with_many_open_files(
    *, forked: bool, project: Make, executor: OneMachineExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`select(2)` takes no descriptor from 1024 on."""
    monkeypatch.setattr(forking, "is_safe", lambda: forked)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 4096:
        pytest.skip("no more than 4096 files may be opened here: ulimit -Hn")
    root = project({"dvc.yaml": one("echo x > out.txt"), "in.txt": ""})
    with contextlib.ExitStack() as stack:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 4096), hard))
        stack.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        for _ in range(1100):
            stack.enter_context(open(os.devnull, "rb"))
        assert run(root, executor).ok
        executor.close()


@on_processes
def test_ray_is_started_beside_for_a_stage_that_needs_it(project: Make, start: Start) -> None:
    text = one("echo x > out.txt") + (
        "  driver:\n    cmd: python driver.py > nodes.txt\n    deps: [driver.py]\n    outs: [nodes.txt]\n"
        "    meta: {ray: {num_cpus: 0}}\n"
        "  after: {cmd: cat nodes.txt out.txt > after.txt, deps: [nodes.txt, out.txt], outs: [after.txt]}\n"
    )
    driver = "import ray\nray.init(log_to_driver=False)\nprint(len(ray.nodes()))\n"
    made = start(project({"dvc.yaml": text, "driver.py": driver, "in.txt": ""}))
    code, err = made.finish()
    assert code == 0, err
    assert [event["stage"] for event in made.events if event.get("state") == "done"] == ["one", "driver", "after"]
    assert "Starting Ray" in texts(made.events)
    assert (made.root / "after.txt").read_text() == "1\nx\n"
    assert made.alive() == []


@on_processes
def test_a_stage_that_starts_a_ray_of_its_own_is_told_how_to_join(project: Make, start: Start) -> None:
    driver = "import ray, pathlib\nray.init(num_cpus=1)\npathlib.Path('out.txt').write_text(str(len(ray.nodes())))\n"
    made = start(project({"dvc.yaml": one("python driver.py"), "driver.py": driver, "in.txt": ""}))
    code, err = made.finish()
    assert code == 0, err
    assert "Stage 'one' has started a Ray of its own" in texts(made.events)
    assert "num_cpus: 0" in texts(made.events)
    assert made.alive() == []


@pytest.mark.parametrize(
    ("settings", "needed"),
    [
        (StageSettings(), False),
        (StageSettings(num_cpus=4), False),
        (StageSettings(num_cpus=0), True),
        (StageSettings(num_gpus=1), True),
        (StageSettings(runtime_env={"pip": ["a"]}), True),
        (StageSettings(label_selector=(("a", "b"),)), True),
        (StageSettings(memory=1), True),
    ],
)
def test_what_ray_is_needed_for(settings: StageSettings, *, needed: bool) -> None:
    assert needs_ray(settings) is needed
