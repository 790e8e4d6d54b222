"""docs/how-to/resources-and-retries.md: its YAML and its commands, as they stand there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from dvc_ray import api
from dvc_ray.values.run import RunRequest
from dvc_ray.values.stage import StageState
from tests.helpers import stock
from tests.helpers.executors import Watched, run
from tests.helpers.projects import Make
from tests.helpers.results import states
from tests.helpers.runs import Here, Repro

PAGE = (Path(__file__).parents[1] / "docs/how-to/resources-and-retries.md").read_text()
NEEDS, MORE, TIME_OUT, TURNS = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
DRY, TRAIN = re.findall(r"^\$ dvc-ray (.*)$", PAGE, re.MULTILINE)
KILLED_TWICE = """
import os, pathlib, signal
tries = pathlib.Path({path!r})
tries.write_text(tries.read_text() + "x" if tries.exists() else "x")
if len(tries.read_text()) < 3:
    os.kill(os.getpid(), signal.SIGKILL)
pathlib.Path("model.txt").write_text("model")
"""


def test_what_a_stage_needs(project: Make, here: Here) -> None:
    root = project({"dvc.yaml": NEEDS, "train.py": ""})
    assert "train  run: not run before  [2 CPU, 0.5 GiB]" in here(root, *shlex.split(DRY)).stdout


def test_more_memory(project: Make, here: Here, tmp_path: Path) -> None:
    root = project({"dvc.yaml": MORE, "train.py": KILLED_TWICE.format(path=str(tmp_path / "tries"))})
    done = here(root, *shlex.split(TRAIN))
    assert done.returncode == 0, done.stderr
    assert "ended by SIGKILL" in done.stderr
    assert "trying again in 0.1 s with 1.0 GiB" in done.stderr
    assert "trying again in 0.2 s with 1.5 GiB" in done.stderr


def test_a_time_out(project: Make, repro: Repro) -> None:
    root = project({"dvc.yaml": TIME_OUT, "train.py": "open('model.txt', 'w').write('model')"})
    assert states(repro(root)) == {"train": StageState.DONE}
    with stock.in_directory(root):
        (step,) = api.make_plan(RunRequest()).steps
    assert (step.spec.settings.timeout, step.spec.settings.retries.timeout) == (7200, True)


def test_turns(project: Make) -> None:
    executor = Watched()
    result, _ = run(project({"dvc.yaml": TURNS}), executor)
    assert not result.failed
    assert executor.together[0] == {"load@a", "load@b"}
    assert all("dump" not in names or len(names) == 1 for names in executor.together)
