"""Stages on hosts that share no disk, by a real Ray and a real S3 server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.testbed import Host, Testbed
from tests.testbed.ray import RayCluster
from tests.testbed.store import Store

PROJECT = "/root/project"
PIPELINE = """
stages:
  make:
    matrix: {name: [a, b]}
    cmd: >-
      mkdir -p out && hostname > ${item.name}.host && cat data/in.txt > out/${item.name}.txt
      && head -c ${size} /dev/zero >> out/${item.name}.txt
    deps: [data]
    outs: ["out/${item.name}.txt"]
    metrics: [{"${item.name}.host": {cache: false}}]
  join:
    cmd: wc -c out/a.txt out/b.txt > size.txt; hostname > join.host
    deps: [out]
    outs: [size.txt]
    metrics: [{join.host: {cache: false}}]
"""
SETUP = """
git config --global user.name a
git config --global user.email a@example.com
git init -q
dvc init -q
dvc remote add -q -d cloud {url}
dvc add -q data
git add -A
git commit -qm start
dvc push -q
rm -rf data .dvc/cache
"""


@dataclass
class Cloud:
    """A head, two workers, an S3 server."""

    testbed: Testbed
    head: Host
    workers: tuple[Host, Host]
    store: Store
    ray: RayCluster

    def project(self, name: str, files: dict[str, str]) -> str:
        """Make a Git and DVC project on the head, its data in the remote."""
        root = f"/root/{name}"
        url = self.store.bucket(f"bucket-{name}")
        for path, text in files.items():
            target = self.head.root / root.lstrip("/") / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text)
        self.head.sh(SETUP.format(url=f"{url}/{name}"), cwd=root)
        return root

    def run(self, root: str, *arguments: str, check: bool = True) -> dict[str, Any]:
        """Run dvc-ray on the head; its last event."""
        done = self.head.run(
            *("dvc-ray", *arguments, "--json"), cwd=root, env=self.ray.environment(), check=False, timeout=500
        )
        events = [json.loads(line) for line in done.stdout.splitlines()]
        assert not check or done.returncode == 0, (done.stdout[-3000:], done.stderr)
        return events[-1] if events else {"error": done.stderr}


@pytest.fixture(scope="module")
def cloud(testbed: Testbed) -> Iterator[Cloud]:
    store = testbed.store("cluster-s3")
    head = testbed.host("head", env=store.environment())
    workers = testbed.host("w1", env=store.environment()), testbed.host("w2", env=store.environment())
    ray = RayCluster(head)
    for worker in workers:
        ray.join(worker, num_cpus=1)
    yield Cloud(testbed, head, workers, store, ray)
    for host in (head, *workers, store.host):
        testbed.remove(host)


def test_stages_run_on_workers_and_data_goes_by_the_remote(cloud: Cloud) -> None:
    size = 200_000_000
    root = cloud.project("plain", {"dvc.yaml": PIPELINE, "params.yaml": f"size: {size}\n", "data/in.txt": "in\n"})
    before = cloud.head.traffic()
    end = cloud.run(root, "repro")
    moved = cloud.head.traffic() - before
    assert {stage["state"] for stage in end["stages"]} == {"unchanged", "done"}, end
    hosts = cloud.head.sh("cat a.host b.host join.host", cwd=root).split()
    assert set(hosts) <= {"w1", "w2"}, "nothing ran on the head"
    assert set(hosts[:2]) == {"w1", "w2"}, "both at the same time, each where there was room"
    assert moved < 10 << 20, "the head sees hashes, not data"
    assert cloud.head.run("test", "-e", f"{root}/out/a.txt", check=False).returncode == 1
    again = cloud.run(root, "repro")
    assert {stage["state"] for stage in again["stages"]} == {"unchanged"}
    cloud.head.sh("dvc repro --allow-missing --dry -q; dvc pull -q", cwd=root)
    assert cloud.head.sh("dvc status", cwd=root) == "Data and pipelines are up to date.\n"
    assert cloud.head.sh("cat size.txt", cwd=root).split()[0] == str(size + 3)
