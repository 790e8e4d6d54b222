"""A file system that all hosts see, as on a Slurm cluster, and one host that does not see it."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from tests.helpers import stock
from tests.testbed import Host, Testbed
from tests.testbed.ray import RayCluster

HOW_TO = Path(__file__).parents[2] / "docs/how-to/shared-file-system.md"
ROOT = "/shared/project"
PIPELINE = """
stages:
  one: {cmd: cat data/* > one.txt; hostname > one.host, deps: [data], outs: [one.txt]}
  two:
    cmd: >-
      cat one.txt one.txt > two.txt; S=$DVC_RAY_STORAGE; if [ "$S" ]; then mkdir -p $S; echo kept > $S/checkpoint; fi
    deps: [one.txt]
    outs: [two.txt]
"""


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    """What all hosts see at /shared; with a project in it, its data in the workspace only."""
    root = tmp_path / "shared/project"
    (root / "data").mkdir(parents=True)
    (root / "data/a").write_text("a\n")
    (root / "dvc.yaml").write_text(PIPELINE)
    stock.initialise(root)
    stock.sh(root, "git rm -r -q --cached data; dvc add -q data; dvc remote add -q -d shared /shared/store")
    stock.sh(root, "git add -A; git commit -qm data")
    return tmp_path / "shared"


def test_ray_symmetric_run_as_under_slurm(testbed: Testbed, shared: Path, tmp_path: Path) -> None:
    other = tmp_path / "stock"
    shutil.copytree(shared / "project", other, symlinks=True)
    assert stock.dvc(other, "repro") == 0
    hosts = [testbed.host(name, shared=shared) for name in ("slurm1", "slurm2", "slurm3")]
    (line,) = re.findall(r"^srun (.*)$", HOW_TO.read_text(), re.MULTILINE)
    slurm = {"head": hosts[0].address, "SLURM_JOB_NUM_NODES": "3", "SLURM_CPUS_PER_TASK": "1"}
    env = {**slurm, "DVC_RAY_NODE_DIR": "/tmp/node"}  # noqa: S108  of the host
    tasks = [host.spawn("bash", "-c", f"exec {line} --json", cwd=ROOT, env=env) for host in hosts]
    said, complained = tasks[0].communicate(timeout=400)
    assert tasks[0].returncode == 0, said[-3000:] + complained[-3000:]
    events = [json.loads(text) for text in said.splitlines() if text.startswith("{")]
    states = {stage["stage"]: stage["state"] for stage in events[-1]["stages"]}
    assert states == {"data.dvc": "unchanged", "one": "done", "two": "done"}
    assert (shared / "project/dvc.lock").read_bytes() == (other / "dvc.lock").read_bytes()
    assert (shared / "project/one.host").read_text().strip() in {"slurm2", "slurm3"}
    (kept,) = (shared / "store/.dvc-ray/runs").glob("*/storage/checkpoint")
    assert kept.read_text() == "kept\n"
    assert hosts[0].sh("dvc pull -q && dvc status && cat two.txt", cwd=ROOT).endswith("up to date.\na\na\n")
    for host in hosts:
        testbed.remove(host)


def test_a_host_that_does_not_see_it_is_named(testbed: Testbed, shared: Path) -> None:
    head, near = testbed.host("head-fs", shared=shared), testbed.host("near", shared=shared)
    far = testbed.host("far-away")
    ray = RayCluster(head)
    for host in (near, far):
        ray.join(host, num_cpus=1)
    (shared / "store").mkdir()  # that it is not there yet, a plan takes for no hindrance
    refused = _repro(head, ray, "--dry")
    assert "(far-away has no such folder)" in refused
    refused = _repro(head, ray)
    assert "(far-away does not have what was just written there)" in refused
    assert "near does" not in refused
    assert not (shared / "project/dvc.lock").exists()
    far.sh("mkdir -p /shared/store")  # one of its own
    assert "(far-away does not have what was just written there)" in _repro(head, ray)
    assert not list((shared / "store/.dvc-ray/seen").iterdir())
    for host in (head, near, far):
        testbed.remove(host)


def _repro(head: Host, ray: RayCluster, *flags: str) -> str:
    done = head.run("dvc-ray", "repro", *flags, cwd=ROOT, env=ray.environment(), check=False)
    assert done.returncode == 255
    return " ".join(done.stderr.split())
