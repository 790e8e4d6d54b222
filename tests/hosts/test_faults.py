"""Hosts, cables and servers that fail under a run: nothing finished is lost, and what is said is true."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.helpers.cloud import Cloud, Watched
from tests.testbed import Host, Testbed
from tests.testbed.ray import RayCluster

pytestmark = pytest.mark.full

WAITING = """
stages:
  first:
    cmd: cat data/in.txt > first.txt
    deps: [data]
    outs: [first.txt]
  second:
    cmd: >-
      hostname > host.txt; until test -e /root/go; do sleep 0.1; done; cat first.txt > second.txt; echo x >> /root/ran
    deps: [first.txt]
    outs: [second.txt]
    metrics: [{host.txt: {cache: false}}]
"""


LOOPS = "until pgrep -f '[u]ntil test -e' > /dev/null; do sleep 0.2; done"
"""Waits until the command of `second` does."""


Start = Callable[[str, str], Watched]


@pytest.fixture
def start(cloud: Cloud) -> Iterator[Start]:
    """Starts a run in a new project."""
    made: list[Watched] = []

    def begin(name: str, pipeline: str) -> Watched:
        made.append(Watched(cloud, cloud.project(name, {"dvc.yaml": pipeline, "data/in.txt": "in\n"})))
        return made[-1]

    for worker in cloud.workers:
        worker.sh("rm -f /root/go /root/ran")
    yield begin
    for run in made:
        if run.process.poll() is None:
            cloud.head.run("pkill", "-KILL", "-f", "dvc-ray", check=False)
            run.process.communicate()


def named(cloud: Cloud, host: str) -> Host:
    return next(worker for worker in cloud.workers if worker.name == host)


def states(end: dict[str, Any]) -> dict[str, str]:
    return {stage["stage"]: stage["state"] for stage in end["stages"] if stage["stage"] != "data.dvc"}


def test_a_run_begins_while_ray_does_not_know_yet_that_a_host_is_gone(cloud: Cloud) -> None:
    lost, other = cloud.workers
    root = cloud.project("gone", {"dvc.yaml": WAITING, "data/in.txt": "in\n"})
    other.sh("touch /root/go")
    lost.kill()
    try:
        assert states(cloud.run(root, "repro")) == {"first": "done", "second": "done"}
    finally:
        other.sh("rm /root/go")
        lost.start()
        cloud.ray.join(lost, num_cpus=1)
    assert cloud.head.sh("cat host.txt", cwd=root).strip() == other.name


def test_a_worker_host_that_loses_power(cloud: Cloud, start: Start) -> None:
    run = start("power", WAITING)
    lost = named(cloud, run.wait_for("second", "running")["node"])
    lost.kill()
    other = next(worker for worker in cloud.workers if worker is not lost)
    other.sh("touch /root/go")
    try:
        end = run.finish()
    finally:
        lost.start()
        cloud.ray.join(lost, num_cpus=1)
    assert states(end) == {"first": "done", "second": "done"}
    assert cloud.head.sh("cat /root/power/host.txt").strip() == other.name
    assert "its node is gone; trying again" in run.notices()


def test_a_cable_that_is_out_for_20_seconds(cloud: Cloud, start: Start) -> None:
    run = start("cable", WAITING)
    cut = named(cloud, run.wait_for("second", "running")["node"])
    cut.cut()
    healed = threading.Timer(20, cut.heal)
    healed.start()
    for worker in cloud.workers:
        worker.sh("touch /root/go")  # by the process namespace, not by the network
    end = run.finish()
    healed.join()
    assert states(end) == {"first": "done", "second": "done"}, json.dumps(end)


def test_an_s3_server_that_is_down_for_a_while(cloud: Cloud, start: Start) -> None:
    run = start("outage", WAITING)
    worker = named(cloud, run.wait_for("second", "running")["node"])
    worker.sh(LOOPS)
    cloud.store.stop()
    worker.sh("touch /root/go")
    threading.Timer(30, cloud.store.start).start()
    end = run.finish()
    assert states(end) == {"first": "done", "second": "done"}, json.dumps(end)
    assert len(worker.sh("cat /root/ran").split()) == 1, "the command ran once: its result was kept, not made again"


def test_a_killed_driver(cloud: Cloud, start: Start) -> None:
    run = start("killed", WAITING)
    worker = named(cloud, run.wait_for("second", "running")["node"])
    worker.sh(LOOPS)
    cloud.head.run("pkill", "-KILL", "-f", "dvc-ray repro")
    run.process.communicate()
    worker.sh("until ! pgrep -f '[u]ntil test -e' > /dev/null; do sleep 0.2; done", env={})
    for each in cloud.workers:
        each.sh("touch /root/go")
    end = cloud.run("/root/killed", "repro")
    assert states(end) == {"first": "unchanged", "second": "done"}, "the command of a dead driver ends, too"


EXPERIMENT = """
stages:
  first:
    cmd: cat data/in.txt > first.txt && cp params.yaml plain.txt && echo x >> /root/first
    deps: [data]
    params: [lr]
    outs: [first.txt, plain.txt: {cache: false}]
  second:
    cmd: until test -e /root/go; do sleep 0.1; done; cat first.txt plain.txt > second.txt
    deps: [first.txt, plain.txt]
    outs: [second.txt]
