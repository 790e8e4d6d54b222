"""The example, its trials and training workers on two hosts."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path

import pytest

from tests.helpers.cloud import Cloud

pytestmark = [pytest.mark.full, pytest.mark.long]


def test_tune_and_train_on_two_hosts(cloud: Cloud) -> None:
    with resources.as_file(resources.files("dvc_ray") / "example") as example:
        files = {
            str(path.relative_to(example)): path.read_text()
            for path in Path(example).rglob("*")
            if path.is_file() and "__pycache__" not in path.parts
        }
    root = cloud.project("example", files, add="")
    end = cloud.run(root, "repro")
    assert {stage["state"] for stage in end["stages"]} == {"done"}, end
    metrics = json.loads(cloud.head.sh("cat results/train/metrics.json", cwd=root))
    assert metrics["accuracy"] > 0.9
    assert metrics["step"] == 11, "all epochs are home"
    printed = "".join(event.get("text", "") for event in cloud.events if event["event"] == "output")
    assert "epoch 12: " in printed
    assert "trial 5: " in printed
    cloud.head.sh("dvc pull -q", cwd=root)
    assert cloud.head.sh("dvc status", cwd=root) == "Data and pipelines are up to date.\n"
    # Both hosts have taken part: each has brought the data, the stage's own and those of its workers.
    for worker in cloud.workers:
        assert worker.sh("find ~/.cache/dvc-ray/node/cache/files -type f | head -1")
