"""Hosts for the tests of this folder: one testbed for all of them."""

from __future__ import annotations

import os
import sysconfig
from collections.abc import Iterator

import pytest

from tests.helpers.cloud import Cloud
from tests.testbed import Testbed, lacking
from tests.testbed.ray import RayCluster


@pytest.fixture(scope="package")
def testbed() -> Iterator[Testbed]:
    """The hosts' network; the tests make their hosts themselves, or share those of other fixtures."""
    if why := lacking():
        assert "CI" not in os.environ, f"must run in CI: {why}"
        pytest.skip(f"no test hosts: {why}")
    with Testbed() as made:
        yield made


@pytest.fixture(scope="package")
def cloud(testbed: Testbed) -> Iterator[Cloud]:
    store = testbed.store("cluster-s3")
    head = testbed.host("head", env=store.environment())
    workers = testbed.host("w1", env=store.environment()), testbed.host("w2", env=store.environment())
    # One of the workers has no dvc-ray: it gets that with the run.
    workers[0].sh(f"rm -r {sysconfig.get_path('purelib')}/*dvc_ray*; ! python -c 'import dvc_ray'")
    ray = RayCluster(head)
    for worker in workers:
        ray.join(worker, num_cpus=1)
    yield Cloud(testbed, head, workers, store, ray)
    for host in (head, *workers, store.host):
        testbed.remove(host)
