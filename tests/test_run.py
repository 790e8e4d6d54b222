"""What a user sees of a run: plans, failures, settings, output."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest

from dvc_ray import api
from dvc_ray.errors import ProjectError, UnsupportedError
from dvc_ray.executors.local import LocalExecutor
from dvc_ray.values.report import Notice, Output, RunEvent
from dvc_ray.values.run import OnError, RunRequest
from dvc_ray.values.stage import Action, StageState
from tests.helpers import stock
from tests.helpers.executors import Together
from tests.helpers.listening import telling
from tests.helpers.projects import Make, chain, one
from tests.helpers.results import report, states
from tests.helpers.runs import Here, Locally, Repro


def test_the_plan_says_why(project: Make, locally: Locally) -> None:
    root = chain(project)
    with stock.in_directory(root):
        plan = api.make_plan()
    assert [(step.spec.address, step.action, step.wave) for step in plan.steps] == [
        ("first", Action.RUN, 1),
        ("second", Action.RUN, 2),
        ("other", Action.RUN, 1),
    ]
    assert {step.reasons for step in plan.steps} == {("not run before",)}
    locally(root)
    (root / "params.yaml").write_text("rows: 2\n")
    with stock.in_directory(root):
        plan = api.make_plan()
    assert [(step.action, step.reasons) for step in plan.steps] == [
        (Action.RUN, ("modified params.yaml:rows",)),
        (Action.MAYBE, ("after first",)),
        (Action.SKIP, ("unchanged",)),
    ]


def test_a_stage_whose_deps_come_out_the_same_is_not_run(project: Make, locally: Locally) -> None:
    root = chain(project)
    locally(root)
    (root / "params.yaml").write_text("rows: 2\n")
    assert states(locally(root)) == {
        "first": StageState.DONE,
        "second": StageState.UNCHANGED,
        "other": StageState.UNCHANGED,
    }


def test_dry_touches_nothing(project: Make, here: Here) -> None:
    root = chain(project)
    before = stock.snapshot(root)
    done = here(root, "repro", "--dry")
    assert done.returncode == 0
    assert "2 at the same time" in done.stdout
    assert stock.differences(before, stock.snapshot(root)) == []
    assert not (root / ".dvc/tmp/ray").exists()


class NoWorkers(LocalExecutor):
    def submit(self, *_: object) -> None:
        raise AssertionError("a worker was asked for")


def test_run_cache_needs_no_worker(project: Make, locally: Locally) -> None:
    root = chain(project)
    locally(root)
    (root / "dvc.lock").unlink()
    with stock.in_directory(root):
        result = api.repro(executor=NoWorkers())
    assert set(states(result).values()) == {StageState.CACHED}
    assert stock.status(root) == {}


def test_no_run_cache_runs_the_command(project: Make, locally: Locally) -> None:
    root = chain(project)
    locally(root)
    (root / "dvc.lock").unlink()
    result = locally(root, RunRequest(run_cache=False))
    assert states(result)["first"] is StageState.DONE


FAILING = """
stages:
  bad:
    cmd: echo part > bad.txt; echo about to fail; exit 3
    deps: [in.txt]
    outs: [bad.txt]
  after_bad:
    cmd: cp bad.txt after.txt
    deps: [bad.txt]
    outs: [after.txt]
  good:
    cmd: echo good > good.txt
    deps: [in.txt]
    outs: [good.txt]
  after_good:
    cmd: cp good.txt after_good.txt
    deps: [good.txt]
    outs: [after_good.txt]
