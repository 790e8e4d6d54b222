"""Stages that are Ray drivers themselves, their workers on another host than they are."""

from __future__ import annotations

import hashlib
import json

from tests.helpers.cloud import Cloud

WORD = "word-8c1e77"
PROGRAM = """
import hashlib, json, os, socket, sys
from pathlib import Path
import ray
import dvc_ray
from helper import describe

dvc_ray.init(log_to_driver=False)
here = ray.get_runtime_context().get_node_id()
Path("made.txt").write_text("made by the stage")


@ray.remote(num_cpus=1, label_selector={"ray.io/node-id": f"!{here}"})
def work():
    from pyarrow import fs

    seen = {"host": socket.gethostname(), "described": describe()}
    seen["data"] = Path(dvc_ray.data_path("data")).joinpath("in.txt").read_text()
    seen["made"] = Path(dvc_ray.data_path("made.txt")).read_text()
    try:
        dvc_ray.data_path("nothing.txt")
    except Exception as error:
        seen["missing"] = str(error)
    seen["token"] = hashlib.md5(os.environ["HF_TOKEN"].encode()).hexdigest()
    system, path = fs.FileSystem.from_uri(dvc_ray.storage_path("kept"))
    with system.open_output_stream(path + "/model.bin") as file:
        file.write(b"weights")
    with dvc_ray.Live("live", dvcyaml=False) as live:
        for step in range(3):
            live.log_metric("loss", 1 / (step + 1))
            live.next_step()
            if step == 1:
                seen["at the second step"] = ray.get(look.remote())
    return seen


@ray.remote(num_cpus=0, label_selector={"ray.io/node-id": here})
def look():
    path = Path(os.environ["DVC_RAY_STAGE_DIR"], "live/metrics.json")
    return json.loads(path.read_text())["step"]


seen = ray.get(work.remote())
dvc_ray.fetch(dvc_ray.storage_path("kept"), "model.bin")
seen["stage"] = socket.gethostname()
Path("seen.json").write_text(json.dumps(seen))
"""
PIPELINE = """
stages:
  train:
    cmd: python train.py
    deps: [data, train.py, helper.py]
    outs: [model.bin, {live: {cache: false}}, {seen.json: {cache: false}}]
    meta: {ray: {num_cpus: 0}}
"""


def test_workers_on_another_host_than_their_stage(cloud: Cloud) -> None:
    root = cloud.project(
        "nested",
        {
            "dvc.yaml": PIPELINE,
            "train.py": PROGRAM,
            "helper.py": "def describe():\n    return 'the code is there'\n",
            "data/in.txt": "in\n",
        },
    )
    end = cloud.run(root, "repro", env={"HF_TOKEN": WORD, "DVC_RAY_SECRETS": "HF_TOKEN"})
    assert {stage["stage"]: stage["state"] for stage in end["stages"]}["train"] == "done", end
    seen = json.loads(cloud.head.sh("cat seen.json", cwd=root))
    assert {seen["host"], seen["stage"]} == {"w1", "w2"}
    assert seen["described"] == "the code is there"
    assert (seen["data"], seen["made"]) == ("in\n", "made by the stage")
    assert "'nothing.txt'" in seen["missing"]
    assert seen["token"] == hashlib.md5(WORD.encode()).hexdigest()  # noqa: S324
    assert json.loads(cloud.head.sh("cat live/metrics.json", cwd=root)) == {"loss": 1 / 3, "step": 2}
    assert len(cloud.head.sh("cat live/plots/metrics/loss.tsv", cwd=root).splitlines()) == 4
    cloud.head.sh("dvc pull -q", cwd=root)
    assert cloud.head.sh("cat model.bin", cwd=root) == "weights"
    assert cloud.head.sh("dvc status", cwd=root) == "Data and pipelines are up to date.\n"
