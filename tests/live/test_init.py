"""What init asks of Ray; Ray itself is a stand-in."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import dvc_ray
from dvc_ray import env
from dvc_ray.errors import ClusterError, LiveError
from dvc_ray.ray_api import workers


@pytest.fixture
def asked(monkeypatch, write):
    """What ray.init is called with, in a project of one file."""
    monkeypatch.chdir(write({"train.py": "x" * 100, ".dvc/config": ""}))
    calls: list[dict[str, Any]] = []

    def init(**options: Any) -> str:
        folder = Path(options["runtime_env"]["working_dir"])
        options["staged"] = [path.name for path in folder.iterdir()] if folder.is_dir() else []
        calls.append(options)
        return "context"

    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(init=init, is_initialized=lambda: False))
    monkeypatch.setattr(workers, "package_limit", lambda: 1_000_000)
    return calls


def test_ray_starts_quietly_and_the_staged_code_is_removed(asked):
    assert dvc_ray.init() == "context"
    (options,) = asked
    assert options["include_dashboard"] is False
    assert options["logging_level"] == logging.WARNING
    assert options["staged"] == ["train.py"]
    assert not Path(options["runtime_env"]["working_dir"]).exists()


def test_sizes_are_for_a_ray_of_its_own(asked, monkeypatch):
    dvc_ray.init(num_cpus=2, namespace="mine")
    monkeypatch.setenv(env.RAY_ADDRESS, "10.0.0.1:6379")
    dvc_ray.init(num_cpus=2, namespace="mine")
    assert [call.get("num_cpus") for call in asked] == [2, None]
    assert [call["namespace"] for call in asked] == ["mine", "mine"]


def test_the_callers_runtime_env_wins(asked):
    given = {"env_vars": {env.STORAGE: "s3://mine", "A": "b", "PYTHONPATH": "/libs"}, "pip": ["x"]}
    dvc_ray.init(runtime_env=given)
    merged = asked[0]["runtime_env"]
    assert merged["pip"] == ["x"]
    assert {name: merged["env_vars"][name] for name in given["env_vars"]} == given["env_vars"]
    assert set(given["env_vars"]) == {env.STORAGE, "A", "PYTHONPATH"}


def test_the_callers_working_dir_is_taken_as_it_is(asked):
    dvc_ray.init(runtime_env={"working_dir": "/elsewhere"})
    assert asked[0]["runtime_env"]["working_dir"] == "/elsewhere"


def test_too_much_code_does_not_reach_ray(asked, monkeypatch):
    monkeypatch.setattr(workers, "package_limit", lambda: 100)
    with pytest.raises(LiveError, match=r"train\.py"):
        dvc_ray.init()
    assert asked == []


def test_a_cluster_that_does_not_answer(asked, monkeypatch):
    def refuse(**_options: Any) -> None:
        raise ConnectionError("refused")

    monkeypatch.setenv(env.RAY_ADDRESS, "10.0.0.1:6379")
    monkeypatch.setattr(sys.modules["ray"], "init", refuse)
    with pytest.raises(ClusterError, match=r"does not answer at 10\.0\.0\.1:6379: refused"):
        dvc_ray.init()


def test_variables_named_like_secrets_stay_behind(asked, monkeypatch):
    for name in ("DVC_STUDIO_TOKEN", "DVC_STAGE", "DVCLIVE_LOGLEVEL", "OTHER"):
        monkeypatch.setenv(name, "x")
    dvc_ray.init()
    variables = asked[0]["runtime_env"]["env_vars"]
    assert {n for n in variables if variables[n] == "x"} == {"DVC_STAGE", "DVCLIVE_LOGLEVEL"}