"""


def test_a_failure_is_explained_and_stops_what_depends_on_it(project: Make, locally: Locally) -> None:
    root = project({"dvc.yaml": FAILING, "in.txt": ""})
    result = locally(root, RunRequest(on_error=OnError.KEEP_GOING))
    bad = report(result, "bad")
    assert (bad.state, bad.exit_code, bad.tail) == (StageState.FAILED, 3, ("about to fail",))
    assert bad.error == "its command exited with 3"
    assert (root / bad.log).read_text() == "about to fail\n"
    assert states(result)["after_bad"] is StageState.BLOCKED
    assert states(result)["after_good"] is StageState.DONE
    assert "good:" in (root / "dvc.lock").read_text()
    assert (root / "bad.txt").read_text() == "part\n", "what a failed command wrote stays, as under dvc repro"


def test_after_a_failure_nothing_new_starts(project: Make, locally: Locally) -> None:
    root = project({"dvc.yaml": FAILING, "in.txt": ""})
    result = locally(root, RunRequest(jobs=1))
    assert states(result) == {
        "bad": StageState.FAILED,
        "after_bad": StageState.BLOCKED,
        "good": StageState.BLOCKED,
        "after_good": StageState.BLOCKED,
    }


def test_a_failed_run_leaves_what_stock_leaves(project: Make, locally: Locally, tmp_path: Path) -> None:
    root = project({"dvc.yaml": FAILING.replace("good:\n    cmd", "good:\n    deps: [bad.txt]\n    cmd"), "in.txt": ""})
    text = """
stages:
  one: {cmd: echo 1 > one.txt, deps: [in.txt], outs: [one.txt]}
  two: {cmd: "cat one.txt > two.txt; exit 1", deps: [one.txt], outs: [two.txt]}
  three: {cmd: cat two.txt > three.txt, deps: [two.txt], outs: [three.txt]}
"""
    (root / "dvc.yaml").write_text(text)
    other = tmp_path / "stock"
    stock.sh(tmp_path, f"cp -r {root} {other}")
    assert stock.dvc(other, "repro") == 255
    assert locally(root).failed
    assert stock.differences(stock.snapshot(other), stock.snapshot(root)) == []


def test_retries(project: Make, locally: Locally, tmp_path: Path) -> None:
    tries = tmp_path / "tries"
    root = project(
        {
            "dvc.yaml": one(f"echo x >> {tries}; test $(wc -l < {tries}) = 3 && echo > out.txt", "{retries: 2}"),
            "in.txt": "",
        }
    )
    result = locally(root)
    assert states(result)["one"] is StageState.DONE
    assert len(tries.read_text()) == 6
    assert sum(isinstance(event, Notice) and "trying again" in event.text for event in locally.events) == 2


def test_timeout(project: Make, locally: Locally) -> None:
    root = project({"dvc.yaml": one("sleep 7711; echo > out.txt", "{timeout: 0.5s}"), "in.txt": ""})
    found = report(locally(root), "one")
    assert found.state is StageState.FAILED
    assert "timed out after 0.5 s" in found.error


def test_an_out_that_is_not_written(project: Make, locally: Locally) -> None:
    root = project({"dvc.yaml": one("true"), "in.txt": ""})
    assert "output 'out.txt' does not exist" in report(locally(root), "one").error


def test_undeclared_inputs(project: Make, locally: Locally) -> None:
    files = {"dvc.yaml": one("cat secret/key > out.txt"), "in.txt": "", ".gitignore": "secret\n", "secret/key": "k\n"}
    root = project(files)
    (root / ".dvc/ray.toml").write_text("bare_workspace = true\n")
    error = report(locally(root), "one").error
    assert "'secret/key', in your project but not in the stage's workspace" in error
    (root / "dvc.yaml").write_text(one("cat secret/key > out.txt", "{include: [secret]}"))
    assert states(locally(root)) == {"one": StageState.DONE}


def test_the_command_sees_the_callers_environment(
    project: Make, repro: Repro, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MINE", "a b")
    show = "env -0 | sort -z | tr '\\0' '\\n' > out.txt; nice >> out.txt; ulimit -a >> out.txt; umask >> out.txt"
    root = project({"dvc.yaml": one(show, "{env: {FROM_META: 1, FLAG: true}}", wdir="."), "in.txt": ""})
    other = tmp_path / "stock"
    stock.sh(tmp_path, f"cp -r {root} {other}")
    # The command's own process in a process like ours: a test runner's limits and variables.
    assert stock.dvc(other, "repro") == 0
    repro(root)
    expected, actual = ((path / "out.txt").read_text().splitlines() for path in (other, root))
    known = (
        "DVC_ROOT=",
        "PWD=",
        "OLDPWD=",
        "RAY_ADDRESS=",
        "RAY_AUTH_MODE=",
        "DVC_RAY_",
        "FROM_META=1",
        "FLAG=true",
    )
    assert [line for line in expected if not line.startswith(known)] == [
        line for line in actual if not line.startswith(known)
    ]
    assert {"FROM_META=1", "FLAG=true", "MINE=a b", "DVC_STAGE=one"} <= set(actual)


def test_what_a_command_prints_is_passed_on(project: Make, repro: Repro) -> None:
    root = project({"dvc.yaml": one("echo hello; echo > out.txt"), "in.txt": ""})
    repro(root)
    assert "".join(event.text for event in repro.events if isinstance(event, Output)) == "hello\n"


REWRITE = """
stages:
  a:
    cmd: sed -i 's/^one$/ONE/' shared.txt; echo > a.txt
    deps: [in.txt]
    outs: [a.txt]
  b:
    cmd: sed -i 's/^{line}$/{to}/' shared.txt; echo > b.txt
    deps: [in.txt]
    outs: [b.txt]
