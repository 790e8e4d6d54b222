"""Stages on hosts that share no disk, by a real Ray and a real S3 server."""

from __future__ import annotations

import pytest

from tests.helpers.cloud import Cloud

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


@pytest.mark.parametrize("size", [100 << 20, pytest.param(1 << 30, marks=[pytest.mark.full, pytest.mark.long])])
def test_stages_run_on_workers_and_data_goes_by_the_remote(cloud: Cloud, size: int) -> None:
    """Of two outs of that size one has to come to the last stage, wherever it runs."""
    root = cloud.project(
        f"plain-{size}", {"dvc.yaml": PIPELINE, "params.yaml": f"size: {size}\n", "data/in.txt": "in\n"}
    )
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


NEAR = """
stages:
  make:
    foreach: [a, b, c, d]
    do:
      cmd: head -c 20000000 /dev/urandom > ${item}.bin && hostname > ${item}.made
      deps: [data]
      outs: ["${item}.bin"]
      metrics: [{"${item}.made": {cache: false}}]
  use:
    foreach: [a, b, c, d]
    do:
      cmd: wc -c < ${item}.bin > ${item}.size; hostname > ${item}.used; sleep 0.2
      deps: ["${item}.bin"]
      outs: ["${item}.size"]
      metrics: [{"${item}.used": {cache: false}}]
"""


@pytest.mark.full
def test_a_stage_goes_where_its_data_is(cloud: Cloud) -> None:
    root = cloud.project("near", {"dvc.yaml": NEAR, "data/in.txt": "in\n"})
    cloud.run(root, "repro", "make@c", "make@d")  # what a run has left on nodes, the next one knows
    for name in "abcd":  # one after the other: both hosts are free each time
        cloud.run(root, "repro", f"use@{name}")
    made, used = (cloud.head.sh(f"cat a.{kind} b.{kind} c.{kind} d.{kind}", cwd=root) for kind in ("made", "used"))
    assert used == made


def test_git_answers_on_workers(cloud: Cloud) -> None:
    asks = "(git rev-parse HEAD; git describe --always --dirty; git log --oneline; hostname) > ${item}.txt"
    text = (
        f"stages: {{ask: {{foreach: [a, b, c], do: {{cmd: '{asks}', metrics: ['${{item}}.txt': {{cache: false}}]}}}}}}"
    )
    root = cloud.project("git", {"dvc.yaml": text, "data/in.txt": "in\n"})
    answers = cloud.head.sh("git rev-parse HEAD; git describe --always --dirty; git log --oneline", cwd=root)
    cloud.run(root, "repro")
    for item in "abc":
        said, _, host = cloud.head.sh(f"cat {item}.txt", cwd=root).strip().rpartition("\n")
        assert (said + "\n", host[0]) == (answers, "w")
