"""Stages on hosts that share no disk: the cost of one, the load of the head, the time to recover from a lost node.

The hosts are those of `tests/testbed`, with their own file systems on one machine: dvc-ray's own work and its number of
round trips are measured, not networks. Needs root.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import median
from typing import Any, Final

from tests.helpers.cloud import Cloud
from tests.testbed import Host, Testbed, lacking
from tests.testbed.ray import RayCluster

from benchmarks.harness import Workbench, goal, table

_STAGES: Final = 200
_CHAIN: Final = 10
_RUNS: Final = 3
_MIB: Final = 1 << 20
_CHAINED: Final = """
stages:
  s0: {cmd: "echo ${run} > s0.txt", deps: [data], params: [run], outs: [s0.txt]}
"""
_LINK: Final = "  s%d: {cmd: cat s%d.txt > s%d.txt, deps: [s%d.txt], outs: [s%d.txt]}\n"
_MANY: Final = """
stages:
  each:
    foreach: [%s]
    do: {cmd: "echo ${item} > ${item}.txt", deps: [data], outs: ["${item}.txt"]}
"""
_WAITING: Final = """
stages:
  long: {cmd: until test -e /root/go; do sleep 0.1; done; echo 1 > out.txt, deps: [data], outs: [out.txt]}
"""
_WATCHFUL: Final = {"RAY_health_check_failure_threshold": "2"}
_COST: Final = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)
"""


def run(bench: Workbench) -> Iterator[str]:
    """Measure on a head and two workers."""
    if why := lacking():
        yield f"Not measured: {why}."
        return
    with Testbed() as testbed:
        store = testbed.store()
        head, *workers = (testbed.host(name, env=store.environment()) for name in ("head", "w1", "w2"))
        ray = RayCluster(head)
        for worker in workers:
            ray.join(worker, num_cpus=1)
        cloud = Cloud(testbed, head, (workers[0], workers[1]), store, ray)
        yield from _overhead(cloud, 1 if bench.quick else _RUNS)
        yield from _head(cloud, 20 if bench.quick else _STAGES)
        yield from _recovery(cloud)


@dataclass(frozen=True, slots=True)
class _Run:
    """A run on the head, whose events are read with the time of their arrival."""

    process: subprocess.Popen[str]

    @classmethod
    def start(cls, cloud: Cloud, root: str) -> _Run:
        variables = {**cloud.ray.environment(), "PYTHONUNBUFFERED": "1"}
        return cls(cloud.head.spawn("dvc-ray", "repro", "--json", cwd=root, env=variables))

    def events(self) -> Iterator[tuple[float, dict[str, Any]]]:
        """Yield the events as they come, until the run ends."""
        for line in self.process.stdout or ():
            yield time.perf_counter(), json.loads(line)

    def until_running(self) -> tuple[float, str]:
        """Wait for a stage to run; return when it began, and on which node."""
        event: dict[str, Any] = {}
        for at, event in self.events():
            if event.get("state") == "running":
                return at, event["node"]
        raise RuntimeError(event)

    def finish(self) -> list[tuple[float, dict[str, Any]]]:
        """Return the rest of the events of the run, which must succeed."""
        found = list(self.events())
        if self.process.wait():
            raise RuntimeError(found[-1])
        return found


def _overhead(cloud: Cloud, runs: int) -> Iterator[str]:
    links = "".join(_LINK % (number, number - 1, number, number - 1, number) for number in range(1, _CHAIN))
    root = cloud.project("chain", {"dvc.yaml": _CHAINED + links, "params.yaml": "run: 0\n", "data/in.txt": "in\n"})
    cold, warm = [], []
    for number in range(runs):
        (cloud.head.root / root.lstrip("/") / "params.yaml").write_text(f"run: {number}\n")
        events = _Run.start(cloud, root).finish()
        begins = [at for at, event in events if event.get("state") == "queued" and "waiting_for" not in event]
        ends = [at for at, event in events if event.get("state") == "done"]
        cold.append(ends[0] - begins[0])
        warm += [end - begin for end, begin in zip(ends[1:], begins[1:], strict=True)]
    yield table(
        ("a trivial stage on another host, from queued to done", "n", "s"),
        [["the first of a run", str(len(cold)), _spread(cold)], ["each after it", str(len(warm)), _spread(warm)]],
    )
    yield goal("overhead of a warm stage", median(warm), 0.3, "s")


def _head(cloud: Cloud, stages: int) -> Iterator[str]:
    text = _MANY % ", ".join(f"i{number}" for number in range(stages))
    root = cloud.project("many", {"dvc.yaml": text, "data/in.txt": "in\n"})
    before, begun = cloud.head.traffic(), time.perf_counter()
    done = cloud.head.run(
        *("python", "-c", _COST, "dvc-ray", "repro", "--quiet"), cwd=root, env=cloud.ray.environment(), timeout=900
    )
    wall = time.perf_counter() - begun
    seconds, peak = map(float, done.stdout.split())
    moved = (cloud.head.traffic() - before) / _MIB
    yield table(
        (f"the head, while {stages} trivial stages run on two hosts", ""),
        [
            ["wall, s", f"{wall:.1f}"],
            ["CPU of dvc-ray, s", f"{seconds:.1f}"],
            ["memory of dvc-ray at most, MiB", f"{peak:.0f}"],
            ["through its cable, MiB", f"{moved:.1f}"],
            ["of that a stage, KiB", f"{moved * 1024 / stages:.0f}"],
        ],
    )


def _recovery(cloud: Cloud) -> Iterator[str]:
    """Measure from power off until the stage runs again: on a host that is there, and on one that is started then."""
    spare = _seconds_to_run_again(cloud, "spare", ready=True)
    other = cloud.workers[0]
    other.kill()
    while cloud.ray.nodes()[other.address]:  # until Ray knows
        pass
    alone = _seconds_to_run_again(cloud, "alone", ready=False)
    other.start()
    for host in (cloud.head, *cloud.workers):
        host.sh("ray stop --force > /dev/null 2>&1 || true")
    cloud.ray = RayCluster(cloud.head, env=_WATCHFUL)
    for worker in cloud.workers:
        cloud.ray.join(worker, num_cpus=1)
    watched = _seconds_to_run_again(cloud, "watched", ready=True)
    yield table(
        ("a worker host loses power: until its stage runs again", "s"),
        [
            ["another host is there", f"{spare:.0f}"],
            ["it is started again at once, and joins", f"{alone:.0f}"],
            [f"another host is there, and Ray's head has {next(iter(_WATCHFUL))}=2", f"{watched:.0f}"],
        ],
    )


def _seconds_to_run_again(cloud: Cloud, name: str, *, ready: bool) -> float:
    run = _Run.start(cloud, cloud.project(name, {"dvc.yaml": _WAITING, "data/in.txt": "in\n"}))
    _, where = run.until_running()
    lost = next(worker for worker in cloud.workers if worker.name == where)
    lost.kill()
    begun = time.perf_counter()
    if not ready:
        _join(cloud, lost)
    again, _ = run.until_running()
    for worker in cloud.workers:
        if worker.is_on:
            worker.sh("touch /root/go")
    run.finish()
    if ready:
        _join(cloud, lost)
    for worker in cloud.workers:
        if worker.is_on:
            worker.sh("rm -f /root/go")
    return again - begun


def _join(cloud: Cloud, host: Host) -> None:
    host.start()
    cloud.ray.join(host, num_cpus=1)


def _spread(seconds: list[float]) -> str:
    return f"{median(seconds):.2f} ({min(seconds):.2f}-{max(seconds):.2f})"