"""


@pytest.mark.parametrize(
    ("line", "to", "expected", "warned"),
    [("nine", "NINE", "ONE {} NINE", False), ("one", "Eins", "Eins {} nine", True)],
)
def test_two_stages_rewrite_one_file(project: Make, line: str, to: str, expected: str, *, warned: bool) -> None:
    middle = "two three four five six seven eight"
    lines = f"one {middle} nine".replace(" ", "\n") + "\n"
    root = project({"dvc.yaml": REWRITE.replace("{line}", line).replace("{to}", to), "in.txt": "", "shared.txt": lines})
    events: list[RunEvent] = []
    with stock.in_directory(root):
        result = api.repro(executor=Together(), sinks=telling(events.append))
    assert not result.failed
    assert (root / "shared.txt").read_text().split() == expected.format(middle).split()
    assert any(isinstance(event, Notice) and "'shared.txt' was rewritten" in event.text for event in events) is warned


def test_no_git_is_found_from_a_bare_workspace(project: Make, locally: Locally) -> None:
    text = one("git rev-parse HEAD > out.txt 2>&1; true", "{bare_workspace: true}")
    root = project({"dvc.yaml": text, "in.txt": ""})
    locally(root)
    assert "not a git repository" in (root / "out.txt").read_text()


NESTED = """
import ray, pathlib, sys
ray.init(log_to_driver=False)
@ray.remote(num_cpus=1)
def f(x):
    return x * 2
