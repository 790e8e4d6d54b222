"""The two ways of a stage through the code, as ARCHITECTURE.md tells them, held against a run."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import FrameType

import pytest

import dvc_ray
from dvc_ray import api
from dvc_ray.executors.local import LocalExecutor
from tests.helpers import stock
from tests.helpers.projects import Make

PACKAGE = str(Path(dvc_ray.__file__).parent) + "/"
TEXT = (Path(__file__).parents[1] / "ARCHITECTURE.md").read_text()
ON_DISK = "On a disk that all machines share:"
STAGE = "stages: {one: {cmd: echo said; cp in.txt out.txt, deps: [in.txt], outs: [out.txt]}}"


def told(begins: str) -> list[str]:
    """The functions of a list, in order."""
    section = TEXT.split("## The way of one stage")[1].split(begins)[1]
    lines = section.lstrip("\n").split("\n\n")[0].splitlines()
    found = [re.match(r"(\d+)\. `([\w.]+)`", line) for line in lines]
    assert [int(match[1]) for match in found if match] == list(range(1, len(lines) + 1))
    return [match[2] for match in found if match]


def called(root: Path, executor: LocalExecutor) -> list[str]:
    """All functions of the package that a run calls, in the order of their first calls."""
    seen: dict[str, None] = {}

    def note(frame: FrameType, event: str, _: object) -> None:
        file = frame.f_code.co_filename
        if event == "call" and file.startswith(PACKAGE):
            seen.setdefault(f"{file[len(PACKAGE) : -3].replace('/', '.')}.{frame.f_code.co_qualname}")

    with stock.in_directory(root):
        before = sys.getprofile()
        sys.setprofile(note)
        try:
            result = api.repro(executor=executor)
        finally:
            sys.setprofile(before)
    assert result.ok
    return list(seen)


@pytest.mark.parametrize("begins", [ON_DISK, "Through a remote, where machines share no disk with the head:"])
def test_the_way_of_a_stage_is_as_it_is_told(
    project: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, begins: str
) -> None:
    root = project({"dvc.yaml": STAGE, "in.txt": "1\n"})
    shared = begins == ON_DISK
    remote = tmp_path / "remote"
    remote.mkdir()
    if not shared:
        monkeypatch.setenv("DVC_RAY_NODE_DIR", str(tmp_path / "node"))
        stock.sh(root, f"dvc remote add -q -d folder {remote} && git commit -qam remote")
        stock.sh(root, "git rm -q --cached in.txt && dvc add -q in.txt")  # data, that the head has to push
    way = told(begins)
    names = called(root, LocalExecutor(apart=not shared, shared=None if shared else str(remote)))
    assert [name for name in way if name not in names] == []
    assert [name for name in names if name in way] == way
