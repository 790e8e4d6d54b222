"""Planted secrets, looked for in all that a run leaves, and in all that Ray shows of it while it runs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator

import pytest

from tests.helpers.cloud import Cloud, Watched
from tests.testbed import Testbed
from tests.testbed.ray import RayCluster

pytestmark = pytest.mark.full

TOKEN, CANARY = "token-5f1c8e", "canary-7d2a90"
DIGEST = hashlib.md5(TOKEN.encode()).hexdigest()  # noqa: S324
CHECKED = f"""
stages:
  one:
    cmd: test "$(printf %s "$HF_TOKEN" | md5sum)" = "{DIGEST}  -" && test -z "$CANARY" && echo done > out.txt
    deps: [data]
    outs: [out.txt]
"""


def test_nothing_secret_is_left_anywhere(watched: Cloud) -> None:
    cloud = watched
    root = cloud.project("private", {"dvc.yaml": CHECKED, "data/in.txt": "in\n"})
    owner = cloud.store.owner
    cloud.head.sh(
        f"dvc remote modify --local cloud access_key_id {owner.key};"
        f"dvc remote modify --local cloud secret_access_key {owner.secret};"
        """echo 'secrets = ["HF_TOKEN"]' > .dvc/ray.toml""",
        cwd=root,
    )
    run = cloud.head.run(
        *("dvc-ray", "exp", "run", "-n", "tried"),
        cwd=root,
        env={**cloud.ray.environment(), "HF_TOKEN": TOKEN, "CANARY": CANARY},
    )
    texts = (TOKEN, CANARY, owner.secret)
    wanted = " ".join(f"-e {text}" for text in texts)
    found = {}
    for host in (cloud.head, *cloud.workers):
        folders = "/tmp ~/.cache ~/private/.dvc/tmp ~/private/dvc.lock"  # noqa: S108
        found[host.name] = host.sh(f"grep -rl {wanted} {folders} 2>/dev/null || true")
    git = "git rev-list --all --objects | cut -d' ' -f1 | git cat-file --batch"
    found["git"] = cloud.head.sh(f"{git} | grep -a {wanted} || true", cwd=root)
    found["store"] = cloud.store.find("bucket-private", *texts)
    assert set(found.values()) == {""}, found
    assert not any(text in run.stdout + run.stderr for text in texts)
    assert "tried" in cloud.head.sh("dvc exp list --name-only", cwd=root)
    # The search finds what is there.
    assert cloud.head.sh(f"grep -rl {wanted} {root}/.dvc/config.local", cwd=root)
    assert cloud.store.find("bucket-private", "done")


NESTED = """
import os
import ray
import dvc_ray

dvc_ray.init(log_to_driver=False)


@ray.remote
def work():
    from pyarrow import fs

    system, path = fs.FileSystem.from_uri(dvc_ray.storage_path("kept"))
    with system.open_output_stream(path + "/model.bin") as file:
        file.write(b"weights")
    return len(os.environ["HF_TOKEN"]), dvc_ray.data_path("data")


print(ray.get(work.remote()))
open("/root/asked", "w").close()
while not os.path.exists("/root/go"):
    pass
open("out.txt", "w").write("done")
"""
SHOWN = """
stages:
  one: {cmd: python nested.py, deps: [data, nested.py], outs: [out.txt], meta: {ray: {num_cpus: 0}}}
"""
ASK = """
import json, pathlib, sys, urllib.request

token = (pathlib.Path.home() / ".ray/auth_token").read_text()
lists = [f"api/v0/{kind}?detail=1&limit=10000" for kind in
         ("tasks", "actors", "workers", "nodes", "runtime_envs", "jobs", "objects", "placement_groups", "logs")]
for path in (*lists, "api/jobs/", "nodes?view=details", "api/cluster_status", "logical/actors", "events"):
    request = urllib.request.Request(f"http://127.0.0.1:8265/{path}", headers={"Authorization": f"Bearer {token}"})
    try:
        print(path, urllib.request.urlopen(request, timeout=60).read().decode())
    except urllib.error.HTTPError as error:
        print(path, error.code)
"""


@pytest.fixture(scope="module")
def watched(testbed: Testbed) -> Iterator[Cloud]:
    """A cluster with a dashboard."""
    store = testbed.store("watched-s3")  # no host has keys of its own
    head, worker = (testbed.host(name, env=store.place()) for name in ("watched-head", "watched-worker"))
    ray = RayCluster(head, dashboard=True)
    ray.join(worker, num_cpus=1)
    yield Cloud(testbed, head, (worker,), store, ray)
    for host in (head, worker, store.host):
        testbed.remove(host)


def test_nothing_secret_is_shown_by_ray(watched: Cloud) -> None:
    root = watched.project("shown", {"dvc.yaml": SHOWN, "nested.py": NESTED, "data/in.txt": "in\n"})
    owner = watched.store.owner
    watched.head.sh(
        f"dvc remote modify --local cloud access_key_id {owner.key};"
        f"dvc remote modify --local cloud secret_access_key {owner.secret}",
        cwd=root,
    )
    (worker,) = watched.workers
    run = Watched(watched, root, env={"HF_TOKEN": TOKEN, "CANARY": CANARY, "DVC_RAY_SECRETS": "HF_TOKEN"})
    run.wait_for("one", "running")
    worker.sh("until test -e /root/asked; do sleep 0.2; done")
    shown = watched.head.run("python", "-c", ASK).stdout
    worker.sh("touch /root/go")
    end = run.finish()
    assert [stage["state"] for stage in end["stages"] if stage["stage"] == "one"] == ["done"], json.dumps(end)
    assert "stage one" in shown, "the task is shown"
    assert "DVC_RAY_ATTEMPT" in shown, "its workers' environment is shown"
    found = [text for text in (TOKEN, CANARY, owner.secret) if text in shown]
    assert not found
    assert any(key.endswith("storage/kept/model.bin") for key in watched.store.keys("bucket-shown"))
