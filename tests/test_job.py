"""`dvc-ray job`: the runs of a cluster, seen and stopped from another terminal."""

from __future__ import annotations

import json
import os
import pty
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import ray
from ray._private.state import jobs

from dvc_ray.executors.ray import RayExecutor
from dvc_ray.values.stage import StageSettings
from tests.helpers import stock
from tests.helpers.projects import Make
from tests.helpers.running import Running
from tests.helpers.runs import Cli, Start

TEXT = """
stages:
  quick: {cmd: cp in.txt quick.txt, deps: [in.txt], outs: [quick.txt]}
  long: {cmd: echo begun; sleep 7723; echo > long.txt, deps: [quick.txt], outs: [long.txt]}
"""
HERE = socket.gethostname()


@pytest.fixture
def cluster(shared_ray: RayExecutor, monkeypatch: pytest.MonkeyPatch) -> str:
    """A Ray that was there before, as for all commands of the test."""
    shared_ray.cluster.check("any stage", StageSettings())  # returns when Ray is there
    address = str(ray.get_runtime_context().gcs_address)
    monkeypatch.setenv("RAY_ADDRESS", address)
    return address


@pytest.fixture
def anas(cluster: str, project: Make, start: Start, monkeypatch: pytest.MonkeyPatch) -> Running:
    """Ana's run, whose second stage goes on for ever."""
    monkeypatch.setenv("DVC_RAY_OWNER", "ana")
    run = start(project({"dvc.yaml": TEXT, "in.txt": "in\n"}))
    run.wait_for("begun")
    return run


def id_of(run: Running) -> str:
    return str(next(event["run"] for event in run.events if event["event"] == "plan"))


def answer(root: Path, text: str, *arguments: str) -> tuple[int, str]:
    """Run `dvc-ray` as Ben at a terminal, on which he answers."""
    ours, its = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "dvc_ray", *arguments],
        cwd=root,
        env={**os.environ, "DVC_RAY_OWNER": "ben"},
        stdin=its,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    os.write(ours, f"{text}\n".encode())
    said = process.communicate(timeout=120)[0]
    os.close(its)
    os.close(ours)
    return process.returncode, said


def test_another_users_run_is_stopped_after_a_question(anas: Running, cli: Cli, tmp_path: Path) -> None:
    run_id, elsewhere = id_of(anas), tmp_path
    assert "-ana-" in run_id
    shown = cli(elsewhere, "job", "list").stdout.splitlines()
    assert shown[0].split() == ["Run", "Owner", "Stages", "Time", "State", "Project"]
    (row,) = (line.split() for line in shown[1:])
    assert [*row[:3], *row[-2:]] == [run_id, "ana", "2", "running", f"{HERE}:{anas.root}"]
    (told,) = json.loads(cli(elsewhere, "job", "list", "--json").stdout)["runs"]
    assert (told["run"], told["owner"], told["stages"]) == (run_id, "ana", 2)

    unasked = cli(elsewhere, "job", "stop", run_id, env={"DVC_RAY_OWNER": "ben"})
    assert unasked.returncode == 254
    assert f"ERROR: {run_id} is ana's ({HERE}:{anas.root}, 2 stages, for " in unasked.stderr
    assert f"Stop it all the same: dvc-ray job stop --force {run_id}" in unasked.stderr
    code, said = answer(elsewhere, "n", "job", "stop", run_id)
    assert (code, said.count("Stop it? [y/n]")) == (1, 1), said
    assert anas.process.poll() is None

    code, said = answer(elsewhere, "y", "job", "stop", run_id)
    assert (code, said.splitlines()[-1]) == (0, "It has stopped."), said
    code, err = anas.finish()
    assert code == 252
    assert f"ERROR: stopped by ben on {HERE}\nWhat is finished is kept: run the same command again." in err
    states = {event["stage"]: event["state"] for event in anas.events if event["event"] == "stage"}
    assert states == {"quick": "done", "long": "stopped"}
    assert "quick:" in (anas.root / "dvc.lock").read_text()
    assert not (anas.root / "long.txt").exists()
    assert not [each for each in anas.alive() if "7723" in each.cmdline()]
    assert cli(elsewhere, "job", "list").stdout == "Nothing of dvc-ray runs on the cluster.\n"


def test_ones_own_run_is_stopped_without_a_question(anas: Running, cli: Cli) -> None:
    done = cli(anas.root, "job", "stop", id_of(anas)[:-1])
    assert done.returncode == 254
    assert f"on the cluster. Did you mean '{id_of(anas)}'?" in done.stderr
    done = cli(anas.root, "job", "stop", id_of(anas), "--json")
    assert json.loads(done.stdout) == {"event": "stopped", "version": 1, "run": id_of(anas)}, done.stderr
    assert anas.finish()[0] == 252
    assert stock.status(anas.root) != {}


@pytest.mark.full
def test_another_users_run_is_stopped_by_force(anas: Running, cli: Cli) -> None:
    done = cli(anas.root, "job", "stop", "-f", id_of(anas), env={"DVC_RAY_OWNER": "ben"})
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        f"Asked {id_of(anas)} to stop; its commands have 10 s to end.",
        "It has stopped.",
    ]
    assert anas.finish()[0] == 252


@pytest.mark.full
def test_the_run_of_a_killed_driver_is_not_shown(anas: Running, cli: Cli, tmp_path: Path) -> None:
    os.kill(anas.process.pid, signal.SIGKILL)
    anas.process.wait()
    deadline = time.monotonic() + 60
    while not any(job["IsDead"] for job in jobs() if job["DriverPid"] == anas.process.pid):
        assert time.monotonic() < deadline, "Ray has not noticed"
    assert json.loads(cli(tmp_path, "job", "list", "--json").stdout)["runs"] == []
    gone = cli(tmp_path, "job", "stop", id_of(anas))
    assert gone.returncode == 254
    assert gone.stderr == (
        f"ERROR: there is no run '{id_of(anas)}' on the cluster.\nSee what there is: dvc-ray job list\n"
    )


def test_without_a_cluster(cli: Cli, tmp_path: Path) -> None:
    done = cli(tmp_path, "job", "list")
    assert done.returncode == 254
    assert done.stderr.splitlines() == [
        "ERROR: no cluster is named, and a run that started Ray itself is stopped with Ctrl-C where it runs",
        "Give --address, or set RAY_ADDRESS or 'address' in .dvc/ray.toml.",
    ]
