"""Ray's private API does what `dvc_ray.ray_api` says, in the versions of Ray that are supported."""

from __future__ import annotations

import threading
import uuid

import pytest
import ray
from ray._private import services

from dvc_ray.executors.ray import RayExecutor
from dvc_ray.ray_api import autoscaler, drivers, kv, local_ray, names, scheduling, sessions, workers

pytestmark = pytest.mark.core


@pytest.fixture(autouse=True)
def _joined(shared_ray: RayExecutor) -> None:
    shared_ray._ray.wait()


def test_the_store_of_keys_and_values() -> None:
    prefix = f"test/{uuid.uuid4().hex}/"
    assert kv.get(f"{prefix}ä") is None
    kv.put(f"{prefix}ä", "ö")
    kv.put(f"{prefix}ä", "second", overwrite=False)
    assert kv.get(f"{prefix}ä") == "ö"
    kv.put(f"{prefix}ä", "third")
    kv.put(f"{prefix}b", "")
    assert kv.get(f"{prefix}ä") == "third"
    assert kv.get(f"{prefix}b") == ""
    assert sorted(kv.keys(prefix)) == [f"{prefix}b", f"{prefix}ä"]
    for key in (f"{prefix}ä", f"{prefix}b", f"{prefix}none"):
        kv.delete(key)
    assert kv.keys(prefix) == []


def test_this_driver_is_among_those_that_live() -> None:
    assert ray.get_runtime_context().get_job_id() in drivers.living_jobs()


def test_what_each_node_has() -> None:
    (node,) = ray.nodes()
    assert node["Labels"][names.NODE_ID] == node["NodeID"]
    assert names.HEAD in node["Resources"]
    assert {"A100", "H200"} <= {*names.accelerators()}


def test_a_preferred_node_takes_a_task() -> None:
    here = ray.get_runtime_context().get_node_id()
    in_worker = ray.remote(num_cpus=0)(workers.in_worker)
    assert ray.get(in_worker.options(scheduling_strategy=scheduling.prefer(here)).remote())


def test_a_worker_knows_itself() -> None:
    said = [ray.remote(num_cpus=0)(ask) for ask in (workers.in_worker, workers.raylet_pid, workers.temp_dir)]
    raylet = local_ray.vital_processes()["raylet"]
    assert ray.get([ask.remote() for ask in said]) == [True, raylet.pid, workers.temp_dir()]
    assert not workers.in_worker()
    assert workers.raylet_pid() is None
    assert sessions.session() is None
    assert workers.package_limit() == workers.DEFAULT_PACKAGE_LIMIT


def test_a_local_ray_is_alive_and_has_no_autoscaler() -> None:
    assert {name: process.poll() for name, process in local_ray.vital_processes().items()} == {
        "gcs_server": None,
        "raylet": None,
    }
    assert autoscaler.look(ray.get_runtime_context().gcs_address) is None


def test_patience_is_put_back() -> None:
    before = services.get_node
    with local_ray.patience(threading.Event()):
        assert services.get_node is not before
    assert services.get_node is before
