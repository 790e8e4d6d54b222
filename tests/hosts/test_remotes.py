"""Remotes that are not S3, and outs that stock DVC would not push."""

from __future__ import annotations

import pytest

from tests.helpers.cloud import Cloud
from tests.testbed import Host

pytestmark = pytest.mark.full

PIPELINE = """
stages:
  one:
    cmd: cat data/in.txt > one.txt; mkdir -p many; for i in 1 2 3; do echo $i > many/$i; done; hostname > one.host
    deps: [data]
    outs: [one.txt, many]
    metrics: [{one.host: {cache: false}}]
  two:
    cmd: cat one.txt many/* > two.txt; hostname > two.host
    deps: [one.txt, many]
    outs: [two.txt]
    metrics: [{two.host: {cache: false}}]
"""


def test_a_remote_by_ssh(cloud: Cloud) -> None:
    far = cloud.testbed.host("far")
    root = cloud.project("by-ssh", {"dvc.yaml": PIPELINE, "data/in.txt": "in\n"})
    for host in (cloud.head, *cloud.workers):
        _may_log_in(host, cloud)
    cloud.head.sh(
        f"""
        dvc pull -q data
        dvc remote add -q -d -f far ssh://root@{far.address}/root/store
        dvc remote modify --local far keyfile "$HOME/.ssh/id"
        dvc push -q -r far data
        git commit -qam far
        rm -r .dvc/cache data
        """,
        cwd=root,
    )
    end = cloud.run(root, "repro")
    assert [stage["state"] for stage in end["stages"]] == ["unchanged", "done", "done"]
    assert set(cloud.head.sh("cat one.host two.host", cwd=root).split()) <= {worker.name for worker in cloud.workers}
    cloud.head.sh("dvc pull -q", cwd=root)
    assert cloud.head.sh("dvc status; cat two.txt", cwd=root) == "Data and pipelines are up to date.\nin\n1\n2\n3\n"
    cloud.head.sh("rm -r dvc.lock .dvc/cache one.txt many two.txt", cwd=root)
    again = cloud.run(root, "repro")
    assert [stage["state"] for stage in again["stages"]] == ["unchanged", "cached", "cached"], "by its run cache"
    cloud.testbed.remove(far)


def _may_log_in(host: Host, cloud: Cloud) -> None:
    (host.root / "root/.ssh/id").write_bytes(cloud.testbed.key.read_bytes())
    host.sh("chmod 600 .ssh/id")
