"""Pipelines made up at random whose stages write what they do not declare: stages at once leave what a row leaves."""

from __future__ import annotations

import random
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, Phase, given, note, settings
from hypothesis import strategies as st

from dvc_ray import api
from dvc_ray.executors.local import LocalExecutor
from dvc_ray.values.run import RunRequest
from dvc_ray.values.task import Lost, StageResult, WorkerEvent
from tests.helpers import stock

TOOL = '''
"""tool.py NAME VALUE DEP... -- OUT... -- WRITE...: each out and write is a line that tells what was read."""
import hashlib, os, pathlib, sys

name, value, *rest = sys.argv[1:]
first, second = [place for place, word in enumerate(rest) if word == "--"]
deps, outs, writes = rest[:first], rest[first + 1 : second], rest[second + 1 :]

def read(path):
    path = pathlib.Path(path)
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    return "".join(f"{file}={file.read_text()}" for file in files if file.is_file() and file.name != ".gitignore")

told = name + value + hashlib.md5("".join(map(read, deps)).encode()).hexdigest()
for path in [*outs, *writes]:
    mode, _, path = path.rpartition(":")
    if mode == "named":
        path += told[-2:]
    if mode == "rm":
        pathlib.Path(path).unlink(missing_ok=True)
        continue
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    if mode == "new":
        pathlib.Path(path).unlink(missing_ok=True)
    with open(path, "a" if mode == "a" else "w") as stream:
        stream.write(f"{told} {path}\\n")
'''
FILES = ("tracked", "data/tracked", "new", "data/new", "ignored", "data/ignored", "folder/ignored")
"""What stages may read and write; the first are tracked, the next untracked, the last ignored."""
DEPS = (*FILES, "data", "folder")
WRITES = (*FILES, "data/other", "data/ignored-too", "folder/ignored-too")


@dataclass(frozen=True)
class Stage:
    """A stage of a made-up pipeline."""

    number: int
    deps: tuple[str, ...]
    writes: tuple[str, ...]
    """Not declared: a way and a path."""
    kind: str

    @property
    def name(self) -> str:
        return f"s{self.number}"

    @property
    def out(self) -> str:
        return f"out{self.number}"

    def definition(self) -> dict[str, Any]:
        way = "a" if self.kind == "persist" else "w"
        words = [*self.deps, "--", f"{way}:{self.out}", "--", *self.writes]
        flags = {"persist": {"persist": True}, "uncached": {"cache": False}}.get(self.kind)
        return {
            "cmd": f"python tool.py {self.name} ${{p{self.number}}} {' '.join(words)}",
            "deps": [*self.deps],
            "outs": [{self.out: flags} if flags else self.out],
        }


@st.composite
def pipelines(draw: st.DrawFn) -> list[Stage]:
    stages: list[Stage] = []
    for number in range(draw(st.integers(2, 5))):
        outs = [stage.out for stage in stages]
        deps = draw(st.lists(st.sampled_from([*DEPS, *outs]), max_size=2, unique=True))
        deps = [path for path in deps if path.partition("/")[0] not in deps or "/" not in path]
        ways = st.sampled_from(["w", "w", "new"])
        writes = draw(st.lists(st.tuples(ways, st.sampled_from(WRITES)), max_size=2, unique_by=lambda pair: pair[1]))
        stages.append(
            Stage(
                number=number,
                deps=tuple(deps),
                writes=tuple(f"{way}:{path}" for way, path in writes),
                kind=draw(st.sampled_from(["cached", "cached", "uncached", "persist"])),
            )
        )
    return [replace(stage, writes=tuple(filter(partial(is_told, stages, stage), stage.writes))) for stage in stages]


def is_told(stages: list[Stage], stage: Stage, write: str) -> bool:
    """Whether what a stage writes is left as by stock DVC.

    Of what nobody depends on that is known to differ: an ignored file may be the user's own, and of two stages that
    write the same one, the one that ends last may win (docs/explanation/identity.md).
    """
    path = write.rpartition(":")[2]
    if any({path, path.partition("/")[0]} & {*other.deps} for other in stages):
        return True
    others = [each for other in stages[: stage.number] for each in other.writes]
    return "ignored" not in path and path not in {each.rpartition(":")[2] for each in others}


