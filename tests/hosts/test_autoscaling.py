"""A cluster that grows: what stages wait for is said, and what no node type has is refused."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.helpers.cloud import Cloud
from tests.testbed import Testbed
from tests.testbed.ray import RayCluster

pytestmark = [pytest.mark.full, pytest.mark.long]

PIPELINE = """
stages:
  small:
    cmd: cat data/in.txt > small.txt
    deps: [data]
    outs: [small.txt]
  huge:
    cmd: cat data/in.txt > huge.txt
    deps: [data]
    outs: [huge.txt]
    meta: {ray: {num_cpus: 64}}
"""


@pytest.fixture
def growing(testbed: Testbed) -> Iterator[Cloud]:
    store = testbed.store("growing-s3")
    head = testbed.host("growing-head", env=store.environment())
    node = {"resources": {"CPU": 2}, "node_config": {}, "min_workers": 0, "max_workers": 2}
    ray = RayCluster(head, node_types={"worker": node})
    yield Cloud(testbed, head, (), store, ray)
    for host in (head, store.host):
        testbed.remove(host)


def test_what_a_growing_cluster_is_waited_for(growing: Cloud) -> None:
    root = growing.project("grown", {"dvc.yaml": PIPELINE, "data/in.txt": "in\n"})
    growing.run(root, "repro", "--keep-going", check=False)
    end = next(event for event in growing.events if event["event"] == "end")
    stages = {stage["stage"]: stage for stage in end["stages"]}
    assert stages["small"]["state"] == "done", end
    assert stages["huge"]["state"] == "failed"
    assert stages["huge"]["error"].startswith("no node type of the cluster has 64 CPUs: it could never start")
    waits = [event["waiting_for"] for event in growing.events if event.get("waiting_for")]
    # A node that is a process of the testbed's may be there before anybody has looked.
    assert any(text.startswith(("a node with 1 CPU", "1 CPU to be free")) for text in waits), waits
