"""Ctrl-C, killed drivers and workers: nothing stays behind, nothing finished is lost."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests import stock
from tests.conftest import Cli
from tests.test_run import Make

LONG = """
stages:
  quick:
    cmd: echo quick > quick.txt
    deps: [in.txt]
    outs: [quick.txt]
  long:
    cmd: echo part > part.txt; echo more >> kept.txt; python nested.py & sleep 7721; echo > long.txt
    deps: [quick.txt]
    outs: [long.txt, part.txt, {kept.txt: {persist: true}}]
    meta: {ray: {num_cpus: 0}}
"""
NESTED = """
import os, ray, time
ray.init(log_to_driver=False)
@ray.remote
class Actor:
    def pid(self):
        return os.getpid()
actor = Actor.remote()
print("nested", ray.get(actor.pid.remote()), flush=True)
time.sleep(7722)
"""


class Running:
    """`dvc-ray repro --json` with the stage `long` on its way."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.process = subprocess.Popen(
            [sys.executable, "-m", "dvc_ray", "repro", "--json"],
            cwd=root,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.events: list[dict[str, Any]] = []
        self.actor = self._wait_for_nested()
        self.family = psutil.Process(self.process.pid).children(recursive=True)
        self.ray_dirs = [Path(path) for path in _ray_dirs(self.family)]

    def _wait_for_nested(self) -> psutil.Process:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.events.append(json.loads(line))
            text = self.events[-1].get("text", "")
            if "nested" in text:
                return psutil.Process(int(text.split()[-1]))
        raise AssertionError((self.process.communicate(), self.events))

    def finish(self) -> tuple[int, str]:
        out, err = self.process.communicate(timeout=60)
        self.events += [json.loads(line) for line in out.splitlines()]
        return self.process.returncode, err

    def alive(self) -> list[psutil.Process]:
        return psutil.wait_procs([*self.family, self.actor], timeout=30)[1]


def _ray_dirs(family: list[psutil.Process]) -> Iterator[str]:
    for process in family:
        for argument in process.cmdline():
            if argument.startswith(("--session-dir=", "--session_dir=")):
                yield argument.partition("=")[2].rpartition("/")[0]


@pytest.fixture
def running(project: Make) -> Iterator[Running]:
    run = Running(project({"dvc.yaml": LONG, "nested.py": NESTED, "in.txt": ""}))
    yield run
    everyone: list[Any] = [run.process, *run.family]
    for process in everyone:
        try:
            process.kill()
        except (psutil.NoSuchProcess, ProcessLookupError):
            continue


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopped_by_a_signal(running: Running, number: signal.Signals) -> None:
    os.kill(running.process.pid, number)
    code, err = running.finish()
    assert code == 252, err
    assert "ERROR: interrupted by the user" in err
    assert "Traceback" not in err
    assert running.alive() == []
    assert not any(path.exists() for path in running.ray_dirs), "no temporary folder stays"
    assert list((running.root / ".dvc/tmp/ray/runs").glob("*/work")) == []
    assert [event["state"] for event in running.events if event.get("stage") == "long" and "state" in event][-1] == (
        "stopped"
    )
    assert stock.sh(running.root, "cat dvc.lock").count("cmd:") == 1, "what was finished is kept"
    assert stock.sh(running.root, "cat part.txt kept.txt") == "part\nmore\n", "and what the command wrote, as by dvc"


def test_a_killed_driver_takes_its_commands_along_and_loses_nothing_finished(
    running: Running, cli: Cli, project: Make
) -> None:
    running.process.kill()
    running.process.communicate()
    assert running.alive() == []
    (running.root / "dvc.yaml").write_text(LONG.replace("python nested.py & sleep 7721; ", ""))
    stock.sh(running.root, "rm -f nested.py")
    done = cli(running.root, "repro", "--json")
    assert done.returncode == 0, done.stderr
    events = [json.loads(line) for line in done.stdout.splitlines()]
    final = {report["stage"]: report["state"] for report in events[-1]["stages"]}
    assert final == {"quick": "unchanged", "long": "done"}
    assert list((running.root / ".dvc/tmp/ray/runs").glob("*/work/*")) == [], "what was left is cleaned up"
    assert not any(path.exists() for path in running.ray_dirs)
