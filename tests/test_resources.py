"""What a user sees of turns, retries and resources: runs of real stages."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from dvc_ray.executors.local import LocalExecutor
from dvc_ray.executors.ray import RayExecutor
from dvc_ray.values.run import RunRequest
from dvc_ray.values.stage import StageState
from tests.helpers import stock
from tests.helpers.executors import Watched, run
from tests.helpers.projects import Make
from tests.helpers.results import states
from tests.helpers.runs import Cli, Here, Repro


def one(cmd: str, ray: str) -> dict[str, str]:
    text = f"  one:\n    cmd: {json.dumps(cmd)}\n    deps: [in.txt]\n    outs: [out.txt]\n    meta: {{ray: {ray}}}\n"
    return {"dvc.yaml": f"stages:\n{text}", "in.txt": "in\n"}


TURNS = """
stages:
  train:
    matrix: {n: [0, 1, 2, 3]}
    cmd: echo ${item.n} > ${item.n}.txt
    deps: [in.txt]
    outs: ["${item.n}.txt"]
    meta: {ray: {max_parallel: 2}}
  load:
    cmd: echo > load.txt
    deps: [in.txt]
    outs: [load.txt]
    meta: {ray: {mutex: [db, port]}}
  dump:
    cmd: echo > dump.txt
    deps: [in.txt]
    outs: [dump.txt]
    meta: {ray: {mutex: db}}
"""


def test_turns(project: Make) -> None:
    root = project({"dvc.yaml": TURNS, "in.txt": ""})
    executor = Watched()
    result, _ = run(root, executor)
    assert not result.failed
    assert executor.together[0] == {"train@0", "train@1", "load"}
    assert all(sum(name.startswith("train") for name in names) <= 2 for names in executor.together)
    assert all(not {"load", "dump"} <= names for names in executor.together)


def test_dry_and_json_say_the_turns(project: Make, here: Here) -> None:
    root = project({"dvc.yaml": TURNS, "in.txt": ""})
    dry = here(root, "repro", "--dry").stdout
    assert "Step 1, 6 stages, at first 3 at the same time:" in dry
    assert "[1 CPU; at most 2 of train@*]" in dry
    assert "[1 CPU; not beside others with mutex db, port]" in dry
    stages = json.loads(here(root, "repro", "--dry", "--json").stdout)["stages"]
    found = {stage["stage"]: stage["resources"] for stage in stages}
    assert found["train@3"]["max_parallel"] == 2
    assert found["load"]["mutex"] == ["db", "port"]


def test_dry_and_json_say_the_resources(project: Make, here: Here) -> None:
    asks = "{num_cpus: 2 * attempt, memory: 1GiB * attempt, accelerator_type: A100, label_selector: {zone: '!a'}}"
    root = project(one("true", asks))
    assert "[2 CPU * attempt, 1.0 GiB * attempt, accelerator A100, zone=!a]" in here(root, "repro", "--dry").stdout
    (stage,) = json.loads(here(root, "repro", "--dry", "--json").stdout)["stages"]
    assert stage["resources"] == {
        "num_cpus": 2,
        "num_gpus": 0,
        "memory": 2**30,
        "resources": {},
        "grows": ["num_cpus", "memory"],
        "accelerator_type": "A100",
        "label_selector": {"zone": "!a"},
        "max_parallel": None,
        "mutex": [],
    }


def test_an_attempt_after_sigkill_gets_more(project: Make, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    cmd = f"test -e {mark} || {{ touch {mark}; kill -KILL $$; }}; echo > out.txt"
    root = project(one(cmd, "{memory: 1GiB * attempt, retries: {max: 3, exit_codes: [137]}}"))
    executor = Watched()
    result, notices = run(root, executor)
    assert states(result) == {"one": StageState.DONE}
    assert [settings.memory for settings in executor.asked] == [2**30, 2**31]
    assert (
        "stage 'one', attempt 1: its command was ended by SIGKILL; often that is the kernel's out-of-memory killer;"
        " trying again with 2.0 GiB"
    ) in notices


def test_a_child_ended_by_sigkill_is_said_too(project: Make) -> None:
    root = project(one("bash -c 'kill -KILL $$'; exit $?", "{retries: {max: 3, exit_codes: [1]}}"))
    executor = Watched()
    result, _ = run(root, executor)
    assert result.failed[0].error == (
        "its command exited with 137, which is how a shell tells of SIGKILL; often that is the kernel's"
        " out-of-memory killer"
    )
    assert len(executor.asked) == 1, "another exit code than those to retry"


@pytest.mark.parametrize(
    ("retries", "attempts"), [("1", 1), ("{max: 1, exit_codes: [143, -15]}", 1), ("{max: 1, timeout: true}", 2)]
)
def test_a_time_out_is_tried_again_only_if_asked_for(project: Make, retries: str, attempts: int) -> None:
    executor = Watched()
    result, _ = run(project(one("sleep 7712", f"{{timeout: 0.1s, retries: {retries}}}")), executor)
    assert "timed out after 0.1 s" in result.failed[0].error
    assert len(executor.asked) == attempts


def test_a_delay_is_kept_while_others_go_on(project: Make, tmp_path: Path) -> None:
    times = tmp_path / "times"
    text = f"""