CHANGES = ("param", "tracked", "ignored", "nothing", "data/tracked")


class Shuffled(LocalExecutor):
    """Attempts begin and end in any order: what one sees is as old as it may be, what it leaves comes as late."""

    def __init__(self, choices: random.Random) -> None:
        super().__init__()
        self._choices = choices
        self._ended: list[StageResult | Lost] = []

    def events(self, timeout: float) -> Sequence[WorkerEvent]:
        """Run one of the attempts that are queued, or tell how one has ended that was run."""
        place = self._choices.randrange(len(self._queue) + len(self._ended)) if self._queue or self._ended else -1
        if place >= len(self._queue):
            return [self._ended.pop(place - len(self._queue))]
        self._queue.rotate(-place)
        seen = list(super().events(timeout))
        if seen and isinstance(end := seen[-1], StageResult | Lost):
            self._ended.append(end)
            seen.pop()
        return seen


def write(root: Path, stages: list[Stage], params: dict[str, int]) -> None:
    text = yaml.safe_dump({"stages": {stage.name: stage.definition() for stage in stages}}, sort_keys=False)
    (root / "dvc.yaml").write_text(text)
    (root / "params.yaml").write_text("".join(f"{name}: {value}\n" for name, value in params.items()))


def make(root: Path, stages: list[Stage]) -> None:
    for path in FILES:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / "tool.py").write_text(TOOL)
    (root / ".gitignore").write_text("ignored*\n/folder\n/home\n")
    for path in ("tracked", "data/tracked"):
        (root / path).write_text("first\n")
    write(root, stages, {f"p{stage.number}": 1 for stage in stages})
    stock.initialise(root)
    for path in ("new", "data/new", "ignored", "data/ignored", "folder/ignored"):
        (root / path).write_text("first\n")


def alike(ours: Path, theirs: Path) -> list[str]:
    """How two projects differ; what was run too early may be in our cache as well."""
    expected, actual = stock.snapshot(theirs), stock.snapshot(ours)
    more = {name for name in actual.keys() - expected.keys() if name.startswith(".dvc/cache/")}
    return stock.differences(expected, {name: text for name, text in actual.items() if name not in more})


def live(stages: list[Stage], changes: list[tuple[str, int]], choices: random.Random) -> None:
    with tempfile.TemporaryDirectory(prefix="dvc-ray-") as folder:
        ours, theirs = Path(folder, "ours", "project"), Path(folder, "stock", "project")
        make(ours, stages)
        shutil.copytree(ours, theirs, symlinks=True)
        note((ours / "dvc.yaml").read_text())
        params = {f"p{stage.number}": 1 for stage in stages}
        for step, (change, which) in enumerate([("nothing", 0), *changes]):
            if change == "param":
                params[f"p{which % len(stages)}"] += 1
            for root in (ours, theirs):
                write(root, stages, params)
                if change in FILES:
                    (root / change).write_text(f"{step}\n")
            assert stock.dvc(theirs, "repro", "-P") == 0
            with stock.in_directory(ours):
                result = api.repro(RunRequest(all_pipelines=True, jobs=4), executor=Shuffled(choices))
            assert not result.failed, [report.error for report in result.failed]
            assert alike(ours, theirs) == [], (step, change)


lives = st.lists(st.tuples(st.sampled_from(CHANGES), st.integers(0, 4)), min_size=1, max_size=3)


def many(examples: int, *, fixed: bool) -> settings:
    return settings(
        max_examples=examples,
        derandomize=fixed,
        phases=[Phase.explicit, Phase.generate],  # to make one smaller takes minutes
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


@given(pipelines(), lives, st.randoms(use_true_random=False))
@many(6, fixed=True)
def test_a_few_pipelines(stages: list[Stage], changes: list[tuple[str, int]], choices: random.Random) -> None:
    live(stages, changes, choices)


@pytest.mark.full
@given(pipelines(), lives, st.randoms(use_true_random=False))
@many(200, fixed=False)
def test_many_pipelines(stages: list[Stage], changes: list[tuple[str, int]], choices: random.Random) -> None:
    live(stages, changes, choices)