"""
"""The run cache does not take `first`: of what it made, DVC itself would find nothing again."""


def test_a_killed_experiment(cloud: Cloud) -> None:
    for each in cloud.workers:
        each.sh("rm -f /root/go /root/first")
    files = {"dvc.yaml": EXPERIMENT, "params.yaml": "lr: 1\n", "data/in.txt": "in\n"}
    root = cloud.project("killed-exp", files)
    run = Watched(cloud, root, "exp", "run", "-S", "lr=5")
    worker = named(cloud, run.wait_for("second", "running")["node"])
    worker.sh(LOOPS)
    cloud.head.run("pkill", "-KILL", "-f", "dvc-ray exp")
    run.process.communicate()
    for each in cloud.workers:
        each.sh("touch /root/go")
    again = Watched(cloud, root, "exp", "run", "-S", "lr=5")
    assert states(again.finish()) == {"first": "unchanged", "second": "done"}
    assert "Taken over from an experiment that did not end: first." in again.notices()
    assert [each.sh("cat /root/first || true") for each in cloud.workers].count("x\n") == 1, "it ran once"
    assert cloud.head.sh("cat plain.txt", cwd=root) == "lr: 5\n", "and is in the workspace"
    cloud.head.sh("dvc pull -q", cwd=root)
    assert cloud.head.sh("cat second.txt", cwd=root) == "in\nlr: 5\n"


def test_a_run_that_another_user_stops_from_another_host(cloud: Cloud, start: Start) -> None:
    run = start("stopped", WAITING)
    worker = named(cloud, run.wait_for("second", "running")["node"])
    worker.sh(LOOPS)
    run_id = next(event["run"] for event in run.events if event["event"] == "plan")
    bens = cloud.workers[1]  # the other one has no dvc-ray
    env = {**cloud.ray.environment(), "DVC_RAY_OWNER": "ben"}
    (shown,) = json.loads(bens.run("dvc-ray", "job", "list", "--json", env=env).stdout)["runs"]
    assert (shown["run"], shown["host"], shown["directory"]) == (run_id, "head", "/root/stopped")
    refused = bens.run("dvc-ray", "job", "stop", run_id, env=env, check=False)
    assert (refused.returncode, "not yours" in refused.stderr) == (254, True), refused.stderr
    bens.run("dvc-ray", "job", "stop", "--force", run_id, env=env)
    out, err = run.process.communicate(timeout=60)
    assert run.process.returncode == 252, (out, err)
    assert f"stopped by ben on {bens.name}" in err
    assert worker.run("pgrep", "-f", "[u]ntil test -e", check=False).returncode == 1, "its command has ended, too"
    for each in cloud.workers:
        each.sh("touch /root/go")
    assert states(cloud.run("/root/stopped", "repro")) == {"first": "unchanged", "second": "done"}


def test_a_disk_that_is_full_on_a_worker(cloud: Cloud, start: Start) -> None:
    big = "stages: {big: {cmd: head -c 60000000 /dev/urandom > big.bin, deps: [data], outs: [big.bin]}}"
    for worker in cloud.workers:
        worker.sh("mkdir -p .cache/dvc-ray && mount -t tmpfs -o size=40m none .cache/dvc-ray")
    try:
        run = start("full", big)
        end = run.finish()
    finally:
        for worker in cloud.workers:
            worker.sh("umount -l .cache/dvc-ray")
    (failed,) = (stage for stage in end["stages"] if stage["state"] == "failed")
    assert failed["exit_code"] == 1
    assert "the disk of node w" in failed["error"], failed


def test_a_remote_that_a_worker_cannot_use_is_said_soon(cloud: Cloud) -> None:
    root = cloud.project("denied", {"dvc.yaml": WAITING, "data/in.txt": "in\n"})
    # The head's environment has the owner's keys; the worker's own are wrong.
    cloud.head.sh(
        'dvc remote modify --local cloud access_key_id "$AWS_ACCESS_KEY_ID";'
        "dvc remote modify --local cloud secret_access_key wrong",
        cwd=root,
    )
    done = cloud.head.run("dvc-ray", "repro", cwd=root, env=cloud.ray.environment(), check=False)
    assert done.returncode == 255
    assert "does not accept the secret key" in done.stderr
    assert "seen from head" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_worker_process_that_dies(cloud: Cloud, start: Start) -> None:
    run = start("process", WAITING)
    worker = named(cloud, run.wait_for("second", "running")["node"])
    worker.sh("pkill -KILL -f '^ray::stage second'")
    for each in cloud.workers:
        each.sh("touch /root/go")
    assert states(run.finish()) == {"first": "done", "second": "done"}
    assert "trying again" in run.notices()


def test_an_s3_server_that_is_slow(cloud: Cloud, start: Start) -> None:
    big = "stages: {big: {cmd: head -c 6000000 /dev/urandom > big.bin, deps: [data], outs: [big.bin]}}"
    cloud.store.host.slow(rate="4mbit")
    try:
        end = start("slow", big).finish()
    finally:
        cloud.store.host.slow()
    assert states(end) == {"big": "done"}, json.dumps(end)


def test_a_head_that_loses_power(testbed: Testbed) -> None:
    """With a cluster of its own: the disk of the head, and so the project, is there again after it."""
    store = testbed.store("lost-s3")
    head, worker = (testbed.host(name, env=store.environment()) for name in ("lost-head", "lost-worker"))
    ray = RayCluster(head)
    ray.join(worker, num_cpus=1)
    cloud = Cloud(testbed, head, (worker,), store, ray)
    root = cloud.project("lost", {"dvc.yaml": WAITING, "data/in.txt": "in\n"})
    run = Watched(cloud, root)
    run.wait_for("second", "running")
    worker.sh(LOOPS)
    head.kill()
    run.process.communicate()
    worker.sh("touch /root/go")  # Ray's worker node goes on without its head, for minutes (2.60)
    while not any("/results/second.1" in key for key in store.keys("bucket-lost")):
        assert worker.is_on
    worker.sh("ray stop --force > /dev/null 2>&1 || true")
    head.start()
    cloud.ray = RayCluster(head)
    cloud.ray.join(worker, num_cpus=1)
    assert states(cloud.run(root, "repro")) == {"first": "unchanged", "second": "unchanged"}
    assert "Taken over from a run that was killed: second." in [event.get("text") for event in cloud.events]
    assert worker.sh("cat /root/ran") == "x\n", "it ran once"
    for host in (head, worker, store.host):
        testbed.remove(host)


HUNGRY = """
stages:
  one:
    cmd: python3 -c "open('out.txt', 'w').write(str(len(bytearray(${mib} << 20))))"
    deps: [data]
    params: [mib]
    outs: [out.txt]
    meta: {ray: {label_selector: {size: small}}}
"""


def test_the_kernels_out_of_memory_killer(cloud: Cloud) -> None:
    """It ends the command, not the node; Ray's own monitor, which would have come first, is off."""
    small = cloud.testbed.host("small", env=cloud.store.environment(), memory=2 << 30)
    try:
        if not small.has_memory_limit:
            pytest.skip("this machine has no memory controller for control groups")
        cloud.ray.join(small, num_cpus=1, labels={"size": "small"}, env={"RAY_memory_monitor_refresh_ms": "0"})
        files = {"dvc.yaml": HUNGRY, "params.yaml": "mib: 6000\n", "data/in.txt": ""}
        root = cloud.project("hungry", files)
        run = Watched(cloud, root)
        error = next(stage["error"] for stage in run.finish()["stages"] if stage["stage"] == "one")
        assert "out-of-memory killer" in error
        cloud.head.sh("echo mib: 1 > params.yaml", cwd=root)
        assert states(cloud.run(root, "repro")) == {"one": "done"}, "its node is still there"
    finally:
        cloud.testbed.remove(small)
