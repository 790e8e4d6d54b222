"""What its user does in a project while it runs: stock's result, or an error that names the stage; never less."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pytest

from dvc_ray.driver.install import NotMerged, ResultMerger
from dvc_ray.values.task import StageResult, StageTask
from tests.helpers import stock
from tests.helpers.runs import Locally

TEXT = """
stages:
  make: {cmd: "cat in.txt in.txt > made.txt; echo report > report.txt", deps: [in.txt], outs: [made.txt]}
  train:
    cmd: "mkdir -p model && cat made.txt params.yaml > model/weights && echo '{\\"loss\\": 1}' > metrics.json"
    deps: [made.txt]
    params: [p]
    outs: [model]
    metrics: [metrics.json: {cache: false}]
  other: {cmd: cp other.in other.out, deps: [other.in], outs: [other.out]}
  end: {cmd: cat model/weights other.out > end.txt, deps: [model, other.out], outs: [end.txt]}
"""
FILES = {"dvc.yaml": TEXT, "in.txt": "in\n", "other.in": "other\n", "params.yaml": "p: 1\n", "notes.md": "notes\n"}
DOES = {
    "commit": "git add -A && git commit -qm mine",
    "checkout": "git checkout -q branch",
    "repro": "dvc repro -q",
    "add": "dvc add -q data.bin",
    "gc": "dvc gc -wfq",
}
MOMENTS = 20
OUTS = ("made.txt", "model/weights", "other.out", "end.txt", "metrics.json")


@dataclass(frozen=True)
class Done:
    code: int
    said: str
    changes: int


def run(root: Path, moment: int, command: str) -> Done:
    done = subprocess.run(
        [sys.executable, "-m", "tests.helpers.meanwhile", str(moment), command],
        cwd=root,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[1]), *sys.path])},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    said = done.stdout + done.stderr
    changes = [line for line in said.splitlines() if line.startswith("CHANGES ")]
    return Done(done.returncode, said, int(changes[0].split()[1]))


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("meanwhile") / "project"
    root.mkdir()
    for path, text in FILES.items():
        (root / path).write_text(text)
    stock.initialise(root)
    stock.sh(root, "git checkout -qb branch; echo more >> notes.md; git commit -qam notes; git checkout -q -")
    (root / "data.bin").write_text("data\n")
    return root


@pytest.fixture(scope="module")
def expected(template: Path) -> dict[str, str]:
    """What stock leaves of it."""
    root = template.parent / "stock"
    shutil.copytree(template, root)
    assert stock.dvc(root, "repro") == 0
    return left(root)


@pytest.fixture(scope="module")
def changes(template: Path) -> int:
    """How many moments a run has."""
    return run(shutil.copytree(template, template.parent / "counted"), 0, "").changes


def left(root: Path) -> dict[str, str]:
    return {path: (root / path).read_text() for path in ("dvc.lock", *OUTS) if (root / path).is_file()}


def not_in_cache(root: Path) -> list[str]:
    done = stock.sh(root, "dvc data status --json --not-in-remote 2>/dev/null || true; dvc data status --json")
    return list(json.loads(done.splitlines()[-1]).get("not_in_cache") or [])


@pytest.mark.parametrize(
    ("what", "seed"),
    [
        pytest.param(what, seed, marks=[] if seed < 3 else [pytest.mark.full])
        for what in DOES
        for seed in range(MOMENTS)
    ],
)
def test_at_any_moment(
    template: Path, expected: dict[str, str], changes: int, tmp_path: Path, what: str, seed: int
) -> None:
    moment = random.Random(f"{what}-{seed}").randint(1, changes)  # noqa: S311
    root = shutil.copytree(template, tmp_path / "project")
    done = run(root, moment, DOES[what])
    if done.code == 0:
        assert left(root) == expected, (moment, done)
        assert stock.status(root) == {}, (moment, done)
        assert not not_in_cache(root), (moment, done)
    else:
        assert any(f"'{name}'" in done.said for name in ("make", "train", "other", "end")), (moment, done)
    again = run(root, 0, "")  # and what is left is no obstacle
    assert again.code == 0 or "already tracked" in again.said, (moment, done, again)


@pytest.mark.parametrize("links", ["copy", "hardlink"])
def test_garbage_is_collected_before_a_stage_is_in_dvc_lock(
    template: Path,
    expected: dict[str, str],
    tmp_path: Path,
    locally: Locally,
    monkeypatch: pytest.MonkeyPatch,
    links: str,
) -> None:
    """The cache has its outs by then, and nothing that DVC knows of names them."""
    root = shutil.copytree(template, tmp_path / "project")
    assert stock.dvc(root, "config", "cache.type", links) == 0
    merge = ResultMerger.merge

    def collected(results: ResultMerger, done: Iterable[tuple[StageTask, StageResult]]) -> dict[str, NotMerged]:
        stock.sh(root, DOES["gc"])
        return merge(results, done)

    monkeypatch.setattr(ResultMerger, "merge", collected)
    assert not locally(root).failed
    assert left(root) == expected
    assert stock.status(root) == {}
    assert not not_in_cache(root)
