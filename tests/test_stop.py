"""Ctrl-C, killed drivers and workers: nothing stays behind, nothing finished is lost."""

from __future__ import annotations

import json
import os
import signal
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from tests.helpers import stock
from tests.helpers.projects import Make
from tests.helpers.running import Running
from tests.helpers.runs import Cli, Start

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


@dataclass
class Nested:
    """A run whose stage `long` has a Ray driver of its own with an actor, and leaves children behind."""

    run: Running
    ray_dirs: list[Path]

    @property
    def root(self) -> Path:
        return self.run.root


@pytest.fixture
def nested(project: Make, start: Start) -> Nested:
    run = start(project({"dvc.yaml": LONG, "nested.py": NESTED, "in.txt": ""}))
    actor = psutil.Process(int(run.wait_for("nested").split()[-1]))
    run.family.append(actor)
    return Nested(run, run.ray_dirs())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopped_by_a_signal(nested: Nested, number: signal.Signals) -> None:
    os.kill(nested.run.process.pid, number)
    code, err = nested.run.finish()
    assert code == 252, err
    assert "ERROR: interrupted by the user" in err
    assert "Traceback" not in err
    assert nested.run.alive() == []
    assert not any(path.exists() for path in nested.ray_dirs), "no temporary folder stays"
    assert list((nested.root / ".dvc/tmp/ray/runs").glob("*/work")) == []
    assert [event["state"] for event in nested.run.events if event.get("stage") == "long" and "state" in event][-1] == (
        "stopped"
    )
    assert stock.sh(nested.root, "cat dvc.lock").count("cmd:") == 1, "what was finished is kept"
    assert stock.sh(nested.root, "cat part.txt kept.txt") == "part\nmore\n", "and what the command wrote, as by dvc"


def test_a_killed_driver_takes_its_commands_along_and_loses_nothing_finished(
    nested: Nested, cli: Cli, project: Make
) -> None:
    nested.run.process.kill()
    nested.run.process.communicate()
    assert nested.run.alive() == []
    (nested.root / "dvc.yaml").write_text(LONG.replace("python nested.py & sleep 7721; ", ""))
    stock.sh(nested.root, "rm -f nested.py")
    done = cli(nested.root, "repro", "--json")
    assert done.returncode == 0, done.stderr
    events = [json.loads(line) for line in done.stdout.splitlines()]
    final = {report["stage"]: report["state"] for report in events[-1]["stages"]}
    assert final == {"quick": "unchanged", "long": "done"}
    assert list((nested.root / ".dvc/tmp/ray/runs").glob("*/work/*")) == [], "what was left is cleaned up"
    assert not any(path.exists() for path in nested.ray_dirs)