group = ray.util.placement_group([{"CPU": 1}] * 2, strategy="PACK")
ray.get(group.ready())
cpus = ray.cluster_resources()['CPU']
pathlib.Path(sys.argv[1]).write_text(f"{sum(ray.get([f.remote(i) for i in range(4)]))} {cpus:g}")
"""


def test_stages_that_are_ray_drivers_share_the_cluster_and_do_not_block_each_other(
    project: Make, repro: Repro, shared_ray: Any
) -> None:
    stages = "stages:\n" + "".join(
        f"  s{n}: {{cmd: python nested.py s{n}.txt, deps: [nested.py], outs: [s{n}.txt],"
        " meta: {ray: {num_cpus: 0}}}\n"
        for n in range(2)
    )
    root = project({"dvc.yaml": stages, "nested.py": NESTED})
    result = repro(root)
    assert not result.failed, result.failed
    assert (root / "s0.txt").read_text() == f"12 {shared_ray.cluster.cpus():g}"


def test_a_stage_that_can_never_start(project: Make, repro: Repro) -> None:
    root = project({"dvc.yaml": one("echo > out.txt", "{resources: {tpu: 1}}"), "in.txt": ""})
    (root / "out.txt").write_text("of the last run")
    found = report(repro(root), "one")
    assert found.state is StageState.FAILED
    assert "asks for 1 tpu, but this machine has 0" in found.error
    assert (root / "out.txt").read_text() == "of the last run", "refused before outs are removed"


def test_targets_and_their_errors(project: Make, locally: Locally) -> None:
    root = chain(project)
    assert set(states(locally(root, RunRequest(targets=("second",))))) == {"first", "second"}
    with pytest.raises(ProjectError, match="secnd"):
        locally(root, RunRequest(targets=("secnd",)))
    (root / "in.txt").write_text("new\n")
    only = locally(root, RunRequest(targets=("second",), single_item=True))
    assert states(only) == {"second": StageState.UNCHANGED}
    assert set(states(locally(root, RunRequest(targets=("first",), downstream=True)))) == {"first", "second"}


def test_a_missing_dep_is_said_before_its_stage_runs(project: Make, locally: Locally) -> None:
    root = project({"dvc.yaml": one("echo > out.txt")})
    found = report(locally(root), "one")
    assert found.state is StageState.FAILED
    assert "dependency 'in.txt' does not exist" in found.error


def test_an_out_that_git_tracks_is_refused_before_its_command_runs(
    project: Make, locally: Locally, tmp_path: Path
) -> None:
    never = tmp_path / "never"
    root = project({"dvc.yaml": one(f"touch {never}; echo > out.txt"), "in.txt": "", "out.txt": "tracked\n"})
    found = report(locally(root), "one")
    assert "already tracked by SCM" in found.error
    assert not found.log
    assert not never.exists()
    stock.sh(root, "git rm -q --cached out.txt && git commit -qm untracked")
    assert not locally(root).failed
    assert never.exists(), "the command is one that would have been seen"


def test_deps_elsewhere_are_refused_by_name(project: Make, locally: Locally) -> None:
    root = project({"dvc.yaml": one("echo > out.txt").replace("in.txt", "https://example.com/in.txt")})
    with pytest.raises(UnsupportedError, match=r"its dep 'https://example.com/in.txt' is not a path of this machine"):
        locally(root)


def test_dvc_status_does_not_hash_what_a_worker_wrote(
    project: Make, repro: Repro, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = """
stages:
  many:
    cmd: mkdir many && for i in $(seq 50); do echo $i > many/$i; done; echo 1 > single.txt
    deps: [in.txt]
    outs: [many, single.txt, {kept.json: {cache: false}}]
"""
    root = project(
        {"dvc.yaml": text.replace("single.txt\n    deps", "single.txt; echo 1 > kept.json\n    deps"), "in.txt": "x"}
    )
    repro(root)
    from dvc_data.hashfile import build

    hashed: list[str] = []
    original = build.hash_file

    def counting(path: str, *arguments: Any, **options: Any) -> Any:
        hashed.append(path)
        return original(path, *arguments, **options)

    monkeypatch.setattr(build, "hash_file", counting)
    assert stock.status(root) == {}
    assert hashed == []
    os.utime(root / "single.txt", (1, 1))
    assert stock.status(root) == {}
    assert [os.path.basename(path) for path in hashed] == ["single.txt"], "the count counts"


def test_a_run_with_nothing_to_do_loads_nothing_for_stages(project: Make) -> None:
    """It is to be no slower than stock DVC, and imports are most of it."""
    root = project({"dvc.yaml": one("cp in.txt out.txt"), "in.txt": "x"})
    assert stock.dvc(root, "repro") == 0
    script = "import sys; from dvc_ray import api; api.repro(); print(*sys.modules, sep='\\n')"
    loaded = set(stock.sh(root, f'{sys.executable} -c "{script}"').split())
    assert "dvc_ray.repo.project" in loaded
    heavy = {"ray", "rich", "obstore", "boto3", "dvc_ray.driver.schedule", "dvc_ray.executors", "dvc_ray.values.task"}
    heavy |= {
        "dvc_ray.command",
        "dvc_ray.storage",
        "dvc_ray.repo.run.environment_managers",
        "dvc_ray.repo.run.python_path",
        "dvc_ray.repo.data.in_remote",
        "dvc_ray.runs.results",
        "dvc_ray.repo.experiments.directory",
        "dvc_ray.repo.run.worker_run",
    }
    assert loaded & heavy == set()
