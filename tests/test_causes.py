"""Users of the library find DVC's own exception as the cause of ours."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
from dvc.dependency.base import DependencyDoesNotExistError
from dvc.exceptions import CyclicGraphError, NoOutputOrStageError, NotDvcRepoError, OutputDuplicationError
from dvc.output import OutputAlreadyTrackedError
from dvc.stage.exceptions import StageFileDoesNotExistError, StageNotFound
from dvc.utils.strictyaml import YAMLSyntaxError

from dvc_ray import api
from dvc_ray.errors import DvcRayError, NotAProjectError
from dvc_ray.values.run import OnError, RunRequest
from tests.helpers import stock
from tests.helpers.projects import Make, one
from tests.helpers.results import report
from tests.helpers.runs import Locally

BAD: dict[str, tuple[str, RunRequest, type[Exception]]] = {
    "a cycle": (
        "stages: {a: {cmd: x, deps: [b], outs: [a]}, b: {cmd: x, deps: [a], outs: [b]}}",
        RunRequest(),
        CyclicGraphError,
    ),
    "an out of two stages": (
        "stages: {a: {cmd: x, outs: [a]}, b: {cmd: x, outs: [a]}}",
        RunRequest(),
        OutputDuplicationError,
    ),
    "no such stage": (one("echo > out.txt"), RunRequest(targets=("dvc.yaml:two",)), StageNotFound),
    "no such file": (one("echo > out.txt"), RunRequest(targets=("sub/dvc.yaml",)), StageFileDoesNotExistError),
    "no YAML": ("stages: {a: [", RunRequest(), YAMLSyntaxError),
}


@pytest.mark.parametrize("name", BAD)
def test_what_dvc_rejects_before_a_run(project: Make, locally: Locally, name: str) -> None:
    text, request, kind = BAD[name]
    root = project({"in.txt": ""})
    (root / "dvc.yaml").write_text(text)
    with pytest.raises(DvcRayError) as caught:
        locally(root, request)
    assert type(caught.value.__cause__) is kind
    with stock.in_directory(root), pytest.raises(DvcRayError) as planned:
        api.make_plan(request)
    assert type(planned.value.__cause__) is kind
    with stock.in_directory(root), pytest.raises(DvcRayError) as tried:
        api.exp_run(request=request)
    assert isinstance(tried.value.__cause__, kind if kind is not StageNotFound else NoOutputOrStageError)
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)  # noqa: S301


def test_no_project(tmp_path: Path) -> None:
    with stock.in_directory(tmp_path), pytest.raises(NotAProjectError) as caught:
        api.make_plan()
    assert isinstance(caught.value.__cause__, NotDvcRepoError)


def test_a_missing_dep(project: Make, locally: Locally) -> None:
    root = project({"dvc.yaml": one("echo > out.txt")})
    found = report(locally(root), "one").exception
    assert found is not None
    assert type(found.__cause__) is DependencyDoesNotExistError


def test_an_out_that_git_tracks(project: Make, locally: Locally) -> None:
    root = project({"dvc.yaml": one("echo > out.txt"), "in.txt": "", "out.txt": ""})
    found = report(locally(root), "one").exception
    assert found is not None
    assert type(found.__cause__) is OutputAlreadyTrackedError


def test_a_command_that_fails(project: Make, locally: Locally) -> None:
    """Its error is short; what a command prints of itself does not make it one."""
    text = """
stages:
  one: {cmd: exit 3, outs: [one.txt]}
  two: {cmd: "echo 'failed to run: x'", outs: [two.txt]}
"""
    result = locally(project({"dvc.yaml": text}), RunRequest(on_error=OnError.KEEP_GOING))
    assert report(result, "one").error.splitlines()[0] == "its command exited with 3"
    assert report(result, "two").error.splitlines()[0] == "output 'two.txt' does not exist"