stages:
  one:
    cmd: date +%s%N >> {times}; test $(wc -l < {times}) = 2 && echo > one.txt
    deps: [in.txt]
    outs: [one.txt]
    meta: {{ray: {{retries: {{max: 1, delay: 0.4s}}}}}}
  two:
    cmd: test $(wc -l < {times}) = 1 && echo > two.txt
    deps: [in.txt]
    outs: [two.txt]
"""
    root = project({"dvc.yaml": text, "in.txt": ""})
    result, notices = run(root, LocalExecutor(), RunRequest(jobs=1))
    assert not result.failed, result.failed
    first, second = map(int, times.read_text().split())
    assert second - first >= 0.4e9
    assert any(notice.endswith("trying again in 0.4 s") for notice in notices)


def test_what_the_run_cache_has_needs_no_gpu_and_no_ray(project: Make) -> None:
    root = project(one("echo > out.txt", "{}"))
    assert not run(root, LocalExecutor())[0].failed
    (root / "dvc.lock").unlink()
    (root / "dvc.yaml").write_text(one("echo > out.txt", "{num_gpus: 99}")["dvc.yaml"])
    executor = RayExecutor(None)
    result, notices = run(root, executor)
    assert states(result) == {"one": StageState.CACHED}
    assert not any("Ray" in notice for notice in notices)
    assert executor._ray._thread is None, "Ray was started"
    assert stock.status(root) == {}


def test_what_is_pulled_needs_no_gpu(project: Make, repro: Repro, tmp_path: Path) -> None:
    root = project(one("echo 1 > out.txt", "{num_gpus: 99}"))
    assert not run(root, LocalExecutor())[0].failed
    for arguments in (("remote", "add", "-d", "far", str(tmp_path / "far")), ("push",)):
        assert stock.dvc(root, *arguments) == 0
    stock.sh(root, "rm -rf .dvc/cache/files out.txt")
    assert states(repro(root, RunRequest(pull=True))) == {"one": StageState.UNCHANGED}
    assert (root / "out.txt").read_text() == "1\n"


@pytest.mark.parametrize(
    "change", ["in.txt", "cmd", "cache"], ids=["another dep", "another command", "its object is gone"]
)
def test_what_the_run_cache_has_not_needs_its_gpu(project: Make, repro: Repro, change: str) -> None:
    root = project(one("echo 1 > out.txt", "{}"))
    assert not run(root, LocalExecutor())[0].failed
    cmd = "echo 2 > out.txt" if change == "cmd" else "echo 1 > out.txt"
    (root / "dvc.yaml").write_text(one(cmd, "{num_gpus: 99}")["dvc.yaml"])
    if change == "in.txt":
        (root / "in.txt").write_text("new")
    if change == "cache":
        stock.sh(root, "rm -rf .dvc/cache/files && rm dvc.lock")
    before = (root / "out.txt").stat()
    result = repro(root)
    assert result.failed[0].error.startswith("it asks for 99 GPU, but this machine has")
    assert (root / "out.txt").stat() == before, "refused before DVC removes outs"


@pytest.mark.parametrize(
    ("ray", "text"),
    [
        ("{memory: 900TiB}", "it asks for 921600.0 GiB of memory, but Ray has "),
        ("{accelerator_type: H1OO}", "it asks for the accelerator 'H1OO', but this machine has "),
        (
            "{label_selector: {zone: a}}",
            "it asks for a node with label 'zone': 'a', but this machine has no such label",
        ),
        ("{num_cpus: 999}", "it asks for 999 CPU, but this machine has "),
        ("{num_cpus: 1 * attempt, retries: 998}", "its attempt 999: it asks for 999 CPU, but this machine has "),
        ("{resources: {x: 0.00001}}", "Ray refuses its settings: The precision of the fractional quantity"),
    ],
)
def test_what_can_never_start_is_said_at_once(project: Make, repro: Repro, ray: str, text: str) -> None:
    root = project(one("echo > out.txt", ray))
    (root / "out.txt").write_text("of the last run")
    (found,) = repro(root).failed
    assert found.error.startswith(text)
    assert (root / "out.txt").read_text() == "of the last run", "refused before outs are removed"


def test_a_misspelt_accelerator_is_told_from_one_that_is_not_here(project: Make, repro: Repro) -> None:
    root = project(one("echo > out.txt", "{accelerator_type: amd-instinct-mi250X}"))
    assert "Ray knows no accelerator 'amd-instinct-mi250X'" in repro(root).failed[0].error
    assert "Did you mean 'AMD-Instinct-MI250X'?" in repro(root).failed[0].error
    (root / "dvc.yaml").write_text(one("echo > out.txt", "{accelerator_type: TPU-V2}")["dvc.yaml"])
    assert "Ray knows no" not in repro(root).failed[0].error


def test_what_can_never_start_later_is_said_early(project: Make, repro: Repro) -> None:
    files = one("echo > out.txt", "{}")
    files["dvc.yaml"] += (
        "  two: {cmd: cat out.txt > two.txt, deps: [out.txt], outs: [two.txt], meta: {ray: {num_gpus: 99}}}\n"
    )
    root = project(files)
    assert states(repro(root)) == {"one": StageState.DONE, "two": StageState.FAILED}
    texts = [getattr(event, "text", "") for event in repro.events]
    warned = next(place for place, text in enumerate(texts) if "stage 'two' will not be able to run" in text)
    done = next(place for place, event in enumerate(repro.events) if getattr(event, "state", None) is StageState.DONE)
    assert warned < done


def test_a_label_and_memory_that_are_there(project: Make, repro: Repro) -> None:
    root = project(one("echo > out.txt", "{memory: 1MiB * attempt, label_selector: {zone: '!in(a, b)'}}"))
    assert states(repro(root)) == {"one": StageState.DONE}


@pytest.mark.full
def test_jobs_count_before_ray_is_there(project: Make, cli: Cli) -> None:
    more = len(os.sched_getaffinity(0)) + 2
    root = project(one("echo > out.txt", f"{{num_cpus: {more}}}"))
    assert f"it asks for {more} CPU" in cli(root, "repro").stderr
    done = cli(root, "repro", "-j", str(more))
    assert done.returncode == 0, done.stderr


@pytest.mark.full
def test_rays_memory_monitor_counts_as_out_of_memory(project: Make, cli: Cli) -> None:
    root = project(one("sleep 7713", "{memory: 1GiB * attempt, retries: {max: 1, exit_codes: [137]}}"))
    always = {"RAY_memory_usage_threshold": "0.0001", "RAY_memory_monitor_refresh_ms": "100"}
    done = cli(root, "repro", env=always)
    assert done.returncode == 255
    assert "attempt 1: Ray's memory monitor ended its worker: Memory usage " in done.stderr
    assert "trying again with 2.0 GiB" in done.stderr
    assert "attempt 2" not in done.stderr
